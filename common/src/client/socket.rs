//! The client's end of the session protocol's socket.
//!
//! The descriptor sits high in the table, out of the way of programs that count on low numbers.

use crate::bytes::{Decimal, put};
use crate::errno::Errno;
use crate::message::{REPLY_LEN, ReplyHeader};
use crate::sys::{self, arg};
use syscalls::Sysno;

/// How long a reply may still take after a signal handler of the guest has run that is not to restart
/// calls (no SA_RESTART: with it the kernel waits on by itself). A call that a server answers is as
/// little interrupted as the kernel's own on a disk; one that waits for a lost server ends.
const PATIENCE_MS: i64 = 1000;

/// A connected socket and how it is known to be ours still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket {
    fd: i32,
    /// The socket's inode number: another file under the same number has another one.
    ino: u64,
    /// The process that connected; a forked child must not speak on its parent's connection.
    pid: i32,
}

/// Where the descriptor goes: above what programs name, below the smallest usual limit (1024), and
/// not so high that the kernel must grow the table by much.
const HIGH: i32 = 960;

impl Socket {
    pub(super) fn fd(&self) -> i32 {
        self.fd
    }

    /// Connects to the agent of a session directory.
    pub(super) fn connect(session: &[u8]) -> Result<Self, Errno> {
        let dir = open_dir(session)?;
        let result = Self::connect_in(dir);
        sys::close(dir);
        result
    }

