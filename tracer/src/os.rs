//! System calls that neither std nor nix offers, and the ways a process ends.
#![expect(unsafe_code, reason = "raw system calls")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Sends a signal to one thread, whatever its process.
pub(crate) fn tkill(tid: i32, signal: i32) {
    // SAFETY: no pointers.
    let _ = unsafe { libc::syscall(libc::SYS_tkill, tid, signal) };
}

/// A descriptor of a process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of another process's descriptor.
pub(crate) fn pidfd_getfd(pidfd: &OwnedFd, fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })
}

fn owned(value: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(value) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor that a session handed over as a number.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the number was handed over for good; nothing else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// `fcntl(F_GETFL)` of a descriptor.
pub(crate) fn flags(fd: RawFd) -> io::Result<i32> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 { Err(io::Error::last_os_error()) } else { Ok(flags) }
}

/// Adds status flags to a descriptor; no harm if they cannot be set.
pub(crate) fn set_flags(fd: RawFd, more: i32) {
    if let Ok(flags) = flags(fd)
        && more != 0
    {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags | more) };
    }
}

/// Nanoseconds since some time, in steps of milliseconds. No system call.
pub(crate) fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// `lseek` with any `whence`.
pub(crate) fn seek(fd: &OwnedFd, offset: i64, whence: i32) -> io::Result<i64> {
    // SAFETY: no pointers.
    let at = unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) };
    if at < 0 { Err(io::Error::last_os_error()) } else { Ok(at) }
}

/// `stat` (or with `follow` = false `lstat`) of a path that ends with a zero byte: the mode.
pub(crate) fn mode_of(dir: RawFd, path: &[u8], follow: bool) -> io::Result<u32> {
    if path.last() != Some(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path is terminated (checked), the buffer is a stat.
    let value = unsafe { libc::fstatat(dir, path.as_ptr().cast(), stat.as_mut_ptr(), flags) };
    if value != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled it.
    Ok(unsafe { stat.assume_init() }.st_mode)
}

/// Ends this process by a signal, as the guest ended, without a core of ours.
pub(crate) fn die_of(signal: i32) {
    use nix::sys::resource::{Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: the default action is no handler that could break anything.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is written by sigemptyset before it is used.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the line above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: initialised; the old mask is not wanted.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: no pointers.
    unsafe { libc::raise(signal) };
}
