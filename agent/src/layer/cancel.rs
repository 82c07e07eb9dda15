//! Ending a wait early.
//!
//! A token belongs to whoever may lose interest: a guest that got a signal, a session that ends.
//! [`cancellable`] makes it the token of everything the present thread does meanwhile, so that it
//! need not travel through every driver method.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// How long a cancelled wait may go on.
const SLICE: Duration = Duration::from_millis(20);

thread_local! {
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// A token that ends waits.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A new token, not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the waits that look at this token, now and later.
    pub fn cancel(&self) {
        self.0.store(true, SeqCst);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// Runs `work` with `token` as the present thread's token.
pub fn cancellable<T>(token: &Cancel, work: impl FnOnce() -> T) -> T {
    /// Puts the former token back, after a panic too.
    struct Restore(Option<Cancel>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(Some(token.clone())));
    work()
}

/// Waits; `false` if the wait was ended by `token` or by the present thread's token.
pub(super) fn wait(time: Duration, token: &Cancel) -> bool {
    let end = Instant::now() + time;
    loop {
        let current =
            CURRENT.with_borrow(|current| current.as_ref().is_some_and(Cancel::is_cancelled));
        if current || token.is_cancelled() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(SLICE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_the_waits_of_its_thread_only() {
        let (token, never) = (Cancel::new(), Cancel::new());
        assert!(wait(Duration::from_millis(1), &never));
        token.cancel();
        assert!(!cancellable(&token, || wait(Duration::from_secs(60), &never)));
        assert!(wait(Duration::from_millis(1), &never), "the token is the thread's no longer");
        assert!(!wait(Duration::from_secs(60), &token));
    }
}
