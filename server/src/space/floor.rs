//! The floor (`-F`): space on the disk that clients must leave free.

use std::os::fd::{AsFd, BorrowedFd};

use parking_lot::Mutex;
use rustix::io::Errno;

/// The floor, and what has been let through and is perhaps not on the disk yet.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    /// Bytes to leave free; 0 for no floor.
    least: u64,
    pending: Mutex<u64>,
}

/// A write that was let through; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted<'f> {
    floor: &'f Floor,
    bytes: u64,
}

impl Floor {
    /// A floor of so many bytes.
    pub(crate) fn new(least: u64) -> Self {
        Self { least, pending: Mutex::default() }
    }

    /// Lets a write through whose bytes go to the file system of `object`.
    ///
    /// # Errors
    /// ENOSPC if less than the floor would be left, all writes under way counted.
    pub(crate) fn admit(&self, object: impl AsFd, bytes: u64) -> Result<Admitted<'_>, Errno> {
        self.admit_if(bytes, || available(object.as_fd()))
    }

    fn admit_if(
        &self,
        bytes: u64,
        available: impl FnOnce() -> Result<u64, Errno>,
    ) -> Result<Admitted<'_>, Errno> {
        if self.least == 0 {
            return Ok(Admitted { floor: self, bytes: 0 });
        }
        let mut pending = self.pending.lock();
        let after = pending.checked_add(bytes).ok_or(Errno::NOSPC)?;
        if available()?.checked_sub(after).is_none_or(|left| left < self.least) {
            return Err(Errno::NOSPC);
        }
        *pending = after;
        Ok(Admitted { floor: self, bytes })
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut pending = self.floor.pending.lock();
            *pending = pending.saturating_sub(self.bytes);
        }
    }
}

/// Bytes that the server's account could still write.
fn available(object: BorrowedFd<'_>) -> Result<u64, Errno> {
    let figures = rustix::fs::fstatvfs(object)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_under_way_count() {
        let floor = Floor::new(10);
        let admit = |bytes| floor.admit_if(bytes, || Ok(100));
        let first = admit(60).unwrap();
        assert_eq!(admit(31).err(), Some(Errno::NOSPC));
        let second = admit(30).unwrap();
        drop(first);
        assert!(admit(60).is_ok());
        drop(second);
        assert!(admit(90).is_ok());
        assert_eq!(admit(91).err(), Some(Errno::NOSPC));
        assert_eq!(admit(u64::MAX).err(), Some(Errno::NOSPC));
    }

    #[test]
    fn no_floor_asks_nothing() {
        assert!(Floor::default().admit_if(u64::MAX, || Err(Errno::IO)).is_ok());
    }
}
