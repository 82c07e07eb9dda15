//! Extended attributes.
//!
//! Clients may change `user.` attributes only: the others have a meaning for the server's host.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{need_change, unsigned};
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::{Follow, by_descriptor};
use crate::wire::Code;

/// The largest value, and the longest list, that the system knows.
const LARGEST: usize = 64 << 10;

/// `getxattr`, `lgetxattr`: n and the value.
pub(crate) fn get(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    follow: Follow,
    name: &[u8],
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    session.need_to(&place, right)?;
    place.existing()?;
    reply_value(session, place.reference()?.as_fd(), name)
}

/// `fgetxattr`: n and the value.
pub(crate) fn fget(session: &mut Session, _: Rights, fd: i64, name: &[u8]) -> Outcome {
    let file = Arc::clone(&session.file(fd)?.fd);
    reply_value(session, file.as_fd(), name)
}

fn reply_value(session: &mut Session, object: BorrowedFd<'_>, name: &[u8]) -> Outcome {
    let mut value = vec![0; LARGEST];
    let length = match rustix::fs::getxattr(by_descriptor(object), name, &mut *value) {
        // No object of this kind or file system can have it.
        Err(Errno::NOTSUP | Errno::PERM | Errno::RANGE) => return Err(Errno::NODATA.into()),
        length => length?,
    };
    session.out.data(value.get(..length).unwrap_or_default());
    Ok(())
}

/// `listxattr`, `llistxattr`: n and the names, each ended by a zero byte.
pub(crate) fn list(session: &mut Session, right: Rights, path: &[u8], follow: Follow) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    session.need_to(&place, right)?;
    place.existing()?;
    reply_names(session, place.reference()?.as_fd())
}

/// `flistxattr`: n and the names.
pub(crate) fn flist(session: &mut Session, _: Rights, fd: i64) -> Outcome {
    let file = Arc::clone(&session.file(fd)?.fd);
    reply_names(session, file.as_fd())
}

fn reply_names(session: &mut Session, object: BorrowedFd<'_>) -> Outcome {
    let mut names = vec![0; LARGEST];
    let length = match rustix::fs::listxattr(by_descriptor(object), &mut *names) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    session.out.data(names.get(..length).unwrap_or_default());
    Ok(())
}

/// `setxattr`, `lsetxattr`.
pub(crate) fn set(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    follow: Follow,
    name: &[u8],
    (length, flags): (i64, i64),
) -> Outcome {
    let value = value_of(session, name, length)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    need_change(session, &place, right)?;
    place.existing()?;
    store(session, place.reference()?.as_fd(), name, &value, flags)
}

/// `fsetxattr`.
pub(crate) fn fset(
    session: &mut Session,
    _: Rights,
    fd: i64,
    name: &[u8],
    (length, flags): (i64, i64),
) -> Outcome {
    let value = value_of(session, name, length)?;
    let file = Arc::clone(&super::file::writable(session, fd)?.fd);
    store(session, file.as_fd(), name, &value, flags)
}

/// Reads the value that follows the request.
fn value_of(session: &mut Session, name: &[u8], length: i64) -> Outcome<Vec<u8>> {
    let length = usize::try_from(unsigned(length)?).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(Code::NoMemory.into());
    }
    changeable(name)?;
    let mut value = vec![0; length];
    session.read_body(&mut value)?;
    Ok(value)
}

fn store(
    session: &mut Session,
    object: BorrowedFd<'_>,
    name: &[u8],
    value: &[u8],
    flags: i64,
) -> Outcome {
    let flags = u32::try_from(flags).ok().and_then(XattrFlags::from_bits).ok_or(Errno::INVAL)?;
    let bytes = u64::try_from(value.len()).unwrap_or(u64::MAX);
    let _admitted = session.service.space.admit(object, bytes)?;
    rustix::fs::setxattr(by_descriptor(object), name, value, flags)?;
    session.out.number(0);
    Ok(())
}

/// `removexattr`, `lremovexattr`.
pub(crate) fn remove(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    follow: Follow,
    name: &[u8],
) -> Outcome {
    changeable(name)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, follow)?;
    need_change(session, &place, right)?;
    place.existing()?;
    drop_attribute(session, place.reference()?.as_fd(), name)
}

/// `fremovexattr`.
pub(crate) fn fremove(session: &mut Session, _: Rights, fd: i64, name: &[u8]) -> Outcome {
    changeable(name)?;
    let file = Arc::clone(&super::file::writable(session, fd)?.fd);
    drop_attribute(session, file.as_fd(), name)
}

fn drop_attribute(session: &mut Session, object: BorrowedFd<'_>, name: &[u8]) -> Outcome {
    rustix::fs::removexattr(by_descriptor(object), name)?;
    session.out.number(0);
    Ok(())
}

/// Fails for an attribute that clients may not change.
fn changeable(name: &[u8]) -> Outcome {
    if name.starts_with(b"user.") { Ok(()) } else { Err(Code::NotSupported.into()) }
}
