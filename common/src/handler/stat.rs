//! Attributes: stat(2) and its relatives, statx(2), access(2), statfs(2).

use super::path::{Need, Object};
use super::{AT_STATX_SYNC_TYPE, Args, Cx};
use crate::attr::Attr;
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};

mod layout;
use layout::{StatBuf, StatxBuf, statfs_bytes};

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn stat(&mut self, a: Args) -> Outcome {
        self.stat_name(a, Need::look(None, 0, true), a.raw(1))
    }

    pub(crate) fn lstat(&mut self, a: Args) -> Outcome {
        self.stat_name(a, Need::look(None, 0, false), a.raw(1))
    }

    pub(crate) fn fstat(&mut self, a: Args) -> Outcome {
        self.stat_fd(a.int(0), |guest, attr| guest.write(a.raw(1), StatBuf::new(attr).as_bytes()))
    }

    pub(crate) fn newfstatat(&mut self, a: Args) -> Outcome {
        let flags = a.int(3);
        if self.is_empty_path(a.raw(1), flags) {
            return self.stat_fd(a.int(0), |guest, attr| {
                guest.write(a.raw(2), StatBuf::new(attr).as_bytes())
            });
        }
        self.stat_name(a, Need::look(Some(0), 1, flags & libc::AT_SYMLINK_NOFOLLOW == 0), a.raw(2))
    }

    pub(crate) fn statx(&mut self, a: Args) -> Outcome {
        let flags = a.int(2);
        // Both ways to be in step with the server at once.
        if flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
            return Outcome::Fail(Errno::EINVAL);
        }
        if self.is_empty_path(a.raw(1), flags) {
            return self.stat_fd(a.int(0), |guest, attr| {
                guest.write(a.raw(4), StatxBuf::new(attr).as_bytes())
            });
        }
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.stat_at(a, Need::look(Some(0), 1, follow), |guest, attr| {
            guest.write(a.raw(4), StatxBuf::new(attr).as_bytes())
        })
    }

    /// `struct stat` of a name, to a place of the guest's.
    fn stat_name(&mut self, a: Args, need: Need, place: usize) -> Outcome {
        self.stat_at(a, need, |guest, attr| guest.write(place, StatBuf::new(attr).as_bytes()))
    }

    /// Attributes of a name.
    fn stat_at(
        &mut self,
        a: Args,
        need: Need,
        store: impl Fn(&mut G, &Attr) -> Result<(), Errno>,
    ) -> Outcome {
        self.on_path(a, need, |guest, files, object, out| {
            if let (Object::Shadow(..), false) = (object, need.follow) {
                // lstat of /proc/self/fd/N: the link itself is the kernel's.
                return Ok(Outcome::Pass(Reason::CompleteFd));
            }
            let attr = files.attr(&stat_request(object, need.follow), out)?;
            store(guest, &attr)?;
            Ok(Outcome::Done(0))
        })
    }

    /// Attributes of a descriptor, or of the working directory for `AT_FDCWD`.
    fn stat_fd(
        &mut self,
        fd: i32,
        store: impl FnOnce(&mut G, &Attr) -> Result<(), Errno>,
    ) -> Outcome {
        let FdClass::Shadow { id, .. } = self.class_at(fd) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let result = self
            .files
            .attr(&Request::on(Op::FStat, id), &mut self.scratch.data)
            .map_err(super::data::errno)
            .and_then(|attr| store(self.guest, &attr));
        Outcome::from_result(result.map(|()| 0))
    }

    /// `AT_EMPTY_PATH` and an empty (or, since Linux 6.11, a null) path: the descriptor is meant.
    pub(super) fn is_empty_path(&mut self, path: usize, flags: i32) -> bool {
        if flags & libc::AT_EMPTY_PATH == 0 {
            return false;
        }
        let mut first = [1];
        path == 0 || (self.guest.read(path, &mut first) == Ok(1) && first == [0])
    }

    pub(crate) fn access(&mut self, a: Args) -> Outcome {
        self.access_at(a, Need::look(None, 0, true), a.int(1))
    }

    pub(crate) fn faccessat(&mut self, a: Args) -> Outcome {
        self.access_at(a, Need::look(Some(0), 1, true), a.int(2))
    }

    pub(crate) fn faccessat2(&mut self, a: Args) -> Outcome {
        let flags = a.int(3);
        let mode = a.int(2);
        if self.is_empty_path(a.raw(1), flags) {
            let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
                return Outcome::Pass(Reason::PlainFd);
            };
            let attr = self.files.attr(&Request::on(Op::FStat, id), &mut self.scratch.data);
            return Outcome::from_result(attr.map(|_| 0).map_err(super::data::errno));
        }
        self.access_at(a, Need::look(Some(0), 1, flags & libc::AT_SYMLINK_NOFOLLOW == 0), mode)
    }

    fn access_at(&mut self, a: Args, need: Need, mode: i32) -> Outcome {
        if mode & !7 != 0 {
            return Outcome::Fail(Errno::EINVAL);
        }
        self.on_path(a, need, |_, files, object, out| {
            let args = [u64::from(mode.cast_unsigned()), u64::from(need.follow), 0, 0, 0];
            let op = if mode == 0 { Op::FStat } else { Op::Access };
            if let (Object::Shadow(id, _), _) = (object, op) {
                files.attr(&Request::on(Op::FStat, id), out)?;
                return Ok(Outcome::Done(0));
            }
            files.call(&object.request(Op::Access, Op::FStat, args), out)?;
            Ok(Outcome::Done(0))
        })
    }

    pub(crate) fn statfs(&mut self, a: Args) -> Outcome {
        self.on_path(a, Need::look(None, 0, true), |guest, files, object, out| {
            let reply = files.call(&object.request(Op::StatFs, Op::FStatFs, [0; 5]), out)?;
            let data = out.get(..reply.len).unwrap_or_default();
            guest.write(a.raw(1), &statfs_bytes(data)?)?;
            Ok(Outcome::Done(0))
        })
    }

    pub(crate) fn fstatfs(&mut self, a: Args) -> Outcome {
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let result = self
            .files
            .call(&Request::on(Op::FStatFs, id), &mut self.scratch.data)
            .map_err(super::data::errno)
            .and_then(|reply| statfs_bytes(self.scratch.data.get(..reply.len).unwrap_or_default()))
            .and_then(|bytes| self.guest.write(a.raw(1), &bytes));
        Outcome::from_result(result.map(|()| 0))
    }
}

fn stat_request(object: Object<'_>, follow: bool) -> Request<'_> {
    object.request(Op::Stat, Op::FStat, [u64::from(follow), 0, 0, 0, 0])
}
