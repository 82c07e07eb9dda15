//! Reply codes: what a negative number in a reply's first line means.
//!
//! The server turns an errno into a code ([`Code::from_errno`]), the client turns a reply's number
//! into an errno ([`client_errno`]). The two directions are not inverse: the protocol has fewer
//! codes than systems have errnos.

use libc::c_int;

use super::request::Command;

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $value:literal, $errno:ident; )*) => {
        /// An error in a reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i8)]
        pub enum Code {
            $( $(#[$doc])* $name = $value, )*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code with this number, if the protocol has one.
            #[must_use]
            pub const fn from_wire(number: i64) -> Option<Self> {
                match number {
                    $( $value => Some(Self::$name), )*
                    _ => None,
                }
            }

            /// The errno that a client gives for this code.
            #[must_use]
            pub const fn errno(self) -> c_int {
                match self {
                    $( Self::$name => libc::$errno, )*
                }
            }
        }
    };
}

codes! {
    /// The client has not logged in.
    NotAuthenticated = -1, EACCES;
    /// The access control list says no.
    NotAuthorized = -2, EACCES;
    /// There is no such name.
    DoesntExist = -3, ENOENT;
    /// The name is taken.
    AlreadyExists = -4, EEXIST;
    /// The file would be too large.
    TooBig = -5, EFBIG;
    /// The disk or the quota is full.
    NoSpace = -6, ENOSPC;
    /// The server is out of memory.
    NoMemory = -7, ENOMEM;
    /// Unknown request, or arguments that make no sense.
    InvalidRequest = -8, EINVAL;
    /// Too many descriptors.
    TooManyOpen = -9, EMFILE;
    /// The object is in use.
    Busy = -10, EBUSY;
    /// The same request may work later.
    TryAgain = -11, EAGAIN;
    /// No such descriptor.
    BadFd = -12, EBADF;
    /// It is a directory, and must not be.
    IsDirectory = -13, EISDIR;
    /// It is no directory, and must be.
    NotDirectory = -14, ENOTDIR;
    /// The directory is not empty.
    NotEmpty = -15, ENOTEMPTY;
    /// The two names are on different file systems.
    CrossDevice = -16, EXDEV;
    /// The storage behind the server is away.
    Offline = -17, EIO;
    /// The server's own connection timed out.
    TimedOut = -18, ECONNRESET;
    /// The server's own connection broke.
    Disconnected = -19, ECONNRESET;
    /// The group server cannot be reached.
    GroupUnreachable = -20, ECONNRESET;
    /// No such job.
    NoSuchJob = -21, ESRCH;
    /// The object has no positions.
    IsPipe = -22, ESPIPE;
    /// The server cannot do this.
    NotSupported = -23, ENOTSUP;
    /// A name is too long.
    NameTooLong = -24, ENAMETOOLONG;
    /// Everything else.
    Unknown = -127, EIO;
}

impl Code {
    /// The number that stands in the reply.
    #[must_use]
    pub fn number(self) -> i64 {
        let number = self as i8;
        i64::from(number)
    }

    /// The code that a server sends for an errno.
    ///
    /// A missing attribute (ENODATA) becomes [`Code::InvalidRequest`]: stock clients take that
    /// for "no such attribute" in attribute requests, and [`Code::Unknown`] for a broken link.
    #[must_use]
    pub const fn from_errno(errno: c_int) -> Self {
        match errno {
            libc::EACCES | libc::EPERM | libc::EROFS => Self::NotAuthorized,
            libc::ENOENT => Self::DoesntExist,
            libc::EEXIST => Self::AlreadyExists,
            libc::EFBIG => Self::TooBig,
            libc::ENOSPC | libc::EDQUOT => Self::NoSpace,
            libc::ENOMEM => Self::NoMemory,
            libc::EINVAL | libc::ENOSYS | libc::ENODATA => Self::InvalidRequest,
            libc::EMFILE | libc::ENFILE => Self::TooManyOpen,
            libc::EBUSY => Self::Busy,
            libc::EAGAIN => Self::TryAgain,
            libc::EBADF => Self::BadFd,
            libc::EISDIR => Self::IsDirectory,
            libc::ENOTDIR => Self::NotDirectory,
            libc::ENOTEMPTY => Self::NotEmpty,
            libc::EXDEV => Self::CrossDevice,
            libc::EHOSTUNREACH => Self::GroupUnreachable,
            libc::ESRCH => Self::NoSuchJob,
            libc::ESPIPE => Self::IsPipe,
            libc::ENOTSUP => Self::NotSupported,
            libc::ENAMETOOLONG => Self::NameTooLong,
            _ => Self::Unknown,
        }
    }
}

/// The errno that a client gives for a negative number in the reply to `command`.
///
/// A code that the protocol does not have is EIO, never a broken connection. Reading or removing
/// an attribute that is not there gives ENODATA, whichever way the server says it.
#[must_use]
pub const fn client_errno(number: i64, command: Command) -> c_int {
    match (Code::from_wire(number), command) {
        (Some(Code::InvalidRequest | Code::Unknown), command) if command.names_attribute() => {
            libc::ENODATA
        }
        (Some(code), _) => code.errno(),
        (None, _) => libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_agree() {
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.number()), Some(*code));
            assert!(code.number() < 0);
        }
        assert_eq!(Code::from_wire(0), None);
        assert_eq!(Code::from_wire(-25), None);
    }

    #[test]
    fn a_code_survives_the_way_to_the_client_and_back() {
        for code in Code::ALL {
            let back = Code::from_errno(code.errno());
            // These have no errno of their own.
            let merged = matches!(
                code,
                Code::NotAuthenticated
                    | Code::Offline
                    | Code::TimedOut
                    | Code::Disconnected
                    | Code::GroupUnreachable
            );
            assert!(merged || back == *code, "{code:?} became {back:?}");
        }
    }

    #[test]
    fn unknown_codes_are_io_errors_and_missing_attributes_are_enodata() {
        assert_eq!(client_errno(-127, Command::Stat), libc::EIO);
        assert_eq!(client_errno(-17, Command::Stat), libc::EIO);
        assert_eq!(client_errno(-99, Command::Stat), libc::EIO);
        assert_eq!(client_errno(-12, Command::Pread), libc::EBADF);
        assert_eq!(client_errno(-8, Command::Truncate), libc::EINVAL);
        for command in [Command::Getxattr, Command::Lgetxattr, Command::Fremovexattr] {
            assert_eq!(client_errno(-127, command), libc::ENODATA);
            assert_eq!(client_errno(-8, command), libc::ENODATA);
            assert_eq!(client_errno(-3, command), libc::ENOENT);
        }
        assert_eq!(client_errno(-8, Command::Setxattr), libc::EINVAL);
        assert_eq!(Code::from_errno(libc::ENODATA), Code::InvalidRequest);
        assert_eq!(Code::from_errno(libc::ELOOP), Code::Unknown);
    }
}
