//! Processes: fork(2), the end of one, and syscall(2).
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use crate::{borrow, guard};
use core::sync::atomic::{AtomicBool, Ordering};
use parrot_common::syscall::{Policy, TABLE};

hook! {
    /// fork(2)
    fn [fork]() -> c_int {
        resolve_all();
        namespace::changed();
        let child = real();
        if child == 0 {
            guard::after_fork();
        }
        child
    }
    /// system(3): libc's own; what it runs may change what names mean.
    fn [system](command: *const c_char) -> c_int {
        namespace::changed();
        real(command)
    }
    /// popen(3): as system(3).
    fn [popen](command: *const c_char, mode: *const c_char) -> *mut libc::FILE {
        namespace::changed();
        real(command, mode)
    }
    /// daemon(3): forks, changes the directory and the standard descriptors inside libc.
    fn [daemon](keep_dir: c_int, keep_streams: c_int) -> c_int {
        // The parent ends inside.
        end();
        let result = real(keep_dir, keep_streams);
        fds::forget_cwd();
        fds::forget_range(0, 2);
        guard::after_fork();
        result
    }
    /// forkpty(3)
    fn [forkpty](
        main: *mut c_int, name: *mut c_char, term: *const c_void, size: *const c_void
    ) -> c_int {
        resolve_all();
        let child = real(main, name, term, size);
        if child == 0 {
            fds::forget_range(0, 2);
            guard::after_fork();
        }
        child
    }
    /// login_tty(3)
    fn [login_tty](fd: c_int) -> c_int {
        let result = real(fd);
        fds::forget_range(0, 2);
        result
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
    /// pthread_cancel(3): from now on libc's own functions open, for a thread may have to end there.
    fn [pthread_cancel](thread: usize) -> c_int {
        lane::cancels();
        real(thread)
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
        if caught(number) == PASS {
            return real(nr, a, b, c, d, e, f);
        }
        by_number(number, [a, b, c, d, e, f], || real(nr, a, b, c, d, e, f))
    }
}

/// vfork(2): see [`crate::borrow`]. The return address is in a register while the child has the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(crate) extern "C" fn vfork() -> c_int {
    core::arch::naked_asm!(
        "sub rsp, 8",
        "call {lend}",
        "add rsp, 8",
        "test al, al",
        "jz {fork}",
        "pop rdi",
        "mov eax, {number}",
        "syscall",
        "push rdi",
        "test rax, rax",
        "jz 2f",
        "mov rdi, rax",
        "sub rsp, 8",
        "call {returned}",
        "add rsp, 8",
        "2:",
        "ret",
        lend = sym lend,
        fork = sym fork,
        number = const libc::SYS_vfork,
        returned = sym borrow::returned,
    )
}

#[cfg(target_arch = "x86_64")]
extern "C" fn lend() -> bool {
    borrow::lend()
}

/// vfork(2) is fork(2) here.
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn vfork() -> c_int {
    fork()
}

/// Looks up what forked children call, while no other thread can hold the loader's lock.
fn resolve_all() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    use super::{cwd, data, descriptor, open, stat};
    descriptor::close::resolve();
    descriptor::close_range::resolve();
    descriptor::dup::resolve();
    descriptor::dup2::resolve();
    descriptor::fcntl::resolve();
    data::read::resolve();
    data::write::resolve();
    data::lseek::resolve();
    open::open::resolve();
    open::open64::resolve();
    stat::stat::resolve();
    stat::access::resolve();
    cwd::chdir::resolve();
    _exit::resolve();
}

/// What the table says of each call, by number: nothing to do, a handler wants to see it, or only
/// when its first argument is not a plain descriptor. (The table itself is full of pointers.)
#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
static CAUGHT: [u8; 512] = {
    let mut kinds = [PASS; 512];
    let mut row = 0;
    while row < TABLE.len() {
        let nr = TABLE[row].nr;
        if nr < 512 {
            kinds[nr] = match TABLE[row].policy {
                Policy::Pass(_) => PASS,
                Policy::Fd(&[0], _) => ON_FD,
                _ => ALWAYS,
            };
        }
        row = usize::wrapping_add(row, 1);
    }
    kinds
};
const PASS: u8 = 0;
const ON_FD: u8 = 1;
const ALWAYS: u8 = 2;

fn caught(nr: usize) -> u8 {
    CAUGHT.get(nr).copied().unwrap_or(PASS)
}

/// A call by number. Those on descriptors that are plain pass at once.
fn by_number(nr: usize, args: [usize; 6], real: impl Fn() -> c_long) -> c_long {
    let [first, ..] = args;
    let fd = first as c_int;
    if caught(nr) == ON_FD && fds::plain(fd) {
        if nr == Sysno::close.id() as usize {
            fds::forget(fd);
        }
        return real();
    }
    namespace::changed();
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
