//! The one list of system calls: what each one touches, which libc symbols stand for it, and who
//! handles it.

pub mod table;

pub use table::{NEWER, TABLE, row};

use crate::errno::Errno;

/// One system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The kernel's name.
    pub name: &'static str,
    /// The number on this architecture.
    pub nr: usize,
    /// When the call must be caught.
    pub policy: Policy,
    /// The libc symbols that make this call, with their variants.
    pub symbols: &'static [&'static str],
    /// One sentence.
    pub summary: &'static str,
}

/// When a call must be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It carries a name: always.
    Path,
    /// It acts on descriptors: when one of these arguments (by index) is a shadow of the class.
    Fd(&'static [u8], On),
    /// Always, for another reason (exec, receiving descriptors).
    Always,
    /// Never, and why that is right.
    Pass(Why),
    /// Never reaches the kernel: fails with this errno, so that programs fall back.
    Refuse(Errno),
}

/// Which shadows a descriptor call must be caught on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Any shadow: attributes, names and life cycle are the session's.
    Any,
    /// Served shadows and directories only: the bytes of a complete one are the kernel's.
    Served,
}

/// Why a call is never caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It takes neither a name nor a descriptor of a file.
    NoObject,
    /// It acts on memory that is mapped already.
    Memory,
    /// Its descriptors are never those of files.
    Other,
    /// The kernel's own answer for a shadow is right, or an error that programs understand.
    Answered,
    /// The kernel has it no more, or never had it: ENOSYS.
    Gone,
}

impl Why {
    /// A few words for documents.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoObject => "no file in it",
            Self::Memory => "memory only",
            Self::Other => "descriptors of other kinds",
            Self::Answered => "the kernel answers right",
            Self::Gone => "not in the kernel",
        }
    }
}
