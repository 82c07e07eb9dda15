//! The minimal agent by `LD_PRELOAD`, made with `redhook`: catches the calls of `agents/symbols.h`,
//! counts them, changes nothing. It answers one call, `close(-1077)`, so that the program that is
//! measured can tell that it is caught.
//!
//! Runs in the process that is measured. It is not the shim: it shows what the crate costs, above
//! all at exec, where it brings the standard library into every process.
//!
//! # Safety
//! Every function hands its arguments to the libc function of the same name, as it got them.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

macro_rules! catch {
    ($name:ident => $mine:ident ($($arg:ident: $type:ty),*) -> $result:ty) => {
        redhook::hook! {
            unsafe fn $name($($arg: $type),*) -> $result => $mine {
                count();
                redhook::real!($name)($($arg),*)
            }
        }
    };
}

catch!(getpid => my_getpid() -> c_int);
catch!(read => my_read(fd: c_int, to: *mut c_void, size: usize) -> isize);
catch!(write => my_write(fd: c_int, from: *const c_void, size: usize) -> isize);
catch!(pread => my_pread(fd: c_int, to: *mut c_void, size: usize, at: c_long) -> isize);
catch!(pwrite => my_pwrite(fd: c_int, from: *const c_void, size: usize, at: c_long) -> isize);
catch!(open => my_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int);
catch!(openat => my_openat(dir: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int);
catch!(stat => my_stat(path: *const c_char, to: *mut c_void) -> c_int);
catch!(lstat => my_lstat(path: *const c_char, to: *mut c_void) -> c_int);
catch!(fstat => my_fstat(fd: c_int, to: *mut c_void) -> c_int);
catch!(lseek => my_lseek(fd: c_int, at: c_long, how: c_int) -> c_long);
catch!(getdents64 => my_getdents64(fd: c_int, to: *mut c_void, size: usize) -> isize);
catch!(access => my_access(path: *const c_char, mode: c_int) -> c_int);
catch!(chdir => my_chdir(path: *const c_char) -> c_int);

redhook::hook! {
    unsafe fn close(fd: c_int) -> c_int => my_close {
        count();
        if fd == -1077 { 77 } else { redhook::real!(close)(fd) }
    }
}
