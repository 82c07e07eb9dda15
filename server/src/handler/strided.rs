//! `sread`: every so many bytes of a file, some.
//!
//! How much will be sent is worked out from the file's size first, because the reply begins with it.
//! Then the data goes out in pieces: a client cannot make the server hold it all, and strides of a
//! few bytes are picked out of a piece that was read at once, not read one by one.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::data::{borrow, transfer};
use super::unsigned;
use crate::acl::Rights;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// Strides that lie further apart are read one by one.
const SPARSE: u128 = 16 << 10;

/// Which bytes of a file are wanted.
#[derive(Clone, Copy, Debug)]
struct Strides {
    /// Bytes of each stride, at least 1.
    take: u128,
    /// From the beginning of one stride to that of the next.
    skip: u128,
    offset: u128,
}

impl Strides {
    /// Where in the file the n-th wanted byte is.
    const fn place(&self, n: u128) -> u128 {
        self.offset + n / self.take * self.skip + n % self.take
    }

    /// How many of `length` wanted bytes a file of this size has, up to the first that it has not.
    fn available(&self, length: u128, size: u128) -> u128 {
        let room = size.saturating_sub(self.offset);
        let whole = match (room.checked_sub(self.take), self.skip) {
            (None, _) => 0,
            (Some(_), 0) => length / self.take,
            (Some(rest), skip) => (rest / skip + 1).min(length / self.take),
        };
        let begun = size.saturating_sub(self.offset + whole * self.skip).min(self.take);
        (whole * self.take + begun).min(length)
    }
}

/// `sread`: n and data.
pub(crate) fn sread(
    session: &mut Session,
    _: Rights,
    fd: i64,
    length: i64,
    (take, skip): (i64, i64),
    offset: i64,
) -> Outcome {
    let length = transfer(length)?;
    let (take, skip) = (u128::from(unsigned(take)?), u128::from(unsigned(skip)?));
    let offset = u128::from(unsigned(offset)?);
    let file = borrow(session, fd)?;
    if take == 0 && length > 0 {
        return Err(Errno::INVAL.into());
    }
    // Whatever cannot be read fails here, while a code can still be sent.
    rustix::io::pread(&*file, &mut [0_u8; 1], 0)?;
    let size = u128::from(unsigned(rustix::fs::fstat(&*file)?.st_size)?);
    let strides = Strides { take: take.max(1), skip, offset };
    let total = strides.available(u128::try_from(length).unwrap_or(0), size);
    session.out.number(i64::try_from(total).unwrap_or(i64::MAX));
    let mut piece = session.take_scratch(u64::MAX);
    let mut done = 0;
    while done < total {
        let place = strides.place(done);
        let run = strides.take - done % strides.take;
        // Up to the last byte that is wanted, of this stride or, if they lie close, of all.
        let near = strides.skip >= strides.take && strides.skip - strides.take < SPARSE;
        let end = if near { strides.place(total - 1) + 1 } else { place + run.min(total - done) };
        let room = usize::try_from(end - place).unwrap_or(usize::MAX).min(piece.len());
        let got = read(file.as_fd(), piece.get_mut(..room).unwrap_or_default(), place)?;
        done = pick(session, &strides, piece.get(..got).unwrap_or_default(), done, total);
        if session.out.holds(session.piece()) {
            session.flush()?;
        }
    }
    session.return_scratch(piece);
    Ok(())
}

/// Reads from a place that the file had a moment ago.
fn read(file: BorrowedFd<'_>, into: &mut [u8], place: u128) -> Outcome<usize> {
    let place = u64::try_from(place).map_err(|_| Errno::INVAL)?;
    loop {
        return match rustix::io::pread(file, &mut *into, place) {
            Err(Errno::INTR) => continue,
            Ok(n) if n > 0 => Ok(n),
            // The length is told already.
            _ => Err(Failure::hang_up("a file shrank while it was sent")),
        };
    }
}

/// Puts the wanted bytes of a piece, the first of which is the `done`-th, into the outbox; how many
/// were put there by then.
fn pick(session: &mut Session, strides: &Strides, piece: &[u8], done: u128, total: u128) -> u128 {
    let base = strides.place(done);
    let mut done = done;
    while done < total {
        let run = (strides.take - done % strides.take).min(total - done);
        let from = strides.place(done).checked_sub(base).and_then(|at| usize::try_from(at).ok());
        let rest = from.and_then(|from| piece.get(from..)).unwrap_or_default();
        let bytes = rest.get(..usize::try_from(run).unwrap_or(usize::MAX)).unwrap_or(rest);
        if bytes.is_empty() {
            break;
        }
        session.out.more_data(bytes);
        done += u128::try_from(bytes.len()).unwrap_or(0);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As many as one gets by looking at each.
        #[test]
        fn what_is_available(
            take in 1_u128..9, skip in 0_u128..12, offset in 0_u128..40, length in 0_u128..60, size in 0_u128..60,
        ) {
            let strides = Strides { take, skip, offset };
            let one_by_one = (0..length).take_while(|n| strides.place(*n) < size).count();
            prop_assert_eq!(strides.available(length, size), one_by_one as u128);
        }
    }
}
