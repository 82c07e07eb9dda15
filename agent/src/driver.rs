//! The driver trait and the list of drivers.
//!
//! A driver speaks one remote protocol. It knows neither guests nor shadows; it gets server-side
//! paths (absolute, starting with `/`, without `.` and `..`, never following anything by itself but
//! what the server follows) and answers with attributes, bytes and [`Error`](crate::error::Error)s.
//! All methods block and may be called from many threads at once.
//!
//! A new driver is a file `driver/NAME.rs`, a line in [`DRIVERS`], and a server in `tests/`.

use crate::error::Result;
use parrot_common::Attr;
use settle::{Change, Settled};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub mod asking;
pub mod chirp;
pub mod local;
pub mod settle;

/// All drivers. The schemes are what `/SCHEME/HOST/PATH` and the mountlist know.
pub static DRIVERS: &[DriverDef] = &[chirp::DEF, local::DEF];

/// A driver's line in the list.
#[derive(Debug)]
pub struct DriverDef {
    /// The first component of its paths, and the scheme of its URLs.
    pub scheme: &'static str,
    /// One sentence for `--help`.
    pub summary: &'static str,
    /// What the driver can do at best; a server may offer less.
    pub capabilities: Capabilities,
    /// Makes the driver's object for one `HOST[:PORT]`. Must not connect yet: the first operation
    /// does, so that errors belong to an operation.
    pub connect: fn(host: &str, config: &Config) -> Result<Arc<dyn Driver>>,
}

/// What may be asked of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Create, write, rename, remove.
    pub write: bool,
    /// Read and write at any offset.
    pub random: bool,
    /// Symbolic links.
    pub symlink: bool,
    /// Hard links.
    pub link: bool,
    /// Extended attributes.
    pub xattr: bool,
    /// Times finer than a second.
    pub nanoseconds: bool,
    /// One request lists a directory with attributes.
    pub list_attrs: bool,
}

/// What the user configured for a connection.
#[derive(Debug, Clone)]
pub struct Config {
    /// Login methods to try, in order; empty = the driver's default order.
    pub auth: Vec<String>,
    /// Files of tickets to log in with, in order.
    pub tickets: Vec<PathBuf>,
    /// How long one request may stay without any answer before the connection counts as dead.
    pub silence: Duration,
    /// How long a connection on which files are open may be idle before something is said on it,
    /// for servers and networks that forget idle ones (after 60 s, commonly).
    pub keep_alive: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How many connections to one server at most.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            auth: Vec::new(),
            tickets: Vec::new(),
            silence: Duration::from_secs(30),
            keep_alive: Duration::from_secs(25),
            connect_timeout: Duration::from_secs(10),
            connections: 8,
        }
    }
}

/// How to open a file. Creation mode bits are given apart, umask already applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Every write goes to the end, chosen by the server.
    pub append: bool,
    /// Create if missing.
    pub create: bool,
    /// With `create`: fail with EEXIST if it exists.
    pub exclusive: bool,
    /// Cut to zero bytes.
    pub truncate: bool,
}

/// One entry of a listing, without `.` and `..`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The raw name.
    pub name: Vec<u8>,
    /// The entry's own attributes (of the link, not of its target), if the server sent them.
    pub attr: Option<Attr>,
}

/// Space of a file system, as `statfs(2)` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields of statfs(2)")]
pub struct Space {
    pub kind: u64,
    pub bsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it.
    Omit,
    /// The present time.
    Now,
    /// Seconds and nanoseconds since 1970. A server without nanoseconds drops them.
    At(i64, i64),
}

/// One connection-backed file system: all names of one server.
///
/// Errors of missing paths and the like are `Kind::Remote(errno)` with the errno a local file
/// system would give. `attr.dev` is the server's own number and only compared, never shown. An
/// operation the server lacks gives `Kind::Unsupported`.
pub trait Driver: Send + Sync + fmt::Debug {
    /// What this server can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens a regular file and tells its attributes, in one request. Follows a last link as the
    /// server does. EISDIR for a directory.
    fn open(&self, path: &[u8], flags: OpenFlags, mode: u32)
    -> Result<(Box<dyn RemoteFile>, Attr)>;

