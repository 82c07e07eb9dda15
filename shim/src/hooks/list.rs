//! What lists directories inside libc: scandir(3), glob(3).
#![expect(
    unsafe_code,
    reason = "exported symbols; arrays in malloc's memory, as the callers expect"
)]

use super::prelude::*;
use libc::{DIR, dirent, glob_t};

type Filter = Option<unsafe extern "C" fn(*const dirent) -> c_int>;
type Order = Option<unsafe extern "C" fn(*const c_void, *const c_void) -> c_int>;
type GlobError = Option<unsafe extern "C" fn(*const c_char, c_int) -> c_int>;
type Names = *mut *mut dirent;

hook! {
    /// scandir(3)
    fn [scandir scandir64](path: *const c_char, to: *mut Names, filter: Filter, order: Order) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) {
            let count = real(path, to, filter, order);
            if count >= 0 || c::errno() != libc::ENOENT {
                return count;
            }
        }
        scan(super::dir::opendir(path), to, filter, order)
    }
    /// scandirat(3)
    fn [scandirat scandirat64](
        dir: c_int, path: *const c_char, to: *mut Names, filter: Filter, order: Order
    ) -> c_int {
        if namespace::plain_name(dir, path) {
            let count = real(dir, path, to, filter, order);
            if count >= 0 || c::errno() != libc::ENOENT {
                return count;
            }
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let fd = super::open::openat(dir, path, flags, 0);
        if fd < 0 {
            return -1;
        }
        scan(super::dir::fdopendir(fd), to, filter, order)
    }
    /// glob(3): libc's own, with our functions for listing where the pattern may be ours.
    fn [glob glob64](pattern: *const c_char, flags: c_int, error: GlobError, to: *mut glob_t) -> c_int {
        /// `GLOB_ALTDIRFUNC`
        const ALTERNATIVE: c_int = 1 << 9;
        if namespace::plain_name(AT_FDCWD, pattern) || flags & ALTERNATIVE != 0 {
            return real(pattern, flags, error, to);
        }
        let functions = core::ptr::from_ref(&FUNCTIONS).cast::<u8>();
        let place = to.cast::<u8>().wrapping_add(FUNCTIONS_AT);
        // SAFETY: the five function pointers of the caller's glob_t.
        unsafe { core::ptr::copy_nonoverlapping(functions, place, size_of::<Functions>()) };
        real(pattern, flags | ALTERNATIVE, error, to)
    }
}

/// The functions at the end of `glob_t`.
#[derive(Debug)]
#[repr(C)]
struct Functions {
    close: extern "C" fn(*mut DIR) -> (),
    read: extern "C" fn(*mut DIR) -> *mut dirent,
    open: extern "C" fn(*const c_char) -> *mut DIR,
    lstat: extern "C" fn(*const c_char, *mut libc::stat) -> c_int,
    stat: extern "C" fn(*const c_char, *mut libc::stat) -> c_int,
}

/// After count, list, offset and flags.
const FUNCTIONS_AT: usize = 32;

static FUNCTIONS: Functions = Functions {
    close: close_dir,
    read: super::dir::readdir,
    open: super::dir::opendir,
    lstat: super::stat::lstat,
    stat: super::stat::stat,
};

extern "C" fn close_dir(dir: *mut DIR) {
    super::dir::closedir(dir);
}

fn scan(dir: *mut DIR, to: *mut Names, filter: Filter, order: Order) -> c_int {
    if dir.is_null() {
        return -1;
    }
    let before = c::errno();
    let mut list: Names = core::ptr::null_mut();
    let (mut count, mut room) = (0_usize, 0_usize);
    loop {
        c::set_errno(0);
        let entry = super::dir::readdir(dir);
        if entry.is_null() {
            break;
        }
        // SAFETY: the caller's function, called as scandir(3) says.
        if filter.is_some_and(|filter| unsafe { filter(entry) } == 0) {
            continue;
        }
        if count == room {
            room = room.saturating_mul(2).max(64);
            let bytes = room.saturating_mul(size_of::<*mut dirent>());
            let grown: Names = c::realloc(list.cast(), bytes).cast();
            if grown.is_null() {
                c::set_errno(libc::ENOMEM);
                break;
            }
            list = grown;
        }
        // SAFETY: an entry, valid until the next readdir.
        let length = usize::from(unsafe { (*entry).d_reclen });
        let copy = c::malloc(length);
        if copy.is_null() {
            c::set_errno(libc::ENOMEM);
            break;
        }
        // SAFETY: both hold `length` bytes.
        unsafe { core::ptr::copy_nonoverlapping(entry.cast::<u8>(), copy.cast(), length) };
        c::poke(list.wrapping_add(count), copy.cast());
        count = count.wrapping_add(1);
    }
    let errno = c::errno();
    super::dir::closedir(dir);
    if errno != 0 {
        for index in 0..count {
            c::free(c::peek(list.wrapping_add(index)).cast());
        }
        c::free(list.cast());
        c::set_errno(errno);
        return -1;
    }
    if order.is_some() && count > 1 {
        c::qsort(list.cast(), count, size_of::<*mut dirent>(), order);
    }
    c::set_errno(before);
    c::poke(to, list);
    c_int::try_from(count).unwrap_or(c_int::MAX)
}
