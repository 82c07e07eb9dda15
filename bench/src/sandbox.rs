//! The directory of a run: local files, the servers' tree, the sessions; and what is left of it.
//!
//! ```text
//! parrot-bench.PID.N/
//!   export/.__acl, small, large     what the servers serve; the native baseline reads it directly
//!   local/data, scratch             local files
//!   s/…                             sessions: one directory per contender, placement and server
//!   log/…                           what servers and workers said on stderr
//! ```

use crate::ops::pattern;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Everybody may do everything in the servers' tree, however he logs in.
const ACL: &str = "unix:* rwldax\nhostname:* rwldax\naddress:* rwldax\n";
/// The local file that is read: as much as the largest window.
const DATA: u64 = 16 << 20;
/// The local file that is written.
const SCRATCH: u64 = 1 << 20;
/// How much is written at once.
const CHUNK: usize = 1 << 20;

/// The directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    root: PathBuf,
}

impl Sandbox {
    /// Makes the directory below `base`, or below the temporary directory, with an empty export.
    ///
    /// A tmpfs at `/dev/shm` would be quieter, but names below `/dev` get a closer look from the
    /// preload library than those of most programs.
    ///
    /// # Errors
    /// The directories cannot be made.
    pub(crate) fn new(base: Option<&Path>) -> io::Result<Self> {
        let base = base.map_or_else(std::env::temp_dir, Path::to_path_buf);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pid, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::path::absolute(base)?.join(format!("parrot-bench.{pid}.{count}"));
        let sandbox = Self { root };
        for dir in ["", "export", "local", "s", "log"] {
            fs::create_dir(sandbox.path(dir))?;
        }
        fs::write(sandbox.path("export/.__acl"), ACL)?;
        Ok(sandbox)
    }

    /// Makes a file whose bytes tell where they stand, if it is not there with this size.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn fill(&self, name: &str, size: u64) -> io::Result<PathBuf> {
        let path = self.path(name);
        if fs::metadata(&path).is_ok_and(|known| known.len() == size) {
            return Ok(path);
        }
        fill(&path, size)?;
        Ok(path)
    }

    /// The local files of single calls: one to read, one to write.
    ///
    /// # Errors
    /// They cannot be made.
    pub(crate) fn fill_local(&self) -> io::Result<()> {
        self.fill("local/data", DATA)?;
        self.fill("local/scratch", SCRATCH).map(drop)
    }

    /// Writes the access list into every directory of the export.
    ///
    /// # Errors
    /// A directory cannot be read or written.
    pub(crate) fn seal(&self) -> io::Result<()> {
        seal(&self.path("export"))
    }

    /// A name in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory of this name for sessions, made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn session(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path("s").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nothing better can be done about a file that stays.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn seal(dir: &Path) -> io::Result<()> {
    fs::write(dir.join(".__acl"), ACL)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            seal(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file whose bytes tell where they stand.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    for start in (0..size).step_by(CHUNK) {
        let end = size.min(start + CHUNK as u64);
        file.write_all(&(start..end).map(pattern).collect::<Vec<u8>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_there_and_go_again() {
        let sandbox = Sandbox::new(Some(&std::env::temp_dir())).unwrap();
        sandbox.fill("export/large", 8192).unwrap();
        let large = fs::read(sandbox.fill("export/large", 100_000).unwrap()).unwrap();
        assert_eq!(large.len(), 100_000);
        assert!(large.iter().zip(0..).all(|(byte, at)| *byte == pattern(at) && *byte != 0));
        let session = sandbox.session("x").unwrap();
        assert!(session.is_dir());
        let root = sandbox.root.clone();
        drop(sandbox);
        assert!(!root.exists());
    }
}
