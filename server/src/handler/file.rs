//! Descriptors: opening, closing, and their attributes.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, StatFs};
use rustix::io::Errno;

use super::{FILE_MODE, MOST_MARK, is_acl, not_hidden, push_stat, signed, unsigned};
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::{Opened, Session};
use crate::store::{Follow, Place};
use crate::wire::{self, Code, OpenFlags};

/// `open`: the descriptor, then a stat line.
pub(crate) fn open(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
    nanoseconds: bool,
) -> Outcome {
    open_marked(session, path, (flags, mode), nanoseconds, None)
}

/// `xcreate`: as `open`, of a file that its maker will know again.
pub(crate) fn create(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
    mark: u32,
) -> Outcome {
    if !flags.has(libc::O_CREAT | libc::O_EXCL) || mark > MOST_MARK {
        return Err(Code::InvalidRequest.into());
    }
    open_marked(session, path, (flags, mode), true, Some(mark))
}

fn open_marked(
    session: &mut Session,
    path: &[u8],
    (flags, mode): (OpenFlags, u32),
    nanoseconds: bool,
    mark: Option<u32>,
) -> Outcome {
    if !session.has_room() {
        return Err(Code::TooManyOpen.into());
    }
    let service = Arc::clone(&session.service);
    let exclusive = flags.has(libc::O_CREAT | libc::O_EXCL);
    let follow = if exclusive { Follow::No } else { Follow::Yes };
    let place = Place { mark, ..service.export.locate(path, follow)? };
    let file = if place.is(FileType::Directory) {
        open_directory(session, &place, flags)?
    } else {
        open_file(session, &place, flags, mode)?
    };
    let stat = rustix::fs::fstat(&file.fd)?;
    let fd = session.add_file(file)?;
    session.out.number(fd);
    push_stat(session, &stat, nanoseconds);
    Ok(())
}

fn open_directory(session: &Session, place: &Place<'_>, flags: OpenFlags) -> Outcome<Opened> {
    let rights = session.rights_to(place)?;
    if flags.changes() {
        let taken = flags.has(libc::O_CREAT | libc::O_EXCL);
        return Err(if taken { Code::AlreadyExists } else { Code::IsDirectory }.into());
    }
    if !rights.has(Rights::LIST) {
        return Err(Code::NotAuthorized.into());
    }
    let fd = place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    Ok(Opened { fd: Arc::new(fd.into()), writable: rights.has(Rights::WRITE), permit: None })
}

fn open_file(session: &Session, place: &Place<'_>, flags: OpenFlags, mode: u32) -> Outcome<Opened> {
    let rights = session.rights(place.dir.as_fd())?;
    let mut wanted = OFlags::from_bits_retain(flags.to_libc().cast_unsigned());
    if flags.reads() && !rights.has(Rights::READ) {
        return Err(Code::NotAuthorized.into());
    }
    if flags.changes() {
        if is_acl(place) {
            session.need(place.dir.as_fd(), Rights::ADMIN)?;
        } else {
            not_hidden(place)?;
        }
        if !rights.has(Rights::WRITE) {
            // The right to put makes new files only, whatever happens meanwhile.
            let makes = flags.has(libc::O_CREAT) && rights.has(Rights::PUT);
            if !makes || place.stat.is_some() && !flags.has(libc::O_CREAT | libc::O_EXCL) {
                return Err(Code::NotAuthorized.into());
            }
            wanted |= OFlags::EXCL;
        }
    }
    let makes = wanted.contains(OFlags::CREATE);
    if makes && wanted.contains(OFlags::EXCL) && place.stat.is_some() {
        return Err(Code::AlreadyExists.into());
    }
    let mode = Mode::from_raw_mode(if makes { mode & FILE_MODE } else { 0 });
    let fd = session.service.space.open_file(place, wanted, mode)?;
    if makes && wanted.intersects(OFlags::SYNC | OFlags::DSYNC) {
        // A file that is synchronous from the start has its name on the disk, too.
        fd.sync(&session.service.export)?;
    }
    if flags.changes() && is_acl(place) {
        session.service.acls.forget();
    }
    Ok(Opened {
        fd: Arc::new(fd),
        writable: flags.changes() || rights.has(Rights::WRITE),
        permit: None,
    })
}

