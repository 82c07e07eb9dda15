//! The lane (`parrot_common::lane`): under `parrot-trace` this library decides nothing, but it spares
//! the program the tracer's stop for names that are none of ours as far as their text tells.
//!
//! A call goes by the lane and its answer counts, unless the kernel found nothing: then libc's
//! function makes it again, the filter stops it, and the tracer resolves the name in full. A relative
//! name that is found needs no look at the directory it begins in: a remote one is, for the kernel, a
//! directory that was removed, in which nothing is found.
#![expect(unsafe_code, reason = "a page of code, and the call into it")]

use crate::{borrow, c, init, memory, namespace};
use core::ffi::c_char;
use core::sync::atomic::{AtomicU8, Ordering};
use libc::c_int;
use parrot_common::Errno;
use parrot_common::lane::{CODE, PAGE, takes};
use parrot_common::sys::arg;
use syscalls::Sysno;

/// How the lane is used in this process.
static STATE: AtomicU8 = AtomicU8::new(CLOSED);
const CLOSED: u8 = 0;
const OPEN: u8 = 1;
/// As OPEN, but files are opened by libc: a thread was cancelled, and that is where it ends.
const CANCELS: u8 = 2;

/// Whether there is a lane.
#[inline(always)]
pub(crate) fn open() -> bool {
    STATE.load(Ordering::Relaxed) != CLOSED
}

/// Opens the lane, in a process that a tracer works for. The rules must be known.
pub(crate) fn start() {
    if make_page().is_some() {
        STATE.store(OPEN, Ordering::Relaxed);
    }
}

/// Puts the code to its place, if that is free.
fn make_page() -> Option<()> {
    const LEN: usize = 4096;
    let (write, run) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let at = memory::raw(Sysno::mmap, [PAGE, LEN, arg(write), arg(flags), arg(-1), 0]).ok()?;
    if at == PAGE {
        c::poke(core::ptr::with_exposed_provenance_mut(at), CODE);
        if memory::raw(Sysno::mprotect, [at, LEN, arg(run), 0, 0, 0]).is_ok() {
            return Some(());
        }
    }
    memory::unmap(at, LEN);
    None
}

/// A thread of this program is being cancelled.
pub(crate) fn cancels() {
    let _ = STATE.compare_exchange(OPEN, CANCELS, Ordering::Relaxed, Ordering::Relaxed);
}

/// Makes a call from the lane.
pub(crate) fn call(nr: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the page holds `syscall; ret` (see `make_page`), which changes what a system call does
    // and nothing else; the arguments are the program's promise to libc.
    unsafe {
        core::arch::asm!(
            "call {page}",
            page = in(reg) PAGE,
            inlateout("rax") nr => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Makes a call with one name from the lane; its raw result, or `None` when it is for the tracer (or
/// there is none).
#[inline(always)]
pub(crate) fn named(
    dirfd: c_int,
    path: *const c_char,
    nr: Sysno,
    args: [usize; 6],
) -> Option<isize> {
    if open() { judged(dirfd, path, nr, args) } else { None }
}

#[cold]
#[inline(never)]
fn judged(dirfd: c_int, path: *const c_char, nr: Sysno, args: [usize; 6]) -> Option<isize> {
    let nr = nr.id() as usize;
    if !takes(nr) || !namespace::plain_for_lane(path) {
        return None;
    }
    if nr == Sysno::openat.id() as usize && may_be_cancelled(dirfd, path) {
        return None;
    }
    let result = call(nr, args);
    let errno = c_int::try_from(result.wrapping_neg()).unwrap_or(0);
    match errno {
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP => {
            namespace::certainly_missing_by_lane(dirfd, path, errno).then_some(result)
        }
        _ => Some(result),
    }
}

/// Whether opening a name is where a thread may have to end: one that is cancelled already, or that
/// would wait (a pipe, a device).
fn may_be_cancelled(dirfd: c_int, path: *const c_char) -> bool {
    if STATE.load(Ordering::Relaxed) == CANCELS {
        return true;
    }
    if borrow::alone() {
        return false;
    }
    match attributes(dirfd, path) {
        Some(about) => !matches!(about.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR),
        None => false,
    }
}

/// What the kernel says of a name.
fn attributes(dirfd: c_int, path: *const c_char) -> Option<libc::stat> {
    let mut about = memory::zeroed_stat();
    let to = core::ptr::from_mut(&mut about).expose_provenance();
    let args = [arg(dirfd), path.expose_provenance(), to, 0, 0, 0];
    (call(Sysno::newfstatat.id() as usize, args) == 0).then_some(about)
}

/// Puts the working directory's name into a buffer, if the kernel has the right one.
pub(crate) fn working_directory(to: *mut c_char, len: usize) -> bool {
    open()
        && namespace::relative_for_lane()
        && call(Sysno::getcwd.id() as usize, [to.expose_provenance(), len, 0, 0, 0, 0]) > 0
        && c::peek(to.cast::<u8>()) == b'/'
}

/// Whether the kernel finds no file of this name and no mount can have it: no need to try to run it.
pub(crate) fn no_program(path: *const c_char) -> Option<isize> {
    let args = [arg(libc::AT_FDCWD), path.expose_provenance(), 0, 0, 0, 0];
    named(libc::AT_FDCWD, path, Sysno::faccessat, args)
        .filter(|&result| [Errno::ENOENT, Errno::ENOTDIR].iter().any(|errno| errno.raw() == result))
}

/// Whether a directory that a name begins in still has a name itself: a remote one has none.
pub(crate) fn is_a_place(dirfd: c_int) -> bool {
    attributes(dirfd, c".".as_ptr()).is_some_and(|about| about.st_nlink > 0)
}

/// What the tracer says in the environment: the directory of its session, or just that it is there.
pub(crate) fn rules() -> Option<&'static [u8]> {
    init::traced().filter(|value| value.starts_with(b"/"))
}
