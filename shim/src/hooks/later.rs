//! Reading and writing later: aio_read(3), aio_write(3), aio_fsync(3).
//!
//! libc's own threads make these calls past the hooks. Where the bytes are not the kernel's, the call is
//! made at once, and is over when the function returns: aio_error(3) and aio_return(3) say how it went.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;

/// The parts of `struct aiocb` of glibc, 64 bits, that are looked at.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    fd: c_int,
    kind: c_int,
    priority: c_int,
    buffer: *mut c_void,
    len: usize,
    /// `struct sigevent`: value, signal, how to tell.
    value: usize,
    signal: c_int,
    notify: c_int,
    rest: [u64; 6],
    next: *mut c_void,
    absolute: [c_int; 2],
    error: c_int,
    result: ssize_t,
    offset: off_t,
}
const _: () = assert!(core::mem::offset_of!(Block, error) == 112);
const _: () = assert!(core::mem::offset_of!(Block, offset) == 128);

/// `SIGEV_SIGNAL`, `SIGEV_THREAD`, `SI_ASYNCIO`
const BY_SIGNAL: c_int = 0;
const BY_THREAD: c_int = 2;
const CODE: c_int = -4;

hook! {
    /// aio_read(3)
    fn [aio_read aio_read64](block: *mut Block) -> c_int {
        let about = c::peek(block);
        if fds::native_data(about.fd) || about.notify == BY_THREAD {
            return real(block);
        }
        over(block, || super::data::pread(about.fd, about.buffer, about.len, about.offset))
    }
    /// aio_write(3)
    fn [aio_write aio_write64](block: *mut Block) -> c_int {
        let about = c::peek(block);
        if fds::native_data(about.fd) || about.notify == BY_THREAD {
            return real(block);
        }
        over(block, || super::data::pwrite(about.fd, about.buffer, about.len, about.offset))
    }
    /// aio_fsync(3)
    fn [aio_fsync aio_fsync64](kind: c_int, block: *mut Block) -> c_int {
        let about = c::peek(block);
        if fds::plain(about.fd) || about.notify == BY_THREAD {
            return real(kind, block);
        }
        over(block, || super::data::fsync(about.fd) as ssize_t)
    }
}

/// Makes the call now, and tells as the block asks.
fn over(block: *mut Block, call: impl FnOnce() -> ssize_t) -> c_int {
    let errno = c::errno();
    let mut about = c::peek(block);
    about.result = call();
    about.error = if about.result < 0 { c::errno() } else { 0 };
    c::poke(block, about);
    c::set_errno(errno);
    if about.notify == BY_SIGNAL && about.signal > 0 {
        let pid = parrot_common::sys::getpid();
        // siginfo_t: signal, errno, code, then process, user and value.
        let mut info = [0_u64; 16];
        let at = info.as_mut_ptr().cast::<c_int>();
        c::poke(at, about.signal);
        c::poke(at.wrapping_add(2), CODE);
        c::poke(at.wrapping_add(4), pid);
        c::poke(at.wrapping_add(6).cast(), about.value);
        let args = [int(pid), int(about.signal), info.as_ptr().expose_provenance(), 0, 0, 0];
        let _ = memory::raw(Sysno::rt_sigqueueinfo, args);
    }
    0
}
