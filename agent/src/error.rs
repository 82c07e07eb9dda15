//! The one place that turns a failure into an errno.
//!
//! An [`Error`] says what was tried, on what, why it failed and whether trying again can help.
//! [`Error::errno`] is the only mapping to what a guest sees; drivers and the session never invent
//! an errno of their own.

use parrot_common::Errno;
use std::borrow::Cow;
use std::fmt;

/// What kind of failure. The kinds are few on purpose: each has one errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server answered with an error that has an errno of its own.
    Remote(Errno),
    /// The name of the host does not exist.
    NoHost,
    /// No way to the host, or nobody who could tell its address.
    Unreachable,
    /// The server refused the connection.
    Refused,
    /// The connection broke, or the server went away in the middle.
    Disconnected,
    /// No answer within the time allowed.
    TimedOut,
    /// Every login method was refused.
    Login,
    /// The peer does not speak the protocol, or broke it.
    Protocol,
    /// The file under an open handle is another one now.
    Stale,
    /// The mount's policy forbids it (`ro`, missing rights letters).
    Policy(Errno),
    /// The driver or server cannot do this.
    Unsupported,
    /// Something on this machine failed (the session directory is full, out of descriptors).
    Local(Errno),
}

/// Whose failure it is, which decides between an answer and another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The program's or the user's: an errno, at once.
    Permanent,
    /// A server away, a network cut: tried again until the mount's deadline.
    Transient,
}

/// A failure with its story.
#[derive(Debug, Clone)]
#[expect(clippy::error_impl_error, reason = "the agent has one error, used by its module's name")]
pub struct Error {
    kind: Kind,
    operation: &'static str,
    target: String,
    cause: Cow<'static, str>,
    in_doubt: bool,
}

/// A result whose error is an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of `operation` (a word like `open`) on `target` (a remote name for people).
    pub fn new(
        kind: Kind,
        operation: &'static str,
        target: impl Into<String>,
        cause: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, operation, target: target.into(), cause: cause.into(), in_doubt: false }
    }

    /// The server's own error.
    pub fn remote(errno: Errno, operation: &'static str, target: impl Into<String>) -> Self {
        Self::new(Kind::Remote(errno), operation, target, "")
    }

    /// A failure on this machine.
    pub fn local(errno: Errno, operation: &'static str, target: impl Into<String>) -> Self {
        Self::new(Kind::Local(errno), operation, target, "")
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The same story with another kind, and what is to be added to it.
    #[must_use]
    pub fn become_kind(self, kind: Kind, more: &str) -> Self {
        let cause = match (self.cause.as_ref(), more) {
            (cause, "") => cause.to_owned(),
            ("", more) => more.to_owned(),
            (cause, more) => format!("{cause}; {more}"),
        };
        Self { kind, cause: cause.into(), ..self }
    }

    /// Says that the server may have carried the request out all the same.
    #[must_use]
    pub const fn doubted(mut self, in_doubt: bool) -> Self {
        self.in_doubt = in_doubt;
        self
    }

    /// Whether the server may have carried the request out all the same: what must not be done
    /// twice is then not simply asked for again.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Why, in a few words: the system's or the server's own, may be empty.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Whether another try can help.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self.kind {
            Kind::Unreachable | Kind::Refused | Kind::Disconnected | Kind::TimedOut => {
                Scope::Transient
            }
            _ => Scope::Permanent,
        }
    }

    /// Whether this is a failure of [`Scope::Transient`].
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.scope(), Scope::Transient)
    }

    /// What the guest sees.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self.kind {
            Kind::Remote(errno) | Kind::Policy(errno) | Kind::Local(errno) => errno,
            Kind::NoHost => Errno::ENOENT,
            Kind::Unreachable => Errno::EHOSTUNREACH,
            Kind::Refused => Errno::ECONNREFUSED,
            Kind::Disconnected => Errno::EIO,
            Kind::TimedOut => Errno::ETIMEDOUT,
            Kind::Login => Errno::EACCES,
            Kind::Protocol => Errno::EIO,
            Kind::Stale => Errno::ESTALE,
            Kind::Unsupported => Errno::EOPNOTSUPP,
        }
    }

    /// Whether the session's log (and, for trouble that is nobody's ordinary answer, the user)
    /// should hear of it: everything but a plain errno from the server.
    #[must_use]
    pub const fn is_noteworthy(&self) -> bool {
        !matches!(self.kind, Kind::Remote(_) | Kind::Policy(_) | Kind::Unsupported)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Remote(errno) => return write!(f, "{} {}: {errno}", self.operation, self.target),
            Kind::Local(errno) => {
                return write!(f, "{} {}: on this machine: {errno}", self.operation, self.target);
            }
            Kind::Policy(_) => "the mountlist does not allow it",
            Kind::NoHost => "no such host",
            Kind::Unreachable => "no way to the host",
            Kind::Refused => "connection refused",
            Kind::Disconnected => "the connection was lost",
            Kind::TimedOut => "no answer in time",
            Kind::Login => "the server accepted none of our identities",
            Kind::Protocol => "the peer does not speak this protocol as it should",
            Kind::Stale => "the file was replaced by another one",
            Kind::Unsupported => "not supported by the server",
        };
        write!(f, "{} {}: {what}", self.operation, self.target)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, " ({})", self.cause) }
    }
}

impl std::error::Error for Error {}
