//! vfork(2): a child that borrows this process's memory until it runs a program.
//!
//! It has descriptors and a working directory of its own, and what it notes of them would stand in its
//! parent's tables. So while memory is lent nothing is noted: what would be written down becomes
//! "unknown", which is true in both processes, and each looks by itself. What the child leaves behind
//! (a connection that it made, memory whose user has become another program) is cleared away when
//! the parent goes on.
//!
//! ```text
//! parent   vfork ─ lend ─▶ (waits)                          ─▶ take_back ─ returns the child's number
//! child                    returns 0, dup2, close, … execve ─┘
//! ```
//!
//! Memory is lent where that is all that can happen: by a process that has one thread and has not
//! used a session. Any other vfork is a fork.

use crate::interpose::Real;
use crate::{agent, c, guard, init, memory, namespace};
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How many children have this memory, one inside the other.
static LENT: AtomicU32 = AtomicU32::new(0);
/// Mappings that an exec takes with it, but not out of its parent: address and length.
static LEFT: [[AtomicUsize; 2]; 4] = [const { [const { AtomicUsize::new(0) }; 2] }; 4];

/// Whether a child has this memory. There is one thread then, so it is the child that asks.
#[inline(always)]
pub(crate) fn is_lent() -> bool {
    LENT.load(Ordering::Relaxed) != 0
}

/// Before a vfork: lends the memory, if that can be done.
pub(crate) fn lend() -> bool {
    namespace::changed();
    let can = init::inert() || (!agent::used() && alone() && !guard::connected());
    if can {
        LENT.fetch_add(1, Ordering::Relaxed);
    }
    can
}

/// After a vfork, in the parent.
pub(crate) fn take_back() {
    LENT.fetch_sub(1, Ordering::Relaxed);
    guard::disown();
    agent::forget_use();
    namespace::changed();
    for [at, len] in &LEFT {
        let at = at.swap(0, Ordering::Relaxed);
        if at != 0 {
            memory::unmap(at, len.load(Ordering::Relaxed));
        }
    }
}

/// In a forked child: whoever had its parent's memory does not have this one.
pub(crate) fn own() {
    LENT.store(0, Ordering::Relaxed);
}

/// A mapping that goes with an exec.
pub(crate) fn map_for_exec(len: usize) -> Option<usize> {
    let mapped = memory::map_zeroed(len)?;
    leaves(mapped, len);
    Some(mapped)
}

/// Notes a mapping that an exec was given.
pub(crate) fn leaves(mapped: usize, len: usize) {
    if is_lent()
        && let Some([at, room]) = LEFT.iter().find(|[at, _]| at.load(Ordering::Relaxed) == 0)
    {
        room.store(len, Ordering::Relaxed);
        at.store(mapped, Ordering::Relaxed);
    }
}

/// Ends a mapping of [`map_for_exec`].
pub(crate) fn unmap_for_exec(mapped: usize, len: usize) {
    for [at, _] in &LEFT {
        let order = Ordering::Relaxed;
        let _ = at.compare_exchange(mapped, 0, order, order);
    }
    memory::unmap(mapped, len);
}

/// Whether the process has one thread, as far as libc knows.
pub(crate) fn alone() -> bool {
    static SINGLE: Real = Real::new();
    let known = SINGLE.variable(c"__libc_single_threaded").cast::<c_char>();
    !known.is_null() && c::peek(known) != 0
}

/// The parent's result of a vfork.
pub(crate) extern "C" fn returned(raw: isize) -> c_int {
    use crate::dispatch::Returned as _;
    take_back();
    c_int::from_raw(raw)
}
