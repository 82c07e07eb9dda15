//! Extended attributes: getxattr(2) and its family.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;

hook! {
    /// getxattr(2)
    fn [getxattr](path: *const c_char, name: *const c_char, to: *mut c_void, len: usize) -> ssize_t {
        let args = [at(path), at(name), at(to), len, 0, 0];
        named(AT_FDCWD, path, Sysno::getxattr, args, || real(path, name, to, len))
    }
    /// lgetxattr(2)
    fn [lgetxattr](path: *const c_char, name: *const c_char, to: *mut c_void, len: usize) -> ssize_t {
        let args = [at(path), at(name), at(to), len, 0, 0];
        named(AT_FDCWD, path, Sysno::lgetxattr, args, || real(path, name, to, len))
    }
    /// fgetxattr(2)
    fn [fgetxattr](fd: c_int, name: *const c_char, to: *mut c_void, len: usize) -> ssize_t {
        let args = [int(fd), at(name), at(to), len, 0, 0];
        on_fd(fd, Sysno::fgetxattr, args, || real(fd, name, to, len))
    }
    /// setxattr(2)
    fn [setxattr](
        path: *const c_char, name: *const c_char, from: *const c_void, len: usize, flags: c_int
    ) -> c_int {
        let args = [at(path), at(name), at(from), len, int(flags), 0];
        named(AT_FDCWD, path, Sysno::setxattr, args, || real(path, name, from, len, flags))
    }
    /// lsetxattr(2)
    fn [lsetxattr](
        path: *const c_char, name: *const c_char, from: *const c_void, len: usize, flags: c_int
    ) -> c_int {
        let args = [at(path), at(name), at(from), len, int(flags), 0];
        named(AT_FDCWD, path, Sysno::lsetxattr, args, || real(path, name, from, len, flags))
    }
    /// fsetxattr(2)
    fn [fsetxattr](
        fd: c_int, name: *const c_char, from: *const c_void, len: usize, flags: c_int
    ) -> c_int {
        let args = [int(fd), at(name), at(from), len, int(flags), 0];
        on_fd(fd, Sysno::fsetxattr, args, || real(fd, name, from, len, flags))
    }
    /// listxattr(2)
    fn [listxattr](path: *const c_char, to: *mut c_char, len: usize) -> ssize_t {
        let args = [at(path), at(to), len, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::listxattr, args, || real(path, to, len))
    }
    /// llistxattr(2)
    fn [llistxattr](path: *const c_char, to: *mut c_char, len: usize) -> ssize_t {
        let args = [at(path), at(to), len, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::llistxattr, args, || real(path, to, len))
    }
    /// flistxattr(2)
    fn [flistxattr](fd: c_int, to: *mut c_char, len: usize) -> ssize_t {
        on_fd(fd, Sysno::flistxattr, [int(fd), at(to), len, 0, 0, 0], || real(fd, to, len))
    }
    /// removexattr(2)
    fn [removexattr](path: *const c_char, name: *const c_char) -> c_int {
        let args = [at(path), at(name), 0, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::removexattr, args, || real(path, name))
    }
    /// lremovexattr(2)
    fn [lremovexattr](path: *const c_char, name: *const c_char) -> c_int {
        let args = [at(path), at(name), 0, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::lremovexattr, args, || real(path, name))
    }
    /// fremovexattr(2)
    fn [fremovexattr](fd: c_int, name: *const c_char) -> c_int {
        on_fd(fd, Sysno::fremovexattr, [int(fd), at(name), 0, 0, 0, 0], || real(fd, name))
    }
}
