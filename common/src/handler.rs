//! The handlers: what each system call means on a remote or mapped object. Written once, for every
//! technique.
//!
//! [`handle`] finds the row of the call and runs its handler with the context [`Cx`]. A handler
//! reads its arguments from the guest, asks the resolver what its names mean, asks the session for
//! what is remote, and answers with an [`Outcome`]. It has no side effect before its first request
//! to the session, so a technique may run it again from the start (`Errno::DEFER`).

mod attr;
mod data;
mod dir;
mod exec;
mod fd;
mod kernel;
mod link;
mod lock;
mod map;
mod open;
mod path;
mod socket;
mod stat;
#[cfg(test)]
mod tests;
mod xattr;

use path::Need2;

use crate::errno::Errno;
use crate::files::Files;
use crate::guest::Guest;
use crate::mountlist::Table;
use crate::outcome::{Outcome, Reason};
use crate::resolve::{Lookup, Slot, Walker};
use crate::syscall::table;

pub use dir::has_mounts;
pub use exec::{Interpreter, interpreter};

/// The namespace of a session.
#[derive(Debug, Clone, Copy)]
pub struct Namespace<'a> {
    /// The compiled mountlist.
    pub table: Table<'a>,
    /// The session directory, absolute, without a slash at the end.
    pub session: &'a [u8],
}

/// How many bytes a handler moves at once: all that a message takes, so that a strict read or write
/// of a mebibyte is one round trip to its server.
pub const CHUNK: usize = crate::message::MAX_DATA;

/// The memory of one call: too big for a guest's stack. All-zero bytes are a valid `Scratch`, so a
/// technique may take it from fresh mapped memory.
#[derive(Debug)]
#[repr(C)]
pub struct Scratch {
    first: Walker,
    second: Walker,
    /// Data of requests and replies.
    pub data: [u8; CHUNK],
}

impl Scratch {
    /// The walker of a name.
    pub const fn walker(&mut self, slot: Slot) -> &mut Walker {
        match slot {
            Slot::First => &mut self.first,
            Slot::Second => &mut self.second,
        }
    }
}

/// Everything a handler works with.
#[derive(Debug)]
pub struct Cx<'a, G: Guest, F: Files> {
    /// The program.
    pub guest: &'a mut G,
    /// The session.
    pub files: &'a mut F,
    /// The namespace.
    pub ns: &'a Namespace<'a>,
    /// Memory.
    pub scratch: &'a mut Scratch,
    /// How far names are resolved.
    pub lookup: Lookup,
}

/// Decides one caught call.
pub fn handle<G: Guest, F: Files>(cx: &mut Cx<'_, G, F>, nr: usize, args: [usize; 6]) -> Outcome {
    if let Some((index, known)) = flags_of(nr)
        && Args(args).int(index) & !known != 0
    {
        return Outcome::Fail(Errno::EINVAL);
    }
    table::dispatch(cx, nr, args).unwrap_or(Outcome::Pass(Reason::Unknown))
}

/// Where a call with names has its flags, and which it knows: others are EINVAL whatever the name is.
const fn flags_of(nr: usize) -> Option<(usize, i32)> {
    const LOOK: i32 = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    Some(match nr.cast_signed() as libc::c_long {
        libc::SYS_newfstatat => (3, LOOK | libc::AT_NO_AUTOMOUNT),
        libc::SYS_statx => (2, LOOK | libc::AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE),
        libc::SYS_faccessat2 => (3, LOOK | libc::AT_EACCESS),
        libc::SYS_unlinkat => (2, libc::AT_REMOVEDIR),
        libc::SYS_linkat => (4, libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH),
        libc::SYS_fchownat => (4, LOOK),
        libc::SYS_fchmodat2 | libc::SYS_utimensat => (3, LOOK),
        _ => return None,
    })
}

/// `AT_STATX_SYNC_TYPE`
const AT_STATX_SYNC_TYPE: i32 = 0x6000;

/// The arguments of a call, with the conversions the kernel makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args(pub(crate) [usize; 6]);

impl Args {
    /// An argument as it is.
    pub(crate) fn raw(self, index: usize) -> usize {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// A descriptor or another 32-bit number.
    #[expect(clippy::cast_possible_truncation, reason = "the kernel looks at 32 bits")]
    pub(crate) fn int(self, index: usize) -> i32 {
        (self.raw(index) as u32).cast_signed()
    }

    /// An unsigned 32-bit number.
    #[expect(clippy::cast_possible_truncation, reason = "the kernel looks at 32 bits")]
    pub(crate) fn uint(self, index: usize) -> u32 {
        self.raw(index) as u32
    }

    /// A signed 64-bit number.
    pub(crate) fn long(self, index: usize) -> i64 {
        self.raw(index).cast_signed() as i64
    }
}
