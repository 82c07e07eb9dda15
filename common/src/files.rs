//! [`Files`]: what the handlers ask of a session.
//!
//! One request shape serves all operations, so that the trait has one method to implement: in the
//! agent the session itself answers, elsewhere [`client::SessionClient`](crate::client) sends the
//! request over a socket. The typed methods below are the only way handlers use it.
//!
//! Names are *logical* paths (before the mountlist): the session has the same mountlist and maps
//! them itself. A symbolic link that leaves its mount is answered with [`Stop::Redirect`] and a new
//! logical path, which the handler resolves again from the start.

use crate::attr::{ATTR_LEN, Attr};
use crate::errno::Errno;
use crate::shadow::{Kind, ShadowId};

/// A name for the session: an absolute logical path, or a path relative to a directory shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The directory shadow that `path` is relative to; 0 when `path` is absolute.
    pub base: ShadowId,
    /// The path, without a zero byte, at most 4095 bytes. With a base it may be empty (the
    /// directory itself).
    pub path: &'a [u8],
}

/// Why an operation did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It failed.
    Fail(Errno),
    /// A link led out of the mount; `Reply::data` (and [`Reply::len`]) hold the new absolute
    /// logical path.
    Redirect(usize),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Fail(errno)
    }
}

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// An operation of the session protocol. `a`, `b`, `id`, `args` are fields of [`Request`];
        /// `data` is what the reply carries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Op { $($(#[$doc])* $name = $number,)* }

        impl Op {
            /// The operation of a number from a message.
            #[must_use]
            pub const fn from_raw(raw: u64) -> Option<Self> {
                match raw { $($number => Some(Self::$name),)* _ => None }
            }

            /// The operation's name, for logs and statistics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

ops! {
    /// First on a connection. `args[0]` = protocol version, `args[1]` = guest's pid. Reply: `aux[0]`
    /// = the agent's pid; data = the session directory.
    Hello = 1;
    /// `open(2)` of name `a`; `args[0]` = flags, `args[1]` = mode (umask already applied). Reply:
    /// one descriptor opened with the guest's access mode, `aux[0]` = shadow id, `aux[1]` =
    /// [`Kind`], `aux[2]` = 1 when the descriptor can write.
    Open = 2;
    /// `lstat` (`args[0]` = 0) or `stat` (1) of `a`. Data = [`Attr`].
    Stat = 3;
    /// Attributes of shadow `id`. Data = [`Attr`].
    FStat = 4;
    /// `readlink` of `a`. Data = the text.
    ReadLink = 5;
    /// `faccessat` of `a`: `args[0]` = mode (R_OK…), `args[1]` = 1 to follow a last link.
    Access = 6;
    /// `mkdir` of `a`, `args[0]` = mode (umask applied).
    MkDir = 7;
    /// `rmdir` of `a`.
    RmDir = 8;
    /// `unlink` of `a`.
    Unlink = 9;
    /// `renameat2` of `a` to `b`, `args[0]` = flags. A redirect of an operation with two names
    /// (this one and `Link`) starts with a byte that says which name: 0 = `a`, 1 = `b`.
    Rename = 10;
    /// `link` of `a` to the new name `b`, `args[0]` = 1 to follow a last link of `a`.
    Link = 11;
    /// `symlink`: the new name is `a`, the text is `b`.
    SymLink = 12;
    /// `truncate` of `a` to `args[0]` bytes.
    Truncate = 13;
    /// `ftruncate` of shadow `id` to `args[0]` bytes.
    FTruncate = 14;
    /// `chmod` of `a`: `args[0]` = mode, `args[1]` = 1 to follow a last link.
    Chmod = 15;
    /// `fchmod` of `id`: `args[0]` = mode.
    FChmod = 16;
    /// `chown` of `a`: `args[0]` = uid, `args[1]` = gid (u32::MAX = keep), `args[2]` = 1 to follow.
    Chown = 17;
    /// `fchown` of `id`: `args[0]` = uid, `args[1]` = gid.
    FChown = 18;
    /// `utimensat` of `a`: `args[0..4]` = atime seconds, nanoseconds, mtime seconds, nanoseconds
    /// (UTIME_NOW, UTIME_OMIT as in the call), `args[4]` = 1 to follow.
    UTimes = 19;
    /// `futimens` of `id`: `args[0..4]` as in `UTimes`.
    FUTimes = 20;
    /// `statfs` of `a`. Data = seven u64: type bsize blocks bfree bavail files ffree.
    StatFs = 21;
    /// `fstatfs` of `id`. Data as in `StatFs`.
    FStatFs = 22;
    /// `getxattr` of attribute `b` of `a`, `args[0]` = 1 to follow. Data = the value.
    GetXattr = 23;
    /// `fgetxattr` of attribute `b` of `id`. Data = the value.
    FGetXattr = 24;
    /// `setxattr` on `a`: `b` = attribute name, a zero byte, value; `args[0]` = flags, `args[1]` =
    /// 1 to follow.
    SetXattr = 25;
    /// `fsetxattr` on `id`; `b`, `args[0]` as in `SetXattr`.
    FSetXattr = 26;
    /// `listxattr` of `a`, `args[0]` = 1 to follow. Data = the names, each with its zero byte.
    ListXattr = 27;
    /// `flistxattr` of `id`.
    FListXattr = 28;
    /// `removexattr` of attribute `b` of `a`, `args[0]` = 1 to follow.
    RemoveXattr = 29;
    /// `fremovexattr` of attribute `b` of `id`.
    FRemoveXattr = 30;
    /// Reads from served shadow `id` at `args[0]`, at most `want` bytes. Data = the bytes, none at
    /// the end of the file.
    PRead = 31;
    /// Writes `a` to served shadow `id` at `args[0]`; `args[1]` = 1 to append instead. Reply:
    /// value = bytes written, `aux[0]` = the offset after them.
    PWrite = 32;
    /// `fallocate` on `id`: `args[0]` = mode, `args[1]` = offset, `args[2]` = length.
    Fallocate = 33;
    /// `fsync` of `id`: on the server's disk when the reply comes, or the error.
    FSync = 34;
    /// A descriptor of shadow `id` that could write is being closed: everything written is on the
    /// server when the reply comes, or the error.
    Flush = 35;
    /// Entries of directory shadow `id` from position `args[0]` (0 = from the start, read again) in
    /// the format of getdents64(2), as many as fit in `want`. Reply: `aux[0]` = the new position.
    ReadDir = 36;
    /// The logical path of shadow `id` now. Data = the path; `value` = 1 when it was removed.
    PathOf = 37;
    /// Makes a served shadow complete. Reply: a descriptor of the file with all bytes (`args[0]` = 0
    /// read-only, 1 read-write: a shared writable map whose changes go back).
    Complete = 38;
    /// Prepares `a` for execve. Reply: data = a local path of a complete shadow that carries the
    /// remote basename (no zero byte). Fails with EACCES when it may not be executed. When `b` is
    /// not empty, the path is that of a private copy whose ELF interpreter (PT_INTERP) is `b`
    /// (the text is appended to the copy and the program header points there); `a` may then also
    /// be an absolute path of this machine with `args[0]` = 1 (a local program whose interpreter
    /// is remote).
    Exec = 39;
    /// A descriptor (`O_PATH`) of directory `a`, for chdir. Reply as in `Open`.
    ChDir = 40;
    /// The shared cache of served shadow `id`: two descriptors, the control page (see
    /// [`client`](crate::client)) and the data file (read-only). EINVAL when it has none, and never
    /// gets one (strict files).
    Attach = 41;
    /// Makes `args[1]` bytes at `args[0]` of served shadow `id` present in the shared cache.
    Fill = 42;
    /// Everything that any guest wrote is on the server when the reply comes, or the first error.
    SyncAll = 43;
    /// Session statistics. Data = JSON.
    Stats = 44;
    /// A text for the session's log and, with `args[0]` = 1, for the user. `a` = the text.
    Log = 45;
    /// `lseek` with SEEK_END, SEEK_DATA or SEEK_HOLE on served shadow `id`: `args[0]` = offset,
    /// `args[1]` = whence. Reply: value = the absolute offset.
    Seek = 46;
    /// Waits `args[0]` milliseconds, if this session may be waited for.
    Pause = 47;
    /// Whether locks on shadow `id` are refused (`locks=refuse`). Reply: value = 1 if so.
    LockPolicy = 48;
    /// `mknod` of `a`, of a kind that no server has (a pipe, a socket, a device): fails with what is
    /// wrong with the name, else with EPERM.
    MkNod = 49;
    /// What any guest wrote through a shared map to the bytes from `args[0]` to `args[1]` of shadow
    /// `id`, or (`id` = 0) to any file, is on the server's disk when the reply comes, or the first
    /// error.
    SyncMaps = 50;
}

/// A request, see [`Op`] for the meaning of the fields in each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "see Op")]
pub struct Request<'a> {
    pub op: Op,
    pub id: ShadowId,
    /// The bases of the names `a` and `b`.
    pub base: [ShadowId; 2],
    pub args: [u64; 5],
    pub a: &'a [u8],
    pub b: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request without names and arguments.
    #[must_use]
    pub const fn new(op: Op) -> Self {
        Self { op, id: 0, base: [0; 2], args: [0; 5], a: &[], b: &[] }
    }

    /// A request on a shadow.
    #[must_use]
    pub const fn on(op: Op, id: ShadowId) -> Self {
        Self { id, ..Self::new(op) }
    }

    /// A request on a name.
    #[must_use]
    pub const fn named(op: Op, name: Name<'a>) -> Self {
        Self { base: [name.base, 0], a: name.path, ..Self::new(op) }
    }

    /// The same with arguments.
    #[must_use]
    pub const fn args(mut self, args: [u64; 5]) -> Self {
        self.args = args;
        self
    }
}

