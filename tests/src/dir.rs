//! Temporary directories that go away with the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of one test; removed when dropped (`PARROT_TEST_KEEP` keeps that of a failed test).
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a new one, named so that no other process's environment or arguments contain it.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes a new one in memory, where there is such a place: what a disk takes for tens of thousands
    /// of fsyncs is nothing to learn from.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::new() }
    }

    fn below(base: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let clock = std::time::SystemTime::now();
        let nanos = clock.duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("parrot-test-{}-{count}-{nanos:09}", std::process::id());
        let path = base.join(name);
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory below it.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn sub(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("PARROT_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
            return;
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
