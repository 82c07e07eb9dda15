//! Sessions that outlive their connection.
//!
//! A client that names its session by a random key (`session KEY NUMBER`) can lose its connection
//! and go on with another one: what it had open stays open for a while, and a request that was done
//! but whose answer was lost is answered again, not done again.
//!
//! ```text
//!          connected ── the connection is lost ──▶ parked ── the grace is over, or too many ──▶ gone
//!              ▲  └─ the client says goodbye ──▶ gone │
//!              └── another connection with the same key and the same subject ◀┘
//! ```
//!
//! Requests of a session are counted on both sides, from 1 on, and carry no number of their own.
//! Whoever connects anew says which number its next request will have; numbers that were done
//! already are answered from the [log](log::Log). A connection that comes while an older one still
//! counts as alive (half-open) shuts that one down and waits until its thread has let go.
//!
//! Parked sessions are bounded in number, in descriptors and in bytes, for each subject and in all;
//! who has waited longest goes first. Nothing of this outlives the process.
//!
//! Lock order: [`Parking`]'s own lock, held for moments, and nothing below it.

pub(crate) mod log;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::server::Stream;
use crate::session::Opened;
use crate::wire::Code;
use log::Log;

/// How long a connection waits for the thread of the one it takes over from.
const TAKEOVER: Duration = Duration::from_secs(10);

/// What a session keeps when its connection is lost.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) files: Vec<Option<Opened>>,
    pub(crate) log: Log,
}

impl Kept {
    fn open_files(&self) -> usize {
        self.files.iter().flatten().count()
    }
}

/// Whose session, and which: nobody else's key leads anywhere.
type Key = (Vec<u8>, u128);

/// Where a session is.
#[derive(Debug)]
enum Slot {
    Connected(Stream),
    Parked { kept: Kept, since: Instant },
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Key, Slot>,
    /// A thread waits to end what has been parked for too long.
    swept: bool,
}

/// How much may be parked, in all; one subject may have half of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long; zero for not at all.
    pub(crate) grace: Duration,
    pub(crate) sessions: usize,
    pub(crate) files: usize,
    pub(crate) bytes: usize,
}

/// All sessions that have a key.
#[derive(Debug)]
pub(crate) struct Parking {
    limits: Limits,
    state: Mutex<State>,
    /// A session was parked or has ended.
    changed: Condvar,
}

impl Parking {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Binds a connection to the session with this key. The session's state if it has been here
    /// before, else `None`: it is a new one.
    pub(crate) fn attach(
        self: &Arc<Self>,
        who: &[u8],
        key: u128,
        stream: &Stream,
    ) -> Result<(Lease, Option<Kept>), Code> {
        if self.limits.grace.is_zero() {
            return Err(Code::NotSupported);
        }
        let key = (who.to_vec(), key);
        let deadline = Instant::now() + TAKEOVER;
        let mut state = self.state.lock();
        while let Some(Slot::Connected(old)) = state.slots.get(&key) {
            old.hang_up();
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(Code::Busy);
            }
        }
        let old = state.slots.insert(key.clone(), Slot::Connected(stream.clone()));
        drop(state);
        let kept = match old {
            Some(Slot::Parked { kept, since }) if since.elapsed() < self.limits.grace => Some(kept),
            _ => None,
        };
        Ok((Lease { parking: Arc::clone(self), key: Some(key) }, kept))
    }

    fn park(self: &Arc<Self>, key: Key, kept: Kept) {
        let mut state = self.state.lock();
        let subject = key.0.clone();
        state.slots.insert(key, Slot::Parked { kept, since: Instant::now() });
        let mut dropped = Vec::new();
        while let Some(oldest) = self.oldest_too_much(&state, &subject) {
            dropped.extend(state.slots.remove(&oldest));
        }
        let sweep = !std::mem::replace(&mut state.swept, true);
        drop(state);
        self.changed.notify_all();
        if sweep {
            let parking = Arc::clone(self);
            let thread = std::thread::Builder::new().name("sweeper".to_owned());
            if thread.spawn(move || parking.sweep()).is_err() {
                // The next one to be parked tries again.
                self.state.lock().swept = false;
            }
        }
    }

    /// The session that has to go, if there are too many of this subject or in all.
    fn oldest_too_much(&self, state: &State, subject: &[u8]) -> Option<Key> {
        let Limits { sessions, files, bytes, .. } = self.limits;
        let mut all = Sum::default();
        let mut own = Sum::default();
        for ((who, key), slot) in &state.slots {
            let Slot::Parked { kept, since } = slot else { continue };
            all.add(who, *key, kept, *since);
            if who == subject {
                own.add(who, *key, kept, *since);
            }
        }
        let half = [sessions, files, bytes].map(|limit| limit / 2);
        let sum = if all.exceeds([sessions, files, bytes]) {
            all
        } else if own.exceeds(half) {
            own
        } else {
            return None;
        };
        sum.oldest.map(|(_, who, key)| (who.to_vec(), key))
    }

    /// Ends sessions when their grace is over; until none is parked.
    fn sweep(&self) {
        let mut state = self.state.lock();
        loop {
            let mut next = None;
            let mut over = Vec::new();
            for (key, slot) in &state.slots {
                let Slot::Parked { since, .. } = slot else { continue };
                let end = *since + self.limits.grace;
                if end <= Instant::now() {
                    over.push(key.clone());
                } else {
                    next = next.map_or(Some(end), |next: Instant| Some(next.min(end)));
                }
            }
            let gone: Vec<_> = over.iter().filter_map(|key| state.slots.remove(key)).collect();
            if !gone.is_empty() {
                // Closing files takes its time, and nobody should wait for it.
                parking_lot::MutexGuard::unlocked(&mut state, || drop(gone));
                continue;
            }
            let Some(next) = next else { break };
            self.changed.wait_until(&mut state, next);
        }
        state.swept = false;
    }
}

/// What several parked sessions have together.
#[derive(Default)]
struct Sum<'s> {
    counts: [usize; 3],
    oldest: Option<(Instant, &'s [u8], u128)>,
}

impl<'s> Sum<'s> {
    fn add(&mut self, who: &'s [u8], key: u128, kept: &Kept, since: Instant) {
        let [sessions, files, bytes] = self.counts;
        self.counts = [sessions + 1, files + kept.open_files(), bytes + kept.log.bytes()];
        if self.oldest.is_none_or(|(oldest, ..)| since < oldest) {
            self.oldest = Some((since, who, key));
        }
    }

    fn exceeds(&self, limits: [usize; 3]) -> bool {
        self.counts.iter().zip(limits).any(|(count, limit)| *count > limit)
    }
}

/// A connection's hold on its session. Dropped without being parked, it ends the session.
#[derive(Debug)]
pub(crate) struct Lease {
    parking: Arc<Parking>,
    key: Option<Key>,
}

impl Lease {
    /// Lets go: the session waits for another connection.
    pub(crate) fn park(mut self, kept: Kept) {
        if let Some(key) = self.key.take() {
            self.parking.park(key, kept);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.parking.state.lock().slots.remove(&key);
            self.parking.changed.notify_all();
        }
    }
}

#[cfg(test)]
#[path = "resume/tests.rs"]
mod tests;
