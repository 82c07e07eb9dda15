//! Raw system calls, for code that runs where libc's symbols may be replaced.
#![expect(unsafe_code, reason = "system calls")]

use crate::errno::Errno;
use syscalls::Sysno;

/// Makes a system call; the result is the kernel's raw value (-4095…-1 is an error).
///
/// # Safety
/// As the system call: pointers among the arguments must be valid for what the call does.
pub unsafe fn raw(nr: usize, a: [usize; 6]) -> isize {
    let [a0, a1, a2, a3, a4, a5] = a;
    // SAFETY: the caller's promise.
    let value = unsafe { syscalls::raw::syscall6(nr, a0, a1, a2, a3, a4, a5) };
    value.cast_signed()
}

/// The number of a call, as a register holds it.
#[must_use]
pub const fn number(nr: Sysno) -> usize {
    nr as usize
}

/// Makes a system call whose pointers are the caller's promise and splits the result.
///
/// # Safety
/// As [`raw`].
///
/// # Errors
/// Whatever the kernel says.
pub unsafe fn call(nr: Sysno, a: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    Errno::check(unsafe { raw(number(nr), a) })
}

/// `close(2)`; errors are of no use to anybody here.
pub fn close(fd: i32) {
    // SAFETY: no pointers; the descriptor is the caller's own.
    let _ = unsafe { call(Sysno::close, [arg(fd), 0, 0, 0, 0, 0]) };
}

/// A 32-bit argument in a register, sign-extended as the kernel's own prototypes do.
#[must_use]
pub const fn arg(value: i32) -> usize {
    (value as isize).cast_unsigned()
}

/// `readlink(2)` relative to a directory descriptor; `path` must end with a zero byte.
///
/// # Errors
/// As readlinkat(2); EINVAL also for a path without its zero byte.
pub fn readlinkat(dirfd: i32, path: &[u8], out: &mut [u8]) -> Result<usize, Errno> {
    terminated(path)?;
    let args = [arg(dirfd), path.as_ptr() as usize, out.as_mut_ptr() as usize, out.len(), 0, 0];
    // SAFETY: `path` is terminated, `out` is writable for its length.
    unsafe { call(Sysno::readlinkat, args) }
}

/// `openat(2)`; `path` must end with a zero byte.
///
/// # Errors
/// As openat(2).
pub fn openat(dirfd: i32, path: &[u8], flags: i32, mode: u32) -> Result<i32, Errno> {
    terminated(path)?;
    let args = [arg(dirfd), path.as_ptr() as usize, arg(flags), mode as usize, 0, 0];
    // SAFETY: `path` is terminated.
    let fd = unsafe { call(Sysno::openat, args) }?;
    i32::try_from(fd).map_err(|_| Errno::EBADF)
}

/// Checks that a path given to the kernel ends where it says.
fn terminated(path: &[u8]) -> Result<(), Errno> {
    if path.last() == Some(&0) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The caller's process id.
#[must_use]
pub fn getpid() -> i32 {
    // SAFETY: no arguments.
    let pid = unsafe { raw(number(Sysno::getpid), [0; 6]) };
    i32::try_from(pid).unwrap_or(0)
}

/// The caller's thread id.
#[must_use]
pub fn gettid() -> i32 {
    // SAFETY: no arguments.
    let tid = unsafe { raw(number(Sysno::gettid), [0; 6]) };
    i32::try_from(tid).unwrap_or(0)
}
