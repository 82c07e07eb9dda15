//! The tickets of an exported tree: files `.__ticket.NAME` in its root.
//!
//! A file is read for each decision that depends on it, so that a ticket that was deleted or
//! changed, by this server or behind its back, counts at once. That costs its holder, and nobody
//! else, an open and a read a request.
//!
//! One lock makes read-modify-write of a file one step, and the count of an owner's tickets.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Name;
use super::file::Ticket;
use crate::acl::store::write_file;

/// What the names of the files begin with.
const PREFIX: &str = ".__ticket.";

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The most masks of a ticket.
pub(crate) const MAX_MASKS: usize = 256;

/// The most tickets of an owner.
pub(crate) const MAX_TICKETS: usize = 1000;

/// All tickets of an exported tree.
#[derive(Debug)]
pub(crate) struct TicketStore {
    /// The longest that a ticket may be valid.
    longest: Option<Duration>,
    changes: Mutex<()>,
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn file_name(name: Name) -> String {
    format!("{PREFIX}{name}")
}

impl TicketStore {
    /// Tickets that end after `longest`, whatever was asked for.
    pub(crate) fn new(longest: Option<Duration>) -> Self {
        Self { longest, changes: Mutex::default() }
    }

    /// Reads a ticket, valid or not.
    ///
    /// # Errors
    /// ENOENT if there is none, EINVAL if the file is none of a ticket.
    pub(crate) fn read_any(root: BorrowedFd<'_>, name: Name) -> Result<Ticket, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(root, file_name(name), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let mut text = Vec::new();
        let read = std::fs::File::from(file).take(MAX_FILE).read_to_end(&mut text);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let ticket = Ticket::parse(&text).ok_or(Errno::INVAL)?;
        // Whoever could write the file under another name would lend the owner's rights.
        if Name::of(&ticket.key) == name { Ok(ticket) } else { Err(Errno::INVAL) }
    }

    /// Reads a ticket that has not ended.
    ///
    /// # Errors
    /// As [`TicketStore::read_any`]; ENOENT if it has ended.
    pub(crate) fn read(root: BorrowedFd<'_>, name: Name) -> Result<Ticket, Errno> {
        let ticket = Self::read_any(root, name)?;
        if ticket.end > now() { Ok(ticket) } else { Err(Errno::NOENT) }
    }

    /// When a ticket ends that is asked for now, in seconds since 1970.
    pub(crate) fn end(&self, seconds: i64) -> i64 {
        let longest =
            self.longest.map_or(i64::MAX, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        now().saturating_add(seconds.min(longest))
    }

    /// Keeps a new ticket, or one anew.
    ///
    /// # Errors
    /// EDQUOT if the owner has too many; EACCES if the ticket is another's.
    pub(crate) fn add(&self, root: BorrowedFd<'_>, ticket: &Ticket) -> Result<(), Errno> {
        let _one_at_a_time = self.changes.lock();
        let name = Name::of(&ticket.key);
        match Self::read(root, name) {
            Ok(known) if known.owner != ticket.owner => return Err(Errno::ACCESS),
            Ok(_) => {}
            Err(_) if Self::all_of(root, Some(&ticket.owner))?.len() >= MAX_TICKETS => {
                return Err(Errno::DQUOT);
            }
            Err(_) => {}
        }
        write_file(root, &file_name(name), &ticket.text())
    }

    /// Changes a ticket that has not ended.
    ///
    /// # Errors
    /// As [`TicketStore::read`], or whatever `change` fails with.
    pub(crate) fn change(
        &self,
        root: BorrowedFd<'_>,
        name: Name,
        change: impl FnOnce(&mut Ticket) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let _one_at_a_time = self.changes.lock();
        let mut ticket = Self::read(root, name)?;
        change(&mut ticket)?;
        write_file(root, &file_name(name), &ticket.text())
    }

    /// Forgets a ticket.
    pub(crate) fn remove(&self, root: BorrowedFd<'_>, name: Name) -> Result<(), Errno> {
        let _one_at_a_time = self.changes.lock();
        rustix::fs::unlinkat(root, file_name(name), AtFlags::empty())
    }

    /// The valid tickets of an owner, or all.
    pub(crate) fn all_of(root: BorrowedFd<'_>, owner: Option<&[u8]>) -> Result<Vec<Name>, Errno> {
        let valid = |name: &Name| {
            let ticket = Self::read(root, *name);
            ticket.is_ok_and(|ticket| owner.is_none_or(|owner| ticket.owner == owner))
        };
        Ok(names(root)?.into_iter().filter(valid).collect())
    }

    /// Forgets the tickets that have ended.
    pub(crate) fn forget_ended(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        for name in names(root)? {
            let _one_at_a_time = self.changes.lock();
            if Self::read_any(root, name).is_ok_and(|ticket| ticket.end <= now()) {
                rustix::fs::unlinkat(root, file_name(name), AtFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// The names of all files that could be tickets.
fn names(root: BorrowedFd<'_>) -> Result<Vec<Name>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The root is known by a reference, which cannot be listed.
    let dir = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let entry = entry?;
        let digits = entry.file_name().to_bytes().strip_prefix(PREFIX.as_bytes());
        names.extend(digits.and_then(Name::parse));
    }
    Ok(names)
}
