//! What the tracer knows of a guest process, shared by its threads and by workers.

use crate::filter::Level;
use crate::os;
use parking_lot::Mutex;
use parrot_common::shadow::{Kind, parse_link, served_mode};
use parrot_common::{FdClass, sys};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// After this many filters for single numbers the next one catches all.
const MAX_FILTERS: usize = 8;
/// Bytes of guest memory that one thread uses for placed strings and filters.
pub(crate) const AREA: usize = 64 << 10;

/// A guest process (thread group).
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) tgid: i32,
    /// Which descriptor numbers the process's filters know.
    pub(crate) armed: Mutex<Armed>,
    /// Memory areas of threads that ended, for the next ones.
    pub(crate) areas: Mutex<Vec<usize>>,
    /// The working directory is known to be no shadow.
    pub(crate) plain_cwd: AtomicBool,
    /// Another number for each working directory that a process ever had, see [`Process::moved`].
    pub(crate) cwd_number: AtomicU64,
    /// The process may see other files under a name than the tracer does (chroot, namespaces).
    pub(crate) own_root: AtomicBool,
    pidfd: Mutex<Option<Arc<OwnedFd>>>,
    /// `/proc/TGID/fd`, kept open.
    fds: Mutex<Option<Arc<File>>>,
}

/// The descriptor numbers of a process that stop, see [`crate::filter`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Armed {
    /// The base filter stops the calls on every number.
    pub(crate) everything: bool,
    numbers: BTreeMap<i32, Level>,
    filters: usize,
    all: Option<Level>,
}

/// A filter that must be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The number, or all.
    pub(crate) fd: Option<u32>,
    pub(crate) level: Level,
}

impl Process {
    /// A process of which nothing is known.
    pub(crate) fn new(tgid: i32) -> Self {
        Self {
            tgid,
            armed: Mutex::default(),
            areas: Mutex::default(),
            plain_cwd: AtomicBool::new(false),
            cwd_number: AtomicU64::new(new_number()),
            own_root: AtomicBool::new(false),
            pidfd: Mutex::new(None),
            fds: Mutex::new(None),
        }
    }

    /// The child of a fork: filters are inherited, and so is where it is.
    pub(crate) fn fork(&self, tgid: i32) -> Self {
        let child = Self::new(tgid);
        *child.armed.lock() = self.armed.lock().clone();
        child.plain_cwd.store(self.plain_cwd.load(Ordering::Relaxed), Ordering::Relaxed);
        child.cwd_number.store(self.cwd_number.load(Ordering::Relaxed), Ordering::Relaxed);
        child.own_root.store(self.own_root.load(Ordering::Relaxed), Ordering::Relaxed);
        child
    }

    /// The working directory has changed, or is about to.
    pub(crate) fn moved(&self) {
        self.plain_cwd.store(false, Ordering::Relaxed);
        self.cwd_number.store(new_number(), Ordering::Relaxed);
    }

    /// The class of a descriptor, looked up by one of the threads.
    pub(crate) fn look(&self, tid: i32, fd: i32, session: &[u8]) -> FdClass {
        let by_leader = self.fd_dir().ok().and_then(|dir| look_in(&dir, fd, session));
        // A leader that has ended before its threads shows no descriptors any more.
        let found = match by_leader {
            None if tid != self.tgid => {
                open_dir(tid).ok().and_then(|dir| look_in(&dir, fd, session))
            }
            other => other,
        };
        found.unwrap_or(FdClass::Plain)
    }

    /// The directory of the process's descriptors.
    fn fd_dir(&self) -> std::io::Result<Arc<File>> {
        let mut slot = self.fds.lock();
        if let Some(dir) = &*slot {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(open_dir(self.tgid)?);
        *slot = Some(Arc::clone(&dir));
        Ok(dir)
    }

    /// A descriptor of the process, to duplicate its descriptors with.
    pub(crate) fn pidfd(&self) -> std::io::Result<Arc<OwnedFd>> {
        let mut slot = self.pidfd.lock();
        if let Some(fd) = &*slot {
            return Ok(Arc::clone(fd));
        }
        let fd = Arc::new(os::pidfd_open(self.tgid)?);
        *slot = Some(Arc::clone(&fd));
        Ok(fd)
    }
}

/// A number that was never given before, and is not 0.
fn new_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The directory of a thread's descriptors.
fn open_dir(tid: i32) -> std::io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    File::options().read(true).custom_flags(flags).open(format!("/proc/{tid}/fd"))
}

