//! Mapping files: mmap(2), msync(2).
//!
//! The kernel maps a complete shadow as it is. A served one is completed first, and the map is of
//! the file that holds its bytes.

use super::{Args, Cx};
use crate::areas;
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::shadow::{Kind, ShadowId, parse_link, served_mode};
use crate::sys;
use core::ops::Range;
use syscalls::Sysno;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn mmap(&mut self, a: Args) -> Outcome {
        let (prot, flags, fd) = (a.int(2), a.int(3), a.int(4));
        if flags & libc::MAP_ANONYMOUS != 0 {
            return Outcome::Pass(Reason::Declared);
        }
        let FdClass::Shadow { id, kind, writable } = self.guest.fd_class(fd) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE && prot & libc::PROT_WRITE != 0;
        match kind {
            Kind::Dir => Outcome::Fail(Errno::ENODEV),
            Kind::Complete if !(shared && writable) => Outcome::Pass(Reason::CompleteFd),
            // The session must know that stores without any call may change the file.
            Kind::Complete => match self.complete(id, true) {
                Ok(copy) => {
                    sys::close(copy);
                    Outcome::Pass(Reason::CompleteFd)
                }
                Err(errno) => Outcome::Fail(errno),
            },
            Kind::Served => {
                let mode = served_mode(id);
                if mode == libc::O_WRONLY || (shared && mode != libc::O_RDWR) {
                    return Outcome::Fail(Errno::EACCES);
                }
                let mapped = self.complete(id, shared).and_then(|copy| self.guest.map(copy, a.0));
                Outcome::from_result(mapped.map(usize::cast_signed))
            }
        }
    }

    /// msync(2): the pages that it names are sent, if the kernel tells which file lies there, else
    /// all that is mapped in the session. A shadow has no need to be on this machine's disk.
    pub(crate) fn msync(&mut self, a: Args) -> Outcome {
        let (from, flags) = (a.raw(0), a.int(2));
        if flags & libc::MS_SYNC == 0 {
            return Outcome::Pass(Reason::Declared);
        }
        // As the kernel: to the end of the last page.
        let Some(to) = from.checked_add(a.raw(1)).and_then(|to| to.checked_next_multiple_of(4096))
        else {
            return Outcome::Fail(Errno::ENOMEM);
        };
        let maps = self.guest.maps();
        let ours =
            maps.is_ok_and(|maps| self.each_shadow(maps, from..to, |_, _, _| Ok(())).is_ok());
        let args = [from, a.raw(1), sys::arg(flags & !libc::MS_SYNC | libc::MS_ASYNC), 0, 0, 0];
        let args = if ours { args } else { a.0 };
        let synced = self.guest.native(sys::number(Sysno::msync), args);
        let sent = match maps {
            _ if Errno::check(synced).is_err() => Ok(()),
            Ok(maps) if ours => self.each_shadow(maps, from..to, |cx, id, part| {
                cx.sync_maps(Request::on(Op::SyncMaps, id).args([part.start, part.end, 0, 0, 0]))
            }),
            _ => self.sync_maps(Request::new(Op::SyncMaps)),
        };
        if let Ok(maps) = maps {
            sys::close(maps);
        }
        match sent {
            Ok(()) => Outcome::Done(synced),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn sync_maps(&mut self, request: Request<'_>) -> Result<(), Errno> {
        self.files.call(&request, &mut []).map(|_| ()).map_err(super::data::errno)
    }

    /// What is mapped there of shadows: which, and which of its bytes.
    ///
    /// # Errors
    /// EINVAL when there is anything else, or it cannot be known.
    fn each_shadow(
        &mut self,
        maps: i32,
        range: Range<usize>,
        mut each: impl FnMut(&mut Self, ShadowId, Range<u64>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let name = self.scratch.data.get_mut(..4096).unwrap_or_default();
            let area = areas::at(maps, at, name)?;
            let Some((id, Kind::Complete)) = parse_link(area.name, self.ns.session) else {
                return Err(Errno::EINVAL);
            };
            let end = area.end.min(range.end);
            let part = |to: usize| area.offset.saturating_add(to.saturating_sub(area.start) as u64);
            let part = part(at)..part(end);
            if end <= at {
                return Err(Errno::EINVAL);
            }
            at = end;
            each(self, id, part)?;
        }
        Ok(())
    }

    /// A descriptor (of the handler's process) of the file with all bytes.
    fn complete(&mut self, id: ShadowId, shared: bool) -> Result<i32, Errno> {
        let request = Request::on(Op::Complete, id).args([u64::from(shared), 0, 0, 0, 0]);
        let reply = self.files.call(&request, &mut []).map_err(super::data::errno)?;
        match reply.fds {
            [fd, _] if fd >= 0 => Ok(fd),
            _ => Err(Errno::EPROTO),
        }
    }
}
