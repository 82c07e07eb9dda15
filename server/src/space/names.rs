//! Removing, moving and making names, with their space.
//!
//! All of it happens under the `names` lock of the [`Ledger`], so that what is looked at is what is
//! removed. A file may move into another reservation that has room for it; a directory with a
//! reservation moves as a whole. Any other directory would have to be counted first, and a file
//! with several names would lie in two reservations: EXDEV, as a disk with project quotas says, and
//! programs copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::account::Account;
use super::ledger::{BLOCK, Held, Id, Ledger, id_of};
use crate::acl::HIDDEN_PREFIX;
use crate::store::tree;

/// A name: the directory that holds it, and the last component.
pub(crate) type Name<'n> = (BorrowedFd<'n>, &'n [u8]);

/// An object that stays what it is while its name goes.
struct Pinned {
    object: OwnedFd,
    stat: Stat,
    held: Option<Held>,
}

impl Pinned {
    fn id(&self) -> Id {
        id_of(&self.stat)
    }

    fn is(&self, wanted: FileType) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == wanted
    }
}

impl Ledger {
    /// Takes hold of an object; `None` if there is none, or none that counts.
    fn pin(self: &Arc<Self>, (dir, name): Name<'_>) -> Result<Option<Pinned>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let object = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            object => object?,
        };
        let stat = rustix::fs::fstat(&object)?;
        let mut pinned = Pinned { object, stat, held: None };
        if pinned.is(FileType::RegularFile) {
            // Of what the server keeps for itself only files that are being received count.
            pinned.held = if name.starts_with(HIDDEN_PREFIX) {
                self.hold_again(pinned.id())
            } else {
                Some(self.hold(dir, pinned.object.as_fd())?)
            };
        }
        Ok(Some(pinned))
    }

    /// Gives back the space of an object whose name was removed from a directory.
    fn settle(&self, pinned: &Pinned, account: &Account) -> Result<(), Errno> {
        if pinned.is(FileType::Directory) {
            match self.remove(pinned.id()) {
                Some(own) => own.bury(),
                None => account.give(BLOCK),
            }
        } else if let Some(held) = &pinned.held
            && rustix::fs::fstat(&pinned.object)?.st_nlink == 0
        {
            held.lost_its_name();
        }
        Ok(())
    }

    /// As `unlinkat`.
    pub(super) fn unlink(self: &Arc<Self>, name: Name<'_>, flags: AtFlags) -> Result<(), Errno> {
        // Let go after the lock: it may take the disk long to forget a large file.
        let pinned;
        let _names = self.names.write();
        pinned = self.pin(name)?.ok_or(Errno::NOENT)?;
        let account = self.account_of(name.0)?;
        rustix::fs::unlinkat(name.0, name.1, flags)?;
        self.settle(&pinned, &account)
    }

    /// Removes a directory that is empty but for what the server keeps in it.
    pub(super) fn remove_directory(self: &Arc<Self>, name: Name<'_>) -> Result<(), Errno> {
        let _names = self.names.write();
        let pinned = self.pin(name)?.ok_or(Errno::NOENT)?;
        let account = self.account_of(name.0)?;
        tree::remove_directory(name.0, name.1)?;
        self.settle(&pinned, &account)
    }

    /// Charges a directory that is made in another.
    pub(super) fn take_block(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        self.account_of(dir)?.take(BLOCK)
    }

    /// Gives back what [`Ledger::take_block`] took: the directory could not be made.
    pub(super) fn give_block(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        self.account_of(dir)?.give(BLOCK);
        Ok(())
    }

    /// As `linkat`: all names of a file lie in one reservation.
    pub(super) fn link(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        let _names = self.names.write();
        if !Arc::ptr_eq(&self.account_of(from.0)?, &self.account_of(to.0)?) {
            return Err(Errno::XDEV);
        }
        rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())
    }

    /// Moves a name; `rename` does it.
    pub(super) fn rename(
        self: &Arc<Self>,
        from: Name<'_>,
        to: Name<'_>,
        flags: RenameFlags,
        rename: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // Let go after the lock, as in `unlink`.
        let replaced;
        let _names = self.names.write();
        let moved = self.pin(from)?.ok_or(Errno::NOENT)?;
        replaced = self.pin(to)?;
        let (source, target) = (self.account_of(from.0)?, self.account_of(to.0)?);
        if Arc::ptr_eq(&source, &target) {
            rename()?;
        } else if flags.contains(RenameFlags::EXCHANGE) {
            return Err(Errno::XDEV);
        } else {
            self.move_across(&moved, &source, &target, rename)?;
        }
        match &replaced {
            Some(replaced) if !flags.contains(RenameFlags::EXCHANGE) => {
                let itself = replaced.id() == moved.id();
                if itself { Ok(()) } else { self.settle(replaced, &target) }
            }
            _ => Ok(()),
        }
    }

    /// Moves an object from one reservation into another.
    fn move_across(
        &self,
        moved: &Pinned,
        source: &Account,
        target: &Arc<Account>,
        rename: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if moved.is(FileType::Directory) {
            let own = self.own(moved.id()).ok_or(Errno::XDEV)?;
            let (limit, _) = own.figures();
            charge(limit, source, target, rename)?;
            own.move_into(Arc::clone(target));
            return Ok(());
        }
        let Some(held) = &moved.held else { return rename() };
        if moved.stat.st_nlink > 1 {
            return Err(Errno::XDEV);
        }
        let mut record = held.record.lock();
        charge(record.charged, source, target, rename)?;
        record.account = Arc::clone(target);
        Ok(())
    }
}

/// Charges another reservation with what is moved there.
fn charge(
    bytes: u64,
    source: &Account,
    target: &Account,
    rename: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    target.take(bytes)?;
    let moved = rename();
    if moved.is_ok() {
        source.give(bytes)
    } else {
        target.give(bytes)
    }
    moved
}
