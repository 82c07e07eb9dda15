//! [`Halt`]: why an operation stops, inside the session.

use crate::error::Error;
use parrot_common::Errno;
use std::{fmt, io};

/// Why an operation stops.
#[derive(Debug)]
pub(super) enum Halt {
    /// An ordinary answer.
    Errno(Errno),
    /// A failure with its story; the log may want it.
    Error(Box<Error>),
    /// A link led out of the mount, to this logical name.
    Redirect(Vec<u8>),
    /// As `Redirect`, of the second name of an operation.
    RedirectSecond(Vec<u8>),
}

/// The result of most functions of the session.
pub(super) type Res<T> = Result<T, Halt>;

impl Halt {
    /// What the guest sees, if it sees an error.
    pub(super) fn errno(&self) -> Errno {
        match self {
            Self::Errno(errno) => *errno,
            Self::Error(error) => error.errno(),
            Self::Redirect(_) | Self::RedirectSecond(_) => Errno::EXDEV,
        }
    }
}

impl Halt {
    /// Whether the server has no place for the bytes: asking again does not help, removing does.
    pub(super) fn is_no_space(&self) -> bool {
        matches!(self.errno(), Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::Error(error) => error.fmt(f),
            Self::Redirect(_) | Self::RedirectSecond(_) => f.write_str("a link out of the mount"),
        }
    }
}

impl From<Errno> for Halt {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// A failure in the session directory.
impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        let errno = Errno(error.raw_os_error().unwrap_or(libc::EIO));
        match errno {
            // Not our trouble: a guest runs the program that another wants to write.
            Errno::ETXTBSY => Self::Errno(errno),
            _ => Self::from(Error::local(errno, "shadow", "the session directory")),
        }
    }
}
