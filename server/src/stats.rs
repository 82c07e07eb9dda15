//! What was done, counted: in all, and by the address of the client.
//!
//! The catalog's record tells it (see [`catalog`](crate::catalog)), and the reports (`-d stats`)
//! whenever the figures of the addresses begin anew, and when a client leaves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Addresses that are told apart.
const MAX_ADDRESSES: usize = 4096;

/// Requests, and bytes of files that were sent and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// Figures that several threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    requests: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
}

impl Counter {
    fn add(&self, more: Figures) {
        self.requests.fetch_add(more.requests, Relaxed);
        self.read.fetch_add(more.read, Relaxed);
        self.written.fetch_add(more.written, Relaxed);
    }

    fn take(&self) -> Figures {
        Figures {
            requests: self.requests.swap(0, Relaxed),
            read: self.read.swap(0, Relaxed),
            written: self.written.swap(0, Relaxed),
        }
    }
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    total: Counter,
    by_address: Mutex<HashMap<IpAddr, Arc<Counter>>>,
    /// Those of addresses beyond the limit.
    others: Arc<Counter>,
}

/// What one client does, until its connection ends.
#[derive(Debug)]
pub(crate) struct Tally {
    address: Arc<Counter>,
    own: Figures,
}

impl Statistics {
    /// Begins to count for a client.
    pub(crate) fn of(&self, address: IpAddr) -> Tally {
        let mut known = self.by_address.lock();
        let room = known.len() < MAX_ADDRESSES || known.contains_key(&address);
        let counter = if room { known.entry(address).or_default() } else { &self.others };
        Tally { address: Arc::clone(counter), own: Figures::default() }
    }

    /// Counts a request and what it moved.
    pub(crate) fn count(&self, tally: &mut Tally, read: u64, written: u64) {
        let more = Figures { requests: 1, read, written };
        self.total.add(more);
        tally.address.add(more);
        tally.own = Figures {
            requests: tally.own.requests + 1,
            read: tally.own.read + read,
            written: tally.own.written + written,
        };
    }

    /// All that was done since the start.
    pub(crate) fn total(&self) -> Figures {
        Figures {
            requests: self.total.requests.load(Relaxed),
            read: self.total.read.load(Relaxed),
            written: self.total.written.load(Relaxed),
        }
    }

    /// What each address did since this was asked for last, the busiest first. Addresses without a
    /// client are forgotten.
    pub(crate) fn take_by_address(&self) -> Vec<(IpAddr, Figures)> {
        let mut all = Vec::new();
        self.by_address.lock().retain(|address, counter| {
            let figures = counter.take();
            if figures != Figures::default() {
                all.push((*address, figures));
            }
            Arc::strong_count(counter) > 1
        });
        let others = self.others.take();
        if others != Figures::default() {
            all.push((IpAddr::from([0; 4]), others));
        }
        all.sort_by_key(|(_, figures)| std::cmp::Reverse((figures.requests, figures.read)));
        all
    }
}

impl Tally {
    /// What the client did.
    pub(crate) const fn figures(&self) -> Figures {
        self.own
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, read, written } = self;
        write!(f, "{requests} requests, {read} bytes read, {written} bytes written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_address_begin_anew() {
        let statistics = Statistics::default();
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let (mut first, mut second) = (statistics.of(one), statistics.of(other));
        let mut third = statistics.of(one);
        statistics.count(&mut second, 1, 2);
        statistics.count(&mut first, 10, 0);
        statistics.count(&mut third, 0, 20);
        let figures = |requests, read, written| Figures { requests, read, written };
        assert_eq!(first.figures(), figures(1, 10, 0));
        let all = statistics.take_by_address();
        assert_eq!(all, [(one, figures(2, 10, 20)), (other, figures(1, 1, 2))]);
        assert_eq!(statistics.take_by_address(), []);
        drop(second);
        statistics.count(&mut first, 1, 1);
        assert_eq!(statistics.take_by_address(), [(one, figures(1, 1, 1))]);
        assert_eq!(statistics.total(), figures(4, 12, 23));
        assert_eq!(statistics.by_address.lock().len(), 1, "who is gone is forgotten");
    }

    #[test]
    fn addresses_are_bounded() {
        let statistics = Statistics::default();
        let tallies: Vec<_> =
            (0..5000_u32).map(|n| statistics.of(IpAddr::from(n.to_be_bytes()))).collect();
        assert!(statistics.by_address.lock().len() <= MAX_ADDRESSES);
        drop(tallies);
    }
}
