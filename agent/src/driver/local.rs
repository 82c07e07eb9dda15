//! Directories of this machine, served through the driver trait.
//!
//! The host is always `-`, so `/local/-/srv/data` is `/srv/data`. It serves the tests of everything
//! above the drivers, and mounts of host trees that want the session's caches and shadows. There
//! are no connections: nothing here fails in a transient way.

mod sys;

use crate::driver::settle::{Before, Change, Settled, settle};
use crate::driver::{
    Capabilities, Config, Counters, Driver, DriverDef, Entry, OpenFlags, RemoteFile, SetTime, Space,
};
use crate::error::{Error, Kind, Result};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::AccessFlags;
use parrot_common::{Attr, Errno};
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The driver's line in the list.
pub const DEF: DriverDef = DriverDef {
    scheme: "local",
    summary: "Directories of this machine: /local/-/DIRECTORY.",
    capabilities: CAPABILITIES,
    connect,
};

const CAPABILITIES: Capabilities = Capabilities {
    write: true,
    random: true,
    symlink: true,
    link: true,
    xattr: true,
    nanoseconds: true,
    list_attrs: true,
};

fn connect(host: &str, _config: &Config) -> Result<Arc<dyn Driver>> {
    if host != "-" {
        let cause = "the host of a local path is `-`: /local/-/DIRECTORY";
        return Err(Error::new(Kind::Unreachable, "connect", format!("local://{host}"), cause));
    }
    Ok(Arc::new(LocalDriver::default()))
}

/// All of this machine's file system.
#[derive(Debug, Default)]
struct LocalDriver {
    requests: AtomicU64,
}

/// An open file of this machine.
#[derive(Debug)]
struct LocalFile {
    file: File,
    name: String,
}

