//! Which file is charged to which reservation.
//!
//! A file counts with its size rounded up to blocks of 4096 bytes, a directory with one block, a
//! reservation with its limit; links and what the server keeps for itself count nothing. A file
//! belongs to the reservation of the nearest directory at or above it that has one.
//!
//! *That nearest directory never changes in a directory's life*: names move from one reservation to
//! another only file by file, or as a whole reservation (see [`names`](super::names)). So the way
//! up from an open directory gives the same answer whenever it is walked.
//!
//! Every file that somebody has open, and every file whose name is just being removed or moved, has
//! a *record*: what it is charged, and to whom. All changes of its size happen under the record's
//! lock, so they are charged exactly. When the last holder of a file without a name lets it go, its
//! space is given back.
//!
//! ```text
//!   lock order:  names (read to open a file, write to remove or move one)
//!                  ─▶ record of a file ─▶ accounts, inner before outer
//!                files (the table of records) and reservations (the table): nothing below them
//! ```

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::account::Account;

/// Device and inode.
pub(crate) type Id = (u64, u64);

/// The unit in which space is counted.
pub(crate) const BLOCK: u64 = 4096;

/// Deeper than any tree: the way up ends somewhere.
const MAX_LEVELS: usize = 4096;

/// All reservations, and the records of all files in use.
#[derive(Debug)]
pub(crate) struct Ledger {
    root: Id,
    whole: Arc<Account>,
    /// By directory; that of the root is not among them.
    reservations: RwLock<HashMap<Id, Arc<Account>>>,
    files: Mutex<HashMap<Id, Entry>>,
    pub(super) names: RwLock<()>,
}

#[derive(Debug)]
struct Entry {
    users: usize,
    record: Arc<Mutex<Record>>,
}

/// What a file is charged.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) account: Arc<Account>,
    pub(super) charged: u64,
    /// Charged ahead, whatever the file's size: for what is still to come.
    reserved: u64,
    /// The last name is gone.
    removed: bool,
}

/// A file in use.
#[derive(Debug)]
pub(crate) struct Held {
    ledger: Arc<Ledger>,
    id: Id,
    pub(super) record: Arc<Mutex<Record>>,
}

