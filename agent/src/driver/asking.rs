//! One operation, asked for several times.
//!
//! The retry layer calls a driver again until an operation has succeeded. [`asking`] makes all these
//! calls one operation to the driver, which then can go on where it was: a request whose answer was
//! lost is the same request when it is asked for again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `work`, all of whose calls to drivers are about one operation.
pub fn asking<T>(work: impl FnOnce() -> T) -> T {
    /// Puts the former number back, after a panic too.
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
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
    }
}
