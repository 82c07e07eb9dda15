//! One operation, asked for several times.
//!
//! The retry layer calls a driver again until an operation has succeeded. [`asking`] makes all these
//! calls one operation to the driver, which then can go on where it was: a request whose answer was
//! lost is the same request when it is asked for again.

use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Operations that broke off in a driver and are to be asked for again.
static EXPECTED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// Runs `work`, all of whose calls to drivers are about one operation.
pub fn asking<T>(work: impl FnOnce() -> T) -> T {
    /// Puts the former number back, after a panic too.
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            let over = CURRENT.replace(self.0);
            let mut expected = EXPECTED.lock();
            if !expected.is_empty() {
                expected.remove(&over);
            }
        }
    }
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let _restore = Restore(CURRENT.replace(NEXT.fetch_add(1, Relaxed)));
    work()
}

/// The number of the present thread's operation; 0 if nobody will ask again.
pub(super) fn current() -> u64 {
    CURRENT.get()
}

/// The present thread's operation broke off, and will be asked for again.
pub(super) fn expect_again() {
    let operation = current();
    if operation != 0 {
        EXPECTED.lock().insert(operation);
    }
}

/// Whether an operation that broke off will be asked for again.
pub(super) fn is_expected(operation: u64) -> bool {
    EXPECTED.lock().contains(&operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_numbers_of_their_own() {
        assert_eq!(current(), 0);
        let first = asking(|| {
            let outer = current();
            assert_ne!(asking(current), outer);
            assert_eq!(current(), outer);
            outer
        });
        assert!(first != 0 && asking(current) != first);
        assert_eq!(current(), 0);
        let broken = asking(|| {
            expect_again();
            assert!(is_expected(current()));
            current()
        });
        assert!(!is_expected(broken), "nobody asks any more");
    }
}
