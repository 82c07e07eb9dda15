//! The own process as a [`Guest`], and raw system calls on own memory.
//!
//! Strings are read by `process_vm_readv`, which answers a bad address with EFAULT instead of a
//! crash. Data are copied plainly; the ends of a buffer are probed first, and the last buffer that
//! was found good is remembered (programs use the same one again and again).
#![expect(unsafe_code, reason = "memory that the guest named by address; raw system calls")]

use crate::{borrow, fds, guard::Places};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use libc::c_int;
use parrot_common::guest::{FdClass, Forget, Guest};
use parrot_common::resolve::missing::Recent;
use parrot_common::shadow::{Kind, ShadowId};
use parrot_common::sys::{self, arg};
use parrot_common::{Errno, Opened};
use syscalls::Sysno;

/// A raw system call whose pointers are live memory of the caller.
pub(crate) fn raw(nr: Sysno, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: callers in this crate pass numbers, or addresses of buffers that they hold; the
    // guest's own addresses are the guest's promise.
    unsafe { sys::call(nr, args) }
}

/// As [`raw`], by number and with the unsplit result.
pub(crate) fn raw_number(nr: usize, args: [usize; 6]) -> isize {
    // SAFETY: as in `raw`.
    unsafe { sys::raw(nr, args) }
}

/// A `struct stat` of zeros.
pub(crate) fn zeroed_stat() -> libc::stat {
    // SAFETY: integers only.
    unsafe { core::mem::zeroed() }
}

/// A mapping of zeros, or `None`.
pub(crate) fn map_zeroed(len: usize) -> Option<usize> {
    let prot = arg(libc::PROT_READ | libc::PROT_WRITE);
    let flags = arg(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    raw(Sysno::mmap, [0, len, prot, flags, arg(-1), 0]).ok()
}

/// Ends a mapping of [`map_zeroed`].
pub(crate) fn unmap(at: usize, len: usize) {
    let _ = raw(Sysno::munmap, [at, len, 0, 0, 0, 0]);
}

/// A large value that is mapped at its first use. The library's variables are one page, which every
/// process pays for at its start; what is large is paid for by those that use it.
#[derive(Debug)]
pub(crate) struct Mapped<T>(AtomicPtr<T>);

/// A value that everybody may share and that fresh memory is.
///
/// # Safety
/// Zero bytes are a value of the type.
pub(crate) unsafe trait Zeroed: Sync {}

// SAFETY: zeros are numbers.
unsafe impl<const N: usize> Zeroed for [AtomicU8; N] {}
// SAFETY: zeros are numbers.
unsafe impl<const N: usize> Zeroed for [AtomicU64; N] {}
// SAFETY: it is made of numbers, and promises that zeros are an empty one.
unsafe impl Zeroed for Recent {}

impl<T: Zeroed> Mapped<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The value, if it was used before.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or a mapping of zeros that stays.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// The value; `None` when there is no memory for it.
    #[inline]
    pub(crate) fn get_or_map(&self) -> Option<&'static T> {
        self.get().or_else(|| self.map())
    }

    #[cold]
    fn map(&self) -> Option<&'static T> {
        let fresh = map_zeroed(size_of::<T>())?;
        let at = core::ptr::with_exposed_provenance_mut(fresh);
        let (none, order) = (core::ptr::null_mut(), Ordering::AcqRel);
        if self.0.compare_exchange(none, at, order, Ordering::Acquire).is_err() {
            unmap(fresh, size_of::<T>());
        }
        self.get()
    }
}

/// The umask, or more than `u32::MAX >> 1` when it must be asked for.
static UMASK: AtomicU32 = AtomicU32::new(u32::MAX);

/// Notes the umask that the program has set.
pub(crate) fn set_umask(mask: u32) {
    let mask = if borrow::is_lent() { u32::MAX } else { mask & 0o777 };
    UMASK.store(mask, Ordering::Relaxed);
}

/// Reads memory that may not be there; the number of bytes read.
fn read_checked(addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: out.len() };
    let remote =
        libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(addr), iov_len: out.len() };
    let local = core::ptr::from_ref(&local) as usize;
    let remote = core::ptr::from_ref(&remote) as usize;
    let pid = arg(sys::getpid());
    match raw(Sysno::process_vm_readv, [pid, local, 1, remote, 1, 0]) {
        Err(Errno::ENOSYS | Errno::EPERM) => {
            // A sandbox without this call: as libc would.
            let from = core::ptr::with_exposed_provenance::<u8>(addr);
            // SAFETY: the guest promised libc a readable object here.
            unsafe { core::ptr::copy(from, out.as_mut_ptr(), out.len()) };
            Ok(out.len())
        }
        other => other,
    }
}

/// The calling program, in one call.
#[derive(Debug)]
pub(crate) struct Own<'s> {
    pub(crate) places: &'s mut Places,
    /// The last buffer that was found to be there: start and end.
    pub(crate) good: &'s mut (usize, usize),
}

impl Own<'_> {
    /// Makes sure that both ends of a buffer are there.
    fn probe_ends(&mut self, addr: usize, len: usize) -> Result<(), Errno> {
        if len == 0 {
            return Ok(());
        }
        let Some(last) = addr.checked_add(len.wrapping_sub(1)) else { return Err(Errno::EFAULT) };
        if self.good.0 <= addr && last <= self.good.1 {
            return Ok(());
        }
        for at in [addr, last] {
            read_checked(at, &mut [0])?;
        }
        *self.good = (addr & !4095, last | 4095);
        Ok(())
    }
}

