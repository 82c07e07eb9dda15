//! What a handler returns when it cannot do what was asked.

use std::io;

use rustix::io::Errno;

use crate::wire::{Code, LineError, ParseError};

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is told, and the connection goes on.
    Refused(Code),
    /// The connection is broken or out of step, and ends.
    Broken(io::Error),
}

/// What a handler returns. Its reply is in the outbox then.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The connection must end, without a fault of the stream itself.
    pub(crate) fn hang_up(why: &'static str) -> Self {
        Self::Broken(io::Error::other(why))
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Refused(Code::from_errno(errno.raw_os_error()))
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::Refused(match error {
            ParseError::Unknown | ParseError::BadArgument => Code::InvalidRequest,
            ParseError::TooLong => Code::NameTooLong,
        })
    }
}

impl From<LineError> for Failure {
    fn from(error: LineError) -> Self {
        Self::Broken(error.into())
    }
}

/// An error of the stream. Errors of files are [`Errno`]s.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