    fn connect_in(dir: i32) -> Result<Self, Errno> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers.
        let fd = unsafe { sys::call(Sysno::socket, [arg(libc::AF_UNIX), arg(kind), 0, 0, 0, 0]) }?;
        // SAFETY: no pointers; `fd` is ours.
        let high = unsafe {
            sys::call(Sysno::fcntl, [fd, arg(libc::F_DUPFD_CLOEXEC), arg(HIGH), 0, 0, 0])
        };
        let fd = i32::try_from(fd).map_err(|_| Errno::EMFILE)?;
        let fd = match high {
            Ok(high) => {
                sys::close(fd);
                i32::try_from(high).map_err(|_| Errno::EMFILE)?
            }
            Err(_) => fd,
        };
        match Self::connect_fd(fd, dir) {
            Ok(socket) => Ok(socket),
            Err(errno) => {
                sys::close(fd);
                Err(errno)
            }
        }
    }

    fn connect_fd(fd: i32, dir: i32) -> Result<Self, Errno> {
        // By way of the directory's descriptor: a session directory's name may be longer than an
        // address can hold.
        let mut address = [0_u8; 2 + 40];
        let family = u16::try_from(libc::AF_UNIX).unwrap_or(1).to_ne_bytes();
        let number = Decimal::new(u64::from(dir.unsigned_abs()));
        let mut len = 0;
        for part in [&family, b"/proc/self/fd/".as_slice(), number.text(), b"/sock\0"] {
            put(&mut address, &mut len, part);
        }
        // SAFETY: `address` holds an address of `len` bytes.
        unsafe { sys::call(Sysno::connect, [arg(fd), address.as_ptr() as usize, len, 0, 0, 0]) }?;
        let (ino, mode) = identity(fd)?;
        debug_assert_eq!(mode & libc::S_IFMT, libc::S_IFSOCK);
        Ok(Self { fd, ino, pid: sys::getpid() })
    }

    /// Whether the descriptor is still this socket, in the process that made it.
    pub(super) fn is_ours(&self) -> bool {
        self.pid == sys::getpid() && self.same_file()
    }

    fn same_file(&self) -> bool {
        matches!(identity(self.fd), Ok((ino, mode))
            if ino == self.ino && mode & libc::S_IFMT == libc::S_IFSOCK)
    }

    /// Closes a forked child's copy of its parent's socket, if it still is that.
    pub(super) fn close_inherited(&self) {
        if self.same_file() {
            sys::close(self.fd);
        }
    }

    /// Sends all of the parts.
    pub(super) fn send(&self, parts: &[&[u8]; 3]) -> Result<(), Errno> {
        let mut skip = 0;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while skip < total {
            let mut vec = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; 3];
            let mut before = 0;
            for (place, part) in vec.iter_mut().zip(parts) {
                let from = skip.saturating_sub(before).min(part.len());
                let rest = part.get(from..).unwrap_or_default();
                place.iov_base = rest.as_ptr().cast_mut().cast();
                place.iov_len = rest.len();
                before += part.len();
            }
            let message = header(&mut vec, &mut []);
            let flags = arg(libc::MSG_NOSIGNAL);
            let at = core::ptr::from_ref(&message) as usize;
            // SAFETY: the message's vectors describe live slices; sendmsg only reads them.
            match unsafe { sys::call(Sysno::sendmsg, [arg(self.fd), at, flags, 0, 0, 0]) } {
                Ok(n) => skip += n,
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Err(Errno::EPIPE),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Reads a reply: its header, the descriptors that come with it, and as much of its data as is
    /// there already, in one call as a rule. Only one request is in flight, so nothing of another
    /// reply can follow. Gives the descriptors and how many bytes of data came.
    pub(super) fn receive_reply(
        &self,
        reply: &mut ReplyHeader,
        data: &mut [u8],
        cloexec: bool,
    ) -> Result<([i32; 2], usize), Errno> {
        let mut control = Control([0; 64]);
        let mut fds = [-1; 2];
        let mut done = 0;
        let mut until = None;
        while done < REPLY_LEN {
            let place = reply.as_bytes_mut().get_mut(done..).unwrap_or_default();
            let mut vec = [
                libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() },
                libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() },
            ];
            let mut message = header(&mut vec, &mut control.0);
            let flags = if cloexec { libc::MSG_CMSG_CLOEXEC } else { 0 };
            let at = core::ptr::from_mut(&mut message) as usize;
            // SAFETY: vectors and control point to live memory that nobody else uses.
            match unsafe { sys::call(Sysno::recvmsg, [arg(self.fd), at, arg(flags), 0, 0, 0]) } {
                Ok(0) => return Err(Errno::ECONNRESET),
                Ok(n) => done += n,
                Err(Errno::EINTR) if done == 0 => {
                    self.linger(*until.get_or_insert_with(|| now_ms() + PATIENCE_MS))?;
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            }
            #[expect(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
            let used = message.msg_controllen as usize;
            take_fds(control.0.get(..used).unwrap_or_default(), &mut fds);
        }
        Ok((fds, done - REPLY_LEN))
    }

    /// After a signal: waits until a reply is there.
    ///
    /// # Errors
    /// EINTR when none comes in time.
    fn linger(&self, until: i64) -> Result<(), Errno> {
        loop {
            let left = until - now_ms();
            if left <= 0 {
                return Err(Errno::EINTR);
            }
            let mut poll = libc::pollfd { fd: self.fd, events: libc::POLLIN, revents: 0 };
            let time = [left / 1000, left % 1000 * 1_000_000];
            let at = core::ptr::from_mut(&mut poll) as usize;
            let time = core::ptr::from_ref(&time) as usize;
            // SAFETY: one pollfd and a timespec, both alive.
            match unsafe { sys::call(Sysno::ppoll, [at, 1, time, 0, 0, 0]) } {
                // In time, or too late: the time tells.
                Ok(0) | Err(Errno::EINTR) => {}
                _ => return Ok(()),
            }
        }
    }

    /// Fills `place`.
    pub(super) fn receive(&self, mut place: &mut [u8]) -> Result<(), Errno> {
        while !place.is_empty() {
            let args = [arg(self.fd), place.as_mut_ptr() as usize, place.len(), 0, 0, 0];
            // SAFETY: `place` is writable for its length.
            match unsafe { sys::call(Sysno::recvfrom, args) } {
                Ok(0) => return Err(Errno::ECONNRESET),
                Ok(n) => place = place.get_mut(n..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// The monotonic clock, milliseconds.
fn now_ms() -> i64 {
    let mut time = [0_i64; 2];
    let at = core::ptr::from_mut(&mut time) as usize;
    // SAFETY: room for a timespec.
    let _ =
        unsafe { sys::call(Sysno::clock_gettime, [arg(libc::CLOCK_MONOTONIC), at, 0, 0, 0, 0]) };
    let [seconds, nanos] = time;
    seconds * 1000 + nanos / 1_000_000
}

/// Control data must be aligned as a `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Takes the descriptors of the one SCM_RIGHTS message: length (8 bytes), level, type, numbers.
fn take_fds(control: &[u8], fds: &mut [i32; 2]) {
    let word = |at: usize| {
        let four = control.get(at..at + 4)?;
        Some(i32::from_ne_bytes(four.try_into().ok()?))
    };
    if word(8) != Some(libc::SOL_SOCKET) || word(12) != Some(libc::SCM_RIGHTS) {
        return;
    }
    let len = word(0).and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
    for (place, at) in fds.iter_mut().zip((16..len).step_by(4)) {
        *place = word(at).unwrap_or(-1);
    }
}

fn header(vec: &mut [libc::iovec], control: &mut [u8]) -> libc::msghdr {
    // SAFETY: a msghdr of zero bytes is an empty one.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = vec.as_mut_ptr();
    message.msg_iovlen = vec.len() as _;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len() as _;
    }
    message
}

/// Inode number and mode of a descriptor.
fn identity(fd: i32) -> Result<(u64, u32), Errno> {
    // SAFETY: a stat of zero bytes is a stat.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let at = core::ptr::from_mut(&mut stat) as usize;
    // SAFETY: `stat` is writable.
    unsafe { sys::call(Sysno::fstat, [arg(fd), at, 0, 0, 0, 0]) }?;
    Ok((stat.st_ino, stat.st_mode))
}

/// Opens the session directory and checks that it is the caller's own and nobody else can write
/// there.
fn open_dir(session: &[u8]) -> Result<i32, Errno> {
    let mut path = [0; super::MAX_SESSION + 1];
    let place = path.get_mut(..session.len()).ok_or(Errno::ENAMETOOLONG)?;
    place.copy_from_slice(session);
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let dir = sys::openat(libc::AT_FDCWD, &path, flags, 0)?;
    // SAFETY: a stat of zero bytes is a stat.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let at = core::ptr::from_mut(&mut stat) as usize;
    // SAFETY: `stat` is writable.
    let result = unsafe { sys::call(Sysno::fstat, [arg(dir), at, 0, 0, 0, 0]) };
    // SAFETY: no arguments.
    let uid = unsafe { sys::raw(sys::number(Sysno::geteuid), [0; 6]) };
    let ours = i64::try_from(uid) == Ok(i64::from(stat.st_uid)) && stat.st_mode & 0o077 == 0;
    if result.is_err() || !ours {
        sys::close(dir);
        return Err(Errno::EACCES);
    }
    Ok(dir)
}
