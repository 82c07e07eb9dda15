//! The directory of a run: local files, the servers' tree, the sessions; and what is left of it.
//!
//! ```text
//! parrot-bench.PID/
//!   export/.__acl, small, large     what the servers serve; the native baseline reads it directly
//!   local/data, scratch             local files
//!   s/…                             sessions: one directory per contender, placement and server
//!   log/…                           what servers and workers said on stderr
//! ```

use crate::ops::pattern;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Everybody may do everything in the servers' tree, however he logs in.
const ACL: &str = "unix:* rwlda\nhostname:* rwlda\naddress:* rwlda\n";
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
    /// Makes the directory and the files below `base`, or below the temporary directory.
    ///
    /// A tmpfs at `/dev/shm` would be quieter, but names below `/dev` get a closer look from the
    /// preload library than those of most programs.
    ///
    /// # Errors
    /// The files cannot be made.
    pub(crate) fn new(base: Option<&Path>, small: u64, large: u64) -> io::Result<Self> {
        let base = base.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let root = std::path::absolute(base)?.join(format!("parrot-bench.{}", std::process::id()));
        let sandbox = Self { root };
        for dir in ["", "export", "local", "s", "log"] {
            fs::create_dir(sandbox.path(dir))?;
        }
        fs::write(sandbox.path("export/.__acl"), ACL)?;
        fill(&sandbox.path("export/small"), small)?;
        fill(&sandbox.path("export/large"), large)?;
        fill(&sandbox.path("local/data"), DATA)?;
        fill(&sandbox.path("local/scratch"), SCRATCH)?;
        Ok(sandbox)
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

/// Writes a file whose bytes tell where they stand.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
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
        let sandbox = Sandbox::new(Some(&std::env::temp_dir()), 8192, 100_000).unwrap();
        let large = fs::read(sandbox.path("export/large")).unwrap();
        assert_eq!(large.len(), 100_000);
        assert!(large.iter().zip(0..).all(|(byte, at)| *byte == pattern(at) && *byte != 0));
        let session = sandbox.session("x").unwrap();
        assert!(session.is_dir());
        let root = sandbox.root.clone();
        drop(sandbox);
        assert!(!root.exists());
    }
}
