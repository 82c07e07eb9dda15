//! What a session is made from.

use crate::driver::Config;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who is told of trouble.
pub type Notify = Arc<dyn Fn(&str) + Send + Sync>;

/// What a session is made from.
pub struct SessionConfig {
    /// The session directory; made (0700) if it is missing.
    pub dir: PathBuf,
    /// The compiled mountlist.
    pub table: Vec<u8>,
    /// For all drivers.
    pub driver: Config,
    /// Sizes.
    pub limits: Limits,
    /// Told, beside the session's log, of what the user should know.
    pub notify: Option<Notify>,
}

/// Sizes that a session keeps to, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files up to this size are fetched whole when they are opened.
    pub complete_limit: u64,
    /// How much of files that nobody has open is kept.
    pub cache: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { complete_limit: 1 << 20, cache: 2 << 30 }
    }
}

impl SessionConfig {
    /// The usual configuration for a directory and a table: environment variables count.
    #[must_use]
    pub fn new(dir: PathBuf, table: Vec<u8>) -> Self {
        let mut limits = Limits::default();
        let given = std::env::var("PARROT_COMPLETE_LIMIT").ok();
        if let Some(limit) = given.and_then(|text| text.trim().parse().ok()) {
            limits.complete_limit = limit;
        }
        let free = dir.ancestors().find_map(|dir| nix::sys::statvfs::statvfs(dir).ok());
        if let Some(free) = free {
            let bytes = wide(free.blocks_available()).saturating_mul(wide(free.fragment_size()));
            limits.cache = limits.cache.min(bytes / 10).max(16 << 20);
        }
        let mut driver = Config::default();
        if let Ok(methods) = std::env::var("PARROT_CHIRP_AUTH") {
            driver.auth = split(&methods).map(str::to_owned).collect();
        }
        driver.tickets = match std::env::var("CHIRP_CLIENT_TICKETS") {
            Ok(files) => tickets(&files),
            Err(_) => tickets_here(),
        };
        Self { dir, table, driver, limits, notify: None }
    }
}

/// The parts of a list with commas.
fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// The files of tickets that a list with commas names, relative to where the user is.
#[must_use]
pub fn tickets(list: &str) -> Vec<PathBuf> {
    let here = here();
    split(list).map(|name| here.join(name)).collect()
}

/// The tickets that lie where the user is, as the stock client makes and finds them:
/// `ticket.NAME`, NAME being 32 hexadecimal digits.
fn tickets_here() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(here()) else { return Vec::new() };
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("ticket.").is_some_and(|digits| {
            digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    });
    found.sort();
    found
}

/// Where the user is. An agent that a program started stands in `/`: there the shell's word for
/// the place of that program counts.
fn here() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let told = std::env::var_os("PWD").map(PathBuf::from);
    match told.filter(|told| here.as_os_str() == "/" && told.is_absolute()) {
        Some(told) => told,
        None => here,
    }
}

/// The types of these numbers depend on the C library.
fn wide(n: impl TryInto<u64>) -> u64 {
    n.try_into().unwrap_or(0)
}

impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("dir", &self.dir)
            .field("driver", &self.driver)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where sessions of this user lie: the first of `PARROT_TEMP_DIR`, `TMPDIR`, `/tmp`, `/var/tmp`
/// and `/dev/shm` where directories can be made and nobody else has taken this user's place.
#[must_use]
pub fn pick_base() -> PathBuf {
    let given = ["PARROT_TEMP_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os);
    let fixed = ["/tmp", "/var/tmp", "/dev/shm"].map(Into::into);
    let usable = |dir: &PathBuf| dir.is_absolute() && is_writable(dir);
    given.chain(fixed).map(PathBuf::from).find(usable).unwrap_or_else(|| "/tmp".into())
}

fn is_writable(dir: &Path) -> bool {
    let mode = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    dir.is_dir() && nix::unistd::access(dir, mode).is_ok() && !is_taken(dir)
}

/// Whether `DIR/parrot.UID` is not ours, though it is there.
fn is_taken(dir: &Path) -> bool {
    let me = nix::unistd::geteuid();
    let place = std::fs::symlink_metadata(dir.join(format!("parrot.{me}")));
    place.is_ok_and(|place| !place.is_dir() || place.uid() != me.as_raw())
}
