//! Descriptors: close(2), dup(2), fcntl(2), ioctl(2), and descriptors that arrive in messages.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use libc::{cmsghdr, mmsghdr, msghdr, timespec};

/// `CLOSE_RANGE_CLOEXEC`
const LATER: c_uint = 4;

hook! {
    /// close(2)
    fn [close](fd: c_int) -> c_int {
        if fds::plain(fd) {
            // Before the call: after it the number may be another thread's.
            fds::forget(fd);
            return real(fd);
        }
        slow(Sysno::close, [int(fd), 0, 0, 0, 0, 0], || {
            fds::forget(fd);
            real(fd)
        })
    }
    /// close_range(2)
    fn [close_range](first: c_uint, last: c_uint, flags: c_int) -> c_int {
        if flags.cast_unsigned() & LATER == 0 {
            flush_from(first, last);
            fds::forget_range(first, last);
        }
        real(first, last, flags)
    }
    /// closefrom(3)
    fn [closefrom](first: c_int) -> () {
        let from = first.max(0).cast_unsigned();
        flush_from(from, c_uint::MAX);
        fds::forget_range(from, c_uint::MAX);
        real(first)
    }
    /// dup(2)
    fn [dup](fd: c_int) -> c_int {
        if fds::plain(fd) { plain(real(fd)) } else {
            slow(Sysno::dup, [int(fd), 0, 0, 0, 0, 0], || real(fd))
        }
    }
    /// dup2(2)
    fn [dup2](old: c_int, new: c_int) -> c_int {
        if fds::plain(old) && fds::plain(new) { plain(real(old, new)) } else {
            before(old, new);
            slow(Sysno::dup2, [int(old), int(new), 0, 0, 0, 0], || real(old, new))
        }
    }
    /// dup3(2)
    fn [dup3](old: c_int, new: c_int, flags: c_int) -> c_int {
        if fds::plain(old) && fds::plain(new) { plain(real(old, new, flags)) } else {
            before(old, new);
            slow(Sysno::dup3, [int(old), int(new), int(flags), 0, 0, 0], || real(old, new, flags))
        }
    }
    /// fcntl(2)
    fn [fcntl fcntl64](fd: c_int, command: c_int, argument: usize) -> c_int {
        if fds::plain(fd) {
            let result = real(fd, command, argument);
            if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
                return plain(result);
            }
            return result;
        }
        let args = [int(fd), int(command), argument, 0, 0, 0];
        slow(Sysno::fcntl, args, || real(fd, command, argument))
    }
    /// flock(2)
    fn [flock](fd: c_int, operation: c_int) -> c_int {
        if fds::plain(fd) {
            return real(fd, operation);
        }
        slow(Sysno::flock, [int(fd), int(operation), 0, 0, 0, 0], || real(fd, operation))
    }
    /// ioctl(2)
    fn [ioctl](fd: c_int, request: usize, argument: usize) -> c_int {
        /// `FICLONE`, `FICLONERANGE`: the source is another descriptor.
        const CLONES: [usize; 2] = [0x4004_9409, 0x4020_940d];
        if fds::plain(fd) && !CLONES.contains(&request) {
            return real(fd, request, argument);
        }
        slow(Sysno::ioctl, [int(fd), request, argument, 0, 0, 0], || real(fd, request, argument))
    }
    /// recvmsg(2)
    fn [recvmsg](fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        let result = real(fd, message, flags);
        if result >= 0 {
            received(at(message));
        }
        result
    }
    /// recvmmsg(2)
    fn [recvmmsg](
        fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, time: *mut timespec
    ) -> c_int {
        let result = real(fd, messages, count, flags, time);
        for index in 0..usize::try_from(result).unwrap_or(0) {
            received(at(messages.wrapping_add(index)));
        }
        result
    }
}

/// A served file is about to become a standard descriptor.
fn before(old: c_int, new: c_int) {
    if (0..3).contains(&new) && old != new && !fds::native_data(old) {
        super::stdio::before_replacing(new);
    }
}

/// Notes a new descriptor that is plain.
fn plain(fd: c_int) -> c_int {
    if fd >= 0 {
        fds::set_plain(fd);
    }
    fd
}

/// Flushes what a range holds.
fn flush_from(first: c_uint, last: c_uint) {
    fds::writable_shadows(|fd, _| {
        if (first..=last).contains(&fd.cast_unsigned()) {
            let _ = dispatch::flush(fd);
        }
    });
}

/// Descriptors may have come with the message whose header is at this address.
pub(crate) fn received(message: usize) {
    let header = c::peek(core::ptr::with_exposed_provenance::<msghdr>(message));
    let control = header.msg_control.cast::<u8>().cast_const();
    let mut from: usize = 0;
    let head = size_of::<cmsghdr>();
    while !control.is_null() && from.saturating_add(head) <= header.msg_controllen {
        let part = c::peek(control.wrapping_add(from).cast::<cmsghdr>());
        let len = part.cmsg_len;
        if len < head || from.saturating_add(len) > header.msg_controllen {
            return;
        }
        if part.cmsg_level == libc::SOL_SOCKET && part.cmsg_type == libc::SCM_RIGHTS {
            for index in (head..len).step_by(4) {
                fds::forget(c::peek(control.wrapping_add(from.wrapping_add(index)).cast()));
            }
        }
        from = from.saturating_add(len.wrapping_add(7) & !7);
    }
}
