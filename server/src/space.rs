//! Space: what clients may take of the disk.
//!
//! - `-Q` gives the whole tree a limit, and lets clients reserve parts of it (`mkalloc`). A limit
//!   is never exceeded, however many clients write at once: what makes a file larger is charged
//!   before it is done, under that file's lock.
//! - `-F` is a floor: space that must stay free on the disk.
//!
//! Without them nothing is counted, and all functions here do what their names say and no more.
//!
//! - [`account`]: the figures of a reservation.
//! - [`ledger`]: which file is charged to which reservation.
//! - [`names`]: removing and moving names, with their space.
//! - [`scan`]: what is in use when the server starts.
//! - [`floor`]: the floor.

mod account;
mod floor;
mod ledger;
mod names;
mod scan;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use self::account::Account;
use self::floor::{Admitted, Floor};
use self::ledger::{Held, Id, Ledger, id_of};
pub(crate) use self::names::Name;
pub(crate) use self::scan::RECORD;
use crate::options::Options;
use crate::store::{Export, Follow, Place, temporary_file, tree};

/// All that is known about space.
#[derive(Debug)]
pub(crate) struct Space {
    ledger: Option<Arc<Ledger>>,
    floor: Floor,
    read_only: bool,
    /// The root, locked for as long as we count what is in it.
    _lock: Option<OwnedFd>,
}

/// A file that a client has open, and what must be done when it changes.
#[derive(Debug)]
pub(crate) struct OpenFile {
    fd: OwnedFd,
    held: Option<Held>,
    /// Whether all writes go to the end.
    appends: bool,
    /// Whether this opening has made the file, until its name is known to be on the disk.
    is_new: AtomicBool,
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for OpenFile {
    /// Something that takes no space: a directory, or what the server keeps for itself.
    fn from(fd: OwnedFd) -> Self {
        Self { fd, held: None, appends: false, is_new: AtomicBool::new(false) }
    }
}

impl OpenFile {
    /// Makes the file durable: its data, and its name if it was made by this opening.
    pub(crate) fn sync(&self, export: &Export) -> Result<(), Errno> {
        rustix::fs::fsync(&self.fd)?;
        if self.is_new.load(Ordering::Acquire) {
            // It may have been moved: the name that it has now is the one to keep.
            let place = export.path_of(self).and_then(|path| export.locate(&path, Follow::No));
            match place.and_then(|place| tree::open_for_listing(&place.dir, b".")) {
                // It has none any more.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                dir => rustix::fs::fsync(dir?)?,
            }
            self.is_new.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// A reservation as `lsalloc` shows it.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// The directory that has it; `None` if it is the one that was asked about.
    pub(crate) dir: Option<OwnedFd>,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

/// Space that was taken for a reservation that is being made; given back unless that ends well.
#[derive(Debug)]
pub(crate) struct Making<'s> {
    ledger: &'s Ledger,
    own: Arc<Account>,
    dir: Option<Id>,
    done: bool,
}

impl Making<'_> {
    /// The directory is there, still without a name that anybody knows: writes its record.
    pub(crate) fn record(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        let id = id_of(&rustix::fs::fstat(dir)?);
        self.ledger.insert(id, Arc::clone(&self.own));
        self.dir = Some(id);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, RECORD, flags, Mode::from_raw_mode(0o644))?;
        // The second number is the stock server's: use, which it counts anew as well.
        let text = format!("{}\n0\n", self.own.figures().0);
        if rustix::io::write(&file, text.as_bytes())? != text.len() {
            return Err(Errno::IO);
        }
        rustix::fs::fsync(file)?;
        rustix::fs::fsync(dir)
    }

    /// The directory has its name: from here on the reservation goes when the directory does.
    pub(crate) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Some(dir) = self.dir {
            self.ledger.remove(dir);
        }
        self.own.bury();
    }
}

