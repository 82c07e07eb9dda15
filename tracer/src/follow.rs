//! Keeps the loop on the guest's processor.
//!
//! A ptrace stop costs about 3 µs when tracer and guest share a processor and up to 60 µs when the
//! wake-up must cross to another, which is where an idle machine's scheduler puts them. So the loop
//! looks now and then where the stopped guest last ran, in the area that its libc registered for
//! restartable sequences (four bytes of memory; `/proc` would cost more than the stop), and binds
//! itself there. When several guests run in parallel on different processors, it stays free.

use crate::memory;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::OnceLock;

/// A look every so many stops.
const EVERY: u32 = 16;
/// Looks that must agree.
const AGREE: u32 = 3;
/// `cpu_id` in `struct rseq`.
const CPU_ID: usize = 4;

static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

/// Lets the calling thread run wherever the tracer was allowed to when it started.
pub(crate) fn anywhere() {
    if let Some(allowed) = ALLOWED.get() {
        let _ = sched_setaffinity(Pid::from_raw(0), allowed);
    }
}

/// The loop's place.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    stops: u32,
    seen: Option<u32>,
    agree: u32,
    bound: Option<u32>,
}

impl Follow {
    /// Remembers where the tracer may run.
    pub(crate) fn new() -> Self {
        if let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) {
            let _ = ALLOWED.set(allowed);
        }
        Self::default()
    }

    /// Whether this stop is one of those to look at.
    pub(crate) const fn due(&mut self) -> bool {
        self.stops = self.stops.wrapping_add(1);
        self.stops.is_multiple_of(EVERY)
    }

    /// A guest stopped; its restartable sequences area is here.
    pub(crate) fn look(&mut self, tid: i32, area: usize) {
        let Some(cpu) = memory::read_u32(tid, area + CPU_ID) else { return };
        if self.seen != Some(cpu) {
            if self.bound.is_some() && self.agree < AGREE {
                // They alternate: several guests are at work.
                anywhere();
                self.bound = None;
            }
            self.seen = Some(cpu);
            self.agree = 0;
            return;
        }
        self.agree = self.agree.saturating_add(1);
        if self.agree >= AGREE && self.bound != Some(cpu) {
            self.bind(cpu);
        }
    }

    fn bind(&mut self, cpu: u32) {
        let Ok(index) = usize::try_from(cpu) else { return };
        let mut set = CpuSet::new();
        let allowed = ALLOWED.get().is_some_and(|all| all.is_set(index).unwrap_or(false));
        if allowed && set.set(index).is_ok() && sched_setaffinity(Pid::from_raw(0), &set).is_ok() {
            self.bound = Some(cpu);
        }
    }
}
