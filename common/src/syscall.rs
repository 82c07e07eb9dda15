//! The one list of system calls: what each one touches, which libc symbols stand for it, and who
//! handles it.

pub mod table;

pub use table::{TABLE, row};

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
    /// Never: it touches no name and no descriptor that could be ours, or the kernel does right.
    Pass,
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
