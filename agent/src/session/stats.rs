//! [`Stats`]: what a session counts, from its start.

use parrot_common::Op;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One operation's counts.
#[derive(Debug, Default)]
struct Count {
    calls: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The counts of a session.
#[derive(Debug)]
pub(super) struct Stats {
    start: Instant,
    ops: Vec<Count>,
    hits: AtomicU64,
    misses: AtomicU64,
    reused: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Stats {
    pub(super) fn new() -> Self {
        let most = Op::ALL.iter().map(|&op| op as usize).max().unwrap_or(0);
        Self {
            start: Instant::now(),
            ops: (0..=most).map(|_| Count::default()).collect(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// An operation has ended.
    pub(super) fn count(&self, op: Op, took: Duration, failed: bool) {
        if let Some(count) = self.ops.get(op as usize) {
            count.calls.fetch_add(1, Relaxed);
            count.errors.fetch_add(u64::from(failed), Relaxed);
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            count.nanoseconds.fetch_add(took, Relaxed);
        }
    }

    /// A name was found in the cache.
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    /// A name had to be walked.
    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    /// A shadow was still the file's present version.
    pub(super) fn reused(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    /// Bytes of files went to a server.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes of files came from a server.
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes of files that went to servers.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// The counts as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        let mut ops = serde_json::Map::new();
        for &op in Op::ALL {
            let Some(count) = self.ops.get(op as usize) else { continue };
            let calls = count.calls.load(Relaxed);
            if calls > 0 {
                let value = serde_json::json!({
                    "calls": calls,
                    "errors": count.errors.load(Relaxed),
                    "nanoseconds": count.nanoseconds.load(Relaxed),
                });
                ops.insert(op.name().to_owned(), value);
            }
        }
        serde_json::json!({
            "seconds": self.start.elapsed().as_secs_f64(),
            "operations": ops,
            "names_known": self.hits.load(Relaxed),
            "names_walked": self.misses.load(Relaxed),
            "shadows_reused": self.reused.load(Relaxed),
            "bytes_sent": self.sent.load(Relaxed),
            "bytes_received": self.received.load(Relaxed),
        })
    }
}
