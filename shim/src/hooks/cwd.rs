//! The working directory: chdir(2), getcwd(2), chroot(2).
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;

hook! {
    /// chdir(2)
    fn [chdir](path: *const c_char) -> c_int {
        let plain = namespace::plain_name(AT_FDCWD, path);
        fds::forget_cwd();
        if plain {
            return named(AT_FDCWD, path, Sysno::chdir, [at(path), 0, 0, 0, 0, 0], || real(path));
        }
        slow(Sysno::chdir, [at(path), 0, 0, 0, 0, 0], || {
            let result = real(path);
            fds::forget_cwd();
            result
        })
    }
    /// fchdir(2)
    fn [fchdir](fd: c_int) -> c_int {
        fds::forget_cwd();
        let result = on_fd(fd, Sysno::fchdir, [int(fd), 0, 0, 0, 0, 0], || real(fd));
        fds::forget_cwd();
        result
    }
    /// chroot(2)
    fn [chroot](path: *const c_char) -> c_int {
        named(AT_FDCWD, path, Sysno::chroot, [at(path), 0, 0, 0, 0, 0], || real(path))
    }
    /// getcwd(3): makes room itself when the program gives none.
    fn [getcwd](to: *mut c_char, len: usize) -> *mut c_char {
        if !to.is_null() && lane::working_directory(to, len) {
            return to;
        }
        if namespace::cwd_is_kernels() { real(to, len) } else { current(to, len, || real(to, len)) }
    }
    /// getcwd(3) from fortified programs.
    fn [__getcwd_chk](to: *mut c_char, len: usize, room: usize) -> *mut c_char {
        if namespace::cwd_is_kernels() {
            real(to, len, room)
        } else {
            current(to, len, || real(to, len, room))
        }
    }
    /// getcwd(3) into a buffer of PATH_MAX bytes.
    fn [getwd](to: *mut c_char) -> *mut c_char {
        if namespace::cwd_is_kernels() { real(to) } else { getcwd(to, 4096) }
    }
    /// getcwd(3) into new memory.
    fn [get_current_dir_name]() -> *mut c_char {
        if namespace::cwd_is_kernels() { real() } else { getcwd(core::ptr::null_mut(), 0) }
    }
}

fn current(to: *mut c_char, len: usize, real: impl Fn() -> *mut c_char) -> *mut c_char {
    let mut text = [0_u8; 4096];
    let args = [at(text.as_mut_ptr()), text.len(), 0, 0, 0, 0];
    let step =
        dispatch::decide(Sysno::getcwd.id() as usize, args, parrot_common::resolve::Lookup::Quick);
    let dispatch::Step::Value(value) = step else { return real() };
    let length: isize = Returned::from_raw(value);
    let Ok(length) = usize::try_from(length) else { return core::ptr::null_mut() };
    let text = text.get(..length.saturating_sub(1)).unwrap_or_default();
    if !to.is_null() && len == 0 {
        c::set_errno(libc::EINVAL);
        return core::ptr::null_mut();
    }
    if len != 0 && len < length {
        c::set_errno(libc::ERANGE);
        return core::ptr::null_mut();
    }
    super::names::give(text, to)
}