/// A reply. The data part was written to the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// The operation's value, 0 where it has none.
    pub value: i64,
    /// See [`Op`].
    pub aux: [u64; 3],
    /// Bytes of data in the caller's buffer.
    pub len: usize,
    /// Descriptors that came with the reply, now the caller's to close; -1 = none.
    pub fds: [i32; 2],
}

/// An open file as the session hands it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// A descriptor in the process that runs the handler (not the guest's, where these differ).
    pub fd: i32,
    /// The shadow's number.
    pub id: ShadowId,
    /// What kind of shadow.
    pub kind: Kind,
    /// Whether it was opened for writing.
    pub writable: bool,
}

/// A session, or the way to one.
pub trait Files {
    /// Performs one operation. `out` receives the data part; at most `out.len()` bytes are asked
    /// for. Descriptors among the reply are close-on-exec unless the request is an `Open` without
    /// `O_CLOEXEC`.
    ///
    /// # Errors
    /// [`Stop::Fail`] with what the guest shall see; [`Stop::Redirect`] with the length of the new
    /// logical path in `out`; [`Errno::DEFER`] when this implementation may not wait.
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop>;

    /// The shared cache of a served shadow as this process has it mapped, attaching on first use;
    /// `None` when there is none (a strict shadow) or no memory of this process holds it.
    fn view(&mut self, _id: ShadowId) -> Option<crate::client::View<'_>> {
        None
    }

    /// `Open` or `ChDir`.
    ///
    /// # Errors
    /// As [`Files::call`].
    fn open(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Opened, Stop> {
        let reply = self.call(request, out)?;
        let [fd, _] = reply.fds;
        let [id, kind, writable] = reply.aux;
        let kind = Kind::from_raw(kind).ok_or(Errno::EPROTO)?;
        if fd < 0 {
            return Err(Errno::EPROTO.into());
        }
        Ok(Opened { fd, id, kind, writable: writable != 0 })
    }

    /// `Stat` or `FStat`.
    ///
    /// # Errors
    /// As [`Files::call`].
    fn attr(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Attr, Stop> {
        let reply = self.call(request, out)?;
        let bytes = out.get(..reply.len.min(ATTR_LEN)).unwrap_or_default();
        Attr::from_bytes(bytes).ok_or(Stop::Fail(Errno::EPROTO))
    }
}
