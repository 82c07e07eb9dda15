//! Names: removing, moving, links.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{FileType, RenameFlags};
use rustix::io::Errno;

use super::{not_hidden, unsigned};
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::{Follow, Place, tree};
use crate::wire::{Code, MAX_LINE, MAX_TRANSFER};

/// The subject in lists that stands for all who work on the server's host.
const LOCAL_USER: &[u8] = b"system:localuser";

/// A request that this server knows and does not serve. Its arguments are dropped.
pub(crate) fn cannot<T>(_: &mut Session, _: Rights, code: Code, _: T) -> Outcome {
    Err(code.into())
}

/// `unlink`.
pub(crate) fn unlink(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    let place = super::directory::removable(session, right, place)?;
    if place.is(FileType::Directory) {
        return Err(Code::IsDirectory.into());
    }
    service.space.unlink(place.as_name())?;
    session.out.number(0);
    Ok(())
}

/// `rename`, `renameat2`. Exchanging needs the rights of both directions.
pub(crate) fn rename(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    target: &[u8],
    flags: u32,
) -> Outcome {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
    if flags.contains(RenameFlags::WHITEOUT) {
        return Err(Code::InvalidRequest.into());
    }
    let service = Arc::clone(&session.service);
    let from = service.export.locate(path, Follow::No)?;
    let to = service.export.locate(target, Follow::No)?;
    movable(session, &from)?;
    session.need(to.dir.as_fd(), Rights::WRITE)?;
    if flags.contains(RenameFlags::EXCHANGE) {
        movable(session, &to)?;
        session.need(from.dir.as_fd(), Rights::WRITE)?;
    }
    not_hidden(&from)?;
    not_hidden(&to)?;
    from.existing()?;
    if from.name == b"." || to.name == b"." {
        return Err(Code::Busy.into());
    }
    let moved =
        service.space.rename(from.as_name(), to.as_name(), flags, || move_name(&from, &to, flags));
    if from.is(FileType::Directory) || to.is(FileType::Directory) {
        service.acls.forget();
    }
    moved?;
    session.out.number(0);
    Ok(())
}

/// Fails unless the client may take an object away: it needs R, and D where the object lies or,
/// for a directory, in itself.
fn movable(session: &Session, place: &Place<'_>) -> Outcome {
    let (inside, outside) = (session.rights_to(place)?, session.rights(place.dir.as_fd())?);
    let allowed = inside.has(Rights::READ) && inside.with(outside).has(Rights::DELETE);
    if allowed { Ok(()) } else { Err(Code::NotAuthorized.into()) }
}

fn move_name(from: &Place<'_>, to: &Place<'_>, flags: RenameFlags) -> Result<(), Errno> {
    let rename = || {
        if flags.is_empty() {
            rustix::fs::renameat(&from.dir, &*from.name, &to.dir, &*to.name)
        } else {
            rustix::fs::renameat_with(&from.dir, &*from.name, &to.dir, &*to.name, flags)
        }
    };
    match rename() {
        Err(Errno::NOTEMPTY | Errno::EXIST)
            if flags.is_empty() && from.is(FileType::Directory) && to.is(FileType::Directory) => {}
        result => return result,
    }
    // The directory in the way may hold nothing but its list.
    let inside = tree::open_for_listing(&to.dir, &to.name)?;
    let kept = tree::clear_hidden(inside.as_fd())?;
    let result = rename();
    if result.is_err() {
        tree::restore_hidden(inside.as_fd(), &kept)?;
    }
    result
}

/// `link`: a second name for a file; links are not followed.
pub(crate) fn link(session: &mut Session, _: Rights, path: &[u8], target: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let from = service.export.locate(path, Follow::No)?;
    let to = service.export.locate(target, Follow::No)?;
    session.need_to(&from, Rights::READ.with(Rights::WRITE))?;
    session.need(to.dir.as_fd(), Rights::WRITE)?;
    not_hidden(&from)?;
    not_hidden(&to)?;
    from.existing()?;
    service.space.link(from.as_name(), to.as_name())?;
    session.out.number(0);
    Ok(())
}

/// `symlink`: the target is stored as it came.
pub(crate) fn symlink(session: &mut Session, right: Rights, target: &[u8], path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    session.need(place.dir.as_fd(), right)?;
    not_hidden(&place)?;
    rustix::fs::symlinkat(target, &place.dir, &*place.name)?;
    session.out.number(0);
    Ok(())
}

/// `readlink`: n and the raw target.
pub(crate) fn readlink(session: &mut Session, right: Rights, path: &[u8], length: i64) -> Outcome {
    let length = usize::try_from(unsigned(length)?).unwrap_or(MAX_TRANSFER);
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    session.need(place.dir.as_fd(), right)?;
    place.existing()?;
    let room = Vec::with_capacity(MAX_LINE);
    let target = rustix::fs::readlinkat(&place.dir, &*place.name, room)?;
    let target = target.as_bytes();
    session.out.data(target.get(..length).unwrap_or(target));
    Ok(())
}

/// `localpath`: n and the cleaned-up path in the exported tree; where that lies is not told.
pub(crate) fn localpath(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    // Who works on the server's host may find files there, if a list says so.
    let local = session.acl_of(&place)?.rights_of(LOCAL_USER);
    if !local.has(right) {
        session.need_to(&place, right)?;
    }
    place.existing()?;
    session.out.data(path);
    Ok(())
}
