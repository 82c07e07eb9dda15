//! Processes: fork(2), the end of one, and syscall(2).
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use crate::guard;
use parrot_common::syscall::{Policy, TABLE};

hook! {
    /// fork(2)
    fn [fork]() -> c_int {
        let child = real();
        if child == 0 {
            guard::after_fork();
        }
        child
    }
    /// vfork(2) is fork(2): a child that shares our memory would change it under its parent.
    fn [vfork]() -> c_int {
        fork()
    }
    /// _exit(2): what was written is flushed before.
    fn [_exit _Exit](status: c_int) -> () {
        end();
        real(status)
    }
    /// quick_exit(3)
    fn [quick_exit](status: c_int) -> () {
        end();
        real(status)
    }
    /// umask(2): remembered, for there is no way to ask for it.
    fn [umask](mask: mode_t) -> mode_t {
        let old = real(mask);
        memory::set_umask(mask);
        old
    }
    /// syscall(2): the calls of the table, made by number.
    fn [syscall](
        nr: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize
    ) -> c_long {
        let number = nr.cast_unsigned() as usize;
        if !caught(number) {
            return real(nr, a, b, c, d, e, f);
        }
        by_number(number, [a, b, c, d, e, f], || real(nr, a, b, c, d, e, f))
    }
}

/// One bit for each call that a handler wants to see.
#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
static CAUGHT: [u64; 8] = {
    let mut bits = [0; 8];
    let mut row = 0;
    while row < TABLE.len() {
        let nr = TABLE[row].nr;
        if !matches!(TABLE[row].policy, Policy::Pass) && nr < 512 {
            bits[nr / 64] |= 1 << (nr % 64);
        }
        row = usize::wrapping_add(row, 1);
    }
    bits
};

fn caught(nr: usize) -> bool {
    CAUGHT.get(nr / 64).is_some_and(|bits| bits.wrapping_shr((nr % 64) as u32) & 1 != 0)
}

/// A call by number. Those on descriptors that are plain pass at once.
fn by_number(nr: usize, args: [usize; 6], real: impl Fn() -> c_long) -> c_long {
    let fd = args[0] as c_int;
    match TABLE.iter().find(|row| row.nr == nr).map(|row| row.policy) {
        Some(Policy::Fd([0], _)) if fds::plain(fd) => {
            if nr == Sysno::close.id() as usize {
                fds::forget(fd);
            }
            return real();
        }
        _ => {}
    }
    if nr == Sysno::execve.id() as usize {
        return c_long::from_raw(super::exec::execute(nr, args));
    }
    let step = dispatch::decide(nr, args, parrot_common::resolve::Lookup::Quick);
    let passed = !matches!(step, dispatch::Step::Value(_));
    let result = dispatch::finish(step, nr, args, real);
    let opens = [Sysno::open, Sysno::openat, Sysno::openat2, Sysno::creat];
    if passed && result >= 0 && opens.iter().any(|call| call.id() as usize == nr) {
        fds::forget(result as c_int);
    }
    result
}

/// Flushes what can write, before the process ends without libc's help.
fn end() {
    dispatch::flush_all();
}

/// At `exit`, after the program's exit handlers: what stdio holds of a remote file is written now,
/// so that the flush carries it.
pub(super) fn finish() {
    let mut any = false;
    fds::writable_shadows(|_, _| any = true);
    if any {
        c::fflush(core::ptr::null_mut());
        dispatch::flush_all();
    }
}
