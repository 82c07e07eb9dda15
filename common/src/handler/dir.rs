//! Directories: getdents64(2), chdir(2), fchdir(2), getcwd(2), chroot(2).

use super::path::{Need, Object};
use super::{Args, Cx};
use crate::bytes::put;
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request};
use crate::guest::{FdClass, Forget, Guest};
use crate::mountlist::Table;
use crate::outcome::{Outcome, Reason};
use crate::resolve::{is_there, shadow_path};
use crate::shadow::Kind;
use crate::sys;
use syscalls::Sysno;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// The position of a listing is the kernel's position of the shadow directory.
    pub(crate) fn getdents64(&mut self, a: Args) -> Outcome {
        let fd = a.int(0);
        let id = match self.guest.fd_class(fd) {
            FdClass::Shadow { id, kind: Kind::Dir, .. } => id,
            FdClass::Shadow { .. } => return Outcome::Fail(Errno::ENOTDIR),
            FdClass::Plain => return self.merged(fd, a.raw(1), a.raw(2)),
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

    /// A directory of this machine: the names of mounts that lie in it come before its own.
    fn merged(&mut self, fd: i32, place: usize, size: usize) -> Outcome {
        let table = self.ns.table;
        if !table.shows() {
            return Outcome::Pass(Reason::PlainFd);
        }
        let mut path = [0; 4096];
        let out = &mut self.scratch.data;
        let found = self.guest.fd_path(fd, &mut path);
        let len = found.map_or(0, |len| mount_entries(&table, &mut path, len, out));
        let room = size.saturating_sub(len);
        // Only at its beginning, and where the kernel's entries have room too.
        if len == 0 || room < 1024 || self.guest.seek(fd, 0, libc::SEEK_CUR) != Ok(0) {
            return Outcome::Pass(Reason::PlainFd);
        }
        let nr = sys::number(Sysno::getdents64);
        let own = self.guest.native(nr, [sys::arg(fd), place.wrapping_add(len), room, 0, 0, 0]);
        if own <= 0 {
            return Outcome::Done(own);
        }
        let entries = self.scratch.data.get(..len).unwrap_or_default();
        let written = self.guest.write(place, entries);
        Outcome::from_result(written.map(|()| own.wrapping_add(len.cast_signed())))
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

/// Whether mounts show in a directory of this machine, by the name that the kernel gives it.
#[must_use]
pub fn has_mounts(table: &Table<'_>, path: &[u8]) -> bool {
    let mut logical = [0; 4096];
    let len = logical_name(table, path, &mut logical);
    table.names_below(logical.get(..len).unwrap_or_default()).next().is_some()
}

/// The logical name of a directory of this machine; its length.
fn logical_name(table: &Table<'_>, path: &[u8], out: &mut [u8]) -> usize {
    let (prefix, rest) = table.reverse(path).unwrap_or((b"", path));
    join(out, &[prefix, rest])
}

/// The entries (`linux_dirent64`) of the mounts in a directory, by the kernel's name of it (`len` bytes
/// of `path`): those that the directory has not itself.
fn mount_entries(table: &Table<'_>, path: &mut [u8; 4096], len: usize, out: &mut [u8]) -> usize {
    let mut logical = [0; 4096];
    let logical_len = logical_name(table, path.get(..len).unwrap_or_default(), &mut logical);
    let mut used = 0;
    for below in table.names_below(logical.get(..logical_len).unwrap_or_default()) {
        let mut end = if len == 1 { 0 } else { len };
        let fits = [b"/".as_slice(), below, b"\0"].iter().all(|part| put(path, &mut end, part));
        if !fits || is_there(path) {
            continue;
        }
        let length = (19 + below.len() + 1).next_multiple_of(8);
        let Some(place) = out.get_mut(used..used + length) else { break };
        place.fill(0);
        let size = u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes();
        let mut at = 0;
        // Number, position (that of the directory's first entry, 0), length, type, name.
        let number = 1_u64.to_ne_bytes();
        for part in [&number, &[0; 8], size.as_slice(), &[libc::DT_UNKNOWN], below] {
            put(place, &mut at, part);
        }
        used += length;
    }
    used
}

/// Writes parts one after the other.
fn join(out: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut len = 0;
    for part in parts {
        put(out, &mut len, part);
    }
    len
}
