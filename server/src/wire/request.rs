//! The requests: one table, from which encoder, parser and names are made.
//!
//! A row is `Variant = "word" { arguments } body => ReplyShape`. The arguments stand in the order
//! of the wire; their types say how they travel (see `Arg`). `+ length` names the argument that
//! holds the length of a body which follows the line at once. A request is written by
//! [`Request::encode`] and read by [`Request::parse`], so the two sides cannot disagree.
//!
//! Words that are no request of the table ([`ParseError::Unknown`]) get -8.

use super::number;
use super::{Dialect, LinkTarget, MAX_LINE, OpenFlags, PathArg, Word};

/// Why a request cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A path or the whole line is longer than the protocol allows.
    TooLong,
    /// An argument is empty, or holds bytes that cannot travel in its place.
    NotAWord,
}

impl EncodeError {
    /// The errno that a client gives.
    #[must_use]
    pub const fn errno(self) -> libc::c_int {
        match self {
            Self::TooLong => libc::ENAMETOOLONG,
            Self::NotAWord => libc::EINVAL,
        }
    }
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a Chirp request cannot be that long",
            Self::NotAWord => "an argument cannot travel in a Chirp request",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Why a line is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// No such command.
    Unknown,
    /// An argument is missing or is not of its type.
    BadArgument,
    /// A path is too long.
    TooLong,
}

/// What follows in a reply whose first line is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyShape {
    /// Nothing; the number is 0 or a count.
    Number,
    /// The number is a descriptor; a stat line follows.
    FdStat,
    /// The number is a descriptor; an extended stat line follows.
    FdStatNs,
    /// One raw line.
    Line,
    /// A stat line.
    Stat,
    /// An extended stat line.
    StatNs,
    /// A statfs line.
    StatFs,
    /// As many bytes as the number says.
    Data,
    /// Raw lines up to an empty one.
    Lines,
    /// A raw name line and a stat line in turn, up to an empty line.
    NamesStats,
    /// A percent-encoded name line and an extended stat line in turn, up to an empty line.
    NamesStatsNs,
    /// A number line and that many bytes (an identity), again and again, up to a 0.
    Tickets,
    /// A number line and that many bytes, twice (the owner, the public key); the seconds left on a
    /// line; lines of a directory and rights; a 0 on a line.
    Ticket,
    /// As many lines as the number says.
    CountedLines,
    /// The client's body goes out only now; then a second number follows.
    PutFile,
    /// Bytes to the end of the connection.
    GetStream,
    /// The client sends bytes and closes the connection.
    PutStream,
}

/// An argument type: one word of a request.
trait Arg<'a>: Sized {
    fn put(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    fn take(word: &'a [u8]) -> Result<Self, ParseError>;
}

impl<'a> Arg<'a> for i64 {
    fn put(&self, _: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        number::push(out, *self);
        Ok(())
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        number::parse(word).ok_or(ParseError::BadArgument)
    }
}

impl<'a> Arg<'a> for u32 {
    fn put(&self, _: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        number::push(out, i64::from(*self));
        Ok(())
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        let number = number::parse(word).ok_or(ParseError::BadArgument)?;
        Self::try_from(number).map_err(|_| ParseError::BadArgument)
    }
}

impl<'a> Arg<'a> for PathArg<'a> {
    fn put(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode(dialect, out)
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse(word)
    }
}

impl<'a> Arg<'a> for Word<'a> {
    fn put(&self, _: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode(out)
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self::parse(word))
    }
}

impl<'a> Arg<'a> for LinkTarget<'a> {
    fn put(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode(dialect, out)
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self::parse(word))
    }
}

impl<'a> Arg<'a> for OpenFlags {
    fn put(&self, _: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode(out);
        Ok(())
    }
    fn take(word: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse(word)
    }
}