/// `close`.
pub(crate) fn close(session: &mut Session, _: Rights, fd: i64) -> Outcome {
    drop(session.remove_file(fd)?);
    session.out.number(0);
    Ok(())
}

/// `fstat`: 0, then a stat line.
pub(crate) fn fstat(session: &mut Session, _: Rights, fd: i64, nanoseconds: bool) -> Outcome {
    let stat = rustix::fs::fstat(&session.file(fd)?.fd)?;
    session.out.number(0);
    push_stat(session, &stat, nanoseconds);
    Ok(())
}

/// `fstatfs`: 0, then a statfs line; for files as well as for directories.
pub(crate) fn fstatfs(session: &mut Session, _: Rights, fd: i64) -> Outcome {
    let file = Arc::clone(&session.file(fd)?.fd);
    let figures = rustix::fs::fstatfs(&*file)?;
    let room = session.service.space.room_of(&file)?;
    push_statfs(session, &figures, room);
    Ok(())
}

/// Appends 0 and a statfs line. A reservation, of which limit and use are given, is a disk by
/// itself, as far as the real one has room for it.
pub(super) fn push_statfs(session: &mut Session, figures: &StatFs, room: Option<(u64, u64)>) {
    session.out.number(0);
    let unit = signed(figures.f_bsize).cast_unsigned().max(1);
    let (limit, free) = match room {
        Some((limit, used)) => (limit / unit, limit.saturating_sub(used) / unit),
        None => (figures.f_blocks, u64::MAX),
    };
    let line = wire::StatFs {
        kind: signed(figures.f_type),
        bsize: signed(figures.f_bsize),
        blocks: limit.cast_signed(),
        bfree: figures.f_bfree.min(free).cast_signed(),
        bavail: figures.f_bavail.min(free).cast_signed(),
        files: figures.f_files.cast_signed(),
        ffree: figures.f_ffree.cast_signed(),
    };
    line.push_line(session.out.buffer());
}

/// `fsync`: the data is on the disk, and the name of a file that this descriptor has made.
pub(crate) fn fsync(session: &mut Session, _: Rights, fd: i64) -> Outcome {
    session.file(fd)?.fd.sync(&session.service.export)?;
    session.out.number(0);
    Ok(())
}

/// `ftruncate`.
pub(crate) fn ftruncate(session: &mut Session, _: Rights, fd: i64, length: i64) -> Outcome {
    let file = Arc::clone(&session.file(fd)?.fd);
    session.service.space.truncate(&file, unsigned(length)?)?;
    session.out.number(0);
    Ok(())
}

/// `fchmod`.
pub(crate) fn fchmod(session: &mut Session, _: Rights, fd: i64, mode: u32) -> Outcome {
    let file = writable(session, fd)?;
    let stat = rustix::fs::fstat(&file.fd)?;
    let mode = super::attributes::allowed_mode(&stat, mode);
    rustix::fs::fchmod(&file.fd, mode)?;
    session.out.number(0);
    Ok(())
}

/// `fchown`: accepted and ignored, even for a bad descriptor, as stock servers do.
pub(crate) fn fchown(session: &mut Session, _: Rights, _: (i64, i64, i64)) -> Outcome {
    session.out.number(0);
    Ok(())
}

/// A descriptor whose object the client may change.
pub(super) fn writable(session: &Session, fd: i64) -> Outcome<&Opened> {
    let file = session.file(fd)?;
    if file.writable {
        Ok(file)
    } else {
        Err(Code::from_errno(Errno::ACCESS.raw_os_error()).into())
    }
}
