//! Attributes by name.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::{DIRECTORY_MODE, FILE_MODE, need_change, push_stat, unsigned};
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::{Follow, by_descriptor};
use crate::wire::Code;

/// `stat`, `lstat`: 0, then a stat line.
pub(crate) fn stat(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    follow: Follow,
    nanoseconds: bool,
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    session.need_to(&place, right)?;
    let stat = place.existing()?;
    session.out.number(0);
    push_stat(session, &stat, nanoseconds);
    Ok(())
}

/// `statfs`: 0, then a statfs line; for files as well as for directories.
pub(crate) fn statfs(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    session.need_to(&place, right)?;
    place.existing()?;
    let object = place.reference()?;
    let dir = if place.is(FileType::Directory) { object.as_fd() } else { place.dir.as_fd() };
    let room = service.space.reservation(dir)?.map(|found| (found.limit, found.used));
    let figures = rustix::fs::fstatfs(&object)?;
    super::file::push_statfs(session, &figures, room);
    Ok(())
}

/// `access`: each bit of the mask needs its right; no bit counts as reading.
pub(crate) fn access(session: &mut Session, _: Rights, path: &[u8], mode: u32) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    let rights = session.rights_to(&place)?;
    let directory = place.is(FileType::Directory);
    let execute = if directory { Rights::LIST } else { Rights::EXECUTE };
    let wanted = [
        (mode & 4 != 0 || mode & 7 == 0, Rights::READ),
        (mode & 2 != 0, Rights::WRITE),
        (mode & 1 != 0, execute),
    ];
    if wanted.iter().any(|(asked, right)| *asked && !rights.has(*right)) {
        return Err(Code::NotAuthorized.into());
    }
    place.existing()?;
    // The server's account may have fewer rights than the list gives.
    let mut real = Access::EXISTS;
    real.set(Access::READ_OK, mode & 4 != 0);
    real.set(Access::WRITE_OK, mode & 2 != 0);
    real.set(Access::EXEC_OK, mode & 1 != 0 && !directory);
    let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::accessat(&place.dir, &*place.name, real, flags)?;
    session.out.number(0);
    Ok(())
}

/// The bits of a mode that a client may give to an object.
pub(super) fn allowed_mode(stat: &Stat, mode: u32) -> Mode {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Mode::from_raw_mode(mode & if directory { DIRECTORY_MODE } else { FILE_MODE })
}

/// `chmod`.
pub(crate) fn chmod(session: &mut Session, right: Rights, path: &[u8], mode: u32) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    need_change(session, &place, right)?;
    let object = place.reference()?;
    let mode = allowed_mode(&rustix::fs::fstat(&object)?, mode);
    rustix::fs::chmod(by_descriptor(object.as_fd()), mode)?;
    session.out.number(0);
    Ok(())
}

/// `chown`, `lchown`: ignored, as all files are the server account's.
pub(crate) fn chown(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    follow: Follow,
    _: (i64, i64),
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    need_change(session, &place, right)?;
    place.existing()?;
    session.out.number(0);
    Ok(())
}

/// `truncate`.
pub(crate) fn truncate(session: &mut Session, right: Rights, path: &[u8], length: i64) -> Outcome {
    let length = unsigned(length)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    need_change(session, &place, right)?;
    place.existing()?;
    let file = service.space.open_file(&place, OFlags::WRONLY, Mode::empty())?;
    service.space.truncate(&file, length)?;
    session.out.number(0);
    Ok(())
}

/// `utime`, `utimens`: seconds and nanoseconds of the last access and of the last change.
pub(crate) fn utime(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    atime: (i64, i64),
    mtime: (i64, i64),
    follow: Follow,
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    need_change(session, &place, right)?;
    place.existing()?;
    let times = Timestamps { last_access: timespec(atime)?, last_modification: timespec(mtime)? };
    rustix::fs::utimensat(&place.dir, &*place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    session.out.number(0);
    Ok(())
}

fn timespec((seconds, nanoseconds): (i64, i64)) -> Result<Timespec, Errno> {
    match nanoseconds {
        0..1_000_000_000 | rustix::fs::UTIME_NOW | rustix::fs::UTIME_OMIT => {
            Ok(Timespec { tv_sec: seconds, tv_nsec: nanoseconds })
        }
        _ => Err(Errno::INVAL),
    }
}