macro_rules! requests {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $name:literal { $($arg:ident: $type:ty),* } $(+ $body:ident)? => $shape:ident;
    )*) => {
        /// A request with its arguments. Lengths, offsets and descriptors are the numbers of the
        /// wire: the server must check their ranges.
        #[expect(missing_docs, reason = "the arguments are explained at their request")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request<'a> {
            $( $(#[$doc])* $variant { $($arg: $type),* }, )*
        }

        /// A request without its arguments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Command {
            $( $(#[$doc])* $variant, )*
        }

        impl Command {
            /// All commands, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The command word.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// The command with this word.
            #[must_use]
            pub fn from_name(name: &[u8]) -> Option<Self> {
                $( if name == $name.as_bytes() { return Some(Self::$variant); } )*
                None
            }

            /// The names of the arguments, in their order.
            #[must_use]
            pub const fn arguments(self) -> &'static [&'static str] {
                match self { $( Self::$variant => &[$(stringify!($arg)),*], )* }
            }

            /// What a successful reply holds.
            #[must_use]
            pub const fn reply(self) -> ReplyShape {
                match self { $( Self::$variant => ReplyShape::$shape, )* }
            }
        }

        impl<'a> Request<'a> {
            /// The command of this request.
            #[must_use]
            pub const fn command(&self) -> Command {
                match self {
                    $( Self::$variant { .. } => Command::$variant, )*
                }
            }

            /// The length of the body that follows the line at once, where there is one.
            ///
            /// It may be negative or huge: it is what the peer sent.
            #[must_use]
            pub const fn body_len(&self) -> Option<i64> {
                match self {
                    $( $( Self::$variant { $body, .. } => Some(*$body), )? )*
                    _ => None,
                }
            }

            fn put_arguments(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $( Self::$variant { $($arg),* } => {
                        out.extend_from_slice($name.as_bytes());
                        $( out.push(b' '); $arg.put(dialect, out)?; )*
                    } )*
                }
                Ok(())
            }

            /// Reads a line. Surplus words at its end are ignored.
            ///
            /// # Errors
            /// An unknown command, or arguments that are not of their types.
            pub fn parse(line: &'a [u8]) -> Result<Self, ParseError> {
                // White space before the command word makes the word empty, which is no command.
                let end = line.iter().position(|b| number::is_space(*b)).unwrap_or(line.len());
                let (name, rest) = line.split_at_checked(end).unwrap_or((line, b""));
                let command = Command::from_name(name).ok_or(ParseError::Unknown)?;
                let mut words = number::words(rest);
                let mut next = || words.next().ok_or(ParseError::BadArgument);
                Ok(match command {
                    $( Command::$variant => Self::$variant { $($arg: Arg::take(next()?)?),* }, )*
                })
            }
        }
    };
}

