//! The targets.

pub mod message;
pub mod mountlist;
pub mod reply;
pub mod request;
pub mod server;

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

/// Lines as inputs.
fn inputs(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
