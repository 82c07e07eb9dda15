//! What `micro` measures: suites of rows, each with what the guest does, what it is compared with,
//! and the goals. This is the one place for a new operation or another goal.

use crate::ops::Kind;
use crate::server;
use clap::ValueEnum;

/// Who is compared with the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Technique {
    /// Native once more: shows how much the figures waver
    Control,
    /// libparrot.so by LD_PRELOAD
    Preload,
    /// parrot-trace
    Trace,
}

impl Technique {
    /// The word for tables, files and the worker's label.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Preload => "preload",
            Self::Trace => "trace",
        }
    }
}

/// The names of the suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SuiteName {
    /// Local files
    Local,
    /// A small remote file that the session knows
    Complete,
    /// A large remote file, from the cache
    Served,
    /// Requests that reach our server
    Uncached,
    /// Requests that reach Debian's server
    UncachedStock,
}

/// What the guests are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// The same calls on a local file, without Parrot.
    Native,
    /// A plain client's requests on one connection.
    Client,
}

impl Baseline {
    /// The word for tables and files, and the worker's label.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Client => "client",
        }
    }
}

/// Where an operation works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// No path.
    Nowhere,
    /// A program that does nothing.
    Program,
    /// A file of the sandbox.
    Sandbox(&'static str),
    /// A file below one of the [`MOUNTS`].
    Mount(&'static str),
    /// A file as the server names it.
    Server(&'static str),
}

/// The mounts of remote suites: logical name and options. Names that no machine has, because a
/// mount over an existing path makes every name dearer.
pub(crate) const MOUNTS: [(&str, &str); 4] = [
    ("/parrot-open", ""),
    ("/parrot-session", ",cache=session"),
    ("/parrot-fresh", ",ttl=0"),
    ("/parrot-strict", ",cache=strict"),
];

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The operation's name.
    pub(crate) name: &'static str,
    /// What the guest does.
    pub(crate) guest: (Kind, Place),
    /// What it is compared with.
    pub(crate) base: (Kind, Place),
    /// The most that the ratio may be, where there is a goal: preload, trace.
    pub(crate) goals: (Option<f64>, Option<f64>),
}

impl Row {
    /// The goal of a technique. The control is held to what is asked of preloading.
    pub(crate) const fn goal(&self, technique: Technique) -> Option<f64> {
        match technique {
            Technique::Control | Technique::Preload => self.goals.0,
            Technique::Trace => self.goals.1,
        }
    }
}

/// Rows with the same contenders.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Its name.
    pub(crate) name: SuiteName,
    /// The heading.
    pub(crate) title: &'static str,
    /// What all rows are compared with.
    pub(crate) baseline: Baseline,
    /// The server that it needs.
    pub(crate) server: Option<server::Kind>,
    /// The rows.
    pub(crate) rows: &'static [Row],
}

type Goals = (Option<f64>, Option<f64>);

const fn goals(preload: f64, trace: f64) -> Goals {
    (Some(preload), Some(trace))
}

/// The same calls at both.
const fn same(name: &'static str, kind: Kind, place: Place, goals: Goals) -> Row {
    Row { name, guest: (kind, place), base: (kind, place), goals }
}

/// The guest on a mount, the baseline on the file that the server serves.
const fn remote(name: &'static str, kind: Kind, guest: &'static str, goals: Goals) -> Row {
    let file = if ends_in_small(guest) { "export/small" } else { "export/large" };
    Row { name, guest: (kind, Place::Mount(guest)), base: (kind, Place::Sandbox(file)), goals }
}

const fn ends_in_small(path: &str) -> bool {
    matches!(path.as_bytes(), [.., b's', b'm', b'a', b'l', b'l'])
}

/// The guest on a mount; the client with the requests that stand for the operation.
const fn request(name: &'static str, kind: Kind, guest: &'static str, file: &'static str) -> Row {
    let (guest, base) = ((kind, Place::Mount(guest)), (kind, Place::Server(file)));
    Row { name, guest, base, goals: goals(2.0, 2.0) }
}