requests! {
    /// Opens a file; a directory opens with `r` alone.
    Open = "open" { path: PathArg<'a>, flags: OpenFlags, mode: u32 } => FdStat;
    /// Closes a descriptor.
    Close = "close" { fd: i64 } => Number;
    /// Reads at an offset; 0 bytes at the end of the file.
    Pread = "pread" { fd: i64, length: i64, offset: i64 } => Data;
    /// Writes at an offset.
    Pwrite = "pwrite" { fd: i64, length: i64, offset: i64 } + length => Number;
    /// Reads `stride_length` bytes every `stride_skip` bytes until `length` bytes are read.
    Sread = "sread" { fd: i64, length: i64, stride_length: i64, stride_skip: i64, offset: i64 } => Data;
    /// Writes in the pattern of `sread`.
    Swrite = "swrite" { fd: i64, length: i64, stride_length: i64, stride_skip: i64, offset: i64 } + length => Number;
    /// Attributes of an open file.
    Fstat = "fstat" { fd: i64 } => Stat;
    /// Figures of the file system of an open file.
    Fstatfs = "fstatfs" { fd: i64 } => StatFs;
    /// Makes an open file durable.
    Fsync = "fsync" { fd: i64 } => Number;
    /// Sets the size of an open file.
    Ftruncate = "ftruncate" { fd: i64, length: i64 } => Number;
    /// Sets the mode of an open file.
    Fchmod = "fchmod" { fd: i64, mode: u32 } => Number;
    /// Accepted and ignored.
    Fchown = "fchown" { fd: i64, uid: i64, gid: i64 } => Number;

    /// Sends a whole file.
    Getfile = "getfile" { path: PathArg<'a> } => Data;
    /// Stores a whole file: the body follows the first reply line.
    Putfile = "putfile" { path: PathArg<'a>, mode: u32, length: i64 } => PutFile;
    /// Sends a whole file and closes the connection.
    Getstream = "getstream" { path: PathArg<'a> } => GetStream;
    /// Stores what comes until the client closes the connection.
    Putstream = "putstream" { path: PathArg<'a> } => PutStream;
    /// Has the server copy a tree to another server.
    Thirdput = "thirdput" { path: PathArg<'a>, host: Word<'a>, target: PathArg<'a> } => Number;
    /// The MD5 of a file, 16 raw bytes.
    Md5 = "md5" { path: PathArg<'a> } => Data;
    /// A digest of a file, raw: `md5` or `sha1`.
    Hash = "hash" { algorithm: Word<'a>, path: PathArg<'a> } => Data;
    /// Sets the replication factor of a file.
    Setrep = "setrep" { path: PathArg<'a>, count: i64 } => Number;

    /// Attributes; links are followed.
    Stat = "stat" { path: PathArg<'a> } => Stat;
    /// Attributes; a link at the end is not followed.
    Lstat = "lstat" { path: PathArg<'a> } => Stat;
    /// Figures of the file system.
    Statfs = "statfs" { path: PathArg<'a> } => StatFs;
    /// Asks whether 4 reading, 2 writing, 1 executing is allowed.
    Access = "access" { path: PathArg<'a>, mode: u32 } => Number;
    /// Raw names, a line each.
    Getdir = "getdir" { path: PathArg<'a> } => Lines;
    /// Raw names and their `lstat` lines.
    Getlongdir = "getlongdir" { path: PathArg<'a> } => NamesStats;
    /// Makes a directory.
    Mkdir = "mkdir" { path: PathArg<'a>, mode: u32 } => Number;
    /// Removes an empty directory.
    Rmdir = "rmdir" { path: PathArg<'a> } => Number;
    /// Removes a tree.
    Rmall = "rmall" { path: PathArg<'a> } => Number;
    /// Removes a name.
    Unlink = "unlink" { path: PathArg<'a> } => Number;
    /// Moves a name, over an existing one too.
    Rename = "rename" { path: PathArg<'a>, target: PathArg<'a> } => Number;
    /// Makes a second name.
    Link = "link" { path: PathArg<'a>, target: PathArg<'a> } => Number;
    /// Makes a symbolic link at `path`.
    Symlink = "symlink" { target: LinkTarget<'a>, path: PathArg<'a> } => Number;
    /// The raw target of a symbolic link, cut to `length`.
    Readlink = "readlink" { path: PathArg<'a>, length: i64 } => Data;
    /// Sets the mode.
    Chmod = "chmod" { path: PathArg<'a>, mode: u32 } => Number;
    /// Accepted and ignored.
    Chown = "chown" { path: PathArg<'a>, uid: i64, gid: i64 } => Number;
    /// Accepted and ignored.
    Lchown = "lchown" { path: PathArg<'a>, uid: i64, gid: i64 } => Number;
    /// Sets the size.
    Truncate = "truncate" { path: PathArg<'a>, length: i64 } => Number;
    /// Sets the times, whole seconds.
    Utime = "utime" { path: PathArg<'a>, atime: i64, mtime: i64 } => Number;
    /// The path on the server's host.
    Localpath = "localpath" { path: PathArg<'a> } => Data;

    /// The value of an attribute.
    Getxattr = "getxattr" { path: PathArg<'a>, name: Word<'a> } => Data;
    /// The value of an attribute; a link at the end is not followed.
    Lgetxattr = "lgetxattr" { path: PathArg<'a>, name: Word<'a> } => Data;
    /// The value of an attribute of an open file.
    Fgetxattr = "fgetxattr" { fd: i64, name: Word<'a> } => Data;
    /// The names of the attributes, each ended by a zero byte.
    Listxattr = "listxattr" { path: PathArg<'a> } => Data;
    /// The names of the attributes; a link at the end is not followed.
    Llistxattr = "llistxattr" { path: PathArg<'a> } => Data;
    /// The names of the attributes of an open file.
    Flistxattr = "flistxattr" { fd: i64 } => Data;
    /// Sets an attribute.
    Setxattr = "setxattr" { path: PathArg<'a>, name: Word<'a>, length: i64, flags: i64 } + length => Number;
    /// Sets an attribute; a link at the end is not followed.
    Lsetxattr = "lsetxattr" { path: PathArg<'a>, name: Word<'a>, length: i64, flags: i64 } + length => Number;
    /// Sets an attribute of an open file.
    Fsetxattr = "fsetxattr" { fd: i64, name: Word<'a>, length: i64, flags: i64 } + length => Number;
    /// Removes an attribute.
    Removexattr = "removexattr" { path: PathArg<'a>, name: Word<'a> } => Number;
    /// Removes an attribute; a link at the end is not followed.
    Lremovexattr = "lremovexattr" { path: PathArg<'a>, name: Word<'a> } => Number;
    /// Removes an attribute of an open file.
    Fremovexattr = "fremovexattr" { fd: i64, name: Word<'a> } => Number;

    /// Who the server takes the client for, cut to `length`.
    Whoami = "whoami" { length: i64 } => Data;
    /// Who another server takes this server for.
    Whoareyou = "whoareyou" { host: Word<'a>, length: i64 } => Data;
    /// The access control list: `subject rights` lines.
    Getacl = "getacl" { path: PathArg<'a> } => Lines;
    /// Changes one entry of the access control list.
    Setacl = "setacl" { path: PathArg<'a>, subject: Word<'a>, rights: Word<'a> } => Number;
    /// Replaces the access control list.
    Resetacl = "resetacl" { path: PathArg<'a>, rights: Word<'a> } => Number;
    /// Registers a ticket; the body is the public key.
    TicketRegister = "ticket_register" { subject: Word<'a>, seconds: i64, length: i64 } + length => Number;
    /// Sets what a ticket gives in a directory and below; `ticket` is its identity, `ticket:NAME`.
    TicketModify = "ticket_modify" { ticket: Word<'a>, path: PathArg<'a>, rights: Word<'a> } => Number;
    /// Forgets a ticket.
    TicketDelete = "ticket_delete" { ticket: Word<'a> } => Number;
    /// The tickets of an identity, `self`, or `all`.
    TicketList = "ticket_list" { subject: Word<'a> } => Tickets;
    /// All about a ticket.
    TicketGet = "ticket_get" { ticket: Word<'a> } => Ticket;
    /// What each owner uses below a directory.
    Audit = "audit" { path: PathArg<'a> } => CountedLines;
    /// Space reserved and used.
    Lsalloc = "lsalloc" { path: PathArg<'a> } => Line;
    /// Makes a directory with reserved space.
    Mkalloc = "mkalloc" { path: PathArg<'a>, size: i64, mode: u32 } => Number;
    /// Looks for names that match a pattern below directories, which `|` separates.
    Search = "search" { pattern: Word<'a>, paths: Word<'a>, flags: i64 } => Lines;
    /// Makes the server report something.
    Debug = "debug" { flag: Word<'a> } => Number;
    /// Creates a job; the body is JSON.
    JobCreate = "job_create" { length: i64 } + length => Number;
    /// Lets a job start.
    JobCommit = "job_commit" { id: i64 } => Number;
    /// Ends a job.
    JobKill = "job_kill" { id: i64 } => Number;
    /// Forgets a job that has ended.
    JobReap = "job_reap" { id: i64 } => Number;
    /// How a job is; JSON.
    JobStatus = "job_status" { id: i64 } => Data;
    /// Waits for a job; JSON.
    JobWait = "job_wait" { id: i64, seconds: i64 } => Data;
    /// Logs in at HTCondor's proxy.
    Cookie = "cookie" { cookie: Word<'a> } => Number;

    // Extensions of this project's server; a stock server answers -8, a stock client never asks.

    /// Extension: `stat` (`follow` 1) or `lstat` (0) with nanoseconds.
    Xstat = "xstat" { path: PathArg<'a>, follow: i64 } => StatNs;
    /// Extension: `fstat` with nanoseconds.
    Xfstat = "xfstat" { fd: i64 } => StatNs;
    /// Extension: `open` with nanoseconds in its stat line.
    Xopen = "xopen" { path: PathArg<'a>, flags: OpenFlags, mode: u32 } => FdStatNs;
    /// Extension: `getlongdir` with encoded names and nanoseconds.
    Xgetlongdir = "xgetlongdir" { path: PathArg<'a> } => NamesStatsNs;
    /// Extension: sets the times as `utimensat` does, `UTIME_NOW` and `UTIME_OMIT` included.
    Utimens = "utimens" { path: PathArg<'a>, atime: i64, atime_nsec: i64, mtime: i64, mtime_nsec: i64, follow: i64 } => Number;
    /// Extension: `xopen` of a new file, whose access time gets `mark` as its nanoseconds.
    Xcreate = "xcreate" { path: PathArg<'a>, flags: OpenFlags, mode: u32, mark: u32 } => FdStatNs;
    /// Extension: `mkdir` of a new directory, whose access time gets `mark` as its nanoseconds.
    Xmkdir = "xmkdir" { path: PathArg<'a>, mode: u32, mark: u32 } => Number;
    /// Extension: names the session that this connection begins or goes on with: 32 hexadecimal
    /// digits, and the number that the next request has.
    Session = "session" { key: Word<'a>, next: i64 } => Number;
    /// Extension: `rename` with `RENAME_NOREPLACE` (1) or `RENAME_EXCHANGE` (2).
    Renameat2 = "renameat2" { path: PathArg<'a>, target: PathArg<'a>, flags: u32 } => Number;
}

impl Request<'_> {
    /// Appends the line. A body ([`Request::body_len`]) is the caller's to send behind it.
    ///
    /// # Errors
    /// An argument cannot travel. `out` is then as it was.
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut result = self.put_arguments(dialect, out);
        if out.len() - start > MAX_LINE {
            result = result.and(Err(EncodeError::TooLong));
        }
        match result {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(start),
        }
        result
    }
}

impl Command {
    /// Tells whether the request is about one attribute that must exist.
    #[must_use]
    pub const fn names_attribute(self) -> bool {
        matches!(
            self,
            Self::Getxattr
                | Self::Lgetxattr
                | Self::Fgetxattr
                | Self::Removexattr
                | Self::Lremovexattr
                | Self::Fremovexattr
        )
    }

    /// Tells whether only this project's server knows the request.
    #[must_use]
    pub const fn is_extension(self) -> bool {
        matches!(
            self,
            Self::Xstat
                | Self::Xfstat
                | Self::Xopen
                | Self::Xgetlongdir
                | Self::Utimens
                | Self::Session
                | Self::Xcreate
                | Self::Xmkdir
                | Self::Renameat2
        )
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
