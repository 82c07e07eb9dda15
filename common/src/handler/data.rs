//! Reading and writing: read(2), pread(2), readv(2), write(2) and their relatives.
//!
//! The bytes of a complete shadow are the kernel's own business. On a *served* one the bytes come
//! from the session: out of the mapped cache where they are present, by a request otherwise. The
//! position is the kernel's; it is advanced first, by one atomic lseek, and corrected when fewer
//! bytes were there, so two processes that share a descriptor never read the same bytes twice.

use super::{Args, CHUNK, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request, Stop};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::shadow::{Kind, ShadowId, served_mode};

/// The most bytes one call moves, as the kernel has it.
const MAX_COUNT: usize = 0x7fff_f000;
/// As the kernel: UIO_MAXIOV.
const MAX_VECTORS: usize = 1024;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// The memory of a call: one buffer, or a vector of them.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Buffer(usize, usize),
    Vectors(usize, usize),
}

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn read(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::In, Memory::Buffer(a.raw(1), a.raw(2)), None)
    }

    pub(crate) fn write(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::Out, Memory::Buffer(a.raw(1), a.raw(2)), None)
    }

    pub(crate) fn pread64(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::In, Memory::Buffer(a.raw(1), a.raw(2)), Some(a.long(3)))
    }

    pub(crate) fn pwrite64(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::Out, Memory::Buffer(a.raw(1), a.raw(2)), Some(a.long(3)))
    }

    pub(crate) fn readv(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::In, Memory::Vectors(a.raw(1), a.raw(2)), None)
    }

    pub(crate) fn writev(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::Out, Memory::Vectors(a.raw(1), a.raw(2)), None)
    }

    pub(crate) fn preadv(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::In, Memory::Vectors(a.raw(1), a.raw(2)), Some(a.long(3)))
    }

    pub(crate) fn pwritev(&mut self, a: Args) -> Outcome {
        self.transfer(a, Way::Out, Memory::Vectors(a.raw(1), a.raw(2)), Some(a.long(3)))
    }

    pub(crate) fn preadv2(&mut self, a: Args) -> Outcome {
        let offset = (a.long(3) != -1).then(|| a.long(3));
        self.transfer(a, Way::In, Memory::Vectors(a.raw(1), a.raw(2)), offset)
    }

    pub(crate) fn pwritev2(&mut self, a: Args) -> Outcome {
        let offset = (a.long(3) != -1).then(|| a.long(3));
        self.transfer(a, Way::Out, Memory::Vectors(a.raw(1), a.raw(2)), offset)
    }

    /// One call that moves bytes.
    fn transfer(&mut self, a: Args, way: Way, memory: Memory, offset: Option<i64>) -> Outcome {
        let fd = a.int(0);
        let (id, kind) = match self.guest.fd_class(fd) {
            FdClass::Plain => return Outcome::Pass(Reason::PlainFd),
            FdClass::Shadow { id, kind, .. } => (id, kind),
        };
        match (kind, way) {
            (Kind::Complete, _) => return Outcome::Pass(Reason::CompleteFd),
            (Kind::Dir, Way::In) => return Outcome::Fail(Errno::EISDIR),
            (Kind::Dir, Way::Out) => return Outcome::Fail(Errno::EBADF),
            (Kind::Served, _) => {}
        }
        let denied = match way {
            Way::In => libc::O_WRONLY,
            Way::Out => libc::O_RDONLY,
        };
        if served_mode(id) == denied {
            return Outcome::Fail(Errno::EBADF);
        }
        if offset.is_some_and(|offset| offset < 0) {
            return Outcome::Fail(Errno::EINVAL);
        }
        let result = self.total(memory).and_then(|total| match way {
            Way::In => self.served_read(fd, id, memory, total, offset),
            Way::Out => self.served_write(fd, id, memory, total, offset),
        });
        Outcome::from_result(result.map(usize::cast_signed))
    }

    /// How many bytes the call asks for.
    fn total(&mut self, memory: Memory) -> Result<usize, Errno> {
        let Memory::Vectors(at, count) = memory else {
            let Memory::Buffer(_, len) = memory else { return Ok(0) };
            return Ok(len.min(MAX_COUNT));
        };
        if count > MAX_VECTORS {
            return Err(Errno::EINVAL);
        }
        let mut total: usize = 0;
        for index in 0..count {
            let (_, len) = self.vector(at, index)?;
            total = total.checked_add(len).ok_or(Errno::EINVAL)?;
        }
        Ok(total.min(MAX_COUNT))
    }

    fn vector(&mut self, at: usize, index: usize) -> Result<(usize, usize), Errno> {
        let mut pair = [0; 16];
        if self.guest.read(at.wrapping_add(index * 16), &mut pair)? < 16 {
            return Err(Errno::EFAULT);
        }
        let word = |half: &[u8]| half.try_into().map_or(0, usize::from_ne_bytes);
        let (base, len) = pair.split_at(8);
        if word(len) > isize::MAX.cast_unsigned() {
            return Err(Errno::EINVAL);
        }
        Ok((word(base), word(len)))
    }

    /// The guest address of byte `done` of the call's memory, and how many follow in one piece.
    fn piece(&mut self, memory: Memory, done: usize) -> Result<(usize, usize), Errno> {
        let (at, count) = match memory {
            Memory::Buffer(at, len) => {
                return Ok((at.wrapping_add(done), len.saturating_sub(done)));
            }
            Memory::Vectors(at, count) => (at, count),
        };
        let mut skip = done;
        for index in 0..count {
            let (base, len) = self.vector(at, index)?;
            if skip < len {
                return Ok((base.wrapping_add(skip), len - skip));
            }
            skip -= len;
        }
        Ok((0, 0))
    }

    fn served_read(
        &mut self,
        fd: i32,
        id: ShadowId,
        memory: Memory,
        want: usize,
        offset: Option<i64>,
    ) -> Result<usize, Errno> {
        let start = self.advance(fd, want, offset)?;
        let mut done = 0;
        let mut failure = None;
        while done < want {
            match self.read_piece(id, memory, done, want, start + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) => {
                    failure = Some(errno);
                    break;
                }
            }
        }
        self.finish(fd, want, done, offset, failure)
    }

    /// Moves what is next in one piece; 0 at the end of the file.
    fn read_piece(
        &mut self,
        id: ShadowId,
        memory: Memory,
        done: usize,
        want: usize,
        at: u64,
    ) -> Result<usize, Errno> {
        let (place, room) = self.piece(memory, done)?;
        let room = room.min(want - done);
        for filled in [false, true] {
            let Some(view) = self.files.view(id) else { break };
            if at >= view.size() {
                return Ok(0);
            }
            let left = usize::try_from(view.size() - at).unwrap_or(usize::MAX);
            let bytes = view.bytes(at, room.min(left));
            if !bytes.is_empty() {
                self.guest.write(place, bytes)?;
                return Ok(bytes.len());
            }
            if filled {
                break;
            }
            let args = [at, room.min(left) as u64, 0, 0, 0];
            let request = Request::on(Op::Fill, id).args(args);
            self.files.call(&request, &mut []).map_err(errno)?;
        }
        let data = self.scratch.data.get_mut(..room.min(CHUNK)).unwrap_or_default();
        let request = Request::on(Op::PRead, id).args([at, 0, 0, 0, 0]);
        let reply = self.files.call(&request, data).map_err(errno)?;
        let data = data.get(..reply.len).unwrap_or_default();
        self.guest.write(place, data)?;
        Ok(data.len())
    }

    fn served_write(
        &mut self,
        fd: i32,
        id: ShadowId,
        memory: Memory,
        want: usize,
        offset: Option<i64>,
    ) -> Result<usize, Errno> {
        if self.guest.fd_flags(fd)? & libc::O_APPEND != 0 {
            return self.append(fd, id, memory, want, offset.is_none());
        }
        let start = self.advance(fd, want, offset)?;
        let mut done = 0;
        let mut failure = None;
        while done < want {
            match self.write_piece(id, memory, done, want, [start + done as u64, 0, 0, 0, 0]) {
                Ok((0, _)) => break,
                Ok((n, _)) => done += n,
                Err(errno) => {
                    failure = Some(errno);
                    break;
                }
            }
        }
        self.finish(fd, want, done, offset, failure)
    }

    /// Writes to the end, wherever the server finds it.
    fn append(
        &mut self,
        fd: i32,
        id: ShadowId,
        memory: Memory,
        want: usize,
        moves: bool,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while done < want {
            match self.write_piece(id, memory, done, want, [0, 1, 0, 0, 0]) {
                Ok((0, _)) => break,
                Ok((n, end)) => {
                    done += n;
                    if moves {
                        self.guest.seek(fd, end.cast_signed(), libc::SEEK_SET)?;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes what is next in one piece; the bytes written and the offset after them.
    fn write_piece(
        &mut self,
        id: ShadowId,
        memory: Memory,
        done: usize,
        want: usize,
        args: [u64; 5],
    ) -> Result<(usize, u64), Errno> {
        let (place, room) = self.piece(memory, done)?;
        let len = room.min(want - done).min(CHUNK);
        let data = self.scratch.data.get_mut(..len).unwrap_or_default();
        let len = self.guest.read(place, data)?;
        let request =
            Request { a: data.get(..len).unwrap_or_default(), ..Request::on(Op::PWrite, id) };
        let reply = self.files.call(&request.args(args), &mut []).map_err(errno)?;
        let written = usize::try_from(reply.value).map_err(|_| Errno::EPROTO)?;
        Ok((written.min(len), reply.aux[0]))
    }

    /// Takes `want` bytes of the file for this call: where they start.
    fn advance(&mut self, fd: i32, want: usize, offset: Option<i64>) -> Result<u64, Errno> {
        let start = match offset {
            Some(offset) => offset,
            None => {
                let want = want.cast_signed() as i64;
                self.guest.seek(fd, want, libc::SEEK_CUR)? - want
            }
        };
        u64::try_from(start).map_err(|_| Errno::EINVAL)
    }

    /// Gives back what was taken and not used.
    fn finish(
        &mut self,
        fd: i32,
        want: usize,
        done: usize,
        offset: Option<i64>,
        failure: Option<Errno>,
    ) -> Result<usize, Errno> {
        // To be asked again where waiting is allowed: as if nothing had happened.
        let done = if failure == Some(Errno::DEFER) { 0 } else { done };
        if offset.is_none() && done < want {
            let back = (done.cast_signed() as i64) - (want.cast_signed() as i64);
            self.guest.seek(fd, back, libc::SEEK_CUR)?;
        }
        match failure {
            Some(errno) if done == 0 => Err(errno),
            _ => Ok(done),
        }
    }

    /// sendfile(2), splice(2), tee(2), copy_file_range(2), vmsplice(2): on a descriptor whose bytes
    /// the kernel does not have they fail as on a file system that lacks them, and programs copy by
    /// reading and writing.
    pub(crate) fn copy_file_range(&mut self, a: Args) -> Outcome {
        self.kernel_copy([a.int(0), a.int(2)], Errno::EXDEV)
    }

    pub(crate) fn splice(&mut self, a: Args) -> Outcome {
        self.kernel_copy([a.int(0), a.int(2)], Errno::EINVAL)
    }

    pub(crate) fn sendfile(&mut self, a: Args) -> Outcome {
        self.kernel_copy([a.int(0), a.int(1)], Errno::EINVAL)
    }

    fn kernel_copy(&mut self, fds: [i32; 2], refusal: Errno) -> Outcome {
        let mut reason = Reason::PlainFd;
        for fd in fds {
            match self.guest.fd_class(fd) {
                FdClass::Plain => {}
                FdClass::Shadow { kind: Kind::Complete, .. } => reason = Reason::CompleteFd,
                FdClass::Shadow { kind: Kind::Served, .. } => return Outcome::Fail(refusal),
                FdClass::Shadow { kind: Kind::Dir, .. } => return Outcome::Fail(Errno::EISDIR),
            }
        }
        Outcome::Pass(reason)
    }
}

/// The errno of a stop of an operation on a shadow, which is never redirected.
pub(super) fn errno(stop: Stop) -> Errno {
    match stop {
        Stop::Fail(errno) => errno,
        Stop::Redirect(_) => Errno::EPROTO,
    }
}
