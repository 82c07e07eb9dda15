//! Directories: getdents64(2), chdir(2), fchdir(2), getcwd(2), chroot(2).

use super::path::{Need, Object};
use super::{Args, Cx};
use crate::bytes::put;
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request};
use crate::guest::{FdClass, Forget, Guest};
use crate::outcome::{Outcome, Reason};
use crate::resolve::shadow_path;
use crate::shadow::Kind;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// The position of a listing is the kernel's position of the shadow directory.
    pub(crate) fn getdents64(&mut self, a: Args) -> Outcome {
        let fd = a.int(0);
        let id = match self.guest.fd_class(fd) {
            FdClass::Shadow { id, kind: Kind::Dir, .. } => id,
            FdClass::Shadow { .. } => return Outcome::Fail(Errno::ENOTDIR),
            FdClass::Plain => return Outcome::Pass(Reason::PlainFd),
        };
        let result = self.list(fd, id, a.raw(1), a.raw(2));
        Outcome::from_result(result.map(usize::cast_signed))
    }

    fn list(&mut self, fd: i32, id: u64, place: usize, size: usize) -> Result<usize, Errno> {
        let position = self.guest.seek(fd, 0, libc::SEEK_CUR)?;
        let room = size.min(self.scratch.data.len());
        let out = self.scratch.data.get_mut(..room).unwrap_or_default();
        let request = Request::on(Op::ReadDir, id).args([position.cast_unsigned(), 0, 0, 0, 0]);
        let reply = self.files.call(&request, out).map_err(super::data::errno)?;
        self.guest.write(place, out.get(..reply.len).unwrap_or_default())?;
        if reply.len > 0 {
            self.guest.seek(fd, reply.aux[0].cast_signed(), libc::SEEK_SET)?;
        }
        Ok(reply.len)
    }

    /// getdents(2), the old form: no C library of today makes it; refused on a remote directory.
    pub(crate) fn getdents(&mut self, a: Args) -> Outcome {
        match self.guest.fd_class(a.int(0)) {
            FdClass::Shadow { .. } => Outcome::Fail(Errno::EINVAL),
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
        }
    }

    pub(crate) fn chdir(&mut self, a: Args) -> Outcome {
        let outcome = self.on_path(a, Need::look(None, 0, true), |guest, files, object, out| {
            let mut again = [0; 4096];
            let name = match object {
                Object::Name(name) => name,
                Object::Shadow(id, Kind::Dir) => {
                    let len = shadow_path(files, id, &mut again)?;
                    Name { base: 0, path: again.get(..len).unwrap_or_default() }
                }
                Object::Shadow(..) => return Err(Errno::ENOTDIR.into()),
            };
            let opened = files.open(&Request::named(Op::ChDir, name), out)?;
            guest.install_cwd(opened)?;
            Ok(Outcome::Done(0))
        });
        self.guest.forget(Forget::Cwd);
        outcome
    }

    /// The kernel does it: the shadow of a remote directory is a directory.
    pub(crate) fn fchdir(&mut self, a: Args) -> Outcome {
        self.guest.forget(Forget::Cwd);
        match self.guest.fd_class(a.int(0)) {
            FdClass::Shadow { kind: Kind::Dir, .. } => Outcome::Pass(Reason::CompleteFd),
            FdClass::Shadow { .. } => Outcome::Fail(Errno::ENOTDIR),
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
        }
    }

    pub(crate) fn getcwd(&mut self, a: Args) -> Outcome {
        let (place, size) = (a.raw(0), a.raw(1));
        let out = &mut self.scratch.data;
        let len = match self.guest.cwd_class() {
            FdClass::Shadow { id, .. } => match shadow_path(self.files, id, out) {
                Ok(len) => len,
                Err(errno) => return Outcome::Fail(errno),
            },
            FdClass::Plain if !self.ns.table.has_local() => return Outcome::Pass(Reason::PlainFd),
            FdClass::Plain => {
                let mut real = [0; 4096];
                let Ok(len) = self.guest.fd_path(libc::AT_FDCWD, &mut real) else {
                    return Outcome::Pass(Reason::PlainFd);
                };
                let real = real.get(..len).unwrap_or_default();
                let Some((prefix, rest)) = self.ns.table.reverse(real) else {
                    return Outcome::Pass(Reason::PlainFd);
                };
                join(out, &[prefix, rest])
            }
        };
        let len = if len == 0 { join(out, &[b"/"]) } else { len };
        if len + 1 > size {
            return Outcome::Fail(Errno::ERANGE);
        }
        if let Some(end) = out.get_mut(len) {
            *end = 0;
        }
        let written = self.guest.write(place, out.get(..=len).unwrap_or_default());
        Outcome::from_result(written.map(|()| len.cast_signed() + 1))
    }

    /// A remote directory cannot be the kernel's root.
    pub(crate) fn chroot(&mut self, a: Args) -> Outcome {
        self.on_path(a, Need::look(None, 0, true), |_, _, _, _| Err(Errno::EPERM.into()))
    }
}

/// Writes parts one after the other.
fn join(out: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut len = 0;
    for part in parts {
        put(out, &mut len, part);
    }
    len
}
