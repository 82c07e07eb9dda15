//! Replies on their way out.
//!
//! Replies gather in one buffer, header and data together, and leave in one write: when no further
//! request has arrived yet, or when the buffer is full. Reading from the client never happens
//! before the replies it may be waiting for are sent (see [`Session`](crate::session::Session)).
//!
//! # Safety
//! File data is read into the vector's spare capacity, which spares clearing it first.

#![expect(unsafe_code, reason = "reads into a vector's spare capacity")]

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::wire::{Code, number};

/// Above this the buffer is sent before more is put in.
const FULL: usize = 256 << 10;

/// Capacity that is kept between replies.
const KEEP: usize = 2 << 20;

/// The buffer of replies.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    /// Bytes of data that were put in since [`Outbox::take_data`].
    data: u64,
    /// Bytes sent until now.
    sent: u64,
}

impl Outbox {
    /// The buffer, to append to.
    pub(crate) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// A reply that is one number.
    pub(crate) fn number(&mut self, n: i64) {
        number::push_line(&mut self.buffer, n);
    }

    /// A reply that is an error.
    pub(crate) fn code(&mut self, code: Code) {
        self.number(code.number());
    }

    /// A reply of a length and that many bytes.
    pub(crate) fn data(&mut self, data: &[u8]) {
        self.data += u64::try_from(data.len()).unwrap_or(0);
        self.number(i64::try_from(data.len()).unwrap_or(i64::MAX));
        self.buffer.extend_from_slice(data);
    }

    /// A reply of at most `length` bytes of a file, read straight into the buffer.
    pub(crate) fn file_data(
        &mut self,
        file: BorrowedFd<'_>,
        length: usize,
        offset: u64,
    ) -> Result<(), Errno> {
        let start = self.buffer.len();
        // Most reads give what was asked for, and then the header is right at once.
        number::push_line(&mut self.buffer, i64::try_from(length).unwrap_or(i64::MAX));
        let header = self.buffer.len();
        if let Err(error) = read_up_to(file, &mut self.buffer, length, offset) {
            self.buffer.truncate(start);
            return Err(error);
        }
        let got = self.buffer.len() - header;
        self.data += u64::try_from(got).unwrap_or(0);
        if got != length {
            let mut right = Vec::with_capacity(20);
            number::push_line(&mut right, i64::try_from(got).unwrap_or(i64::MAX));
            self.buffer.splice(start..header, right);
        }
        Ok(())
    }

    /// A part of the data of a reply whose length has been put in.
    pub(crate) fn more_data(&mut self, data: &[u8]) {
        self.data += u64::try_from(data.len()).unwrap_or(0);
        self.buffer.extend_from_slice(data);
    }

    /// Tells whether this much waits to be sent.
    pub(crate) fn holds(&self, most: usize) -> bool {
        self.buffer.len() >= most
    }

    /// How many bytes of data were put in since this was asked last.
    pub(crate) const fn take_data(&mut self) -> u64 {
        std::mem::replace(&mut self.data, 0)
    }

    /// Gives an empty buffer back that is larger than this.
    pub(crate) fn shrink(&mut self, most: usize) {
        if self.buffer.is_empty() && self.buffer.capacity() > most {
            self.buffer = Vec::new();
        }
    }

    /// Where the next reply will begin; see [`Outbox::undo`].
    pub(crate) fn mark(&self) -> usize {
        self.buffer.len()
    }

    /// Drops what was put in since a mark. Only valid while nothing was sent in between.
    pub(crate) fn undo(&mut self, mark: usize) {
        self.buffer.truncate(mark);
    }

    /// How many bytes were put in since the start, for [`Outbox::since`].
    pub(crate) fn position(&self) -> u64 {
        self.sent + u64::try_from(self.buffer.len()).unwrap_or(0)
    }

    /// What was put in since a position, as far as it was not sent, and how many bytes were.
    pub(crate) fn since(&self, position: u64) -> (u64, &[u8]) {
        let start = usize::try_from(position.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        (self.sent.saturating_sub(position), self.buffer.get(start..).unwrap_or_default())
    }

    /// Tells whether the buffer should be sent before more is put in.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        if !self.buffer.is_empty() {
            to.write_all(&self.buffer)?;
            self.sent += u64::try_from(self.buffer.len()).unwrap_or(0);
            self.buffer.clear();
            if self.buffer.capacity() > KEEP {
                self.buffer = Vec::new();
            }
        }
        Ok(())
    }
}

/// Appends bytes of a file until `length` are there or the file ends.
fn read_up_to(
    file: BorrowedFd<'_>,
    into: &mut Vec<u8>,
    length: usize,
    offset: u64,
) -> Result<(), Errno> {
    into.reserve(length);
    let mut offset = offset;
    let mut room = length;
    while room > 0 {
        let spare = into.spare_capacity_mut().get_mut(..room).unwrap_or_default();
        let got = match rustix::io::pread(file, spare, offset) {
            Ok((filled, _)) => filled.len(),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        if got == 0 {
            break;
        }
        let filled = into.len() + got;
        // SAFETY: `pread` has initialised the first `got` bytes of the spare capacity.
        unsafe { into.set_len(filled) };
        room -= got;
        offset += u64::try_from(got).unwrap_or(0);
    }
    Ok(())
}