/// The class of a descriptor; `None` when it cannot be told.
fn look_in(dir: &File, fd: i32, session: &[u8]) -> Option<FdClass> {
    let name = format!("{fd}\0");
    let mut text = [0; 4096];
    let len = sys::readlinkat(dir.as_raw_fd(), name.as_bytes(), &mut text).ok()?;
    let Some((id, kind)) = parse_link(text.get(..len)?, session) else {
        return Some(FdClass::Plain);
    };
    let writable = if kind == Kind::Served {
        // The kernel's own descriptor of a served shadow is always for writing.
        served_mode(id) != libc::O_RDONLY
    } else {
        // The permission bits of the link are the access mode of the descriptor.
        let mode = os::mode_of(dir.as_raw_fd(), name.as_bytes(), false).unwrap_or(0);
        mode & libc::S_IWUSR != 0
    };
    Some(FdClass::Shadow { id, kind, writable })
}

impl Armed {
    /// Whether the number was ever a shadow's: others need no look.
    pub(crate) fn knows(&self, fd: i32) -> bool {
        self.everything || self.numbers.contains_key(&fd)
    }

    /// The highest of these numbers.
    pub(crate) fn highest(&self) -> Option<i32> {
        self.numbers.last_key_value().map(|(fd, _)| *fd)
    }

    /// The filter to install so that calls on this shadow stop, if one is missing.
    pub(crate) fn want(&self, fd: i32, kind: Kind) -> Option<Wanted> {
        if self.everything {
            return None;
        }
        let level = match kind {
            Kind::Complete => Level::Attributes,
            Kind::Served | Kind::Dir => Level::Data,
        };
        let known = self.numbers.get(&fd).copied().filter(|_| self.all.is_none()).max(self.all);
        if known.is_some_and(|known| known >= level) {
            return None;
        }
        if self.filters >= MAX_FILTERS {
            return Some(Wanted { fd: None, level: Level::Data });
        }
        Some(Wanted { fd: u32::try_from(fd).ok(), level })
    }

    /// The filter is in place (or, with `None`, was there).
    pub(crate) fn add(&mut self, fd: i32, installed: Option<Wanted>) {
        match installed {
            Some(Wanted { fd: None, level }) => {
                self.all = Some(level);
                self.filters += 1;
            }
            Some(Wanted { level, .. }) => {
                self.numbers.insert(fd, level);
                self.filters += 1;
            }
            None => {}
        }
        self.numbers.entry(fd).or_insert(Level::Attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_eight_filters_one_catches_all() {
        let mut armed = Armed::default();
        for fd in 3..11 {
            let wanted = armed.want(fd, Kind::Complete);
            assert_eq!(
                wanted,
                Some(Wanted { fd: u32::try_from(fd).ok(), level: Level::Attributes })
            );
            armed.add(fd, wanted);
            assert_eq!(armed.want(fd, Kind::Complete), None);
        }
        let wanted = armed.want(11, Kind::Complete);
        assert_eq!(wanted, Some(Wanted { fd: None, level: Level::Data }));
        armed.add(11, wanted);
        assert_eq!(armed.want(12, Kind::Served), None);
        assert!(armed.knows(11) && !armed.knows(12));
    }

    #[test]
    fn a_number_that_becomes_served_needs_another_filter() {
        let mut armed = Armed::default();
        let first = armed.want(3, Kind::Complete);
        armed.add(3, first);
        let second = armed.want(3, Kind::Served);
        assert_eq!(second, Some(Wanted { fd: Some(3), level: Level::Data }));
    }
}