impl Space {
    /// Prepares what the options ask for. With a quota all of the tree is counted first.
    ///
    /// # Errors
    /// A message for the user.
    pub(crate) fn open(options: &Options, export: &Export) -> anyhow::Result<Self> {
        let (floor, read_only) = (Floor::new(options.free_space), options.read_only);
        let Some(limit) = options.root_quota else {
            return Ok(Self { ledger: None, floor, read_only, _lock: None });
        };
        let root = tree::open_for_listing(export.root(), b".").context("cannot read the root")?;
        if rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN) {
            bail!("another server with a quota (-Q) works on {}", options.root.display());
        }
        let ledger = Ledger::new(id_of(&rustix::fs::fstat(&root)?), limit);
        let mut warn = |text: String| crate::server::warn(&text);
        scan::walk(root.as_fd(), Some(&ledger), !read_only, &mut warn)?;
        Ok(Self { ledger: Some(Arc::new(ledger)), floor, read_only, _lock: Some(root) })
    }

    /// Removes what a killed server left behind, unless [`Space::open`] has done it.
    pub(crate) fn sweep(&self, export: &Export) {
        if self.ledger.is_none() && !self.read_only {
            // What cannot be looked at stays; the next start tries again.
            let _ = scan::walk(export.root(), None, true, &mut |_| {});
        }
    }

    /// Opens a regular file. One that did not exist is known to be new.
    pub(crate) fn open_file(
        &self,
        place: &Place<'_>,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OpenFile, Errno> {
        let counted = self.ledger.as_ref().filter(|_| !place.is_hidden());
        // What is cut off must be given back, so that is done when the file is known.
        let cut = counted.is_some() && flags.contains(OFlags::TRUNC);
        let flags = if cut { flags - OFlags::TRUNC } else { flags };
        let mut file = match counted {
            None => OpenFile::from(place.open_file(flags, mode)?),
            Some(ledger) => {
                let _names = ledger.names.read();
                let fd = place.open_file(flags, mode)?;
                let held = Some(ledger.hold(place.dir.as_fd(), fd.as_fd())?);
                OpenFile { held, ..OpenFile::from(fd) }
            }
        };
        file.appends = flags.contains(OFlags::APPEND);
        let is_new = place.stat.is_none() && flags.contains(OFlags::CREATE);
        file.is_new = AtomicBool::new(is_new);
        if cut {
            self.truncate(&file, 0)?;
        }
        Ok(file)
    }

    /// Creates a file with a hidden name, and keeps room for what is to come into it.
    pub(crate) fn temporary(
        &self,
        dir: BorrowedFd<'_>,
        size: u64,
    ) -> Result<(String, OpenFile), Errno> {
        let _admitted = self.floor.admit(dir, size)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let Some(ledger) = &self.ledger else {
            let (name, fd) = temporary_file(dir, mode)?;
            return Ok((name, OpenFile::from(fd)));
        };
        let names = ledger.names.read();
        let (name, fd) = temporary_file(dir, mode)?;
        let held = ledger.hold(dir, fd.as_fd());
        drop(names);
        let ready = held.and_then(|held| {
            held.expect(size)?;
            Ok(held)
        });
        match ready {
            Ok(held) => Ok((name, OpenFile { held: Some(held), ..OpenFile::from(fd) })),
            Err(error) => {
                // Without a name its space is given back, whatever was taken.
                self.unlink((dir, name.as_bytes()))?;
                Err(error)
            }
        }
    }

    /// All that [`Space::temporary`] kept room for has come.
    pub(crate) fn complete(&self, file: &OpenFile) -> Result<(), Errno> {
        file.held.as_ref().map_or(Ok(()), |held| held.all_came(file.as_fd()))
    }

    /// Writes `bytes` bytes that end at an offset, or at the file's new end if it appends.
    pub(crate) fn write<T>(
        &self,
        file: &OpenFile,
        bytes: u64,
        end: u64,
        write: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let _admitted = self.floor.admit(file, bytes)?;
        let Some(held) = &file.held else { return write() };
        let end = |size: u64| if file.appends { size.saturating_add(bytes) } else { size.max(end) };
        held.change(file.as_fd(), end, write)
    }

    /// Sets the size of a file.
    pub(crate) fn truncate(&self, file: &OpenFile, size: u64) -> Result<(), Errno> {
        let cut = || rustix::fs::ftruncate(file, size);
        file.held.as_ref().map_or_else(cut, |held| held.change(file.as_fd(), |_| size, cut))
    }

    /// Asks for room on the disk that no file will be charged.
    pub(crate) fn admit(&self, object: impl AsFd, bytes: u64) -> Result<Admitted<'_>, Errno> {
        self.floor.admit(object, bytes)
    }

    /// Removes a name that is no directory's.
    pub(crate) fn unlink(&self, name: Name<'_>) -> Result<(), Errno> {
        match &self.ledger {
            None => rustix::fs::unlinkat(name.0, name.1, AtFlags::empty()),
            Some(ledger) => ledger.unlink(name, AtFlags::empty()),
        }
    }

    /// Removes a directory that is empty but for what the server keeps in it.
    pub(crate) fn remove_directory(&self, name: Name<'_>) -> Result<(), Errno> {
        match &self.ledger {
            None => tree::remove_directory(name.0, name.1),
            Some(ledger) => ledger.remove_directory(name),
        }
    }

    /// Removes an object and, if it is a directory, all that is in it.
    pub(crate) fn remove_all(&self, name: Name<'_>) -> Result<(), Errno> {
        match &self.ledger {
            None => tree::remove_all(name.0, name.1, &mut tree::unlink),
            Some(ledger) => tree::remove_all(name.0, name.1, &mut |dir, name, flags| {
                ledger.unlink((dir, name), flags)
            }),
        }
    }

    /// Makes a directory, with `make`.
    pub(crate) fn make_directory(
        &self,
        dir: BorrowedFd<'_>,
        make: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let _admitted = self.floor.admit(dir, ledger::BLOCK)?;
        self.ledger.as_ref().map_or_else(|| Ok(()), |ledger| ledger.take_block(dir))?;
        let made = make();
        if made.is_err()
            && let Some(ledger) = &self.ledger
        {
            ledger.give_block(dir)?;
        }
        made
    }

    /// Makes a second name for a file.
    pub(crate) fn link(&self, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        match &self.ledger {
            None => rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()),
            Some(ledger) => ledger.link(from, to),
        }
    }

    /// Moves a name, with `rename`.
    pub(crate) fn rename(
        &self,
        from: Name<'_>,
        to: Name<'_>,
        flags: RenameFlags,
        rename: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        match &self.ledger {
            None => rename(),
            Some(ledger) => ledger.rename(from, to, flags, rename),
        }
    }

    /// Takes space for a new reservation inside the one to which a directory belongs.
    ///
    /// # Errors
    /// ENOSPC, or ENOSYS on a server without a quota.
    pub(crate) fn reserve(&self, dir: BorrowedFd<'_>, limit: u64) -> Result<Making<'_>, Errno> {
        let ledger = self.ledger.as_deref().ok_or(Errno::NOSYS)?;
        let around = ledger.account_of(dir)?;
        around.take(limit)?;
        let own = Arc::new(Account::new(limit, Some(around)));
        Ok(Making { ledger, own, dir: None, done: false })
    }

    /// Limit and use of the reservation to which an open object belongs.
    pub(crate) fn room_of(&self, file: &OpenFile) -> Result<Option<(u64, u64)>, Errno> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let account = match &file.held {
            Some(held) => held.account(),
            None if FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode)
                == FileType::Directory =>
            {
                ledger.account_of(file.as_fd())?
            }
            // What the server keeps for itself belongs to none.
            None => return Ok(None),
        };
        Ok(Some(account.figures()))
    }

    /// The reservation to which a directory belongs; `None` on a server without a quota.
    pub(crate) fn reservation(&self, dir: BorrowedFd<'_>) -> Result<Option<Reservation>, Errno> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let (account, dir) = ledger.nearest(dir)?;
        let (limit, used) = account.figures();
        Ok(Some(Reservation { dir, limit, used }))
    }
}
