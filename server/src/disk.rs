//! What is asked of the disk when a file is stored: to begin early, to keep the order, to forget late.
//!
//! A name must never stand for half a file, not even after the machine has crashed: the data of a new
//! file has to be on the disk before its name can be. `fdatasync` sees to that everywhere, and waits
//! for more than that: until the journal and the disk's own cache are written. On ext4 with a journal
//! on the same disk it is enough to wait until the data has been handed to the disk:
//!
//! ```text
//!   data is written ─▶ where it lies, and the size: in the journal's present transaction
//!                      rename: in that transaction or a later one
//!                      a transaction is complete when the disk's cache was written, then its last block
//! ```
//!
//! So the name cannot survive without the data. Of other file systems this is not known here, and
//! without a journal it is not so.
//!
//! What a file leaves behind that is replaced takes the disk as long as a small file does. A thread
//! lets go of it, so that nobody who stores files waits for it.
//!
//! # Safety
//! One system call, on a descriptor that is borrowed for as long as it takes.

#![expect(unsafe_code, reason = "no crate has sync_file_range")]

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use rustix::fs::Dev;
use rustix::io::Errno;

/// Replaced files of which the disk keeps the blocks a little longer: so many, and so large at most.
const REPLACED: (usize, i64) = (16, 8 << 20);

/// Where the kernel tells which journals there are.
const JOURNALS: &str = "/proc/fs/jbd2";

/// The disks, and who lets go of replaced files.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Whether a file system is known to keep the order, by device.
    ordered: Mutex<HashMap<Dev, bool>>,
    replaced: SyncSender<OwnedFd>,
}

impl Disk {
    /// Starts the thread that lets go of replaced files; it ends with the process.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn new() -> std::io::Result<Self> {
        let (replaced, replaced_rx): (_, Receiver<OwnedFd>) = sync_channel(REPLACED.0);
        let thread = std::thread::Builder::new().name("replaced".to_owned());
        thread.spawn(move || replaced_rx.iter().for_each(drop))?;
        Ok(Self { ordered: Mutex::default(), replaced })
    }

    /// Has the disk begin to write what has come of a file.
    pub(crate) fn begin(&self, file: impl AsFd, offset: u64, length: u64) {
        // Whoever waits for it later is told what is wrong.
        let _ = sync_range(file.as_fd(), (offset, length), libc::SYNC_FILE_RANGE_WRITE);
    }

    /// Waits until a file's data is on the disk before any name that it gets from now on.
    pub(crate) fn before_its_name(&self, file: impl AsFd) -> Result<(), Errno> {
        let file = file.as_fd();
        if self.keeps_order(file) {
            let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
                | libc::SYNC_FILE_RANGE_WRITE
                | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            match sync_range(file, (0, 0), all) {
                // Not allowed here.
                Err(Errno::NOSYS | Errno::PERM) => {}
                result => return result,
            }
        }
        rustix::fs::fdatasync(file)
    }

    /// Lets go of a file that was replaced, soon.
    pub(crate) fn let_go(&self, file: OwnedFd, size: i64) {
        if size <= REPLACED.1 {
            // Too many at once are let go of here.
            let _ = self.replaced.try_send(file);
        }
    }

    fn keeps_order(&self, file: BorrowedFd<'_>) -> bool {
        let Ok(stat) = rustix::fs::fstat(file) else { return false };
        *self.ordered.lock().entry(stat.st_dev).or_insert_with(|| {
            let is_ext4 =
                rustix::fs::fstatfs(file).is_ok_and(|space| space.f_type == libc::EXT4_SUPER_MAGIC);
            is_ext4 && has_journal(stat.st_dev)
        })
    }
}

/// Whether an ext4 has its journal on the device where it lies itself.
fn has_journal(dev: Dev) -> bool {
    let number = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let Ok(device) = std::fs::read_link(format!("/sys/dev/block/{number}")) else { return false };
    let Some(device) = device.file_name().and_then(|name| name.to_str()) else { return false };
    let Ok(journals) = std::fs::read_dir(JOURNALS) else { return false };
    journals.flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|journal| is_journal_of(journal, device))
    })
}

/// A journal inside of a file system has the device's name and the number of its inode; one on a
/// device of its own has that one's name.
fn is_journal_of(journal: &str, device: &str) -> bool {
    let inode = journal.strip_prefix(device).and_then(|rest| rest.strip_prefix('-'));
    inode
        .is_some_and(|inode| !inode.is_empty() && inode.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `sync_file_range`; a length of 0 is all there is.
fn sync_range(
    file: BorrowedFd<'_>,
    (offset, length): (u64, u64),
    flags: libc::c_uint,
) -> Result<(), Errno> {
    let (offset, length) = (offset.cast_signed(), length.cast_signed());
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_belongs_to_the_device_that_it_lies_on() {
        for (journal, device, is) in [
            ("vda-8", "vda", true),
            ("sda1-8", "sda1", true),
            ("dm-1-8", "dm-1", true),
            ("sda12-8", "sda1", false),
            // A device that is a journal and nothing else.
            ("sdb1", "sdb1", false),
            ("sdb1-", "sdb1", false),
            // The journal of `dm-1` is not that of a device that is called `dm`.
            ("dm-1-8", "dm", false),
        ] {
            assert_eq!(is_journal_of(journal, device), is, "{journal} {device}");
        }
    }

    #[test]
    fn whatever_the_file_system_a_file_can_be_waited_for() {
        let disk = Disk::new().unwrap();
        for dir in [std::env::temp_dir(), "/dev/shm".into()] {
            let mut file = tempfile::tempfile_in(dir).unwrap();
            std::io::Write::write_all(&mut file, &vec![1; 100_000]).unwrap();
            disk.begin(&file, 0, 50_000);
            disk.before_its_name(&file).unwrap();
        }
    }
}
