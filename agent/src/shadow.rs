//! [`Store`]: the files of a session directory, which stand for remote ones.
//!
//! ```text
//! SESSION/c/ID             complete shadows: all bytes of a remote file
//! SESSION/x/ID/BASENAME    a second link to c/ID, for exec
//! SESSION/d/ID             directory shadows, removed as soon as they are open
//! /dev/shm/parrot:TAG:ID   the same where that is memory: a disk takes much longer over it
//! SESSION/s/ID             bytes of served files, unlinked as soon as they are open
//! memfd parrot:TAG:ID      served shadows: a size and a position, no bytes
//! ```
//!
//! Who holds a shadow is known by a write lease: the kernel grants one only to the single opener of
//! a file, so when the session, opening a shadow read-only, gets it, no guest has it open, mapped
//! or running. In the same way a read lease says that nobody can write it.
#![expect(unsafe_code, reason = "leases and seals have no safe wrapper")]

use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use parrot_common::shadow::{SHM_DIR, ShadowId, format_id, tag};
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The directories of a session directory.
const DIRS: [&str; 4] = ["c", "x", "d", "s"];

/// The files of a session.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    tag: Vec<u8>,
    next: AtomicU64,
    /// Directory shadows lie in `/dev/shm`.
    shm: bool,
}

/// The text form of an id, as in file names.
#[must_use]
pub fn id_name(id: ShadowId) -> String {
    format_id(id).iter().map(|&b| char::from(b)).collect()
}

impl Store {
    /// Makes the directories that are missing.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        for name in DIRS {
            match fs::DirBuilder::new().mode(0o700).create(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // A number is never used twice, whoever used the directory before.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(now.as_micros()).unwrap_or(0) << 10;
        let tag = tag(dir.as_os_str().as_bytes()).to_vec();
        Ok(Self { dir: dir.to_owned(), tag, next: AtomicU64::new(start & !3), shm: has_shm() })
    }

    /// The session directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new number; its two lowest bits are zero.
    pub fn new_id(&self) -> ShadowId {
        self.next.fetch_add(4, Ordering::Relaxed) + 4
    }

    /// The path of a complete shadow.
    #[must_use]
    pub fn complete_path(&self, id: ShadowId) -> PathBuf {
        self.dir.join("c").join(id_name(id))
    }

    /// Makes a complete shadow, empty, open for reading and writing.
    ///
    /// # Errors
    /// As open(2).
    pub fn create(&self) -> io::Result<(ShadowId, File)> {
        let id = self.new_id();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(self.complete_path(id))?;
        Ok((id, file))
    }

    /// Opens a complete shadow with these flags (access mode and what the kernel keeps with a
    /// descriptor).
    ///
    /// # Errors
    /// As open(2); ETXTBSY when a guest executes it and the flags ask for writing.
    pub fn reopen(&self, id: ShadowId, flags: i32) -> io::Result<OwnedFd> {
        let flags = OFlag::from_bits_truncate(flags) | OFlag::O_CLOEXEC;
        Ok(open(&self.complete_path(id), flags, Mode::empty())?)
    }

    /// Whether anybody has a complete shadow open, mapped or running.
    #[must_use]
    pub fn is_held(&self, id: ShadowId) -> bool {
        // Without O_NONBLOCK a lease of our own, just being given back, would be waited for.
        self.reopen(id, libc::O_RDONLY | libc::O_NONBLOCK).is_ok_and(|file| !is_only_opener(&file))
    }

