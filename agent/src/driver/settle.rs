//! What became of a change whose answer was lost.
//!
//! When a connection breaks between a request and its answer, nobody knows whether the server did
//! what it was asked. Reads and the like are simply asked again. A [`Change`] that must not be done
//! twice is settled by looking at the names concerned ([`settle`]): it is done, it is not, or it
//! cannot be told, and then the caller has to say so.
//!
//! Drivers look once, at once; the retry layer looks again when the server is back after a while.

use crate::driver::Driver;
use crate::error::{Error, Kind, Result};
use parrot_common::{Attr, Errno};

/// A request that is not the same when it is done twice.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A directory was to be made.
    Mkdir(&'a [u8]),
    /// A name was to be removed.
    Remove(&'a [u8]),
    /// A name was to be moved.
    Rename {
        /// The old name.
        from: &'a [u8],
        /// The new name.
        to: &'a [u8],
        /// The flags of renameat2(2).
        flags: u32,
    },
    /// A second name was to be made.
    Link {
        /// The existing name.
        from: &'a [u8],
        /// The new name.
        to: &'a [u8],
    },
    /// A symbolic link was to be made.
    Symlink {
        /// What the link holds.
        text: &'a [u8],
        /// Where the link is.
        path: &'a [u8],
    },
    /// An attribute was to be created.
    CreateXattr {
        /// The file.
        path: &'a [u8],
        /// The attribute.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Whether a last link is followed.
        follow: bool,
    },
    /// An attribute was to be removed.
    RemoveXattr {
        /// The file.
        path: &'a [u8],
        /// The attribute.
        name: &'a [u8],
        /// Whether a last link is followed.
        follow: bool,
    },
    /// A file was to be created, and only if it was missing.
    Create(&'a [u8]),
    /// Data was to be added at the end of a file.
    Append,
}

/// What looking has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The change is there.
    Done,
    /// The change is not there: it can be asked for again, and a refusal will be a true one.
    NotDone,
    /// Looking does not tell: another program may have done the same.
    Unknown,
}

/// What was at the name that a change is about, before the change was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nobody has looked.
    Unknown,
    /// Nothing.
    Nothing,
    /// This: device and inode.
    Known((u64, u64)),
    /// Whatever it was: what we make has these nanoseconds in its access time.
    Marked(u32),
}

impl Before {
    /// The mark, if there is one.
    #[must_use]
    pub const fn mark(self) -> Option<u32> {
        if let Self::Marked(mark) = self { Some(mark) } else { None }
    }
}

/// Looks at the server for the traces of a change. `before` tells what was at the new name, or at
/// the name that was to be moved.
///
/// # Errors
/// The server cannot be asked now.
pub fn settle(driver: &dyn Driver, change: &Change<'_>, before: Before) -> Result<Settled> {
    match *change {
        Change::Mkdir(_) if matches!(before, Before::Known(_)) => Ok(Settled::NotDone),
        Change::Mkdir(path) => {
            let ours = |attr: &Attr| match before.mark() {
                Some(mark) => is_marked(attr, mark),
                None => true,
            };
            Ok(done_if(lstat(driver, path)?.is_some_and(|attr| attr.is_dir() && ours(&attr))))
        }
        Change::Remove(path) => Ok(done_if(lstat(driver, path)?.is_none())),
        Change::Rename { flags, .. } if flags & libc::RENAME_EXCHANGE != 0 => Ok(Settled::Unknown),
        Change::Rename { from, to, .. } => {
            let [from, to] = [lstat(driver, from)?, lstat(driver, to)?]
                .map(|attr| attr.map(|attr| (attr.dev, attr.ino)));
            Ok(done_if(match before {
                Before::Unknown | Before::Marked(_) => from.is_none() && to.is_some(),
                Before::Nothing => false,
                // Two names of one file stay as they are.
                Before::Known(file) => to == Some(file) && from != Some(file),
            }))
        }
        Change::Link { from, to } => {
            let same = match (lstat(driver, from)?, lstat(driver, to)?) {
                (Some(from), Some(to)) => (from.dev, from.ino) == (to.dev, to.ino),
                _ => false,
            };
            Ok(done_if(same))
        }
        Change::Symlink { text, path } => match driver.readlink(path) {
            Ok(found) => Ok(done_if(found == text)),
            Err(error) => answered(error).map(|_| Settled::NotDone),
        },
        Change::CreateXattr { path, name, value, follow } => {
            match driver.getxattr(path, name, follow) {
                Ok(found) => Ok(done_if(found == value)),
                Err(error) => answered(error).map(|_| Settled::NotDone),
            }
        }
        Change::RemoveXattr { path, name, follow } => match driver.getxattr(path, name, follow) {
            Ok(_) => Ok(Settled::NotDone),
            Err(error) => answered(error).map(|errno| done_if(errno == Errno::ENODATA)),
        },
        // An existing file may be another program's, and then two would hold the same lock file.
        Change::Create(path) => Ok(match (lstat(driver, path)?, before) {
            (None, _) => Settled::NotDone,
            (Some(attr), Before::Marked(mark)) => done_if(is_marked(&attr, mark)),
            (Some(_), _) => Settled::Unknown,
        }),
        Change::Append => Ok(Settled::Unknown),
    }
}

fn is_marked(attr: &Attr, mark: u32) -> bool {
    attr.atime.1 == i64::from(mark)
}

const fn done_if(done: bool) -> Settled {
    if done { Settled::Done } else { Settled::NotDone }
}

/// What is at a name, for [`settle`].
///
/// # Errors
/// The server cannot be asked now.
pub fn look_before(driver: &dyn Driver, path: &[u8]) -> Result<Before> {
    let found = lstat(driver, path)?;
    Ok(found.map_or(Before::Nothing, |attr| Before::Known((attr.dev, attr.ino))))
}

/// The name's own attributes, `None` when there is no such name.
fn lstat(driver: &dyn Driver, path: &[u8]) -> Result<Option<Attr>> {
    match driver.stat(path, false) {
        Ok(attr) => Ok(Some(attr)),
        Err(error) => match answered(error)? {
            Errno::ENOENT | Errno::ENOTDIR => Ok(None),
            errno => Err(Error::remote(errno, "stat", String::from_utf8_lossy(path))),
        },
    }
}

/// The server's own errno, or the failure to get one.
fn answered(error: Error) -> Result<Errno> {
    match error.kind() {
        Kind::Remote(errno) => Ok(errno),
        _ => Err(error),
    }
}
