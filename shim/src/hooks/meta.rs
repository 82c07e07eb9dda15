//! Changing attributes: permission bits, owners, times.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use libc::{gid_t, timespec, timeval, uid_t, utimbuf};

/// `AT_SYMLINK_NOFOLLOW` as a raw argument.
const NOFOLLOW: usize = int(libc::AT_SYMLINK_NOFOLLOW);

/// The two times of utimensat(2) from those of utimes(2); null stays null. A bad microsecond
/// becomes a bad nanosecond.
fn nanoseconds(times: *const timeval, to: &mut [timespec; 2]) -> usize {
    if times.is_null() {
        return 0;
    }
    for (index, place) in to.iter_mut().enumerate() {
        let time = c::peek(times.wrapping_add(index));
        let bad = !(0..1_000_000).contains(&time.tv_usec);
        *place = timespec {
            tv_sec: time.tv_sec,
            tv_nsec: if bad { -1 } else { time.tv_usec.wrapping_mul(1000) },
        };
    }
    at(to.as_ptr())
}

const ZERO: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

hook! {
    /// chmod(2)
    fn [chmod](path: *const c_char, mode: mode_t) -> c_int {
        let args = [CWD, at(path), mode as usize, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::fchmodat, args, || real(path, mode))
    }
    /// lchmod(3)
    fn [lchmod](path: *const c_char, mode: mode_t) -> c_int {
        let args = [CWD, at(path), mode as usize, NOFOLLOW, 0, 0];
        named(AT_FDCWD, path, Sysno::fchmodat2, args, || real(path, mode))
    }
    /// fchmod(2)
    fn [fchmod](fd: c_int, mode: mode_t) -> c_int {
        on_fd(fd, Sysno::fchmod, [int(fd), mode as usize, 0, 0, 0, 0], || real(fd, mode))
    }
    /// fchmodat(2), with flags as libc has it.
    fn [fchmodat fchmodat2](dir: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int {
        let args = [int(dir), at(path), mode as usize, int(flags), 0, 0];
        named(dir, path, Sysno::fchmodat2, args, || real(dir, path, mode, flags))
    }
    /// chown(2)
    fn [chown](path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
        let args = [CWD, at(path), uid as usize, gid as usize, 0, 0];
        named(AT_FDCWD, path, Sysno::fchownat, args, || real(path, uid, gid))
    }
    /// lchown(2)
    fn [lchown](path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
        let args = [CWD, at(path), uid as usize, gid as usize, NOFOLLOW, 0];
        named(AT_FDCWD, path, Sysno::fchownat, args, || real(path, uid, gid))
    }
    /// fchown(2)
    fn [fchown](fd: c_int, uid: uid_t, gid: gid_t) -> c_int {
        let args = [int(fd), uid as usize, gid as usize, 0, 0, 0];
        on_fd(fd, Sysno::fchown, args, || real(fd, uid, gid))
    }
    /// fchownat(2)
    fn [fchownat](dir: c_int, path: *const c_char, uid: uid_t, gid: gid_t, flags: c_int) -> c_int {
        let args = [int(dir), at(path), uid as usize, gid as usize, int(flags), 0];
        named(dir, path, Sysno::fchownat, args, || real(dir, path, uid, gid, flags))
    }
    /// utime(2)
    fn [utime](path: *const c_char, times: *const utimbuf) -> c_int {
        let args = [at(path), at(times), 0, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::utime, args, || real(path, times))
    }
    /// utimes(2)
    fn [utimes](path: *const c_char, times: *const timeval) -> c_int {
        let args = [at(path), at(times), 0, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::utimes, args, || real(path, times))
    }
    /// futimesat(2)
    fn [futimesat](dir: c_int, path: *const c_char, times: *const timeval) -> c_int {
        let args = [int(dir), at(path), at(times), 0, 0, 0];
        named(dir, path, Sysno::futimesat, args, || real(dir, path, times))
    }
    /// lutimes(3)
    fn [lutimes](path: *const c_char, times: *const timeval) -> c_int {
        let mut nano = [ZERO; 2];
        let args = [CWD, at(path), nanoseconds(times, &mut nano), NOFOLLOW, 0, 0];
        named(AT_FDCWD, path, Sysno::utimensat, args, || real(path, times))
    }
    /// utimensat(2)
    fn [utimensat](dir: c_int, path: *const c_char, times: *const timespec, flags: c_int) -> c_int {
        let args = [int(dir), at(path), at(times), int(flags), 0, 0];
        named(dir, path, Sysno::utimensat, args, || real(dir, path, times, flags))
    }
    /// futimens(3): the call without a path.
    fn [futimens](fd: c_int, times: *const timespec) -> c_int {
        on_fd(fd, Sysno::utimensat, [int(fd), 0, at(times), 0, 0, 0], || real(fd, times))
    }
    /// futimes(3)
    fn [futimes](fd: c_int, times: *const timeval) -> c_int {
        if fds::plain(fd) {
            return real(fd, times);
        }
        let mut nano = [ZERO; 2];
        let args = [int(fd), 0, nanoseconds(times, &mut nano), 0, 0, 0];
        slow(Sysno::utimensat, args, || real(fd, times))
    }
}
