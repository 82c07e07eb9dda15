//! The figures of one reservation, and how reservations are nested.
//!
//! A reservation inside another counts there as a whole, used or not, so that what was promised is
//! there. Lock order: a reservation before the one around it.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

/// A reservation: so many bytes for all files below a directory.
#[derive(Debug)]
pub(crate) struct Account {
    figures: Mutex<Figures>,
}

#[derive(Debug)]
struct Figures {
    limit: u64,
    used: u64,
    /// The reservation around this one.
    around: Option<Arc<Account>>,
    /// The directory was removed. What open files still hold counts in the reservation around.
    gone: bool,
}

impl Figures {
    /// What this reservation, whose directory is gone, still takes of the one around it.
    fn held(&self) -> u64 {
        self.used.min(self.limit)
    }
}

impl Account {
    /// A reservation of which nothing is used. The one around it is not charged here.
    pub(crate) fn new(limit: u64, around: Option<Arc<Self>>) -> Self {
        Self { figures: Mutex::new(Figures { limit, used: 0, around, gone: false }) }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// ENOSPC if that many are not free; nothing is taken then.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Errno> {
        if bytes == 0 {
            return Ok(());
        }
        let mut figures = self.figures.lock();
        let used = figures.used.checked_add(bytes).filter(|used| *used <= figures.limit);
        let used = used.ok_or(Errno::NOSPC)?;
        if figures.gone
            && let Some(around) = &figures.around
        {
            around.take(bytes)?;
        }
        figures.used = used;
        Ok(())
    }

    /// Counts bytes that are there already, limit or not: what is found when the server starts.
    pub(crate) fn count(&self, bytes: u64) {
        let mut figures = self.figures.lock();
        figures.used = figures.used.saturating_add(bytes);
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut figures = self.figures.lock();
        let before = figures.held();
        figures.used = figures.used.saturating_sub(bytes);
        if figures.gone
            && let Some(around) = &figures.around
        {
            around.give(before - figures.held());
        }
    }

    /// The limit and what is used of it.
    pub(crate) fn figures(&self) -> (u64, u64) {
        let figures = self.figures.lock();
        (figures.limit, figures.used)
    }

    /// The directory lies in another reservation now. Both were charged by the caller.
    pub(crate) fn move_into(&self, around: Arc<Self>) {
        self.figures.lock().around = Some(around);
    }

    /// The directory is gone: gives what nobody holds back to the reservation around.
    pub(crate) fn bury(&self) {
        let mut figures = self.figures.lock();
        if figures.gone {
            return;
        }
        figures.gone = true;
        if let Some(around) = &figures.around {
            around.give(figures.limit - figures.held());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds() {
        let account = Account::new(100, None);
        account.take(60).unwrap();
        assert_eq!(account.take(41), Err(Errno::NOSPC));
        account.take(40).unwrap();
        assert_eq!(account.take(u64::MAX), Err(Errno::NOSPC));
        account.give(50);
        account.take(50).unwrap();
        assert_eq!(account.figures(), (100, 100));
        account.give(1000);
        assert_eq!(account.figures(), (100, 0));
    }

    #[test]
    fn a_limit_holds_for_many_at_once() {
        let account = Account::new(1000, None);
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..500).filter(|_| account.take(3).is_ok()).count()))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((taken, account.figures()), (333, (1000, 999)));
    }

    #[test]
    fn what_open_files_hold_of_a_removed_reservation_counts_around_it() {
        let outer = Arc::new(Account::new(100, None));
        outer.take(50).unwrap();
        let inner = Account::new(50, Some(Arc::clone(&outer)));
        inner.take(20).unwrap();
        inner.bury();
        inner.bury();
        assert_eq!(outer.figures(), (100, 20));
        // A file without a name may still grow, but not beyond what is free around it.
        outer.take(75).unwrap();
        assert_eq!(inner.take(10), Err(Errno::NOSPC));
        inner.take(5).unwrap();
        assert_eq!(outer.figures(), (100, 100));
        inner.give(25);
        assert_eq!(outer.figures(), (100, 75));
    }

    #[test]
    fn a_reservation_that_was_found_overfull_gives_back_its_limit_only() {
        let outer = Arc::new(Account::new(100, None));
        outer.count(50);
        let inner = Account::new(50, Some(Arc::clone(&outer)));
        inner.count(70);
        inner.bury();
        assert_eq!(outer.figures(), (100, 50));
        inner.give(30);
        assert_eq!(outer.figures(), (100, 40));
        inner.give(40);
        assert_eq!(outer.figures(), (100, 0));
    }
}
