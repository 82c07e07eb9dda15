//! Mapping files: mmap(2), msync(2).
//!
//! The kernel maps a complete shadow as it is. A served one is completed first, and the map is of
//! the file that holds its bytes.

use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::shadow::{Kind, ShadowId, served_mode};
use crate::sys;
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

    /// msync(2): which file lies there the kernel alone knows, so all maps of the session are sent.
    pub(crate) fn msync(&mut self, a: Args) -> Outcome {
        if a.int(2) & libc::MS_SYNC == 0 {
            return Outcome::Pass(Reason::Declared);
        }
        let synced = self.guest.native(sys::number(Sysno::msync), a.0);
        if Errno::check(synced).is_err() {
            return Outcome::Done(synced);
        }
        let sent = self.files.call(&Request::new(Op::SyncMaps), &mut []);
        Outcome::from_result(sent.map(|_| 0).map_err(super::data::errno))
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
