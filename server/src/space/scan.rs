//! What a server finds when it starts: space in use, and what a killed server left behind.
//!
//! Files that were being received and directories that were being made have hidden names until
//! they are complete; those of a server that is no more are removed. Who makes one locks it
//! (`flock`), so a tree that two servers share is safe, and the lock goes with its holder however
//! that ends.
//!
//! The use of each reservation is counted anew at every start: there is no figure on the disk that
//! a crash could make wrong. Only limits are kept, in the file [`RECORD`] of their directories.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::account::Account;
use super::ledger::{BLOCK, Id, Ledger, blocks, id_of};
use crate::acl::HIDDEN_PREFIX;
use crate::store::{TEMPORARY_PREFIX, host_path, tree};
use crate::wire::number;

/// The file that holds a directory's limit, as in trees of the stock server.
pub(crate) const RECORD: &str = ".__alloc";

/// The largest record that is read.
const MAX_RECORD: u64 = 4096;

/// One directory on the way down.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    account: Option<Arc<Account>>,
}

/// A walk over a whole tree.
struct Walk<'w> {
    ledger: Option<&'w Ledger>,
    /// Whether leftovers are removed.
    removes: bool,
    /// Files with several names that were counted.
    seen: HashSet<Id>,
    warn: &'w mut dyn FnMut(String),
}

/// Walks the tree below `root`: `removes` leftovers and, if there is a ledger, counts into it.
///
/// What cannot be looked at is reported by `warn`, and is not counted.
///
/// # Errors
/// The root cannot be read, or a record is no record: its limit would be lost.
pub(super) fn walk(
    root: BorrowedFd<'_>,
    ledger: Option<&Ledger>,
    removes: bool,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let fd = tree::open_for_listing(root, b".").context("cannot read the root")?;
    let whole = ledger.map(|ledger| Arc::clone(ledger.whole()));
    let mut walk = Walk { ledger, removes, seen: HashSet::new(), warn };
    let mut levels = vec![level(fd, whole).context("cannot read the root")?];
    while let Some(here) = levels.last_mut() {
        let entry = match here.entries.next() {
            None => {
                levels.pop();
                continue;
            }
            Some(Ok(entry)) => entry,
            Some(Err(error)) => {
                walk.trouble(here.fd.as_fd(), c".", error);
                levels.pop();
                continue;
            }
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match walk.entry(here, name, entry.file_type()) {
            Ok(Some(below)) => levels.push(below),
            Ok(None) => {}
            Err(error) => match error.downcast::<Errno>() {
                // Others may work in the tree.
                Ok(Errno::NOENT) => {}
                Ok(error) => {
                    let name = CString::from(name);
                    walk.trouble(here.fd.as_fd(), &name, error);
                }
                Err(error) => return Err(error),
            },
        }
    }
    Ok(())
}

fn level(fd: OwnedFd, account: Option<Arc<Account>>) -> Result<Level, Errno> {
    let entries = Dir::read_from(&fd)?;
    Ok(Level { fd, entries, account })
}

impl Walk<'_> {
    fn trouble(&mut self, dir: BorrowedFd<'_>, name: &CStr, error: Errno) {
        let dir = host_path(dir).unwrap_or_default();
        (self.warn)(format!(
            "cannot look at {}/{}: {error}",
            String::from_utf8_lossy(&dir),
            name.to_string_lossy()
        ));
    }

    /// Deals with one name; a directory is to be walked next.
    fn entry(
        &mut self,
        here: &Level,
        name: &CStr,
        kind: FileType,
    ) -> anyhow::Result<Option<Level>> {
        let bytes = name.to_bytes();
        if bytes.starts_with(TEMPORARY_PREFIX) {
            if self.removes {
                sweep(here.fd.as_fd(), name)?;
            }
            return Ok(None);
        }
        if bytes.starts_with(HIDDEN_PREFIX) {
            return Ok(None);
        }
        let look = || rustix::fs::statat(&here.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let kind = match kind {
            FileType::Unknown => FileType::from_raw_mode(look()?.st_mode),
            known => known,
        };
        match (kind, &here.account) {
            (FileType::Directory, account) => {
                let fd = tree::open_for_listing(&here.fd, bytes)?;
                let account = match (account, self.ledger) {
                    (Some(account), Some(ledger)) => Some(reservation(ledger, account, &fd)?),
                    _ => None,
                };
                Ok(Some(level(fd, account)?))
            }
            (FileType::RegularFile, Some(account)) => {
                self.count(account, &look()?);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn count(&mut self, account: &Account, stat: &Stat) {
        if stat.st_nlink < 2 || self.seen.insert(id_of(stat)) {
            account.count(blocks(stat.st_size.cast_unsigned()));
        }
    }
}

/// The account of a directory: its own if it has a record, else that of the directory around it.
fn reservation(
    ledger: &Ledger,
    around: &Arc<Account>,
    dir: &OwnedFd,
) -> anyhow::Result<Arc<Account>> {
    let Some(limit) = read_record(dir.as_fd())? else {
        around.count(BLOCK);
        return Ok(Arc::clone(around));
    };
    around.count(limit);
    let own = Arc::new(Account::new(limit, Some(Arc::clone(around))));
    ledger.insert(id_of(&rustix::fs::fstat(dir)?), Arc::clone(&own));
    Ok(own)
}

/// Reads the limit of a directory; `None` if it has no reservation.
fn read_record(dir: BorrowedFd<'_>) -> anyhow::Result<Option<u64>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(dir, RECORD, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file,
    };
    let mut text = Vec::new();
    let read = file.map_err(std::io::Error::from).and_then(|file| {
        std::fs::File::from(file).take(MAX_RECORD).read_to_end(&mut text)?;
        Ok(())
    });
    let limit = number::words(&text).next().and_then(number::parse);
    match (read, limit.and_then(|limit| u64::try_from(limit).ok())) {
        (Ok(()), Some(limit)) => Ok(Some(limit)),
        (read, _) => {
            let dir = host_path(dir).unwrap_or_default();
            let why = read.err().map_or("it holds no limit".to_owned(), |error| error.to_string());
            bail!(
                "cannot tell the reservation in {}/{RECORD}: {why}; write its size in bytes there, \
                 or remove the file",
                String::from_utf8_lossy(&dir)
            )
        }
    }
}

/// Removes what another server left under a hidden name, unless that server is still at it.
fn sweep(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let left = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    // A file system without locks is no reason to keep rubbish.
    if rustix::fs::flock(&left, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN) {
        return Ok(());
    }
    tree::remove_all(dir, name.to_bytes(), &mut tree::unlink)
}