/// The space that a file of some size takes.
pub(crate) fn blocks(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

pub(crate) fn id_of(stat: &Stat) -> Id {
    (stat.st_dev, stat.st_ino)
}

impl Ledger {
    /// A ledger for a tree: the identity of its root, and the limit for all of it.
    pub(crate) fn new(root: Id, limit: u64) -> Self {
        Self {
            root,
            whole: Arc::new(Account::new(limit, None)),
            reservations: RwLock::default(),
            files: Mutex::default(),
            names: RwLock::new(()),
        }
    }

    /// The reservation of the whole tree.
    pub(crate) fn whole(&self) -> &Arc<Account> {
        &self.whole
    }

    /// The reservation that a directory has for itself.
    pub(crate) fn own(&self, id: Id) -> Option<Arc<Account>> {
        if id == self.root {
            return Some(Arc::clone(&self.whole));
        }
        self.reservations.read().get(&id).cloned()
    }

    /// Notes the reservation of a directory.
    pub(crate) fn insert(&self, id: Id, account: Arc<Account>) {
        self.reservations.write().insert(id, account);
    }

    /// Forgets the reservation of a directory that is gone, and returns it.
    pub(crate) fn remove(&self, id: Id) -> Option<Arc<Account>> {
        self.reservations.write().remove(&id)
    }

    /// The reservation to which a directory belongs, itself included.
    pub(crate) fn account_of(&self, dir: BorrowedFd<'_>) -> Result<Arc<Account>, Errno> {
        if self.reservations.read().is_empty() {
            return Ok(Arc::clone(&self.whole));
        }
        Ok(self.nearest(dir)?.0)
    }

    /// The nearest reservation at or above a directory, and the directory that has it.
    pub(crate) fn nearest(
        &self,
        dir: BorrowedFd<'_>,
    ) -> Result<(Arc<Account>, Option<OwnedFd>), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut above: Option<OwnedFd> = None;
        let mut before = None;
        for _ in 0..MAX_LEVELS {
            // One step at a time: each `..` is that of an open directory, whatever moves meanwhile.
            let here = above.as_ref().map_or(dir, AsFd::as_fd);
            let id = id_of(&rustix::fs::fstat(here)?);
            if let Some(account) = self.own(id) {
                return Ok((account, above));
            }
            if before.replace(id) == Some(id) {
                break;
            }
            above = Some(rustix::fs::openat(here, "..", flags, Mode::empty())?);
        }
        // The directory is not below the root any more: somebody moved it away.
        Err(Errno::NOENT)
    }

    /// Notes that a file is in use. It lies in `dir`, and must not move while this is going on:
    /// `names` is locked.
    pub(super) fn hold(
        self: &Arc<Self>,
        dir: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
    ) -> Result<Held, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let id = id_of(&stat);
        if let Some(held) = self.hold_again(id) {
            return Ok(held);
        }
        // Found before the table is locked; another may have been faster.
        let account = self.account_of(dir)?;
        let charged = blocks(stat.st_size.cast_unsigned());
        let fresh = || {
            let record = Record { account, charged, reserved: 0, removed: false };
            Entry { users: 0, record: Arc::new(Mutex::new(record)) }
        };
        let mut files = self.files.lock();
        let entry = files.entry(id).or_insert_with(fresh);
        entry.users += 1;
        Ok(Held { ledger: Arc::clone(self), id, record: Arc::clone(&entry.record) })
    }

    /// Notes one more use of a file that is in use already.
    pub(super) fn hold_again(self: &Arc<Self>, id: Id) -> Option<Held> {
        let mut files = self.files.lock();
        let entry = files.get_mut(&id)?;
        entry.users += 1;
        Some(Held { ledger: Arc::clone(self), id, record: Arc::clone(&entry.record) })
    }
}

impl Record {
    /// Charges what a file of some size takes more than it is charged now.
    fn make_room(&mut self, size: u64) -> Result<(), Errno> {
        let wanted = blocks(size);
        if wanted > self.charged {
            self.account.take(wanted - self.charged)?;
            self.charged = wanted;
        }
        Ok(())
    }

    /// Gives back what a file is charged beyond its size and what is reserved for it.
    fn settle(&mut self, size: u64) {
        let wanted = blocks(size).max(self.reserved);
        if wanted < self.charged {
            self.account.give(self.charged - wanted);
            self.charged = wanted;
        }
    }
}

impl Held {
    /// Does something that makes the file at most as large as `end` says, from the size it has now.
    ///
    /// # Errors
    /// ENOSPC if the reservation has no room for that; then nothing is done. Or the failure of
    /// what was to be done.
    pub(super) fn change<T>(
        &self,
        file: BorrowedFd<'_>,
        end: impl FnOnce(u64) -> u64,
        act: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut record = self.record.lock();
        record.make_room(end(size_of(file)?))?;
        let result = act();
        record.settle(size_of(file)?);
        result
    }

    /// Charges a size ahead, until [`Held::all_came`].
    pub(super) fn expect(&self, size: u64) -> Result<(), Errno> {
        let mut record = self.record.lock();
        record.make_room(size)?;
        record.reserved = blocks(size);
        Ok(())
    }

    /// What was expected is there: from now on the size counts.
    pub(super) fn all_came(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let size = size_of(file)?;
        let mut record = self.record.lock();
        record.reserved = 0;
        record.settle(size);
        Ok(())
    }

    /// The reservation that is charged.
    pub(super) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.record.lock().account)
    }

    /// The last name of the file is gone.
    pub(super) fn lost_its_name(&self) {
        self.record.lock().removed = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut files = self.ledger.files.lock();
        let Some(entry) = files.get_mut(&self.id) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        files.remove(&self.id);
        drop(files);
        let record = self.record.lock();
        if record.removed {
            record.account.give(record.charged);
        }
    }
}

fn size_of(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(file)?.st_size.cast_unsigned())
}
