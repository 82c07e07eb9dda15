//! Attributes: stat(2), statx(2), access(2), statfs(2) and libc's forms of them.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use libc::{stat as Stat, statfs as StatFs, statvfs as StatVfs};

/// `AT_SYMLINK_NOFOLLOW` as a raw argument.
const NOFOLLOW: usize = int(libc::AT_SYMLINK_NOFOLLOW);

hook! {
    /// stat(2)
    fn [stat stat64](path: *const c_char, to: *mut Stat) -> c_int {
        let args = [CWD, at(path), at(to), 0, 0, 0];
        named(AT_FDCWD, path, Sysno::newfstatat, args, || real(path, to))
    }
    /// lstat(2)
    fn [lstat lstat64](path: *const c_char, to: *mut Stat) -> c_int {
        let args = [CWD, at(path), at(to), NOFOLLOW, 0, 0];
        named(AT_FDCWD, path, Sysno::newfstatat, args, || real(path, to))
    }
    /// fstat(2)
    fn [fstat fstat64](fd: c_int, to: *mut Stat) -> c_int {
        on_fd(fd, Sysno::fstat, [int(fd), at(to), 0, 0, 0, 0], || real(fd, to))
    }
    /// fstatat(2)
    fn [fstatat fstatat64](dir: c_int, path: *const c_char, to: *mut Stat, flags: c_int) -> c_int {
        let args = [int(dir), at(path), at(to), int(flags), 0, 0];
        named(dir, path, Sysno::newfstatat, args, || real(dir, path, to, flags))
    }
    /// stat(2) of programs from before glibc 2.33.
    fn [__xstat __xstat64](version: c_int, path: *const c_char, to: *mut Stat) -> c_int {
        let args = [CWD, at(path), at(to), 0, 0, 0];
        named(AT_FDCWD, path, Sysno::newfstatat, args, || real(version, path, to))
    }
    /// lstat(2) of programs from before glibc 2.33.
    fn [__lxstat __lxstat64](version: c_int, path: *const c_char, to: *mut Stat) -> c_int {
        let args = [CWD, at(path), at(to), NOFOLLOW, 0, 0];
        named(AT_FDCWD, path, Sysno::newfstatat, args, || real(version, path, to))
    }
    /// fstat(2) of programs from before glibc 2.33.
    fn [__fxstat __fxstat64](version: c_int, fd: c_int, to: *mut Stat) -> c_int {
        on_fd(fd, Sysno::fstat, [int(fd), at(to), 0, 0, 0, 0], || real(version, fd, to))
    }
    /// fstatat(2) of programs from before glibc 2.33.
    fn [__fxstatat __fxstatat64](
        version: c_int, dir: c_int, path: *const c_char, to: *mut Stat, flags: c_int
    ) -> c_int {
        let args = [int(dir), at(path), at(to), int(flags), 0, 0];
        named(dir, path, Sysno::newfstatat, args, || real(version, dir, path, to, flags))
    }
    /// statx(2)
    fn [statx](
        dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, to: *mut c_void
    ) -> c_int {
        let args = [int(dir), at(path), int(flags), mask as usize, at(to), 0];
        named(dir, path, Sysno::statx, args, || real(dir, path, flags, mask, to))
    }
    /// access(2)
    fn [access](path: *const c_char, mode: c_int) -> c_int {
        let args = [CWD, at(path), int(mode), 0, 0, 0];
        named(AT_FDCWD, path, Sysno::faccessat, args, || real(path, mode))
    }
    /// faccessat(2)
    fn [faccessat](dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
        let args = [int(dir), at(path), int(mode), int(flags), 0, 0];
        named(dir, path, Sysno::faccessat2, args, || real(dir, path, mode, flags))
    }
    /// euidaccess(3)
    fn [euidaccess eaccess](path: *const c_char, mode: c_int) -> c_int {
        let args = [CWD, at(path), int(mode), int(libc::AT_EACCESS), 0, 0];
        named(AT_FDCWD, path, Sysno::faccessat2, args, || real(path, mode))
    }
    /// statfs(2)
    fn [statfs statfs64](path: *const c_char, to: *mut StatFs) -> c_int {
        named(AT_FDCWD, path, Sysno::statfs, [at(path), at(to), 0, 0, 0, 0], || real(path, to))
    }
    /// fstatfs(2)
    fn [fstatfs fstatfs64](fd: c_int, to: *mut StatFs) -> c_int {
        on_fd(fd, Sysno::fstatfs, [int(fd), at(to), 0, 0, 0, 0], || real(fd, to))
    }
    /// statvfs(3)
    fn [statvfs statvfs64](path: *const c_char, to: *mut StatVfs) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) {
            let result = real(path, to);
            if result == 0 || c::errno() != libc::ENOENT {
                return result;
            }
        }
        let mut raw = empty();
        let result = statfs(path, &mut raw);
        if result == 0 {
            c::poke(to, converted(&raw));
        }
        result
    }
    /// fstatvfs(3)
    fn [fstatvfs fstatvfs64](fd: c_int, to: *mut StatVfs) -> c_int {
        if fds::plain(fd) {
            return real(fd, to);
        }
        let mut raw = empty();
        let result = fstatfs(fd, &mut raw);
        if result == 0 {
            c::poke(to, converted(&raw));
        }
        result
    }
    /// pathconf(3): libc looks by a call of its own. The limits are those of any file system.
    fn [pathconf](path: *const c_char, name: c_int) -> c_long {
        if namespace::plain_name(AT_FDCWD, path) {
            let errno = c::errno();
            c::set_errno(0);
            let result = real(path, name);
            if result != -1 || c::errno() != libc::ENOENT {
                if c::errno() == 0 {
                    c::set_errno(errno);
                }
                return result;
            }
        }
        let mut about = memory::zeroed_stat();
        if stat(path, &mut about) != 0 {
            -1
        } else if name == libc::_PC_LINK_MAX {
            link_max(path)
        } else {
            real(c"/".as_ptr(), name)
        }
    }
}

/// How many links a file may have where it really lies.
fn link_max(path: *const c_char) -> c_long {
    /// What a server's file system takes nobody knows: what libc says of one that it does not know.
    const UNKNOWN: c_long = 127;
    let fd = super::open::open(path, libc::O_PATH | libc::O_CLOEXEC, 0);
    if fd < 0 {
        return -1;
    }
    if !fds::plain(fd) {
        super::descriptor::close(fd);
        return UNKNOWN;
    }
    // SAFETY: no pointers.
    let most = unsafe { libc::fpathconf(fd, libc::_PC_LINK_MAX) };
    super::descriptor::close(fd);
    most
}

fn empty() -> StatFs {
    // SAFETY: integers only.
    unsafe { core::mem::zeroed() }
}

/// As libc makes one from the other.
fn converted(raw: &StatFs) -> StatVfs {
    // SAFETY: integers only.
    let mut to: StatVfs = unsafe { core::mem::zeroed() };
    to.f_bsize = raw.f_bsize.cast_unsigned();
    to.f_frsize = to.f_bsize;
    to.f_blocks = raw.f_blocks;
    to.f_bfree = raw.f_bfree;
    to.f_bavail = raw.f_bavail;
    to.f_files = raw.f_files;
    to.f_ffree = raw.f_ffree;
    to.f_favail = raw.f_ffree;
    to.f_namemax = 255;
    to
}

/// Whether the kernel itself finds a name.
pub(super) fn stat_is_there(path: *const c_char) -> bool {
    memory::raw(Sysno::faccessat, [CWD, at(path), 0, 0, 0, 0]).is_ok()
}
