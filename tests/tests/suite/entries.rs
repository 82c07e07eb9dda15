//! libc's own entries: every function that opens, stats or lists, called by small C programs
//! (`guests/*.c`) natively and under Parrot. What a preloaded program cannot do is a row of the table
//! "What preload cannot see" in `docs/techniques.md`.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, Technique, case};

use crate::reading::TREE;

/// Runs a guest on the place, after the usual tree was put there. A second argument asks for what a
/// preloaded program is known not to see.
fn same(g: &Guest, name: &str) {
    g.setup(TREE);
    let unseen = if g.session.technique() == Technique::Preload { "" } else { "all" };
    g.same(&format!("{} $R {unseen} 2>&1", guest(name, Link::Dynamic).display()));
}

case!(walks, |g| same(g, "walks"));
case!(streams, |g| same(g, "streams"));
