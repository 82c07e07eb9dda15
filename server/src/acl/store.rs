//! Finding the list that governs a directory, and changing lists.
//!
//! A directory without a list has that of the nearest parent with one; above the exported root
//! stands the default list (`-A`, or the owner's when the root cannot be written).
//!
//! Two caches keep this to two cheap system calls a request:
//! - *where*: how many levels above a directory its list lies. Forgotten when this server changes
//!   a list or moves or removes a directory, and after [`TRUST`] for changes behind its back.
//! - *what*: parsed lists by inode, times and size of their file, so an edited file is seen at once.
//!
//! Lock order: `changes`, then `places`, then `parsed`; none is held across another's system call
//! except `changes`, which makes read-modify-write of a list one step.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{ACL_FILE, Acl};

/// How long the place of a list is believed when others may change the tree.
const TRUST: Duration = Duration::from_secs(1);

/// Entries of a cache before it is emptied.
const CACHE_LIMIT: usize = 4096;

/// The largest list that is read.
const MAX_FILE: u64 = 1 << 20;

/// Deeper than any path of the protocol can go.
const MAX_LEVELS: usize = 600;

/// Device and inode.
pub(crate) type Id = (u64, u64);

#[derive(Clone, Copy)]
struct Place {
    /// Steps up from the directory; `None` is the default list.
    levels: Option<usize>,
    generation: u64,
    found: Instant,
}

#[derive(PartialEq)]
struct Version {
    mtime: (i64, u64),
    ctime: (i64, u64),
    size: i64,
}

/// All lists of an exported tree.
pub(crate) struct AclStore {
    root: Id,
    default: Arc<Acl>,
    generation: AtomicU64,
    places: Mutex<HashMap<Id, Place>>,
    parsed: Mutex<HashMap<Id, (Version, Arc<Acl>)>>,
    changes: Mutex<()>,
}

impl AclStore {
    /// Lists of the tree whose root has this identity.
    pub(crate) fn new(root: Id, default: Acl) -> Self {
        Self {
            root,
            default: Arc::new(default),
            generation: AtomicU64::new(0),
            places: Mutex::default(),
            parsed: Mutex::default(),
            changes: Mutex::default(),
        }
    }

    /// The list that governs a directory.
    pub(crate) fn of(&self, dir: BorrowedFd<'_>) -> Result<Arc<Acl>, Errno> {
        let stat = rustix::fs::fstat(dir)?;
        let id = (stat.st_dev, stat.st_ino);
        let generation = self.generation.load(Ordering::Acquire);
        let known = self.places.lock().get(&id).copied();
        if let Some(place) = known
            && place.generation == generation
            && place.found.elapsed() < TRUST
        {
            let Some(levels) = place.levels else { return Ok(Arc::clone(&self.default)) };
            match self.read(dir, &up(levels)) {
                // The file went away behind our back: look for it again.
                Err(Errno::NOENT) => {}
                result => return result,
            }
        }
        let (levels, acl) = self.search(dir, id)?;
        let mut places = self.places.lock();
        if places.len() >= CACHE_LIMIT {
            places.clear();
        }
        places.insert(id, Place { levels, generation, found: Instant::now() });
        Ok(acl)
    }

    /// Looks in the directory, then in its parents up to the root.
    fn search(&self, dir: BorrowedFd<'_>, id: Id) -> Result<(Option<usize>, Arc<Acl>), Errno> {
        let mut here = id;
        for levels in 0..MAX_LEVELS {
            let prefix = up(levels);
            match self.read(dir, &prefix) {
                Err(Errno::NOENT) => {}
                found => return Ok((Some(levels), found?)),
            }
            if here == self.root {
                return Ok((None, Arc::clone(&self.default)));
            }
            let stat = rustix::fs::statat(dir, format!("{prefix}../"), AtFlags::empty())?;
            let above = (stat.st_dev, stat.st_ino);
            if above == here {
                break;
            }
            here = above;
        }
        // The directory is not below the root any more: somebody moved it away.
        Err(Errno::NOENT)
    }

    /// Reads the list at a place that is some levels up.
    fn read(&self, dir: BorrowedFd<'_>, prefix: &str) -> Result<Arc<Acl>, Errno> {
        let name = format!("{prefix}{ACL_FILE}");
        let stat = rustix::fs::statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        let id = (stat.st_dev, stat.st_ino);
        if let Some((version, acl)) = self.parsed.lock().get(&id)
            && *version == version_of(&stat)
        {
            return Ok(Arc::clone(acl));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(dir, &*name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        let mut text = Vec::new();
        std::fs::File::from(file).take(MAX_FILE).read_to_end(&mut text).map_err(errno)?;
        let acl = Arc::new(Acl::parse(&text));
        let mut parsed = self.parsed.lock();
        if parsed.len() >= CACHE_LIMIT {
            parsed.clear();
        }
        parsed.insert((stat.st_dev, stat.st_ino), (version_of(&stat), Arc::clone(&acl)));
        Ok(acl)
    }

    /// Changes the list of a directory, starting from the one that governs it now.
    pub(crate) fn change(
        &self,
        dir: BorrowedFd<'_>,
        change: impl FnOnce(&mut Acl),
    ) -> Result<(), Errno> {
        let _one_at_a_time = self.changes.lock();
        let mut acl = Acl::clone(&*self.of(dir)?);
        change(&mut acl);
        let written = write(dir, &acl);
        self.forget();
        written
    }

    /// Gives a directory, a new one, a list of its own.
    pub(crate) fn replace(&self, dir: BorrowedFd<'_>, acl: &Acl) -> Result<(), Errno> {
        let _one_at_a_time = self.changes.lock();
        let written = write(dir, acl);
        self.forget();
        written
    }

    /// Forgets where lists are: a directory was moved or removed, or a list was changed.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        // Inode numbers are used again at once, and times may be too coarse to tell.
        self.parsed.lock().clear();
    }
}

impl std::fmt::Debug for AclStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AclStore").field("root", &self.root).finish_non_exhaustive()
    }
}

fn up(levels: usize) -> String {
    "../".repeat(levels)
}

fn version_of(stat: &Stat) -> Version {
    Version {
        mtime: (stat.st_mtime, stat.st_mtime_nsec),
        ctime: (stat.st_ctime, stat.st_ctime_nsec),
        size: stat.st_size,
    }
}

/// Writes a list, atomically.
fn write(dir: BorrowedFd<'_>, acl: &Acl) -> Result<(), Errno> {
    let mut text = Vec::new();
    acl.push_lines(&mut text);
    write_file(dir, ACL_FILE, &text)
}

/// Writes one of the server's own files, atomically: it is the old one or the new one, and durable.
pub(crate) fn write_file(dir: BorrowedFd<'_>, name: &str, text: &[u8]) -> Result<(), Errno> {
    let (hidden, file) = crate::store::temporary_file(dir, Mode::from_raw_mode(0o644))?;
    let written =
        write_and_sync(file, text).and_then(|()| rustix::fs::renameat(dir, &*hidden, dir, name));
    if written.is_err() {
        // The error of the write is the one to report.
        let _ = rustix::fs::unlinkat(dir, &*hidden, AtFlags::empty());
    }
    written
}

fn write_and_sync(file: OwnedFd, text: &[u8]) -> Result<(), Errno> {
    let mut file = std::fs::File::from(file);
    file.write_all(text).map_err(errno)?;
    rustix::fs::fdatasync(file.as_fd())
}

/// The errno of an error of a file.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
