//! Mapped files: what is stored without any call reaches the server, at msync(2), close(2), after
//! munmap(2) and at the end; and what a map shows, and where it ends, is as on a local file.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, case};

const STEPS: &str = "msync parts munmap exit kill fork grow cut beyond private unlinked both made";

/// Every step on a file of its own that was there before, then on one that was just made through
/// Parrot: that one has another kind of shadow.
fn maps(g: &mut Guest, link: Link) {
    g.set_deadline(120);
    let program = guest("maps", link).display().to_string();
    g.setup(&format!(
        "for step in {STEPS}; do head -c 10000 /dev/zero | tr '\\0' a > $R/$step; done"
    ));
    let mut text = String::new();
    for step in STEPS.split(' ') {
        // The shell's word on a killed program has its number in it.
        let run = format!("sh -c '{program} {step} $R/{step} $B/{step}; true'");
        text.push_str(&format!("{run} 2>/dev/null; cat $R/{step} | md5sum\n"));
    }
    for step in ["msync", "parts", "munmap", "fork", "cut", "unlinked", "both"] {
        let run = format!("{program} {step} $R/new $B/new");
        text.push_str(&format!(
            "head -c 10000 /dev/zero | tr '\\0' a > $R/new; {run}; cat $R/new | md5sum; rm -f $R/new\n"
        ));
    }
    g.steps(&text);
}

case!(maps_of_files, |g| maps(g, Link::Dynamic));
case!(maps_of_files_fixed, fixed, |g| maps(g, Link::Static));
