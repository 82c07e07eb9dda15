//! What a handler answers. A technique carries it out and adds nothing of its own.

use crate::errno::Errno;
use crate::guest::FdClass;

/// The answer of a handler to one caught call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not ours: let the call happen as the guest made it.
    Pass(Reason),
    /// Done: the call returns this value and the kernel never sees it.
    Done(isize),
    /// Let the call happen with these arguments instead. The technique puts the guest's argument
    /// registers back afterwards (the kernel promises that a call keeps them).
    Rewrite([usize; 6]),
    /// The call fails with this error and the kernel never sees it.
    Fail(Errno),
    /// Let the call happen as the guest made it (it may block), and look at its result.
    Watch(Watch),
}

/// What a technique learns from the result of a call that it let happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// On success the result is a new descriptor number of this class (dup and the like).
    NewFd(FdClass),
    /// On success the result is a new descriptor number of a class that nobody knows.
    AnyFd,
    /// On success the `msghdr` at this guest address may carry descriptors (SCM_RIGHTS) of a class
    /// nobody knows yet.
    Received(usize),
}

impl Outcome {
    /// An outcome from a result: the value, or the failure.
    #[must_use]
    pub fn from_result(result: Result<isize, Errno>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(errno) => Self::Fail(errno),
        }
    }
}

/// Why a call passes to the kernel unchanged. Every reason is logged with `-d syscall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No mount can be reached by the name, whatever the kernel finds.
    Plain,
    /// No mount is visible in the name, but a symbolic link or `..` could still lead to one. The
    /// technique asks again with [`Lookup::Full`](crate::resolve::Lookup) when the kernel's answer
    /// is ENOENT, ENOTDIR or ELOOP (or when a probe of the name tells that it would be).
    PlainUnlessMissing,
    /// Full resolution found nothing of ours: the kernel's own answer is the right one.
    ResolvedPlain,
    /// The descriptor is not a shadow.
    PlainFd,
    /// The descriptor is a complete shadow: the kernel has all bytes.
    CompleteFd,
    /// The call touches no name and no descriptor of ours, or the table declares that it passes.
    Declared,
    /// An argument cannot be read; the kernel gives the right error.
    BadAddress,
    /// No row in the table.
    Unknown,
}

impl Reason {
    /// A short text for logs.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Plain => "no mount can be reached by this name",
            Self::PlainUnlessMissing => "no mount in this name",
            Self::ResolvedPlain => "resolved in full: not on a mount",
            Self::PlainFd => "not a Parrot descriptor",
            Self::CompleteFd => "the shadow is complete",
            Self::Declared => "passes by the table",
            Self::BadAddress => "unreadable argument",
            Self::Unknown => "no row in the table",
        }
    }
}
