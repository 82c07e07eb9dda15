//! Directories: listing, making, removing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY_MODE, not_hidden, push_stat};
use crate::acl::{Acl, Rights};
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::store::{Follow, Place, tree};
use crate::wire::{Code, path};

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
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    let rights = session.rights(place.dir.as_fd())?;
    if !rights.has(Rights::WRITE) && !rights.has(Rights::RESERVE) {
        return Err(Code::NotAuthorized.into());
    }
    not_hidden(&place)?;
    if place.name == b"." {
        return Err(Code::AlreadyExists.into());
    }
    let mode = Mode::from_raw_mode(mode & DIRECTORY_MODE);
    if rights.has(Rights::RESERVE) {
        make_reserved(session, &place, mode, rights.reserved())?;
    } else {
        rustix::fs::mkdirat(&place.dir, &*place.name, mode)?;
    }
    session.out.number(0);
    Ok(())
}

/// Makes a directory that has its own list from the moment it can be seen: under a hidden name
/// first, then renamed into place.
fn make_reserved(session: &Session, place: &Place<'_>, mode: Mode, rights: Rights) -> Outcome {
    if place.stat.is_some() {
        return Err(Code::AlreadyExists.into());
    }
    let (hidden, file) = crate::store::temporary_file(place.dir.as_fd(), Mode::empty())?;
    drop(file);
    rustix::fs::unlinkat(&place.dir, &*hidden, AtFlags::empty())?;
    rustix::fs::mkdirat(&place.dir, &*hidden, Mode::RWXU)?;
    let made = fill_reserved(session, place, &hidden, mode, rights);
    if made.is_err() {
        // The first failure is the one to report.
        let _ = tree::remove_all(place.dir.as_fd(), hidden.as_bytes());
    }
    Ok(made?)
}

fn fill_reserved(
    session: &Session,
    place: &Place<'_>,
    hidden: &str,
    mode: Mode,
    rights: Rights,
) -> Result<(), Errno> {
    let dir = tree::open_for_listing(&place.dir, hidden.as_bytes())?;
    session.service.acls.replace(dir.as_fd(), &Acl::of(&session.who, rights))?;
    rustix::fs::fchmod(&dir, mode)?;
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(&place.dir, hidden, &place.dir, &*place.name, flags)
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
    let removed = tree::remove_directory(place.dir.as_fd(), &place.name);
    service.acls.forget();
    removed?;
    session.out.number(0);
    Ok(())
}

/// `rmall`: removes a tree, whatever the lists below say.
pub(crate) fn rmall(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = removable(session, right, service.export.locate(path, Follow::No)?)?;
    let removed = tree::remove_all(place.dir.as_fd(), &place.name);
    service.acls.forget();
    removed?;
    session.out.number(0);
    Ok(())
}
