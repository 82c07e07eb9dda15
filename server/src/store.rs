//! The exported tree, and how a client's path becomes an object that surely lies in it.
//!
//! Nothing here uses a path that the kernel could lead elsewhere. A path is resolved by `openat2`
//! beneath the root's descriptor up to the directory that holds the object; what remains is one
//! name, used relative to that directory and without following links:
//!
//! ```text
//!   /a/b/c  ──openat2(root, "a/b", BENEATH)──▶ Place { dir, name: "c", stat }
//!                                              *at(dir, "c", NOFOLLOW)
//! ```
//!
//! A link at the end is followed here, a step at a time, each again beneath the root. A link that
//! is absolute or leads out of the tree leads nowhere: the client resolves absolute links in its
//! own namespace. Whatever is renamed meanwhile, the worst that happens is an error.

pub(crate) mod tree;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat,
    Timespec, Timestamps, UTIME_OMIT, linkat, renameat_with,
};
use rustix::io::Errno;

use crate::acl::HIDDEN_PREFIX;

/// How the names of what is not complete yet begin; hidden from clients.
pub(crate) const TEMPORARY_PREFIX: &[u8] = b".__put.";

/// Links that may follow one another at the end of a path.
const MAX_LINKS: usize = 40;

/// How often a resolution that met a concurrent rename is tried again.
const MAX_RETRIES: usize = 64;

/// Beneath the root, and never by way of `/proc/…/fd`.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Whether a link at the end of a path stands for its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    Yes,
    No,
}

/// The root of an exported tree.
#[derive(Debug)]
pub(crate) struct Export {
    root: OwnedFd,
}

/// A directory: the root, or one that was opened.
#[derive(Debug)]
pub(crate) enum Dir<'e> {
    Root(BorrowedFd<'e>),
    Opened(OwnedFd),
}

/// Where an object is, or would be.
#[derive(Debug)]
pub(crate) struct Place<'e> {
    /// The directory that holds it; the root holds itself, by the name `.`.
    pub(crate) dir: Dir<'e>,
    /// Its name there: one component, no link if links were to be followed.
    pub(crate) name: Vec<u8>,
    /// What it was when it was looked at; `None` if there was nothing.
    pub(crate) stat: Option<Stat>,
    /// Nanoseconds of the access time that a new file or directory begins with: by them whoever makes
    /// it knows it again when the answer was lost with the server.
    pub(crate) mark: Option<u32>,
}

impl AsFd for Dir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Export {
    /// Opens the root of a tree.
    ///
    /// # Errors
    /// The directory cannot be opened, or the kernel (before 5.6) or a sandbox does not allow
    /// `openat2` (ENOSYS, EPERM).
    pub(crate) fn open(path: &std::path::Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        rustix::fs::openat2(&root, ".", flags, Mode::empty(), BENEATH)?;
        Ok(Self { root })
    }

    /// The root's descriptor (`O_PATH`).
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The path of a directory in the tree, from the root's `/`, no links in it.
    ///
    /// # Errors
    /// ENOENT if the directory is not below the root any more.
    pub(crate) fn path_of(&self, dir: impl AsFd) -> Result<Vec<u8>, Errno> {
        let (root, path) = (host_path(self.root())?, host_path(dir.as_fd())?);
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        match path.strip_prefix(root) {
            Some(b"") => Ok(b"/".to_vec()),
            Some(below) if below.starts_with(b"/") => Ok(below.to_vec()),
            _ => Err(Errno::NOENT),
        }
    }

