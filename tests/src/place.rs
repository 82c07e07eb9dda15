//! Where `$R` lies: the kinds of place that a guest works in.

use std::path::{Path, PathBuf};

use crate::dir::TempDir;
use crate::server::{Make, Server, seal};

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// A plain directory under its own name.
    Plain,
    /// A plain directory under a name that does not exist, by a rule of the mountlist.
    Mapped,
    /// A directory of this machine through the `local` driver: all of Parrot but the network.
    Local,
    /// Our Chirp server.
    Ours,
    /// Debian's Chirp server.
    Debian,
}

/// One place, with the server behind it if there is one.
#[derive(Debug)]
pub struct Place {
    kind: PlaceKind,
    root: String,
    short: String,
    backing: PathBuf,
    mounts: Vec<String>,
    /// The server behind it.
    pub server: Option<Server>,
    _dir: TempDir,
}

impl Place {
    /// Makes an empty place.
    ///
    /// # Panics
    ///
    /// When its server does not start.
    #[must_use]
    pub fn new(kind: PlaceKind) -> Self {
        Self::below(kind, TempDir::new())
    }

    /// Makes an empty place below a directory.
    ///
    /// # Panics
    ///
    /// When its server does not start.
    #[must_use]
    pub fn below(kind: PlaceKind, dir: TempDir) -> Self {
        let export = dir.sub("export");
        // Guests work one level down, so that `..` of their root is remote too.
        let backing = dir.sub("export/w");
        let server = match kind {
            PlaceKind::Ours => Some(Server::start(Make::Ours, &export)),
            PlaceKind::Debian => Some(Server::start(Make::Debian, &export)),
            PlaceKind::Plain | PlaceKind::Mapped | PlaceKind::Local => None,
        };
        let mut mounts = Vec::new();
        let top = match (&server, kind) {
            (Some(server), _) => format!("/chirp/127.0.0.1:{}", server.port()),
            (None, PlaceKind::Local) => format!("/local/-{}", export.display()),
            (None, PlaceKind::Mapped) => {
                // A name of one component that no machine has.
                let logical = "/mnt-parrot-test".to_owned();
                mounts.push(format!("{logical}={}", export.display()));
                logical
            }
            (None, _) => export.display().to_string(),
        };
        let root = format!("{top}/w");
        let mut short = root.clone();
        if server.is_some() {
            mounts.push(format!("/mnt-place={top}"));
            "/mnt-place/w".clone_into(&mut short);
        }
        Self { kind, root, short, backing, mounts, server, _dir: dir }
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> PlaceKind {
        self.kind
    }

    /// The logical name that guests use: `$R`.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A name without a colon for the same place, for lists like `PATH`: `$M`.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.short
    }

    /// The real directory behind it.
    #[must_use]
    pub fn backing(&self) -> &Path {
        &self.backing
    }

    /// The rules that guests need, in the form of `-M`.
    #[must_use]
    pub fn mounts(&self) -> &[String] {
        &self.mounts
    }

    /// After files were put into [`backing`](Self::backing) directly: lets servers show them.
    pub fn settle(&self) {
        if self.server.is_some() {
            seal(&self.backing);
        }
    }
}
