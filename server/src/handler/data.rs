//! Reading and writing at an offset.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::unsigned;
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::space::{OpenFile, Space};
use crate::wire::{Code, MAX_TRANSFER};

/// A length that is served at once: cut to what the protocol allows.
pub(super) fn transfer(length: i64) -> Result<usize, Errno> {
    Ok(usize::try_from(unsigned(length)?).unwrap_or(usize::MAX).min(MAX_TRANSFER))
}

/// `pread`: n and data.
pub(crate) fn pread(
    session: &mut Session,
    _: Rights,
    fd: i64,
    length: i64,
    offset: i64,
) -> Outcome {
    let (length, offset) = (transfer(length)?, unsigned(offset)?);
    let file = borrow(session, fd)?;
    if length > session.piece() {
        return pread_large(session, &file, length, offset);
    }
    Ok(session.out.file_data(file.as_fd(), length, offset)?)
}

/// A read too large to be held here: its length is told first, then the kernel sends the data.
fn pread_large(session: &mut Session, file: &OpenFile, length: usize, offset: u64) -> Outcome {
    // Whatever cannot be read fails here, while a code can still be sent.
    let mut probe = [0];
    rustix::io::pread(file, &mut probe, offset)?;
    let size = unsigned(rustix::fs::fstat(file)?.st_size)?;
    let length = u64::try_from(length).unwrap_or(0).min(size.saturating_sub(offset));
    session.out.number(length.cast_signed());
    session.flush()?;
    session.send_file(file, Some(offset), length)
}

/// `pwrite`: bytes written. What is beyond the limit of a transfer is thrown away.
pub(crate) fn pwrite(
    session: &mut Session,
    _: Rights,
    fd: i64,
    length: i64,
    offset: i64,
) -> Outcome {
    let (length, offset) = (transfer(length)?, unsigned(offset)?);
    let file = borrow(session, fd)?;
    let service = Arc::clone(&session.service);
    let mut scratch = session.take_scratch(u64::try_from(length).unwrap_or(0));
    let mut done = 0;
    while done < length {
        let room = scratch.len().min(length - done);
        let part = session.read_body(scratch.get_mut(..room).unwrap_or_default())?;
        if let Err(error) = write_all(&service.space, &file, part, at(offset, done)?) {
            // What is on the disk is reported, the failure comes with the next write.
            if done == 0 {
                return Err(error.into());
            }
            break;
        }
        done += part.len();
    }
    session.return_scratch(scratch);
    session.out.number(i64::try_from(done).unwrap_or(i64::MAX));
    Ok(())
}

/// The parts of a strided transfer: offset and length of each, up to `length` bytes in all.
fn strides(
    length: usize,
    (take, skip): (i64, i64),
    offset: i64,
) -> Result<impl Iterator<Item = Result<(u64, usize), Errno>>, Errno> {
    let take = usize::try_from(unsigned(take)?).unwrap_or(usize::MAX);
    let (skip, offset) = (unsigned(skip)?, unsigned(offset)?);
    if take == 0 && length > 0 {
        return Err(Errno::INVAL);
    }
    let mut left = length;
    let mut next = Ok(offset);
    Ok(std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let part = take.min(left);
        left -= part;
        let here = next;
        next = here.and_then(|at| at.checked_add(skip).ok_or(Errno::INVAL));
        Some(here.map(|at| (at, part)))
    }))
}

/// `swrite`: bytes written.
pub(crate) fn swrite(
    session: &mut Session,
    _: Rights,
    fd: i64,
    length: i64,
    stride: (i64, i64),
    offset: i64,
) -> Outcome {
    if usize::try_from(unsigned(length)?).map_or(true, |length| length > MAX_TRANSFER) {
        return Err(Code::NoMemory.into());
    }
    let length = transfer(length)?;
    let file = borrow(session, fd)?;
    let parts = strides(length, stride, offset)?;
    // Held as a whole: not for everybody at once.
    let _loan = session.service.clients.lend(length).ok_or(Code::NoMemory)?;
    let mut data = vec![0; length];
    let data = session.read_body(&mut data)?;
    // All parts are charged as one: a write that does not fit writes nothing.
    let mut end = 0;
    for part in strides(length, stride, offset)? {
        let (start, wanted) = part?;
        end = end.max(at(start, wanted)?);
    }
    let bytes = u64::try_from(length).unwrap_or(u64::MAX);
    session.service.space.write(&file, bytes, end, || {
        let mut rest = data;
        for part in parts {
            let (start, wanted) = part?;
            let (now, later) = rest.split_at_checked(wanted).ok_or(Errno::INVAL)?;
            pwrite_all(file.as_fd(), now, start)?;
            rest = later;
        }
        Ok(())
    })?;
    session.out.number(i64::try_from(length).unwrap_or(i64::MAX));
    Ok(())
}

/// The client's file, shared, so that the session stays free for the transfer.
pub(super) fn borrow(session: &Session, fd: i64) -> Result<Arc<OpenFile>, Errno> {
    Ok(Arc::clone(&session.file(fd)?.fd))
}

fn at(offset: u64, done: usize) -> Result<u64, Errno> {
    u64::try_from(done).ok().and_then(|done| offset.checked_add(done)).ok_or(Errno::INVAL)
}

/// Writes all of it at an offset, if there is room.
pub(super) fn write_all(
    space: &Space,
    file: &OpenFile,
    data: &[u8],
    offset: u64,
) -> Result<(), Errno> {
    let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let end = at(offset, data.len())?;
    space.write(file, bytes, end, || pwrite_all(file.as_fd(), data, offset))
}

fn pwrite_all(file: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<(), Errno> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pwrite(file, rest, at(offset, done)?) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