fn path_of(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn attr_of(data: &Metadata) -> Attr {
    Attr {
        dev: data.dev(),
        ino: data.ino(),
        mode: data.mode(),
        nlink: u32::try_from(data.nlink()).unwrap_or(u32::MAX),
        uid: data.uid(),
        gid: data.gid(),
        rdev: data.rdev(),
        size: data.size(),
        blksize: data.blksize(),
        blocks: data.blocks(),
        atime: (data.atime(), data.atime_nsec()),
        mtime: (data.mtime(), data.mtime_nsec()),
        ctime: (data.ctime(), data.ctime_nsec()),
    }
}

fn time_spec(time: SetTime) -> TimeSpec {
    match time {
        SetTime::Omit => TimeSpec::UTIME_OMIT,
        SetTime::Now => TimeSpec::UTIME_NOW,
        SetTime::At(seconds, nanoseconds) => TimeSpec::new(seconds, nanoseconds),
    }
}

/// What a failed call means: the errno the kernel gave.
fn failure(error: &io::Error, operation: &'static str, target: impl Into<String>) -> Error {
    // `std` refuses by itself only names and arguments that the kernel could not take.
    let own = if error.kind() == io::ErrorKind::InvalidInput { libc::EINVAL } else { libc::EIO };
    Error::remote(Errno(error.raw_os_error().unwrap_or(own)), operation, target)
}

fn errno_io(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

/// The flags for `std`, and `more` that `std` would check by rules of its own.
fn options(flags: OpenFlags, more: i32) -> OpenOptions {
    let mut options = File::options();
    let truncate = if flags.truncate { libc::O_TRUNC } else { 0 };
    // Neither a pipe nor a terminal may stop the session.
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | truncate | more);
    options.read(flags.read || !(flags.write || flags.append));
    options.write(flags.write).append(flags.append);
    options
}

/// Opens, and gives a file it creates exactly the mode asked for, whatever our own umask.
fn open_file(path: &Path, flags: OpenFlags, mode: u32) -> io::Result<File> {
    let existing = options(flags, 0);
    let mut creating = options(flags, libc::O_CREAT | libc::O_EXCL);
    creating.mode(mode);
    loop {
        if !flags.exclusive || !flags.create {
            match existing.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && flags.create => {}
                result => return result,
            }
        }
        match creating.open(path) {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
                return Ok(file);
            }
            // Somebody else made it, or it is a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !flags.exclusive => {
                if fs::symlink_metadata(path)?.is_symlink() {
                    return options(flags, libc::O_CREAT).mode(mode).open(path);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl LocalDriver {
    /// Runs one operation and counts it.
    fn run<T>(
        &self,
        operation: &'static str,
        path: &[u8],
        work: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T> {
        self.requests.fetch_add(1, Relaxed);
        work(path_of(path))
            .map_err(|error| failure(&error, operation, String::from_utf8_lossy(path)))
    }
}

impl Driver for LocalDriver {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<(Box<dyn RemoteFile>, Attr)> {
        let (file, attr) = self.run("open", path, |at| {
            let file = open_file(at, flags, mode)?;
            let attr = attr_of(&file.metadata()?);
            match attr.kind() {
                libc::S_IFREG => Ok((file, attr)),
                libc::S_IFDIR => Err(errno_io(Errno::EISDIR)),
                _ => Err(errno_io(Errno::ENXIO)),
            }
        })?;
        let name = String::from_utf8_lossy(path).into_owned();
        Ok((Box::new(LocalFile { file, name }), attr))
    }

    fn stat(&self, path: &[u8], follow: bool) -> Result<Attr> {
        self.run("stat", path, |at| {
            let data = if follow { fs::metadata(at) } else { fs::symlink_metadata(at) };
            data.map(|data| attr_of(&data))
        })
    }

    fn read_small(&self, path: &[u8], limit: u64) -> Result<(Attr, Option<Vec<u8>>)> {
        let read = OpenFlags { read: true, ..OpenFlags::default() };
        let (file, attr) = self.open(path, read, 0)?;
        if attr.size > limit {
            return Ok((attr, None));
        }
        let mut data = vec![0; usize::try_from(attr.size).unwrap_or(0)];
        let read = file.pread(&mut data, 0)?;
        // A file that is being changed right now is no small file to keep.
        let whole = read == data.len() && file.fstat()?.size == attr.size;
        Ok((attr, whole.then_some(data)))
    }

    fn list(&self, path: &[u8]) -> Result<Vec<Entry>> {
        self.run("list", path, |at| {
            let entry = |found: io::Result<fs::DirEntry>| {
                let found = found?;
                let attr = found.metadata().ok().map(|data| attr_of(&data));
                Ok(Entry { name: found.file_name().into_vec(), attr })
            };
            fs::read_dir(at)?.map(entry).collect()
        })
    }

    fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        self.run("mkdir", path, |at| {
            fs::DirBuilder::new().mode(mode).create(at)?;
            fs::set_permissions(at, Permissions::from_mode(mode & 0o7777))
        })
    }

    fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.run("rmdir", path, |at| fs::remove_dir(at))
    }

    fn unlink(&self, path: &[u8]) -> Result<()> {
        self.run("unlink", path, |at| fs::remove_file(at))
    }

    fn rename(&self, from: &[u8], to: &[u8], flags: u32) -> Result<()> {
        self.run("rename", from, |_| {
            sys::rename(&c_string(from)?, &c_string(to)?, flags).map_err(errno_io)
        })
    }

    fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.run("link", to, |to| fs::hard_link(path_of(from), to))
    }

    fn symlink(&self, text: &[u8], path: &[u8]) -> Result<()> {
        self.run("symlink", path, |at| symlink(path_of(text), at))
    }

    fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        self.run("readlink", path, |at| Ok(fs::read_link(at)?.into_os_string().into_vec()))
    }

    fn truncate(&self, path: &[u8], size: u64) -> Result<()> {
        self.run("truncate", path, |at| options(WRITE, 0).open(at)?.set_len(size))
    }

    fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        self.run("chmod", path, |at| fs::set_permissions(at, Permissions::from_mode(mode & 0o7777)))
    }

    fn utimes(&self, path: &[u8], atime: SetTime, mtime: SetTime, follow: bool) -> Result<()> {
        let flag = match follow {
            true => UtimensatFlags::FollowSymlink,
            false => UtimensatFlags::NoFollowSymlink,
        };
        self.run("utimes", path, |at| {
            Ok(utimensat(AT_FDCWD, at, &time_spec(atime), &time_spec(mtime), flag)?)
        })
    }

    fn access(&self, path: &[u8], mode: u32) -> Result<()> {
        let mode = AccessFlags::from_bits_truncate(mode.cast_signed());
        self.run("access", path, |at| Ok(nix::unistd::access(at, mode)?))
    }

    fn statfs(&self, path: &[u8]) -> Result<Space> {
        // The types of the fields depend on the C library.
        fn wide(n: impl TryInto<u64>) -> u64 {
            n.try_into().unwrap_or(0)
        }
        self.run("statfs", path, |at| {
            let found = nix::sys::statfs::statfs(at)?;
            Ok(Space {
                kind: wide(found.filesystem_type().0),
                bsize: wide(found.block_size()),
                blocks: wide(found.blocks()),
                bfree: wide(found.blocks_free()),
                bavail: wide(found.blocks_available()),
                files: wide(found.files()),
                ffree: wide(found.files_free()),
            })
        })
    }

    fn getxattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<Vec<u8>> {
        self.run("getxattr", path, |_| {
            sys::getxattr(&c_string(path)?, &c_string(name)?, follow).map_err(errno_io)
        })
    }

    fn setxattr(
        &self,
        path: &[u8],
        name: &[u8],
        value: &[u8],
        flags: u32,
        follow: bool,
    ) -> Result<()> {
        self.run("setxattr", path, |_| {
            sys::setxattr(&c_string(path)?, &c_string(name)?, value, flags, follow)
                .map_err(errno_io)
        })
    }

    fn listxattr(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        self.run("listxattr", path, |_| sys::listxattr(&c_string(path)?, follow).map_err(errno_io))
    }

    fn removexattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<()> {
        self.run("removexattr", path, |_| {
            sys::removexattr(&c_string(path)?, &c_string(name)?, follow).map_err(errno_io)
        })
    }

    fn settle(&self, change: &Change<'_>) -> Result<Settled> {
        settle(self, change, Before::Unknown)
    }

    fn counters(&self) -> Counters {
        Counters { requests: self.requests.load(Relaxed), ..Counters::default() }
    }
}

const WRITE: OpenFlags = OpenFlags {
    read: false,
    write: true,
    append: false,
    create: false,
    exclusive: false,
    truncate: false,
};

impl LocalFile {
    fn run<T>(&self, operation: &'static str, result: io::Result<T>) -> Result<T> {
        result.map_err(|error| failure(&error, operation, self.name.as_str()))
    }
}

impl RemoteFile for LocalFile {
    fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + u64::try_from(done).unwrap_or(u64::MAX);
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.run("read", Err(error)),
            }
        }
        Ok(done)
    }

    fn pwrite(&self, data: &[u8], offset: u64) -> Result<()> {
        self.run("write", self.file.write_all_at(data, offset))
    }

    fn fstat(&self) -> Result<Attr> {
        self.run("fstat", self.file.metadata()).map(|data| attr_of(&data))
    }

    fn fsync(&self) -> Result<()> {
        self.run("fsync", self.file.sync_all())
    }

    fn ftruncate(&self, size: u64) -> Result<()> {
        self.run("ftruncate", self.file.set_len(size))
    }
}
