//! Listing directories and removing them, with what the server hides in them.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::TEMPORARY_PREFIX;
use crate::acl::{ACL_FILE, HIDDEN_PREFIX};
use crate::space::RECORD;

/// What governs a directory: kept as long as it is there.
const KEPT: [&str; 2] = [ACL_FILE, RECORD];

/// Directories may be nested this deep for [`remove_all`], more than paths can name.
const MAX_DEPTH: usize = 2000;

/// Calls `each` for every name that clients may see, `.` and `..` among them.
pub(crate) fn list<E: From<Errno>>(
    dir: OwnedFd,
    mut each: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), E>,
) -> Result<(), E> {
    // The iterator holds its own descriptor for the same directory.
    let entries = Dir::read_from(&dir)?;
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_bytes().starts_with(HIDDEN_PREFIX) {
            each(dir.as_fd(), entry.file_name())?;
        }
    }
    Ok(())
}

/// Opens a directory below another for listing, not following a link.
pub(crate) fn open_for_listing(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Removes a directory that is empty but for what the server keeps in it.
pub(crate) fn remove_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        result => return result,
    }
    let inside = open_for_listing(dir, name)?;
    let kept = clear_hidden(inside.as_fd())?;
    let result = rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR);
    if result.is_err() {
        // Somebody put a file in meanwhile: the directory stays, and so must what governs it.
        restore_hidden(inside.as_fd(), &kept)?;
    }
    result
}

/// A file that the server kept in a directory: its name and its text.
pub(crate) type Kept = (&'static str, Vec<u8>);

/// Removes what the server keeps in a directory that is empty otherwise, and returns its access
/// control list and the record of its reservation.
pub(crate) fn clear_hidden(dir: BorrowedFd<'_>) -> Result<Vec<Kept>, Errno> {
    let mut hidden = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name if KEPT.iter().any(|kept| name == kept.as_bytes())
                || name.starts_with(TEMPORARY_PREFIX) =>
            {
                hidden.push(entry.file_name().to_owned());
            }
            _ => return Err(Errno::NOTEMPTY),
        }
    }
    let mut kept = Vec::new();
    for name in KEPT {
        if let Some(text) = read_kept(dir, name)? {
            kept.push((name, text));
        }
    }
    for name in hidden {
        rustix::fs::unlinkat(dir, &*name, AtFlags::empty())?;
    }
    Ok(kept)
}

fn read_kept(dir: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => {
            let mut text = Vec::new();
            let read = std::fs::File::from(file).read_to_end(&mut text);
            read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            Ok(Some(text))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts back what [`clear_hidden`] removed.
pub(crate) fn restore_hidden(dir: BorrowedFd<'_>, kept: &[Kept]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    for (name, text) in kept {
        let file = rustix::fs::openat(dir, *name, flags, Mode::from_raw_mode(0o644))?;
        rustix::io::write(file, text)?;
    }
    Ok(())
}

/// What removes a name: [`unlink`], or something that keeps accounts as well.
pub(crate) type Unlink<'u> = dyn FnMut(BorrowedFd<'_>, &[u8], AtFlags) -> Result<(), Errno> + 'u;

/// Removes a name, and nothing else.
pub(crate) fn unlink(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, flags)
}

/// Removes an object and, if it is a directory, all that is in it.
///
/// Descends by descriptors, one level at a time, so that neither links nor renames lead it out.
/// The stack is a list of descriptors, not calls: a deep tree cannot exhaust the thread's stack.
pub(crate) fn remove_all(
    dir: BorrowedFd<'_>,
    name: &[u8],
    unlink: &mut Unlink<'_>,
) -> Result<(), Errno> {
    match unlink(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return result,
    }
    let mut levels = vec![(name.to_vec(), open_for_listing(dir, name)?)];
    while let Some((_, inside)) = levels.last() {
        match empty_files(inside.as_fd(), unlink)? {
            Some(below) if levels.len() < MAX_DEPTH => {
                let opened = open_for_listing(inside, &below)?;
                levels.push((below, opened));
            }
            Some(_) => return Err(Errno::NAMETOOLONG),
            None => {
                let Some((name, _)) = levels.pop() else { break };
                let holder = levels.last().map_or(dir, |(_, holder)| holder.as_fd());
                unlink(holder, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// Removes all files of a directory and returns a directory in it, if there is one.
fn empty_files(dir: BorrowedFd<'_>, unlink: &mut Unlink<'_>) -> Result<Option<Vec<u8>>, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            return Ok(Some(name.to_bytes().to_vec()));
        }
        match unlink(dir, name.to_bytes(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => return Ok(Some(name.to_bytes().to_vec())),
            Err(Errno::NOENT) => {}
            result => result?,
        }
    }
    Ok(None)
}