    /// Whether anybody has a complete shadow open or mapped for writing.
    #[must_use]
    pub fn is_written(&self, id: ShadowId) -> bool {
        match self.reopen(id, libc::O_RDONLY | libc::O_NONBLOCK) {
            Ok(file) => !lease(&file, libc::F_RDLCK),
            // A lease of our own, just being given back: it was had because nobody else is there.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Removes a complete shadow's names. Whoever holds it keeps it.
    pub fn remove(&self, id: ShadowId) {
        // Missing is as good as removed.
        let _ = fs::remove_file(self.complete_path(id));
        let _ = fs::remove_dir_all(self.dir.join("x").join(id_name(id)));
    }

    /// Makes a second link `x/ID/BASENAME` to a complete shadow, and gives its path.
    ///
    /// # Errors
    /// As mkdir(2) and link(2).
    pub fn program(&self, id: ShadowId, basename: &Path) -> io::Result<PathBuf> {
        let dir = self.dir.join("x").join(id_name(id));
        let path = dir.join(basename);
        match fs::hard_link(self.complete_path(id), &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(|()| path),
        }
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir)?;
        match fs::hard_link(self.complete_path(id), &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            other => other.map(|()| path),
        }
    }

    /// Makes the directory `x/ID` for a program that is a copy of its own.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn program_dir(&self, id: ShadowId) -> io::Result<PathBuf> {
        let dir = self.dir.join("x").join(id_name(id));
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir)?;
        Ok(dir)
    }

    /// Makes a directory shadow: open, and removed already. `watch` is called while it has a name.
    ///
    /// # Errors
    /// As mkdir(2) and open(2).
    pub fn directory(
        &self,
        flags: i32,
        watch: impl FnOnce(ShadowId, &Path),
    ) -> io::Result<(ShadowId, OwnedFd)> {
        let id = self.new_id();
        let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        let shm = [SHM_DIR, self.tag.as_slice(), b":", &format_id(id)].concat();
        let mut path = PathBuf::from(OsString::from_vec(shm));
        if !self.shm || make(&path).is_err() {
            path = self.dir.join("d").join(id_name(id));
            make(&path)?;
        }
        let kept = libc::O_PATH | libc::O_NONBLOCK | libc::O_NOATIME;
        let flags = OFlag::from_bits_truncate(flags & kept);
        let opened = open(&path, flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        if opened.is_ok() {
            watch(id, &path);
        }
        fs::remove_dir(&path)?;
        Ok((id, opened?))
    }

    /// Makes the file for a served file's bytes: sparse, and without a name.
    ///
    /// # Errors
    /// As open(2) and ftruncate(2).
    pub fn data_file(&self, size: u64) -> io::Result<File> {
        let path = self.dir.join("s").join(id_name(self.new_id()));
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        file.set_len(size)?;
        Ok(file)
    }

    /// Makes a served shadow: a memfd that has a size and cannot be written or read. The descriptor
    /// is read-only, so that a lease on it can be had.
    ///
    /// # Errors
    /// As memfd_create(2) and fcntl(2).
    pub fn memfd(&self, id: ShadowId, size: u64) -> io::Result<OwnedFd> {
        let name = [b"parrot:", self.tag.as_slice(), b":", &format_id(id)].concat();
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(CString::new(name)?.as_c_str(), flags)?);
        file.set_len(size)?;
        // SAFETY: an open descriptor, no pointers.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        reopen(file.as_fd(), libc::O_RDONLY)
    }
}

/// Whether `/dev/shm` is memory that we may use.
fn has_shm() -> bool {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    use nix::unistd::{AccessFlags, access};
    statfs("/dev/shm").is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
        && access("/dev/shm", AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// Opens the file behind a descriptor anew.
///
/// # Errors
/// As open(2).
pub fn reopen(fd: BorrowedFd<'_>, flags: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlag::from_bits_truncate(flags) | OFlag::O_CLOEXEC;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}

/// Whether this read-only descriptor is the only opening of its file.
#[must_use]
pub fn is_only_opener(file: &impl AsFd) -> bool {
    lease(file, libc::F_WRLCK)
}

/// Whether a lease can be had: a read lease when nobody has the file open for writing, a write
/// lease when nobody else has it open at all. It is given back at once.
fn lease(file: &impl AsFd, kind: i32) -> bool {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: an open descriptor, no pointers.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, kind) } != 0 {
        return false;
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    true
}

/// A lease that breaks while we hold it sends SIGIO, whose default is to end the process. The
/// handler does nothing; a program that we execute gets the default again.
pub fn survive_lease_breaks() {
    extern "C" fn nothing(_: libc::c_int) {}
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler touches nothing.
    let _ = unsafe { sigaction(Signal::SIGIO, &action) };
}