    /// Finds an object. Its directory must exist, itself need not.
    pub(crate) fn locate(&self, path: &[u8], follow: Follow) -> Result<Place<'_>, Errno> {
        let mut place = self.step(path.strip_prefix(b"/").unwrap_or(path))?;
        if follow == Follow::No || !place.is(FileType::Symlink) {
            return Ok(place);
        }
        let mut holder = parent_of(path.strip_prefix(b"/").unwrap_or(path)).0.to_vec();
        for _ in 0..MAX_LINKS {
            let target = rustix::fs::readlinkat(&place.dir, &*place.name, Vec::new())?;
            let target = target.as_bytes();
            if target.starts_with(b"/") {
                return Err(Errno::NOENT);
            }
            // The kernel walks this path, so `..` behind a link means what it should.
            let mut next = holder;
            if !next.is_empty() {
                next.push(b'/');
            }
            next.extend_from_slice(target);
            place = self.step(&next)?;
            if !place.is(FileType::Symlink) {
                return Ok(place);
            }
            holder = parent_of(&next).0.to_vec();
        }
        Err(Errno::LOOP)
    }

    /// Finds an object by a path relative to the root, not following a link at its end.
    fn step(&self, path: &[u8]) -> Result<Place<'_>, Errno> {
        let (holder, name) = parent_of(path);
        if name.is_empty() || name == b"." || name == b".." {
            // The root, or a link's target that ends in dots: a directory, found as a whole.
            let dir = if name.is_empty() { Dir::Root(self.root()) } else { self.directory(path)? };
            let stat = rustix::fs::fstat(&dir)?;
            return Ok(Place { dir, name: b".".to_vec(), stat: Some(stat), mark: None });
        }
        let dir = if holder.is_empty() { Dir::Root(self.root()) } else { self.directory(holder)? };
        let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        Ok(Place { dir, name: name.to_vec(), stat, mark: None })
    }

    /// Opens a directory by a path relative to the root.
    fn directory(&self, path: &[u8]) -> Result<Dir<'_>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for _ in 0..MAX_RETRIES {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH) {
                // A rename went on somewhere while `..` was walked.
                Err(Errno::AGAIN) => {}
                // A link out of the tree.
                Err(Errno::XDEV) => return Err(Errno::NOENT),
                opened => return opened.map(Dir::Opened),
            }
        }
        Err(Errno::AGAIN)
    }
}

impl Place<'_> {
    /// Tells whether the object exists and is of this type.
    pub(crate) fn is(&self, wanted: FileType) -> bool {
        self.stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == wanted)
    }

    /// Its attributes, or ENOENT.
    pub(crate) fn existing(&self) -> Result<Stat, Errno> {
        self.stat.ok_or(Errno::NOENT)
    }

    /// The directory and the name in it.
    pub(crate) fn as_name(&self) -> (BorrowedFd<'_>, &[u8]) {
        (self.dir.as_fd(), &self.name)
    }

    /// Tells whether the name belongs to the server.
    pub(crate) fn is_hidden(&self) -> bool {
        self.name.starts_with(HIDDEN_PREFIX)
    }

    /// Opens the object, never a link and nothing but what the name stands for.
    ///
    /// Opening a pipe or a device does not wait.
    pub(crate) fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
        }
        // O_PATH with O_NOFOLLOW opens a link itself, even where links are forbidden.
        let resolve = BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.dir, &*self.name, flags, mode, resolve)
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// EISDIR for a directory, ENOTSUP for pipes, sockets and devices.
    pub(crate) fn open_file(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        if self.stat.is_some() && !self.is(FileType::RegularFile) {
            return Err(not_a_file(self.existing()?));
        }
        let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
        let file = match self.mark.filter(|_| exclusive) {
            Some(mark) => self.create_marked(flags, mode, mark)?,
            None => self.open(flags, mode)?,
        };
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(not_a_file(stat)),
        }
    }

    /// Creates a file that has its mark from its first moment on, where the file system can do that.
    fn create_marked(&self, flags: OFlags, mode: Mode, mark: u32) -> Result<OwnedFd, Errno> {
        let nameless = (flags - OFlags::CREATE - OFlags::EXCL - OFlags::TRUNC) | OFlags::TMPFILE;
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        if writes
            && let Ok(file) = rustix::fs::openat(&self.dir, ".", nameless | OFlags::CLOEXEC, mode)
            && set_mark(&file, mark).is_ok()
        {
            let path = by_descriptor(file.as_fd());
            match linkat(CWD, path, &self.dir, &*self.name, AtFlags::SYMLINK_FOLLOW) {
                // Names cannot be given that way.
                Err(Errno::NOENT | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {}
                named => return named.map(|()| file),
            }
        }
        let file = self.open(flags, mode)?;
        set_mark(&file, mark)?;
        Ok(file)
    }

    /// Makes a directory that has its mark, if it is to have one, from its first moment on.
    pub(crate) fn make_directory(&self, mode: Mode) -> Result<(), Errno> {
        if self.mark.is_none() {
            return rustix::fs::mkdirat(&self.dir, &*self.name, mode);
        }
        if self.stat.is_some() {
            return Err(Errno::EXIST);
        }
        let dir = self.dir.as_fd();
        loop {
            let hidden = hidden_name();
            match rustix::fs::mkdirat(dir, &*hidden, mode) {
                Err(Errno::EXIST) => continue,
                made => made?,
            }
            let flags = RenameFlags::NOREPLACE;
            let named = self
                .mark_directory(&hidden)
                .and_then(|()| renameat_with(dir, &*hidden, dir, &*self.name, flags));
            match named {
                // Another server that starts has taken it for a leftover.
                Err(Errno::NOENT) => {}
                Ok(()) => return Ok(()),
                Err(error) => {
                    // The first failure is the one to report.
                    let _ = rustix::fs::unlinkat(dir, &*hidden, AtFlags::REMOVEDIR);
                    return Err(error);
                }
            }
        }
    }

    /// Gives a directory that still has a hidden name its mark, if it is to have one: its access time
    /// becomes the next moment with these nanoseconds, not before the one in which it was made.
    pub(crate) fn mark_directory(&self, hidden: &str) -> Result<(), Errno> {
        let Some(mark) = self.mark else { return Ok(()) };
        let (seconds, nanoseconds) = now();
        let times = marked((seconds + i64::from(mark < nanoseconds), mark));
        rustix::fs::utimensat(&self.dir, hidden, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens the object as a reference, for calls that want a descriptor.
    pub(crate) fn reference(&self) -> Result<OwnedFd, Errno> {
        self.open(OFlags::PATH, Mode::empty())
    }
}

/// Sets the access time to a second ago, about, and the nanoseconds to the mark.
fn set_mark(file: &OwnedFd, mark: u32) -> Result<(), Errno> {
    let (seconds, _) = now();
    rustix::fs::futimens(file, &marked((seconds - 1, mark)))
}

/// The time, as seconds and nanoseconds.
fn now() -> (i64, u32) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 2), now.subsec_nanos())
}