const DATA: Place = Place::Sandbox("local/data");
const SCRATCH: Place = Place::Sandbox("local/scratch");

const LOCAL: &[Row] = &[
    same("getpid", Kind::Getpid, Place::Nowhere, (Some(1.05), None)),
    same("fstat", Kind::Fstat, DATA, goals(1.05, 1.10)),
    same("stat", Kind::Stat, DATA, goals(1.10, 12.0)),
    same("open+close", Kind::Open, DATA, goals(1.10, 12.0)),
    same("read 1 B", Kind::Read1, DATA, goals(1.05, 1.10)),
    same("read 8 KiB", Kind::Read8k, DATA, goals(1.05, 1.10)),
    same("write 8 KiB", Kind::Write8k, SCRATCH, goals(1.05, 1.10)),
    same("pwrite 8 KiB", Kind::Pwrite8k, SCRATCH, goals(1.05, 1.10)),
    same("read 1 MiB", Kind::Read1m, DATA, goals(1.05, 1.10)),
    same("fork+exec true", Kind::Spawn, Place::Program, goals(1.15, 1.50)),
];

const COMPLETE: &[Row] = &[
    remote("stat, cache=session", Kind::Stat, "/parrot-session/small", (None, None)),
    remote("open+close, cache=session", Kind::Open, "/parrot-session/small", (None, None)),
    remote("read 1 B", Kind::Read1, "/parrot-open/small", goals(1.10, 1.10)),
    remote("read 8 KiB", Kind::Read8k, "/parrot-open/small", goals(1.10, 1.10)),
];

const SERVED: &[Row] = &[
    remote("read 1 B", Kind::Read1, "/parrot-open/large", (Some(1.0), None)),
    remote("read 8 KiB", Kind::Read8k, "/parrot-open/large", (Some(1.0), None)),
    remote("read 1 MiB", Kind::Read1m, "/parrot-open/large", (None, None)),
];

const UNCACHED: &[Row] = &[
    request("stat, ttl=0", Kind::Stat, "/parrot-fresh/small", "/small"),
    request("open+close, known, ttl=0", Kind::Open, "/parrot-fresh/small", "/small"),
    request("open+close, strict", Kind::Open, "/parrot-strict/large", "/large"),
    request("pread 8 KiB, strict", Kind::Pread8k, "/parrot-strict/large", "/large"),
];

/// All suites.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: SuiteName::Local,
        title: "local files",
        baseline: Baseline::Native,
        server: None,
        rows: LOCAL,
    },
    Suite {
        name: SuiteName::Complete,
        title: "remote file known to the session, complete",
        baseline: Baseline::Native,
        server: Some(server::Kind::Ours),
        rows: COMPLETE,
    },
    Suite {
        name: SuiteName::Served,
        title: "remote file known to the session, served from the cache",
        baseline: Baseline::Native,
        server: Some(server::Kind::Ours),
        rows: SERVED,
    },
    Suite {
        name: SuiteName::Uncached,
        title: "requests that reach parrot-chirpd",
        baseline: Baseline::Client,
        server: Some(server::Kind::Ours),
        rows: UNCACHED,
    },
    Suite {
        name: SuiteName::UncachedStock,
        title: "requests that reach chirp_server",
        baseline: Baseline::Client,
        server: Some(server::Kind::Stock),
        rows: UNCACHED,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_their_mounts_exist() {
        for suite in SUITES {
            for (i, row) in suite.rows.iter().enumerate() {
                assert!(suite.rows[..i].iter().all(|other| other.name != row.name), "{}", row.name);
                if let Place::Mount(path) = row.guest.1 {
                    let known = MOUNTS.iter().any(|(mount, _)| {
                        path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
                    });
                    assert!(known && suite.server.is_some(), "{path}");
                }
            }
            let all = SUITES.iter().filter(|other| other.name == suite.name);
            assert_eq!(all.count(), 1);
        }
    }
}
