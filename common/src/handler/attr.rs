//! Changing attributes: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), xattr(7).

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

    pub(crate) fn getxattr(&mut self, a: Args) -> Outcome {
        self.getxattr_at(a, true)
    }

    pub(crate) fn lgetxattr(&mut self, a: Args) -> Outcome {
        self.getxattr_at(a, false)
    }

    fn getxattr_at(&mut self, a: Args, follow: bool) -> Outcome {
        self.on_path(a, Need::look(None, 0, follow), |guest, files, object, out| {
            let mut name = [0; 256];
            let name = xattr_name(guest, a.raw(1), &mut name)?;
            let args = [u64::from(follow), 0, 0, 0, 0];
            let request = Request { b: name, ..object.request(Op::GetXattr, Op::FGetXattr, args) };
            let len = files.call(&request, out)?.len;
            give(guest, out, len, a.raw(2), a.raw(3))
        })
    }

    pub(crate) fn fgetxattr(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let mut name = [0; 256];
        let result = xattr_name(self.guest, a.raw(1), &mut name).and_then(|name| {
            let request = Request { b: name, ..Request::on(Op::FGetXattr, id) };
            let reply = self.files.call(&request, &mut self.scratch.data);
            reply.map_err(super::data::errno).map(|reply| reply.len)
        });
        match result {
            Ok(len) => give(self.guest, &self.scratch.data, len, a.raw(2), a.raw(3))
                .unwrap_or_else(|stop| Outcome::Fail(super::data::errno(stop))),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    pub(crate) fn setxattr(&mut self, a: Args) -> Outcome {
        self.setxattr_at(a, true)
    }

    pub(crate) fn lsetxattr(&mut self, a: Args) -> Outcome {
        self.setxattr_at(a, false)
    }

    fn setxattr_at(&mut self, a: Args, follow: bool) -> Outcome {
        self.on_path(a, Need::write(None, 0, follow), |guest, files, object, out| {
            let len = attribute(guest, a, out)?;
            let (data, _) = out.split_at_mut_checked(len).ok_or(Errno::E2BIG)?;
            let args = [u64::from(a.uint(4)), u64::from(follow), 0, 0, 0];
            let request = object.request(Op::SetXattr, Op::FSetXattr, args);
            files.call(&Request { b: data, ..request }, &mut [0; 4096]).map(done)
        })
    }

    pub(crate) fn fsetxattr(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let result = attribute(self.guest, a, &mut self.scratch.data).and_then(|len| {
            let data = self.scratch.data.get(..len).unwrap_or_default();
            let args = [u64::from(a.uint(4)), 0, 0, 0, 0];
            let request = Request { b: data, ..Request::on(Op::FSetXattr, id).args(args) };
            self.files.call(&request, &mut []).map_err(super::data::errno)
        });
        Outcome::from_result(result.map(|_| 0))
    }

    pub(crate) fn listxattr(&mut self, a: Args) -> Outcome {
        self.listxattr_at(a, true)
    }

    pub(crate) fn llistxattr(&mut self, a: Args) -> Outcome {
        self.listxattr_at(a, false)
    }

    fn listxattr_at(&mut self, a: Args, follow: bool) -> Outcome {
        self.on_path(a, Need::look(None, 0, follow), |guest, files, object, out| {
            let args = [u64::from(follow), 0, 0, 0, 0];
            let len = files.call(&object.request(Op::ListXattr, Op::FListXattr, args), out)?.len;
            give(guest, out, len, a.raw(1), a.raw(2))
        })
    }

    pub(crate) fn flistxattr(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let out = &mut self.scratch.data;
        let result = self.files.call(&Request::on(Op::FListXattr, id), out);
        result
            .and_then(|reply| give(self.guest, out, reply.len, a.raw(1), a.raw(2)))
            .unwrap_or_else(|stop| Outcome::Fail(super::data::errno(stop)))
    }

    pub(crate) fn removexattr(&mut self, a: Args) -> Outcome {
        self.removexattr_at(a, true)
    }

    pub(crate) fn lremovexattr(&mut self, a: Args) -> Outcome {
        self.removexattr_at(a, false)
    }

    fn removexattr_at(&mut self, a: Args, follow: bool) -> Outcome {
        self.on_path(a, Need::write(None, 0, follow), |guest, files, object, out| {
            let mut name = [0; 256];
            let name = xattr_name(guest, a.raw(1), &mut name)?;
            let args = [u64::from(follow), 0, 0, 0, 0];
            let request = object.request(Op::RemoveXattr, Op::FRemoveXattr, args);
            files.call(&Request { b: name, ..request }, out).map(done)
        })
    }

    pub(crate) fn fremovexattr(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let mut name = [0; 256];
        let result = xattr_name(self.guest, a.raw(1), &mut name).and_then(|name| {
            let request = Request { b: name, ..Request::on(Op::FRemoveXattr, id) };
            self.files.call(&request, &mut []).map_err(super::data::errno)
        });
        Outcome::from_result(result.map(|_| 0))
    }
}

const NOW_MARK: u64 = libc::UTIME_NOW.cast_unsigned();
const OMIT_MARK: u64 = libc::UTIME_OMIT.cast_unsigned();
const NOW: Times = [0, NOW_MARK, 0, NOW_MARK];

fn xattr_name<'n, G: Guest>(
    guest: &mut G,
    at: usize,
    name: &'n mut [u8; 256],
) -> Result<&'n [u8], Errno> {
    let len = match guest.read_str(at, name) {
        Err(Errno::ENAMETOOLONG) | Ok(0) => return Err(Errno::ERANGE),
        other => other?,
    };
    Ok(name.get(..len).unwrap_or_default())
}

/// Puts `NAME \0 VALUE` of a setxattr call into `out`; the length of both.
fn attribute<G: Guest>(guest: &mut G, a: Args, out: &mut [u8]) -> Result<usize, Errno> {
    let mut name = [0; 256];
    let name = xattr_name(guest, a.raw(1), &mut name)?;
    let size = a.raw(3);
    if size > 65536 {
        return Err(Errno::E2BIG);
    }
    let end = name.len() + 1;
    out.get_mut(..name.len()).ok_or(Errno::E2BIG)?.copy_from_slice(name);
    *out.get_mut(name.len()).ok_or(Errno::E2BIG)? = 0;
    let value = out.get_mut(end..end + size).ok_or(Errno::E2BIG)?;
    if size > 0 && guest.read(a.raw(2), value)? < size {
        return Err(Errno::EFAULT);
    }
    Ok(end + size)
}

/// Gives a value to a caller who has room for `size` bytes; with 0 only its length is asked.
fn give<G: Guest>(
    guest: &mut G,
    out: &[u8],
    len: usize,
    place: usize,
    size: usize,
) -> Result<Outcome, crate::files::Stop> {
    if size > 0 {
        if len > size {
            return Err(Errno::ERANGE.into());
        }
        guest.write(place, out.get(..len).unwrap_or_default())?;
    }
    Ok(Outcome::Done(len.cast_signed()))
}