/// Times to set: the access time and no other.
const fn marked((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let last_access = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as i64 };
    Timestamps { last_access, last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT } }
}

fn not_a_file(stat: Stat) -> Errno {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Errno::ISDIR,
        FileType::Symlink => Errno::LOOP,
        _ => Errno::NOTSUP,
    }
}

/// Splits a relative path into what stands before the last `/` and the last component.
fn parent_of(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let path = path.get(..end).unwrap_or_default();
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// The name by which the kernel reaches an open descriptor's object, links not followed further.
///
/// For calls that take no `O_PATH` descriptor: `chmod`, extended attributes.
pub(crate) fn by_descriptor(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The path of an open object on the server's host.
pub(crate) fn host_path(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlink(by_descriptor(fd), Vec::new()).map(CString::into_bytes)
}

/// A hidden name, another one each time.
fn hidden_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(".__put.{}.{number}", std::process::id())
}

/// Creates a file with a hidden, unused name in a directory, open for writing.
pub(crate) fn temporary_file(dir: BorrowedFd<'_>, mode: Mode) -> Result<(String, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    temporary(|name| rustix::fs::openat(dir, name, flags, mode))
}

/// Makes a directory with a hidden, unused name in a directory, for its owner alone.
pub(crate) fn temporary_directory(dir: BorrowedFd<'_>) -> Result<(String, OwnedFd), Errno> {
    temporary(|name| {
        rustix::fs::mkdirat(dir, name, Mode::RWXU)?;
        tree::open_for_listing(dir, name.as_bytes())
    })
}

/// Makes something with a hidden name, and locks it: what is not locked was left behind by a
/// server that was killed, and may be removed (see [`scan`](crate::space)).
fn temporary(make: impl Fn(&str) -> Result<OwnedFd, Errno>) -> Result<(String, OwnedFd), Errno> {
    for _ in 0..MAX_RETRIES {
        let name = hidden_name();
        let made = match make(&name) {
            // Left behind by a server that was killed and had our number.
            Err(Errno::EXIST) => continue,
            made => made?,
        };
        // Another server that starts may take it for a leftover before it is locked.
        let locked = rustix::fs::flock(&made, FlockOperation::NonBlockingLockExclusive);
        if locked != Err(Errno::AGAIN) && rustix::fs::fstat(&made)?.st_nlink > 0 {
            return Ok((name, made));
        }
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests {
    use super::parent_of;

    #[test]
    fn the_last_component_is_split_off() {
        for (path, holder, name) in [
            ("", "", ""),
            ("a", "", "a"),
            ("a/b", "a", "b"),
            ("a/b/", "a", "b"),
            ("a/../..", "a/..", ".."),
            ("a//b", "a/", "b"),
        ] {
            assert_eq!(parent_of(path.as_bytes()), (holder.as_bytes(), name.as_bytes()), "{path}");
        }
    }
}
