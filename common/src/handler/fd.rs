//! Descriptors: close(2), dup(2), fcntl(2), lseek(2), fsync(2), ioctl(2), recvmsg(2).

use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Forget, Guest};
use crate::outcome::{Outcome, Reason, Watch};
use crate::shadow::{Kind, ShadowId, served_mode};
use crate::sys::{arg, number};
use syscalls::Sysno;

/// ioctl(2) requests that clone or describe extents of files.
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;
const FIDEDUPERANGE: u32 = 0xc018_9436;
const FS_IOC_FIEMAP: u32 = 0xc020_660b;

/// The commands of fcntl(2) that lock.
const fn is_lock(command: i32) -> bool {
    matches!(
        command,
        libc::F_GETLK
            | libc::F_SETLK
            | libc::F_SETLKW
            | libc::F_OFD_GETLK
            | libc::F_OFD_SETLK
            | libc::F_OFD_SETLKW
    )
}

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// close(2) is a flush: what was written is on the server when it returns, or it fails. The
    /// descriptor is closed in any case.
    pub(crate) fn close(&mut self, a: Args) -> Outcome {
        let fd = a.int(0);
        let class = self.guest.fd_class(fd);
        let FdClass::Shadow { id, writable: true, kind } = class else {
            self.guest.forget(Forget::Fd(fd));
            return Outcome::Pass(Reason::PlainFd);
        };
        if kind == Kind::Dir {
            self.guest.forget(Forget::Fd(fd));
            return Outcome::Pass(Reason::CompleteFd);
        }
        let flushed = self.flush(id);
        if flushed == Err(Errno::DEFER) {
            return Outcome::Fail(Errno::DEFER);
        }
        self.guest.forget(Forget::Fd(fd));
        let closed = self.guest.native(number(Sysno::close), [arg(fd), 0, 0, 0, 0, 0]);
        match flushed {
            Ok(()) => Outcome::Done(closed),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn flush(&mut self, id: ShadowId) -> Result<(), Errno> {
        let reply = self.files.call(&Request::on(Op::Flush, id), &mut []);
        reply.map(|_| ()).map_err(super::data::errno)
    }

    pub(crate) fn dup(&mut self, a: Args) -> Outcome {
        self.duplicate(a.int(0))
    }

    /// dup2(2) and dup3(2) close the second descriptor, silently: its data are flushed before.
    pub(crate) fn dup2(&mut self, a: Args) -> Outcome {
        let (old, new) = (a.int(0), a.int(1));
        if old != new
            && let FdClass::Shadow { id, writable: true, kind } = self.guest.fd_class(new)
            && kind != Kind::Dir
            // An error has no place to go: it stays with the file for the next flush.
            && self.flush(id) == Err(Errno::DEFER)
        {
            return Outcome::Fail(Errno::DEFER);
        }
        let outcome = self.duplicate(old);
        if old != new {
            self.guest.forget(Forget::Fd(new));
        }
        outcome
    }

    fn duplicate(&mut self, fd: i32) -> Outcome {
        match self.guest.fd_class(fd) {
            FdClass::Plain => Outcome::Watch(Watch::NewFd(FdClass::Plain)),
            class @ FdClass::Shadow { .. } => Outcome::Watch(Watch::NewFd(class)),
        }
    }

    pub(crate) fn fcntl(&mut self, a: Args) -> Outcome {
        let class = self.guest.fd_class(a.int(0));
        let FdClass::Shadow { id, kind, .. } = class else {
            return Outcome::Pass(Reason::PlainFd);
        };
        if is_lock(a.int(1))
            && let Err(errno) = self.may_lock(id)
        {
            return Outcome::Fail(errno);
        }
        if kind == Kind::Served
            && let Some(outcome) = self.lock(a, id)
        {
            return outcome;
        }
        match a.int(1) {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => Outcome::Watch(Watch::NewFd(class)),
            libc::F_GETFL if kind == Kind::Served => match self.guest.fd_flags(a.int(0)) {
                Ok(flags) => Outcome::Done(((flags & !libc::O_ACCMODE) | served_mode(id)) as isize),
                Err(errno) => Outcome::Fail(errno),
            },
            // A lease on the shadow would be the session's own tool broken.
            libc::F_SETLEASE | libc::F_NOTIFY => Outcome::Fail(Errno::EINVAL),
            _ => Outcome::Pass(Reason::CompleteFd),
        }
    }

    /// flock(2): the kernel locks the shadow, unless the mount wants none of it.
    pub(crate) fn flock(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        match self.may_lock(id) {
            Ok(()) => Outcome::Pass(Reason::CompleteFd),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn may_lock(&mut self, id: ShadowId) -> Result<(), Errno> {
        let reply = self.files.call(&Request::on(Op::LockPolicy, id), &mut []);
        match reply.map_err(super::data::errno)?.value {
            1 => Err(Errno::ENOLCK),
            _ => Ok(()),
        }
    }

    pub(crate) fn lseek(&mut self, a: Args) -> Outcome {
        let (fd, offset, whence) = (a.int(0), a.long(1), a.int(2));
        let FdClass::Shadow { id, kind, .. } = self.guest.fd_class(fd) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        if kind != Kind::Served
            || !matches!(whence, libc::SEEK_END | libc::SEEK_DATA | libc::SEEK_HOLE)
        {
            return Outcome::Pass(Reason::CompleteFd);
        }
        let args = [offset.cast_unsigned(), u64::from(whence.cast_unsigned()), 0, 0, 0];
        let result = self
            .files
            .call(&Request::on(Op::Seek, id).args(args), &mut [])
            .map_err(super::data::errno)
            .and_then(|reply| self.guest.seek(fd, reply.value, libc::SEEK_SET));
        Outcome::from_result(result.and_then(|at| isize::try_from(at).or(Err(Errno::EOVERFLOW))))
    }

    pub(crate) fn fsync(&mut self, a: Args) -> Outcome {
        match self.guest.fd_class(a.int(0)) {
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
            FdClass::Shadow { kind: Kind::Dir, .. } => Outcome::Done(0),
            FdClass::Shadow { id, .. } => {
                let result = self.files.call(&Request::on(Op::FSync, id), &mut []);
                Outcome::from_result(result.map(|_| 0).map_err(super::data::errno))
            }
        }
    }

    /// Everything of the session's, then the kernel's own.
    pub(crate) fn sync(&mut self, _: Args) -> Outcome {
        Outcome::Pass(Reason::Declared)
    }

    /// posix_fadvise(2), readahead(2): advice about bytes the kernel does not have is taken as
    /// read.
    pub(crate) fn advise(&mut self, a: Args) -> Outcome {
        match self.guest.fd_class(a.int(0)) {
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
            FdClass::Shadow { kind: Kind::Served, .. } => Outcome::Done(0),
            FdClass::Shadow { .. } => Outcome::Pass(Reason::CompleteFd),
        }
    }

    pub(crate) fn ioctl(&mut self, a: Args) -> Outcome {
        let request = a.uint(1);
        let mut ours = self.guest.fd_class(a.int(0)) != FdClass::Plain;
        if matches!(request, FICLONE | FICLONERANGE) {
            let source = match request {
                FICLONE => Some(a.int(2)),
                _ => self.word(a.raw(2)),
            };
            ours |= source.is_some_and(|fd| self.guest.fd_class(fd) != FdClass::Plain);
        }
        match request {
            FICLONE | FICLONERANGE | FIDEDUPERANGE | FS_IOC_FIEMAP if ours => {
                Outcome::Fail(Errno::EOPNOTSUPP)
            }
            _ if ours => Outcome::Pass(Reason::CompleteFd),
            _ => Outcome::Pass(Reason::PlainFd),
        }
    }

    fn word(&mut self, at: usize) -> Option<i32> {
        let mut bytes = [0; 4];
        (self.guest.read(at, &mut bytes) == Ok(4)).then(|| i32::from_ne_bytes(bytes))
    }

    pub(crate) fn recvmsg(&mut self, a: Args) -> Outcome {
        Outcome::Watch(Watch::Received(a.raw(1)))
    }

    /// close_range(2): flushes what it closes.
    pub(crate) fn close_range(&mut self, a: Args) -> Outcome {
        /// `CLOSE_RANGE_CLOEXEC`: nothing is closed now.
        const CLOEXEC: u32 = 4;
        let (first, last) = (a.uint(0), a.uint(1).min(0xffff));
        if a.uint(2) & CLOEXEC == 0 {
            for fd in first..=last {
                let Ok(fd) = i32::try_from(fd) else { break };
                let Some(class) = self.guest.known_fd(fd) else { continue };
                if let FdClass::Shadow { id, writable: true, .. } = class
                    && self.flush(id) == Err(Errno::DEFER)
                {
                    return Outcome::Fail(Errno::DEFER);
                }
                self.guest.forget(Forget::Fd(fd));
            }
        }
        Outcome::Pass(Reason::Declared)
    }

    /// recvmmsg(2): as recvmsg(2), for each of the messages.
    pub(crate) fn recvmmsg(&mut self, a: Args) -> Outcome {
        Outcome::Watch(Watch::Received(a.raw(1)))
    }

    /// pidfd_getfd(2): a descriptor of whatever class the other process has.
    pub(crate) fn pidfd_getfd(&mut self, _: Args) -> Outcome {
        Outcome::Watch(Watch::AnyFd)
    }
}
