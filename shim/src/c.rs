//! What the shim uses of libc: functions that are never interposed, declared once.
#![expect(unsafe_code, reason = "foreign functions")]

use core::ffi::{c_char, c_int, c_void};
use libc::FILE;

// SAFETY (of the whole block): signatures as in the C library's headers. Those that take pointers
// get them from the calling program or from us; see "Safety" in the crate's documentation.
unsafe extern "C" {
    pub(crate) safe fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    pub(crate) safe fn dlvsym(
        handle: *mut c_void,
        name: *const c_char,
        version: *const c_char,
    ) -> *mut c_void;
    pub(crate) safe fn dladdr(address: *const c_void, info: *mut libc::Dl_info) -> c_int;
    pub(crate) safe fn malloc(size: usize) -> *mut c_void;
    pub(crate) safe fn realloc(at: *mut c_void, size: usize) -> *mut c_void;
    pub(crate) safe fn free(at: *mut c_void);
    pub(crate) safe fn strlen(text: *const c_char) -> usize;
    pub(crate) safe fn qsort(base: *mut c_void, count: usize, size: usize, order: Option<Order>);
    safe fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int;
    safe fn __errno_location() -> *mut c_int;
    safe fn abort() -> !;
    pub(crate) static mut environ: *mut *mut c_char;
    pub(crate) safe fn fileno(stream: *mut FILE) -> c_int;
    pub(crate) safe fn fflush(stream: *mut FILE) -> c_int;
    pub(crate) safe fn fgetpwent_r(
        stream: *mut FILE,
        to: *mut libc::passwd,
        text: *mut c_char,
        len: usize,
        result: *mut *mut libc::passwd,
    ) -> c_int;
    pub(crate) safe fn fgetgrent_r(
        stream: *mut FILE,
        to: *mut libc::group,
        text: *mut c_char,
        len: usize,
        result: *mut *mut libc::group,
    ) -> c_int;
    pub(crate) safe fn __fpurge(stream: *mut FILE);
    pub(crate) safe fn getc(stream: *mut FILE) -> c_int;
    pub(crate) safe fn putc(byte: c_int, stream: *mut FILE) -> c_int;
    pub(crate) safe fn ungetc(byte: c_int, stream: *mut FILE) -> c_int;
    pub(crate) safe fn mbrtowc(
        to: *mut i32,
        from: *const c_char,
        len: usize,
        state: *mut c_void,
    ) -> usize;
    pub(crate) safe fn wcrtomb(to: *mut c_char, wide: i32, state: *mut c_void) -> usize;
    pub(crate) safe fn fopencookie(
        cookie: *mut c_void,
        mode: *const c_char,
        functions: Cookie,
    ) -> *mut FILE;
    pub(crate) safe fn posix_spawnattr_getflags(attr: *const c_void, flags: *mut i16) -> c_int;
    pub(crate) safe fn posix_spawnattr_getpgroup(attr: *const c_void, group: *mut i32) -> c_int;
    pub(crate) safe fn posix_spawnattr_getsigmask(
        attr: *const c_void,
        set: *mut libc::sigset_t,
    ) -> c_int;
    pub(crate) safe fn posix_spawnattr_getsigdefault(
        attr: *const c_void,
        set: *mut libc::sigset_t,
    ) -> c_int;
}

/// A comparison for [`qsort`].
pub(crate) type Order = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

/// `cookie_io_functions_t`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Cookie {
    pub(crate) read: Option<extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    pub(crate) write: Option<extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    pub(crate) seek: Option<extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    pub(crate) close: Option<extern "C" fn(*mut c_void) -> c_int>,
}

/// This thread's errno.
pub(crate) fn errno() -> c_int {
    // SAFETY: libc's pointer to this thread's errno.
    unsafe { *__errno_location() }
}

/// Sets this thread's errno.
pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: libc's pointer to this thread's errno.
    unsafe { *__errno_location() = errno }
}

/// Nanoseconds since some time, in steps of milliseconds. No system call.
pub(crate) fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time);
    let seconds = time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000);
    seconds.wrapping_add(time.tv_nsec.cast_unsigned())
}

/// Ends the process: something happened that cannot happen.
pub(crate) fn trap() -> ! {
    abort()
}

/// The bytes of a C string, without the zero byte; empty for a null pointer.
pub(crate) fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.addr() < 4096 {
        return &[];
    }
    // SAFETY: a zero-terminated string by the caller's promise to libc, alive during the call.
    unsafe { core::slice::from_raw_parts(text.cast(), strlen(text)) }
}

/// Reads one value where the program promised one.
pub(crate) fn peek<T: Copy>(at: *const T) -> T {
    // SAFETY: the calling program promised libc a readable value here.
    unsafe { at.read_unaligned() }
}

/// Writes one value where the program promised room for one.
pub(crate) fn poke<T: Copy>(at: *mut T, value: T) {
    // SAFETY: the calling program promised libc room for a value here.
    unsafe { at.write_unaligned(value) }
}

/// The environment as libc has it now.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: libc's variable; a plain load.
    unsafe { environ.cast::<*const c_char>() }.cast_const()
}
