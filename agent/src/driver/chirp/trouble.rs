//! Why an exchange with the server gave no result.

use crate::error::{Error, Kind};
use parrot_chirp::wire::{EncodeError, LineError};
use parrot_common::Errno;
use std::borrow::Cow;
use std::io;

/// Why an exchange gave no result. Says less than an [`Error`]: not yet on what.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The server answered, or the request cannot be put into words; the connection is fine.
    Answer(Errno),
    /// The server lacks it, or the file changed; the connection is fine.
    Other(Kind, Cow<'static, str>),
    /// The connection cannot be used any more.
    Broken {
        /// What for.
        kind: Kind,
        /// Whether the request may have reached the server.
        sent: bool,
        /// In words.
        cause: Cow<'static, str>,
    },
}

impl Trouble {
    /// The peer broke the rules of the protocol.
    pub(super) fn protocol(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::Broken { kind: Kind::Protocol, sent: true, cause: cause.into() }
    }

    /// The stream failed; `sent` as in [`Trouble::Broken`].
    pub(super) fn stream(error: &io::Error, sent: bool) -> Self {
        let kind = match error.kind() {
            // A socket with a time limit says WouldBlock.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Kind::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Kind::Unreachable,
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            _ => Kind::Disconnected,
        };
        Self::Broken { kind, sent, cause: error.to_string().into() }
    }

    /// Whether the same request may simply be sent again on a new connection.
    pub(super) const fn again(&self, repeatable: bool) -> bool {
        matches!(self, Self::Broken { kind: Kind::Disconnected, sent, .. } if repeatable || !*sent)
    }

    /// Whether the request may have been executed without our knowing.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Broken { kind: Kind::Disconnected, sent: true, .. })
    }

    /// The complete story.
    pub(super) fn error(self, operation: &'static str, target: String) -> Error {
        match self {
            Self::Answer(errno) => Error::remote(errno, operation, target),
            Self::Other(kind, cause) => Error::new(kind, operation, target, cause),
            Self::Broken { kind, sent, cause } => {
                Error::new(kind, operation, target, cause).doubted(sent)
            }
        }
    }
}

impl From<EncodeError> for Trouble {
    fn from(error: EncodeError) -> Self {
        Self::Answer(Errno(error.errno()))
    }
}

impl From<LineError> for Trouble {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Closed => Self::Broken {
                kind: Kind::Disconnected,
                sent: true,
                cause: "the server closed the connection".into(),
            },
            LineError::TooLong | LineError::NotANumber => Self::protocol(error.to_string()),
            LineError::Io(error) => Self::stream(&error, true),
        }
    }
}
