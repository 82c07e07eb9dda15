//! Who the client is, and access control lists.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::unsigned;
use crate::acl::{Acl, Rights};
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::{Follow, Place, tree};
use crate::wire::{Code, number};

/// How deep an audit goes.
const MAX_DEPTH: usize = 512;

/// `whoami`: n and the identity, cut to a length.
pub(crate) fn whoami(session: &mut Session, _: Rights, length: i64) -> Outcome {
    let length = usize::try_from(unsigned(length)?).unwrap_or(usize::MAX);
    let who = session.who.get(..length).unwrap_or(&session.who).to_vec();
    session.out.data(&who);
    Ok(())
}

/// `getacl`: 0, the entries, an empty line. For a file, the list that governs it.
pub(crate) fn getacl(session: &mut Session, _: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    place.existing()?;
    let acl = session.acl_of(&place)?;
    session.out.number(0);
    acl.push_lines(session.out.buffer());
    session.out.buffer().push(b'\n');
    Ok(())
}

/// Finds a directory whose list the client may change.
fn administrated<'e>(session: &Session, right: Rights, place: &Place<'e>) -> Outcome {
    place.existing()?;
    if !place.is(FileType::Directory) {
        return Err(Code::NotDirectory.into());
    }
    session.need_to(place, right)
}

/// `setacl`: changes one entry. A directory that had no list of its own gets one.
pub(crate) fn setacl(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    subject: &[u8],
    rights: &[u8],
) -> Outcome {
    let rights = Rights::parse(rights).ok_or(Code::InvalidRequest)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    administrated(session, right, &place)?;
    service.acls.change(place.reference()?.as_fd(), |acl| acl.set(subject, rights))?;
    session.out.number(0);
    Ok(())
}

/// `resetacl`: the whole list becomes the caller with these rights and A.
pub(crate) fn resetacl(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    rights: &[u8],
) -> Outcome {
    let rights = Rights::parse(rights).ok_or(Code::InvalidRequest)?.with(Rights::ADMIN);
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    administrated(session, right, &place)?;
    service.acls.replace(place.reference()?.as_fd(), &Acl::of(&session.who, rights))?;
    session.out.number(0);
    Ok(())
}

/// What an owner has below a directory.
#[derive(Default)]
struct Usage {
    files: i64,
    directories: i64,
    bytes: i64,
}

/// `audit`: the number of lines, then `owner files directories bytes` each.
///
/// The owner of what lies in a directory is the first subject of the list that governs it.
pub(crate) fn audit(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    administrated(session, right, &place)?;
    let mut owners = BTreeMap::new();
    count(session, tree::open_for_listing(&place.dir, &place.name)?.as_fd(), &mut owners, 0)?;
    session.out.number(i64::try_from(owners.len()).unwrap_or(i64::MAX));
    for (owner, usage) in owners {
        let out = session.out.buffer();
        out.extend_from_slice(&owner);
        for figure in [usage.files, usage.directories, usage.bytes] {
            out.push(b' ');
            number::push(out, figure);
        }
        out.push(b'\n');
    }
    Ok(())
}

fn count(
    session: &Session,
    dir: BorrowedFd<'_>,
    owners: &mut BTreeMap<Vec<u8>, Usage>,
    depth: usize,
) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let acl = session.acl(dir)?;
    let owner = acl.first_subject().unwrap_or(b"unknown").to_vec();
    owners.entry(owner.clone()).or_default().directories += 1;
    let copy = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
    tree::list::<Errno>(copy, |dir, name| {
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(());
        }
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let below = tree::open_for_listing(dir, name.to_bytes())?;
            return count(session, below.as_fd(), owners, depth + 1);
        }
        let usage = owners.entry(owner.clone()).or_default();
        usage.files += 1;
        usage.bytes = usage.bytes.saturating_add(stat.st_size);
        Ok(())
    })
}

/// `debug`: the superuser has the server report something from now on.
pub(crate) fn debug(session: &mut Session, _: Rights, flag: &[u8]) -> Outcome {
    let superuser = session.service.options.superuser.as_ref();
    if superuser.is_none_or(|superuser| superuser.as_bytes() != session.who) {
        return Err(Code::NotAuthorized.into());
    }
    session.service.reports.want(flag);
    session.out.number(0);
    Ok(())
}
