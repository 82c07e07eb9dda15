//! Opening: open(2), openat(2), creat(2).
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;

/// The mode is a third argument only when the flags ask for it.
const fn mode_of(flags: c_int, mode: mode_t) -> usize {
    if flags & (libc::O_CREAT | libc::O_TMPFILE) != 0 { mode as usize } else { 0 }
}

hook! {
    /// open(2)
    fn [open open64](path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        let args = [CWD, at(path), int(flags), mode_of(flags, mode), 0, 0];
        opening(AT_FDCWD, path, Sysno::openat, args, || real(path, flags, mode))
    }
    /// open(2) without a mode, from fortified programs.
    fn [__open_2 __open64_2](path: *const c_char, flags: c_int) -> c_int {
        let args = [CWD, at(path), int(flags), 0, 0, 0];
        opening(AT_FDCWD, path, Sysno::openat, args, || real(path, flags))
    }
    /// openat(2)
    fn [openat openat64](dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        let args = [int(dir), at(path), int(flags), mode_of(flags, mode), 0, 0];
        opening(dir, path, Sysno::openat, args, || real(dir, path, flags, mode))
    }
    /// openat(2) without a mode, from fortified programs.
    fn [__openat_2 __openat64_2](dir: c_int, path: *const c_char, flags: c_int) -> c_int {
        let args = [int(dir), at(path), int(flags), 0, 0, 0];
        opening(dir, path, Sysno::openat, args, || real(dir, path, flags))
    }
    /// creat(2)
    fn [creat creat64](path: *const c_char, mode: mode_t) -> c_int {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        let args = [CWD, at(path), int(flags), mode as usize, 0, 0];
        opening(AT_FDCWD, path, Sysno::openat, args, || real(path, mode))
    }
}