impl Guest for Own<'_> {
    fn read(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        if out.is_empty() {
            return Ok(0);
        }
        if out.len() <= 4096 {
            return read_checked(addr, out);
        }
        self.probe_ends(addr, out.len())?;
        let from = core::ptr::with_exposed_provenance::<u8>(addr);
        // SAFETY: the guest's buffer, both of whose ends are mapped; `copy` because the two may
        // be the same memory for all we know.
        unsafe { core::ptr::copy(from, out.as_mut_ptr(), out.len()) };
        Ok(out.len())
    }

    fn write(&mut self, addr: usize, data: &[u8]) -> Result<(), Errno> {
        self.probe_ends(addr, data.len())?;
        let to = core::ptr::with_exposed_provenance_mut::<u8>(addr);
        // SAFETY: the guest's buffer for the kernel to write to, both of whose ends are mapped.
        unsafe { core::ptr::copy(data.as_ptr(), to, data.len()) };
        Ok(())
    }

    fn read_str(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        let mut done: usize = 0;
        loop {
            let at = addr.wrapping_add(done);
            // Names are short: small pieces, never across a page border.
            let chunk = 4096_usize.wrapping_sub(at % 4096).min(256);
            let room = out.len().saturating_sub(done).min(chunk);
            let end = done.saturating_add(room);
            let place = out.get_mut(done..end).unwrap_or_default();
            if place.is_empty() {
                return Err(Errno::ENAMETOOLONG);
            }
            let got = read_checked(at, place)?;
            let text = place.get(..got).unwrap_or_default();
            if let Some(len) = text.iter().position(|&b| b == 0) {
                return Ok(done.saturating_add(len));
            }
            if got == 0 {
                return Err(Errno::EFAULT);
            }
            done = done.saturating_add(got);
        }
    }

    fn place(&mut self, data: &[u8]) -> Result<usize, Errno> {
        self.places.put(data).ok_or(Errno::ENOMEM)
    }

    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        let result = raw_number(nr, args);
        if nr == Sysno::mmap.id() as usize
            && let Ok(mapped) = Errno::check(result)
        {
            // An exec's new arguments.
            borrow::leaves(mapped, args[1]);
        }
        result
    }

    fn fd_class(&mut self, fd: i32) -> FdClass {
        fds::class(fd)
    }

    fn known_fd(&mut self, fd: i32) -> Option<FdClass> {
        fds::known(fd)
    }

    fn cwd_class(&mut self) -> FdClass {
        fds::cwd()
    }

    fn fd_path(&mut self, fd: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let fd = (fd != libc::AT_FDCWD).then_some(fd);
        fds::kernel_name(fd, out).ok_or(Errno::EBADF)
    }

    fn forget(&mut self, what: Forget) {
        match what {
            Forget::Cwd => fds::forget_cwd(),
            Forget::Fd(fd) => fds::forget(fd),
        }
    }

    fn install(&mut self, opened: Opened, _flags: i32) -> Result<i32, Errno> {
        // The descriptor came over the socket: it has the lowest free number and the right
        // close-on-exec flag already.
        let Opened { fd, id, kind, writable } = opened;
        fds::set(fd, FdClass::Shadow { id, kind, writable });
        Ok(fd)
    }

    fn install_cwd(&mut self, opened: Opened) -> Result<(), Errno> {
        let result = raw(Sysno::fchdir, [arg(opened.fd), 0, 0, 0, 0, 0]);
        sys::close(opened.fd);
        result?;
        fds::set_cwd(dir(opened.id));
        Ok(())
    }

    fn map(&mut self, fd: i32, args: [usize; 6]) -> Result<usize, Errno> {
        let [addr, len, prot, flags, _, offset] = args;
        let result = raw(Sysno::mmap, [addr, len, prot, flags, arg(fd), offset]);
        sys::close(fd);
        result
    }

    fn maps(&mut self) -> Result<i32, Errno> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        sys::openat(libc::AT_FDCWD, b"/proc/self/maps\0", flags, 0)
    }

    fn seek(&mut self, fd: i32, offset: i64, whence: i32) -> Result<i64, Errno> {
        let args = [arg(fd), (offset as isize).cast_unsigned(), arg(whence), 0, 0, 0];
        raw(Sysno::lseek, args).map(|at| at.cast_signed() as i64)
    }

    fn umask(&mut self) -> u32 {
        let known = UMASK.load(Ordering::Relaxed);
        if known <= 0o777 {
            return known;
        }
        // There is no call that only reads it. Once; the program's own changes are seen.
        let old = raw(Sysno::umask, [0o077, 0, 0, 0, 0, 0]).unwrap_or(0o022);
        let _ = raw(Sysno::umask, [old, 0, 0, 0, 0, 0]);
        let old = u32::try_from(old).unwrap_or(0o022);
        set_umask(old);
        old
    }

    fn fd_flags(&mut self, fd: i32) -> Result<c_int, Errno> {
        fds::flags(fd).ok_or(Errno::EBADF)
    }

    fn pid(&mut self) -> i32 {
        sys::getpid()
    }

    fn kernel_decides(
        &mut self,
        _: &parrot_common::mountlist::Table<'_>,
        _: i32,
        _: &[u8],
    ) -> Option<bool> {
        None
    }
}

/// The class of a remote directory.
const fn dir(id: ShadowId) -> FdClass {
    FdClass::Shadow { id, kind: Kind::Dir, writable: false }
}
