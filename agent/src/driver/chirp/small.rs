//! The content of a small file in one round trip.
//!
//! The descriptor that `open` will give is guessed (the lowest that is free on this connection),
//! so that `open`, `pread` and `close` travel together. A wrong guess hits no file of ours: the
//! guessed descriptor is one that we do not hold. It costs one more round trip, and no more
//! guesses are made on that connection.

use super::file::open_request;
use super::link::Link;
use super::pool::{Pool, Repeat};
use super::trouble::Trouble;
use crate::driver::OpenFlags;
use parrot_chirp::wire::{Command, MAX_TRANSFER, Request};
use parrot_common::{Attr, Errno};

/// What is read before the size is known.
const EAGER: usize = 64 << 10;

/// How often a file that changes while it is read is tried again.
const TRIES: usize = 3;

/// Attributes, and the content if it has at most `limit` bytes. Each try is an exchange of its own.
pub(super) fn read_small(
    pool: &Pool,
    path: &[u8],
    limit: u64,
) -> Result<(Attr, Option<Vec<u8>>), Trouble> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_TRANSFER);
    let mut want = limit.min(EAGER);
    let mut tries = 0;
    loop {
        let (attr, data) = pool.run(Repeat::Opening, |_, link| exchange(link, path, want))?;
        if attr.is_dir() {
            return Err(Trouble::Answer(Errno::EISDIR));
        }
        let size = usize::try_from(attr.size).unwrap_or(usize::MAX);
        tries += 1;
        if size > limit || tries > TRIES {
            return Ok((attr, None));
        }
        // Attributes and content must be of the same moment.
        match data {
            Ok(data) if data.len() == size => return Ok((attr, Some(data))),
            Err(errno) if size <= want => return Err(Trouble::Answer(errno)),
            _ => want = size.max(limit.min(EAGER)),
        }
    }
}

type Exchange = (Attr, Result<Vec<u8>, Errno>);

/// Opens, reads at most `want` bytes, closes.
fn exchange(link: &mut Link, path: &[u8], want: usize) -> Result<Exchange, Trouble> {
    let guess = link.guess();
    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let open = open_request(link.extended, path, flags, 0);
    link.push(&open)?;
    // What was read by a long request is kept by no log, and could not be read again after a close.
    let together = want <= EAGER || !link.can_go_on();
    if let Some(fd) = guess {
        push_read(link, fd, want, together)?;
    }
    link.flush(&[])?;
    let opened = match link.number(open.command()) {
        Ok(fd) => Ok((fd, link.attr()?)),
        Err(Trouble::Answer(errno)) => Err(errno),
        Err(trouble) => return Err(trouble),
    };
    if let Ok((fd, _)) = opened {
        link.opened(fd);
    }
    let guessed = match guess {
        Some(_) => Some(take_read(link, want)?),
        None => None,
    };
    if let Some(fd) = guess.filter(|_| together) {
        link.closed(fd);
    }
    let (fd, attr) = opened.map_err(Trouble::Answer)?;
    let data = match guessed {
        Some(data) if guess == Some(fd) => data,
        _ => {
            push_read(link, fd, want, together)?;
            link.flush(&[])?;
            let data = take_read(link, want)?;
            if together {
                link.closed(fd);
            }
            data
        }
    };
    if !together {
        link.close(&[fd])?;
    }
    Ok((attr, data))
}

fn push_read(link: &mut Link, fd: i64, want: usize, close: bool) -> Result<(), Trouble> {
    let length = i64::try_from(want).unwrap_or(i64::MAX);
    link.push(&Request::Pread { fd, length, offset: 0 })?;
    if close { link.push(&Request::Close { fd }) } else { Ok(()) }
}

/// The reply to the `pread`.
fn take_read(link: &mut Link, want: usize) -> Result<Result<Vec<u8>, Errno>, Trouble> {
    match link.number(Command::Pread) {
        Ok(n) => Ok(Ok(link.data(n, want)?)),
        Err(Trouble::Answer(errno)) => Ok(Err(errno)),
        Err(trouble) => Err(trouble),
    }
}
