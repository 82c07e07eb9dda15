//! The targets.

pub mod message;
pub mod mountlist;
pub mod reply;
pub mod request;
pub mod server;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Something that takes bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Takes an input; a panic anywhere is a find.
    pub run: fn(&[u8]),
    /// Inputs that make sense, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "request", run: request::run, seeds: request::seeds },
    Target { name: "server", run: server::run, seeds: server::seeds },
    Target { name: "reply", run: reply::run, seeds: reply::seeds },
    Target { name: "mountlist", run: mountlist::run, seeds: mountlist::seeds },
    Target { name: "message", run: message::run, seeds: message::seeds },
];

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// A directory for the life of this process, in memory where there is such a place: what is to be
/// on the disk is there at once. Targets end without a word, so the next one removes it.
#[expect(clippy::expect_used, reason = "a target without a place is of no use")]
fn scratch(what: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(SCRATCH)?.split('.').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another process may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let dir = base.join(format!("{SCRATCH}{}.{what}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&dir).expect("a temporary directory");
    dir
}

/// How the names of these directories begin; the process follows.
const SCRATCH: &str = "parrot-fuzz-";

/// Lines as inputs.
fn inputs(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
