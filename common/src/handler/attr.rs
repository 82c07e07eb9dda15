//! Changing attributes: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2).

use super::path::{Need, done};
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::shadow::{Kind, ShadowId, served_mode};

/// Times as the session wants them: access seconds, nanoseconds, modification seconds, nanoseconds.
type Times = [u64; 4];

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// A request on the shadow behind a descriptor; passes when it is none.
    fn on_fd(&mut self, fd: i32, request: impl FnOnce(ShadowId) -> Request<'static>) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(fd) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let result = self.files.call(&request(id), &mut []);
        Outcome::from_result(result.map(|_| 0).map_err(super::data::errno))
    }

    pub(crate) fn chmod(&mut self, a: Args) -> Outcome {
        self.chmod_at(a, Need::write(None, 0, true), a.uint(1))
    }

    pub(crate) fn fchmodat(&mut self, a: Args) -> Outcome {
        self.chmod_at(a, Need::write(Some(0), 1, true), a.uint(2))
    }

    pub(crate) fn fchmodat2(&mut self, a: Args) -> Outcome {
        if self.is_empty_path(a.raw(1), a.int(3)) {
            return self.fchmod_fd(a.int(0), a.uint(2));
        }
        let follow = a.int(3) & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.chmod_at(a, Need::write(Some(0), 1, follow), a.uint(2))
    }

    fn chmod_at(&mut self, a: Args, need: Need, mode: u32) -> Outcome {
        self.on_path(a, need, |_, files, object, out| {
            let args = [u64::from(mode & 0o7777), u64::from(need.follow), 0, 0, 0];
            files.call(&object.request(Op::Chmod, Op::FChmod, args), out).map(done)
        })
    }

    pub(crate) fn fchmod(&mut self, a: Args) -> Outcome {
        self.fchmod_fd(a.int(0), a.uint(1))
    }

    fn fchmod_fd(&mut self, fd: i32, mode: u32) -> Outcome {
        let args = [u64::from(mode & 0o7777), 0, 0, 0, 0];
        self.on_fd(fd, |id| Request::on(Op::FChmod, id).args(args))
    }

    pub(crate) fn chown(&mut self, a: Args) -> Outcome {
        self.chown_at(a, Need::write(None, 0, true), [a.uint(1), a.uint(2)])
    }

    pub(crate) fn lchown(&mut self, a: Args) -> Outcome {
        self.chown_at(a, Need::write(None, 0, false), [a.uint(1), a.uint(2)])
    }

    pub(crate) fn fchownat(&mut self, a: Args) -> Outcome {
        let ids = [a.uint(2), a.uint(3)];
        if self.is_empty_path(a.raw(1), a.int(4)) {
            return self.fchown_fd(a.int(0), ids);
        }
        let follow = a.int(4) & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.chown_at(a, Need::write(Some(0), 1, follow), ids)
    }

    fn chown_at(&mut self, a: Args, need: Need, [uid, gid]: [u32; 2]) -> Outcome {
        self.on_path(a, need, |_, files, object, out| {
            let args = [u64::from(uid), u64::from(gid), u64::from(need.follow), 0, 0];
            files.call(&object.request(Op::Chown, Op::FChown, args), out).map(done)
        })
    }

    pub(crate) fn fchown(&mut self, a: Args) -> Outcome {
        self.fchown_fd(a.int(0), [a.uint(1), a.uint(2)])
    }

    fn fchown_fd(&mut self, fd: i32, [uid, gid]: [u32; 2]) -> Outcome {
        let args = [u64::from(uid), u64::from(gid), 0, 0, 0];
        self.on_fd(fd, |id| Request::on(Op::FChown, id).args(args))
    }

    /// utimensat(2): a null path means the descriptor.
    pub(crate) fn utimensat(&mut self, a: Args) -> Outcome {
        let times = match self.times(a.raw(2), 1) {
            Ok(times) => times,
            Err(errno) => return Outcome::Fail(errno),
        };
        if a.raw(1) == 0 || self.is_empty_path(a.raw(1), a.int(3)) {
            let [b, c, d, e] = times;
            return self.on_fd(a.int(0), |id| Request::on(Op::FUTimes, id).args([b, c, d, e, 0]));
        }
        let follow = a.int(3) & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.utimes_at(a, Need::write(Some(0), 1, follow), times)
    }

    /// utimes(2) and futimesat(2): microseconds.
    pub(crate) fn utimes(&mut self, a: Args) -> Outcome {
        match self.times(a.raw(1), 1000) {
            Ok(times) => self.utimes_at(a, Need::write(None, 0, true), times),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    pub(crate) fn futimesat(&mut self, a: Args) -> Outcome {
        match self.times(a.raw(2), 1000) {
            Ok(times) => self.utimes_at(a, Need::write(Some(0), 1, true), times),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    /// utime(2): two whole seconds.
    pub(crate) fn utime(&mut self, a: Args) -> Outcome {
        let times = if a.raw(1) == 0 {
            Ok(NOW)
        } else {
            self.words::<2>(a.raw(1)).map(|[atime, mtime]| [atime, 0, mtime, 0])
        };
        match times {
            Ok(times) => self.utimes_at(a, Need::write(None, 0, true), times),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn utimes_at(&mut self, a: Args, need: Need, [b, c, d, e]: Times) -> Outcome {
        self.on_path(a, need, |_, files, object, out| {
            let args = [b, c, d, e, u64::from(need.follow)];
            files.call(&object.request(Op::UTimes, Op::FUTimes, args), out).map(done)
        })
    }

    /// Reads two (seconds, fraction) pairs; a null address means now. `scale` = nanoseconds per
    /// fraction.
    fn times(&mut self, at: usize, scale: u64) -> Result<Times, Errno> {
        if at == 0 {
            return Ok(NOW);
        }
        let [a, b, c, d] = self.words::<4>(at)?;
        let limit = 1_000_000_000 / scale;
        let special = |n: u64| scale == 1 && (n == NOW_MARK || n == OMIT_MARK);
        if [b, d].iter().any(|&n| n >= limit && !special(n)) {
            return Err(Errno::EINVAL);
        }
        Ok([a, b * scale, c, d * scale])
    }

    fn words<const N: usize>(&mut self, at: usize) -> Result<[u64; N], Errno> {
        let mut out = [0; N];
        for (index, word) in out.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            if self.guest.read(at.wrapping_add(index * 8), &mut bytes)? < 8 {
                return Err(Errno::EFAULT);
            }
            *word = u64::from_ne_bytes(bytes);
        }
        Ok(out)
    }

    pub(crate) fn truncate(&mut self, a: Args) -> Outcome {
        let size = a.long(1);
        if size < 0 {
            return Outcome::Fail(Errno::EINVAL);
        }
        self.on_path(a, Need::write(None, 0, true), |_, files, object, out| {
            let args = [size.cast_unsigned(), 0, 0, 0, 0];
            files.call(&object.request(Op::Truncate, Op::FTruncate, args), out).map(done)
        })
    }

    pub(crate) fn ftruncate(&mut self, a: Args) -> Outcome {
        let size = a.long(1);
        self.resize(a.int(0), size < 0, |id| {
            Request::on(Op::FTruncate, id).args([size.cast_unsigned(), 0, 0, 0, 0])
        })
    }

    pub(crate) fn fallocate(&mut self, a: Args) -> Outcome {
        let (mode, offset, len) = (a.uint(1), a.long(2), a.long(3));
        self.resize(a.int(0), offset < 0 || len <= 0, |id| {
            let args = [u64::from(mode), offset.cast_unsigned(), len.cast_unsigned(), 0, 0];
            Request::on(Op::Fallocate, id).args(args)
        })
    }

    /// A change of size by descriptor: the kernel's own on a complete shadow.
    fn resize(
        &mut self,
        fd: i32,
        wrong: bool,
        request: impl FnOnce(ShadowId) -> Request<'static>,
    ) -> Outcome {
        match self.guest.fd_class(fd) {
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
            FdClass::Shadow { kind: Kind::Complete, .. } => Outcome::Pass(Reason::CompleteFd),
            FdClass::Shadow { kind: Kind::Dir, .. } => Outcome::Fail(Errno::EINVAL),
            FdClass::Shadow { id, .. } if wrong || served_mode(id) == libc::O_RDONLY => {
                Outcome::Fail(Errno::EINVAL)
            }
            FdClass::Shadow { .. } => self.on_fd(fd, request),
        }
    }
}

const NOW_MARK: u64 = libc::UTIME_NOW.cast_unsigned();
const OMIT_MARK: u64 = libc::UTIME_OMIT.cast_unsigned();
const NOW: Times = [0, NOW_MARK, 0, NOW_MARK];
