//! Directories: listing, making, removing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{DIRECTORY_MODE, MOST_MARK, not_hidden, push_stat, unsigned};
use crate::acl::{Acl, Rights};
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::store::{Follow, Place, temporary_directory, tree};
use crate::wire::{Code, number, path};

/// `getdir`: 0, raw names, an empty line.
pub(crate) fn getdir(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    list(session, right, path, |session, _, name| {
        // A name with a line end cannot be told in this listing.
        if !name.to_bytes().contains(&b'\n') {
            push_name(session, name.to_bytes());
        }
        Ok(())
    })
}

/// `getlongdir`, `xgetlongdir`: 0, names and stat lines in turn, an empty line.
///
/// The extended form has encoded names and nanoseconds.
pub(crate) fn getlongdir(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    extended: bool,
) -> Outcome {
    let root = rustix::fs::fstat(session.service.export.root())?;
    list(session, right, path, move |session, dir, name| {
        let bytes = name.to_bytes();
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if bytes == b".." => {
                // What lies above the root is nobody's business.
                let here = rustix::fs::fstat(dir)?;
                if (here.st_dev, here.st_ino) == (root.st_dev, root.st_ino) { root } else { stat }
            }
            Ok(stat) => stat,
            // Removed meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if extended {
            path::encode(bytes, session.out.buffer());
            session.out.buffer().push(b'\n');
        } else if bytes.contains(&b'\n') {
            return Ok(());
        } else {
            push_name(session, bytes);
        }
        push_stat(session, &stat, extended);
        Ok(())
    })
}

fn push_name(session: &mut Session, name: &[u8]) {
    session.out.buffer().extend_from_slice(name);
    session.out.buffer().push(b'\n');
}

/// Lists a directory; each name is put into the outbox by `each`.
fn list(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    mut each: impl FnMut(&mut Session, BorrowedFd<'_>, &CStr) -> Outcome,
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    session.need_to(&place, right)?;
    place.existing()?;
    let dir = place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    session.out.number(0);
    let mut sent = false;
    let listed = tree::list::<Failure>(dir, |dir, name| {
        each(session, dir, name)?;
        sent |= session.out.is_full();
        Ok(session.flush_if_full()?)
    });
    match listed {
        Err(Failure::Refused(_)) if sent => Err(Failure::hang_up("a listing failed half-way")),
        Err(failure) => Err(failure),
        Ok(()) => {
            session.out.buffer().push(b'\n');
            Ok(())
        }
    }
}

/// `mkdir`: with W the directory has its parent's rights, with V a list that names its maker.
pub(crate) fn mkdir(session: &mut Session, _: Rights, path: &[u8], mode: u32) -> Outcome {
    make_at(session, path, mode, None)
}

/// `xmkdir`: as `mkdir`, of a directory that its maker will know again.
pub(crate) fn make_marked(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    mode: u32,
    mark: u32,
) -> Outcome {
    if mark > MOST_MARK {
        return Err(Code::InvalidRequest.into());
    }
    make_at(session, path, mode, Some(mark))
}

fn make_at(session: &mut Session, path: &[u8], mode: u32, mark: Option<u32>) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = Place { mark, ..service.export.locate(path, Follow::No)? };
    let rights = may_make(session, &place)?;
    make(session, &place, mode, rights)?;
    session.out.number(0);
    Ok(())
}

/// Fails unless the client may make a directory; returns its rights where that would lie.
fn may_make(session: &Session, place: &Place<'_>) -> Outcome<Rights> {
    let rights = session.rights(place.dir.as_fd())?;
    if !rights.has(Rights::WRITE) && !rights.has(Rights::RESERVE) {
        // Whoever may look is told that it is there already, as `mkdir -p` expects.
        let seen = place.is(FileType::Directory) && !place.is_hidden() && rights.has(Rights::LIST);
        let code = if seen { Code::AlreadyExists } else { Code::NotAuthorized };
        return Err(code.into());
    }
    not_hidden(place)?;
    if place.name == b"." {
        return Err(Code::AlreadyExists.into());
    }
    Ok(rights)
}

/// Makes a directory; `rights` are the maker's where it is made.
fn make(session: &Session, place: &Place<'_>, mode: u32, rights: Rights) -> Outcome {
    let mode = Mode::from_raw_mode(mode & DIRECTORY_MODE);
    let reserved = rights.has(Rights::RESERVE).then(|| rights.reserved());
    Ok(session.service.space.make_directory(place.dir.as_fd(), || match reserved {
        None => place.make_directory(mode),
        Some(_) => make_filled(place, mode, |dir| give_list(session, dir, reserved)),
    })?)
}

