//! Session directories: claiming one, and finding them.
//!
//! `BASE/parrot.UID/NAME` holds `rules` (the compiled mountlist), `lock` (held by the agent), `sock`
//! (while it listens), `log`, and the shadows' directories.

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The right to be the agent of a session directory, for as long as it lives.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "holds the lock")] Flock<File>);

/// Claims a session directory; `None` when another agent has it.
///
/// # Errors
/// The directory is missing, or not ours alone.
pub fn claim(dir: &Path) -> anyhow::Result<Option<Claim>> {
    let data = fs::symlink_metadata(dir).with_context(|| format!("no {}", dir.display()))?;
    let ours = data.is_dir() && data.uid() == nix::unistd::geteuid().as_raw();
    if !ours || data.permissions().mode() & 0o077 != 0 {
        bail!("{} is not a directory of ours alone", dir.display());
    }
    let file = lock_file(dir)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Claim(lock))),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", dir.display())),
    }
}

fn lock_file(dir: &Path) -> anyhow::Result<File> {
    let options = File::options().write(true).create(true).truncate(false).mode(0o600).clone();
    options.open(dir.join("lock")).with_context(|| format!("cannot use {}", dir.display()))
}

/// Waits until no agent has a session directory.
///
/// # Errors
/// As flock(2).
pub fn wait_unclaimed(dir: &Path) -> anyhow::Result<()> {
    match Flock::lock(lock_file(dir)?, FlockArg::LockExclusive) {
        Ok(_) => Ok(()),
        Err((_, errno)) => Err(errno).context("flock"),
    }
}

/// The compiled mountlist of a session directory.
///
/// # Errors
/// There is none.
pub fn rules(dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = dir.join("rules");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The session directories of this user below a base directory.
#[must_use]
pub fn sessions(base: &Path) -> Vec<PathBuf> {
    let dir = base.join(format!("parrot.{}", nix::unistd::geteuid()));
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("rules").exists())
        .collect();
    found.sort();
    found
}

/// Raises the limit of open files as far as it goes: large files need a few each.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The old limit does as well, for a while.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