    /// Attributes; `follow` says whether a last link is followed (by the server).
    fn stat(&self, path: &[u8], follow: bool) -> Result<Attr>;

    /// `lstat` of several paths at once, pipelined: about one round trip for all.
    fn stat_many(&self, paths: &[&[u8]]) -> Vec<Result<Attr>> {
        paths.iter().map(|path| self.stat(path, false)).collect()
    }

    /// The whole content of a small file and its attributes, if the server can give both in fewer
    /// round trips than open, read and close; at most `limit` bytes (a longer file gives `None`
    /// for the content). Follows a last link.
    fn read_small(&self, path: &[u8], limit: u64) -> Result<(Attr, Option<Vec<u8>>)>;

    /// All entries of a directory. ENOTDIR when it is none.
    fn list(&self, path: &[u8]) -> Result<Vec<Entry>>;

    /// Makes a directory.
    fn mkdir(&self, path: &[u8], mode: u32) -> Result<()>;
    /// Removes an empty directory.
    fn rmdir(&self, path: &[u8]) -> Result<()>;
    /// Removes a file or link.
    fn unlink(&self, path: &[u8]) -> Result<()>;
    /// Renames, with renameat2 flags (0, RENAME_NOREPLACE, RENAME_EXCHANGE).
    fn rename(&self, from: &[u8], to: &[u8], flags: u32) -> Result<()>;
    /// Makes a hard link. A last link of `from` is not followed.
    fn link(&self, from: &[u8], to: &[u8]) -> Result<()>;
    /// Makes a symbolic link at `path` holding `text`.
    fn symlink(&self, text: &[u8], path: &[u8]) -> Result<()>;
    /// The text of a symbolic link; EINVAL when it is none.
    fn readlink(&self, path: &[u8]) -> Result<Vec<u8>>;
    /// Cuts or extends a file.
    fn truncate(&self, path: &[u8], size: u64) -> Result<()>;
    /// Sets the permission bits. Follows a last link.
    fn chmod(&self, path: &[u8], mode: u32) -> Result<()>;
    /// Sets times; `follow` for a last link.
    fn utimes(&self, path: &[u8], atime: SetTime, mtime: SetTime, follow: bool) -> Result<()>;
    /// Asks whether this user may read (4), write (2), execute (1) it.
    fn access(&self, path: &[u8], mode: u32) -> Result<()>;
    /// Space on the server.
    fn statfs(&self, path: &[u8]) -> Result<Space>;
    /// One extended attribute; ENODATA when missing.
    fn getxattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<Vec<u8>>;
    /// Sets an extended attribute; `flags` as in setxattr(2).
    fn setxattr(
        &self,
        path: &[u8],
        name: &[u8],
        value: &[u8],
        flags: u32,
        follow: bool,
    ) -> Result<()>;
    /// All attribute names, each ended by a zero byte.
    fn listxattr(&self, path: &[u8], follow: bool) -> Result<Vec<u8>>;
    /// Removes an attribute; ENODATA when missing.
    fn removexattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<()>;

    /// Finds out what became of a change whose answer was lost, for whoever asks for it again.
    ///
    /// # Errors
    /// The server cannot be asked now.
    fn settle(&self, change: &Change<'_>) -> Result<Settled>;

    /// Requests sent, round trips waited for, bytes received and sent, connections made, since
    /// the start.
    fn counters(&self) -> Counters;
}

/// What a driver counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named by what they count")]
pub struct Counters {
    pub requests: u64,
    pub round_trips: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections: u64,
}

/// An open remote file. Dropping it closes it (without waiting for the server's answer).
pub trait RemoteFile: Send + Sync + fmt::Debug {
    /// Reads at an offset until `buf` is full or the file ends; any length (split and pipelined by
    /// the driver as its protocol needs).
    fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes all of `data` at an offset (with `append`: at the end, whatever the offset); any
    /// length.
    fn pwrite(&self, data: &[u8], offset: u64) -> Result<()>;
    /// Attributes.
    fn fstat(&self) -> Result<Attr>;
    /// On the server's disk.
    fn fsync(&self) -> Result<()>;
    /// Cuts or extends.
    fn ftruncate(&self, size: u64) -> Result<()>;
}