/// Gives a directory that was made by the right to reserve a list that names its maker.
fn give_list(
    session: &Session,
    dir: BorrowedFd<'_>,
    reserved: Option<Rights>,
) -> Result<(), Errno> {
    let Some(rights) = reserved else { return Ok(()) };
    session.service.acls.replace(dir, &Acl::of(&session.who, rights))
}

/// Makes a directory that is complete from the moment it can be seen: under a hidden name first,
/// then, when `fill` has been in it, renamed into place.
fn make_filled(
    place: &Place<'_>,
    mode: Mode,
    fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if place.stat.is_some() {
        return Err(Errno::EXIST);
    }
    let (hidden, dir) = temporary_directory(place.dir.as_fd())?;
    let made = fill(dir.as_fd()).and_then(|()| {
        rustix::fs::fchmod(&dir, mode)?;
        place.mark_directory(&hidden)?;
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(&place.dir, &*hidden, &place.dir, &*place.name, flags)
    });
    if made.is_err() {
        // The first failure is the one to report.
        let _ = tree::remove_all(place.dir.as_fd(), hidden.as_bytes(), &mut tree::unlink);
    }
    made
}

/// `mkalloc`: a directory, as by `mkdir`, with space that is its own.
///
/// It is on the disk when the reply is sent: what was promised stays promised.
pub(crate) fn mkalloc(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    size: i64,
    mode: u32,
) -> Outcome {
    let size = unsigned(size)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    let rights = may_make(session, &place)?;
    let mut making = service.space.reserve(place.dir.as_fd(), size)?;
    let _admitted = service.space.admit(&place.dir, size)?;
    let reserved = rights.has(Rights::RESERVE).then(|| rights.reserved());
    make_filled(&place, Mode::from_raw_mode(mode & DIRECTORY_MODE), |dir| {
        making.record(dir)?;
        give_list(session, dir, reserved)
    })?;
    making.done();
    rustix::fs::fsync(tree::open_for_listing(&place.dir, b".")?)?;
    session.out.number(0);
    Ok(())
}

/// `lsalloc`: 0, then a line with the directory that has the reservation, its size and its use.
pub(crate) fn lsalloc(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    session.need_to(&place, right)?;
    place.existing()?;
    let inside;
    let dir = if place.is(FileType::Directory) {
        inside = place.reference()?;
        inside.as_fd()
    } else {
        place.dir.as_fd()
    };
    let found = service.space.reservation(dir)?.ok_or(Errno::NOSYS)?;
    let owner = found.dir.as_ref().map_or(dir, AsFd::as_fd);
    let name = service.export.path_of(owner)?;
    session.out.number(0);
    let out = session.out.buffer();
    path::encode_spaces(&name, out);
    for figure in [found.limit, found.used] {
        out.push(b' ');
        number::push(out, figure.cast_signed());
    }
    out.push(b'\n');
    Ok(())
}

/// Finds a directory that the client may remove: D where it lies, or D in itself.
pub(super) fn removable<'e>(
    session: &Session,
    right: Rights,
    place: Place<'e>,
) -> Outcome<Place<'e>> {
    let allowed = session.rights(place.dir.as_fd())?.has(right)
        || (place.is(FileType::Directory) && session.rights_to(&place)?.has(right));
    if !allowed {
        return Err(Code::NotAuthorized.into());
    }
    not_hidden(&place)?;
    place.existing()?;
    if place.name == b"." {
        // The root itself stays.
        return Err(Code::Busy.into());
    }
    Ok(place)
}

/// `rmdir`.
pub(crate) fn rmdir(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = removable(session, right, service.export.locate(path, Follow::No)?)?;
    let removed = service.space.remove_directory(place.as_name());
    service.acls.forget();
    removed?;
    session.out.number(0);
    Ok(())
}

/// `rmall`: removes a tree, whatever the lists below say.
pub(crate) fn rmall(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = removable(session, right, service.export.locate(path, Follow::No)?)?;
    let removed = service.space.remove_all(place.as_name());
    service.acls.forget();
    removed?;
    session.out.number(0);
    Ok(())
}
