//! Giving a descriptor of this process to a guest.
//!
//! The short way is one call made in the guest: `openat("/proc/TRACER/fd/N")`. Where the guest cannot
//! see the tracer's `/proc` (chroot, a PID or user namespace of its own, another user), the
//! descriptor is sent over a socket pair that the guest is made to open:
//!
//! ```text
//!   guest: socketpair → a, b      tracer: copy of a, sendmsg(SCM_RIGHTS)
//!   guest: recvmsg(b) → n, close a, close b, F_DUPFD → the lowest free number, close n
//! ```
#![expect(unsafe_code, reason = "sendmsg with a control message")]

use crate::guest::{PLACED, Tracee, errno};
use crate::os;
use parrot_common::{Errno, Guest};
use std::os::fd::{AsRawFd, OwnedFd};

/// `struct msghdr` on 64-bit machines, and one control message with one descriptor.
const HEADER: usize = 56;
const CONTROL: usize = 24;
const BYTE: usize = HEADER + CONTROL;
const VECTOR: usize = BYTE + 8;

impl Tracee<'_> {
    /// Opens one of the tracer's descriptors in the guest, under the lowest free number.
    pub(crate) fn give(&mut self, fd: i32, flags: i32) -> Result<i32, Errno> {
        match self.reopen(fd, flags) {
            Err(Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::ELOOP | Errno::ENOTDIR) => {
                self.send(fd, flags)
            }
            other => other,
        }
    }

    fn reopen(&mut self, fd: i32, flags: i32) -> Result<i32, Errno> {
        let path = self.own_path(fd)?;
        let args = [at_fdcwd(), path, flags.unsigned_abs() as usize, 0, 0, 0];
        number(self.call(libc::SYS_openat, args))
    }

    /// Sends it over a socket pair.
    fn send(&mut self, fd: i32, flags: i32) -> Result<i32, Errno> {
        os::set_flags(fd, flags & (libc::O_APPEND | libc::O_NONBLOCK));
        let at = self.area() + PLACED;
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        let domain = libc::AF_UNIX.unsigned_abs() as usize;
        let pair = [domain, kind.unsigned_abs() as usize, 0, at, 0, 0];
        number(self.call(libc::SYS_socketpair, pair))?;
        let mut ends = [0; 8];
        self.read(at, &mut ends)?;
        let [a, b] = halves(ends);
        let received = self.exchange(fd, a, b);
        self.close(a);
        self.close(b);
        let received = received?;
        let close = flags & libc::O_CLOEXEC != 0;
        self.lowest(received, close)
    }

    fn exchange(&mut self, fd: i32, a: i32, b: i32) -> Result<i32, Errno> {
        let ours = self.copy(a)?;
        send_descriptor(&ours, fd)?;
        let at = self.area() + PLACED;
        self.put(at, &receive_header(at))?;
        let args = [unsigned(b), at, libc::MSG_CMSG_CLOEXEC.unsigned_abs() as usize, 0, 0, 0];
        number(self.call(libc::SYS_recvmsg, args))?;
        let mut fd = [0; 4];
        self.read(at + HEADER + 16, &mut fd)?;
        Ok(i32::from_ne_bytes(fd))
    }

    /// Moves a descriptor, now close-on-exec, to the lowest free number.
    fn lowest(&mut self, fd: i32, close_on_exec: bool) -> Result<i32, Errno> {
        let how = if close_on_exec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
        let moved = [unsigned(fd), how.unsigned_abs() as usize, 0, 0, 0, 0];
        let moved = number(self.call(libc::SYS_fcntl, moved));
        match moved {
            // Without close-on-exec the copy is right wherever it is.
            Ok(moved) if moved < fd || !close_on_exec => {
                self.close(fd);
                if moved < fd { Ok(moved) } else { self.lowest_again(moved) }
            }
            Ok(moved) => {
                self.close(moved);
                Ok(fd)
            }
            Err(errno) => {
                self.close(fd);
                Err(errno)
            }
        }
    }

    /// The number that was just closed is the lowest: once more.
    fn lowest_again(&mut self, fd: i32) -> Result<i32, Errno> {
        let args = [unsigned(fd), libc::F_DUPFD.unsigned_abs() as usize, 0, 0, 0, 0];
        let moved = number(self.call(libc::SYS_fcntl, args));
        self.close(fd);
        moved
    }

    pub(crate) fn close(&mut self, fd: i32) {
        self.call(libc::SYS_close, [unsigned(fd), 0, 0, 0, 0, 0]);
    }
}

/// A `msghdr` for one byte and one descriptor, and what it points to, for this guest address.
fn receive_header(at: usize) -> Vec<u8> {
    let words = [0, 0, at + VECTOR, 1, at + HEADER, CONTROL, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word: &usize| word.to_ne_bytes()).collect();
    bytes.resize(VECTOR, 0);
    bytes.extend((at + BYTE).to_ne_bytes());
    bytes.extend(1_usize.to_ne_bytes());
    bytes
}

/// Sends one descriptor with one byte.
fn send_descriptor(socket: &OwnedFd, fd: i32) -> Result<(), Errno> {
    let mut control = [0_u8; CONTROL];
    let parts: [&[u8]; 4] = [
        &20_usize.to_ne_bytes(),
        &libc::SOL_SOCKET.to_ne_bytes(),
        &libc::SCM_RIGHTS.to_ne_bytes(),
        &fd.to_ne_bytes(),
    ];
    for (place, byte) in control.iter_mut().zip(parts.concat()) {
        *place = byte;
    }
    let mut byte = [0_u8];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all-zero bytes are a msghdr.
    let mut header = unsafe { std::mem::zeroed::<libc::msghdr>() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // A number without a type: libcs disagree about it.
    header.msg_controllen = 24;
    // SAFETY: the header describes objects that outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent == 1 { Ok(()) } else { Err(errno(&std::io::Error::last_os_error())) }
}

/// Two ints that lie side by side.
fn halves(bytes: [u8; 8]) -> [i32; 2] {
    let [a, b, c, d, e, f, g, h] = bytes;
    [i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])]
}

fn number(result: isize) -> Result<i32, Errno> {
    i32::try_from(Errno::check(result)?).map_err(|_| Errno::EBADF)
}

fn unsigned(fd: i32) -> usize {
    fd.unsigned_abs() as usize
}

/// `AT_FDCWD` in a register.
const fn at_fdcwd() -> usize {
    (libc::AT_FDCWD as isize).cast_unsigned()
}
