//! Names: mkdir(2), rmdir(2), unlink(2), rename(2), link(2), symlink(2), readlink(2), mknod(2).

use super::path::{Need, Object, done};
use super::{Args, Cx, Need2};
use crate::bytes::put;
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request};
use crate::guest::{EXE, FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::resolve::{number, shadow_path};
use crate::shadow;
use crate::sys;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn mkdir(&mut self, a: Args) -> Outcome {
        self.mkdir_at(a, Need::write(None, 0, false), a.uint(1))
    }

    pub(crate) fn mkdirat(&mut self, a: Args) -> Outcome {
        self.mkdir_at(a, Need::write(Some(0), 1, false), a.uint(2))
    }

    fn mkdir_at(&mut self, a: Args, need: Need, mode: u32) -> Outcome {
        self.on_path(a, need, |guest, files, object, out| {
            let mode = mode & 0o7777 & !guest.umask();
            let request = Request::named(Op::MkDir, object.name(Errno::EEXIST)?);
            files.call(&request.args([u64::from(mode), 0, 0, 0, 0]), out).map(done)
        })
    }

    pub(crate) fn rmdir(&mut self, a: Args) -> Outcome {
        self.remove(a, Need::write(None, 0, false), Op::RmDir)
    }

    pub(crate) fn unlink(&mut self, a: Args) -> Outcome {
        self.remove(a, Need::write(None, 0, false), Op::Unlink)
    }

    pub(crate) fn unlinkat(&mut self, a: Args) -> Outcome {
        let op = if a.int(2) & libc::AT_REMOVEDIR == 0 { Op::Unlink } else { Op::RmDir };
        self.remove(a, Need::write(Some(0), 1, false), op)
    }

    fn remove(&mut self, a: Args, need: Need, op: Op) -> Outcome {
        self.on_path(a, need, |_, files, object, out| {
            files.call(&Request::named(op, object.name(Errno::EPERM)?), out).map(done)
        })
    }

    pub(crate) fn rename(&mut self, a: Args) -> Outcome {
        self.rename_at(a, Need::write(None, 0, false), Need::write(None, 1, false), 0)
    }

    pub(crate) fn renameat(&mut self, a: Args) -> Outcome {
        self.rename_at(a, Need::write(Some(0), 1, false), Need::write(Some(2), 3, false), 0)
    }

    pub(crate) fn renameat2(&mut self, a: Args) -> Outcome {
        let flags = a.uint(4);
        self.rename_at(a, Need::write(Some(0), 1, false), Need::write(Some(2), 3, false), flags)
    }

    fn rename_at(&mut self, a: Args, from: Need, to: Need, flags: u32) -> Outcome {
        self.on_two_paths(a, Need2 { from, to }, |files, names, out| {
            let request = two_names(Op::Rename, names);
            files.call(&request.args([u64::from(flags), 0, 0, 0, 0]), out).map(done)
        })
    }

    pub(crate) fn link(&mut self, a: Args) -> Outcome {
        self.link_at(a, Need::look(None, 0, false), Need::write(None, 1, false))
    }

    pub(crate) fn linkat(&mut self, a: Args) -> Outcome {
        let flags = a.int(4);
        if flags & libc::AT_EMPTY_PATH != 0
            && let FdClass::Shadow { .. } = self.guest.fd_class(a.int(0))
        {
            return Outcome::Fail(Errno::EXDEV);
        }
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        self.link_at(a, Need::look(Some(0), 1, follow), Need::write(Some(2), 3, false))
    }

    fn link_at(&mut self, a: Args, from: Need, to: Need) -> Outcome {
        self.on_two_paths(a, Need2 { from, to }, |files, names, out| {
            let request = two_names(Op::Link, names);
            files.call(&request.args([u64::from(from.follow), 0, 0, 0, 0]), out).map(done)
        })
    }

    pub(crate) fn symlink(&mut self, a: Args) -> Outcome {
        self.symlink_at(a, Need::write(None, 1, false))
    }

    pub(crate) fn symlinkat(&mut self, a: Args) -> Outcome {
        self.symlink_at(a, Need::write(Some(1), 2, false))
    }

    fn symlink_at(&mut self, a: Args, need: Need) -> Outcome {
        self.on_path(a, need, |guest, files, object, out| {
            let mut text = [0; 4096];
            let len = guest.read_str(a.raw(0), &mut text)?;
            if len == 0 {
                return Err(Errno::ENOENT.into());
            }
            let text = text.get(..len).unwrap_or_default();
            let name = object.name(Errno::EEXIST)?;
            files.call(&Request { b: text, ..Request::named(Op::SymLink, name) }, out).map(done)
        })
    }

    /// Nodes other than regular files have no place on a remote side.
    pub(crate) fn mknod(&mut self, a: Args) -> Outcome {
        self.mknod_at(a, Need::write(None, 0, false), a.uint(1))
    }

    pub(crate) fn mknodat(&mut self, a: Args) -> Outcome {
        self.mknod_at(a, Need::write(Some(0), 1, false), a.uint(2))
    }

    fn mknod_at(&mut self, a: Args, need: Need, mode: u32) -> Outcome {
        self.on_path(a, need, |guest, files, object, out| {
            match mode & libc::S_IFMT {
                0 | libc::S_IFREG => {}
                libc::S_IFDIR => return Err(Errno::EPERM.into()),
                libc::S_IFCHR | libc::S_IFBLK | libc::S_IFIFO | libc::S_IFSOCK => {
                    let name = object.name(Errno::EEXIST)?;
                    return files.call(&Request::named(Op::MkNod, name), out).map(done);
                }
                _ => return Err(Errno::EINVAL.into()),
            }
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
            let mode = mode & 0o7777 & !guest.umask();
            let args = [u64::from(flags.cast_unsigned()), u64::from(mode), 0, 0, 0];
            let name = object.name(Errno::EEXIST)?;
            let opened = files.open(&Request::named(Op::Open, name).args(args), out)?;
            sys::close(opened.fd);
            Ok(Outcome::Done(0))
        })
    }

    pub(crate) fn readlink(&mut self, a: Args) -> Outcome {
        self.readlink_at(a, Need::look(None, 0, false), a.raw(1), a.raw(2))
    }

    pub(crate) fn readlinkat(&mut self, a: Args) -> Outcome {
        self.readlink_at(a, Need::look(Some(0), 1, false), a.raw(2), a.raw(3))
    }

    fn readlink_at(&mut self, a: Args, need: Need, place: usize, size: usize) -> Outcome {
        if a.int(if need.path == 0 { 2 } else { 3 }) <= 0 {
            return Outcome::Fail(Errno::EINVAL);
        }
        // A mount of `/` must not hide them.
        if self.ns.table.full()
            && let Some(outcome) = self.readlink_own(a, need, place, size)
        {
            return outcome;
        }
        let outcome = self.on_path(a, need, |guest, files, object, out| {
            let len = match object {
                Object::Shadow(id, _) => shadow_path(files, id, out)?,
                Object::Name(name) => files.call(&Request::named(Op::ReadLink, name), out)?.len,
            };
            let len = len.min(size);
            guest.write(place, out.get(..len).unwrap_or_default())?;
            Ok(Outcome::Done(len.cast_signed()))
        });
        let own = matches!(outcome, Outcome::Pass(_))
            && self.scratch.first.input().starts_with(b"/proc/");
        let own = own.then(|| self.readlink_own(a, need, place, size));
        own.flatten().unwrap_or(outcome)
    }

    /// The links by which a process finds its own program, directory and descriptors: where these
    /// are shadows, or lie below a mapped directory, the kernel's texts are not the guest's names.
    fn readlink_own(&mut self, a: Args, need: Need, place: usize, size: usize) -> Option<Outcome> {
        let mut path = [0; 40];
        let len = self.guest.read_str(a.raw(need.path), &mut path).ok()?;
        let (who, what) = split_once(path.get(..len)?.strip_prefix(b"/proc/")?)?;
        let mut real = [0; 4096];
        let own = who == b"self" || who == b"thread-self";
        let len = match what {
            b"exe" if !own => sys::readlinkat(libc::AT_FDCWD, path.get(..=len)?, &mut real).ok()?,
            b"exe" => self.guest.fd_path(EXE, &mut real).ok()?,
            b"cwd" if own => self.guest.fd_path(libc::AT_FDCWD, &mut real).ok()?,
            _ => {
                let fd = own.then_some(what.strip_prefix(b"fd/"))??;
                self.guest.fd_path(number(fd)?, &mut real).ok()?
            }
        };
        let real = real.get(..len)?;
        let out = &mut self.scratch.data;
        let len = match shadow::parse_link(real, self.ns.session) {
            Some((id, _)) => match shadow_path(self.files, id, out) {
                Ok(len) => len,
                Err(Errno::DEFER) => return Some(Outcome::Fail(Errno::DEFER)),
                Err(_) => return Some(Outcome::Pass(Reason::Declared)),
            },
            None => {
                let (prefix, rest) = self.ns.table.reverse(real)?;
                let mut len = 0;
                put(out, &mut len, prefix);
                put(out, &mut len, rest);
                len
            }
        };
        let len = len.min(size);
        let written = self.guest.write(place, out.get(..len).unwrap_or_default());
        Some(Outcome::from_result(written.map(|()| len.cast_signed())))
    }
}

/// What is before the first slash, and what behind it.
fn split_once(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().position(|&b| b == b'/')?;
    Some((path.get(..at)?, path.get(at + 1..)?))
}

fn two_names<'n>(op: Op, [from, to]: [Name<'n>; 2]) -> Request<'n> {
    Request { base: [from.base, to.base], b: to.path, ..Request::named(op, from) }
}
