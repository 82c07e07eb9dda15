//! Keeps the loop and the guest on one processor while they talk.
//!
//! A ptrace stop costs about 3 µs when tracer and guest share a processor and 40 to 60 µs when each
//! wake-up crosses to another, which is where an idle machine's scheduler puts them: it looks for an
//! idle processor for whoever wakes up, and the waker's own is never idle. Binding only the tracer
//! does not help, the guest is then woken elsewhere. So a guest thread that makes several stops in a
//! row, with no other in between, is *held* on the loop's processor, and let go
//!
//! - when another thread stops (several are at work: they may run in parallel),
//! - when it makes a thread or process, ends, or asks for or sets its affinity,
//! - at a tick of a few milliseconds without a stop (it computes, and may go where it likes).
//!
//! The guest cannot see it: the calls about affinity stop, and find the guest's own mask.
#![expect(unsafe_code, reason = "setitimer")]

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops in a row that make a conversation.
const STREAK: u32 = 8;
/// Time without a stop that ends it, microseconds (one to two ticks).
const TICK_US: i64 = 3000;

static ALLOWED: OnceLock<CpuSet> = OnceLock::new();
static TICKED: AtomicBool = AtomicBool::new(false);

/// Lets the calling thread run wherever the tracer was allowed to when it started.
pub(crate) fn anywhere() {
    if let Some(allowed) = ALLOWED.get() {
        let _ = sched_setaffinity(Pid::from_raw(0), allowed);
    }
}

/// The timer's signal; async-signal-safe.
pub(crate) extern "C" fn on_tick(_signal: libc::c_int) {
    TICKED.store(true, Ordering::Relaxed);
}

/// A guest thread on the loop's processor.
#[derive(Debug)]
struct Held {
    tid: i32,
    /// Where it may run by its own account.
    mask: CpuSet,
    /// It has stopped since the last tick.
    fresh: bool,
}

/// Who is held, and who may be soon.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    last: i32,
    streak: u32,
    held: Option<Held>,
}

impl Follow {
    /// Remembers where the tracer may run.
    pub(crate) fn new() -> Self {
        if let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) {
            let _ = ALLOWED.set(allowed);
        }
        Self::default()
    }

    /// A guest thread has stopped.
    pub(crate) fn stop(&mut self, tid: i32) {
        if self.last != tid {
            self.last = tid;
            self.streak = 0;
            self.release();
            return;
        }
        self.streak = self.streak.saturating_add(1);
        match &mut self.held {
            Some(held) => held.fresh = true,
            None if self.streak == STREAK => self.hold(tid),
            None => {}
        }
    }

    /// To be called whenever the loop comes by: lets a silent guest go.
    pub(crate) fn tick(&mut self) {
        if TICKED.load(Ordering::Relaxed) {
            TICKED.store(false, Ordering::Relaxed);
            match &mut self.held {
                Some(held) if held.fresh => held.fresh = false,
                _ => self.release(),
            }
        }
    }

    /// The held thread has made a child: the child is free, and now so is the parent.
    pub(crate) fn child(&mut self, parent: i32, child: i32) {
        if let Some(held) = self.held.as_ref().filter(|held| held.tid == parent) {
            let _ = sched_setaffinity(Pid::from_raw(child), &held.mask);
            self.release();
        }
    }

    /// Lets whoever is held go.
    pub(crate) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            timer(0);
            let _ = sched_setaffinity(Pid::from_raw(held.tid), &held.mask);
            anywhere();
            self.streak = 0;
        }
    }

    fn hold(&mut self, tid: i32) {
        let guest = Pid::from_raw(tid);
        let (Ok(mask), Ok(cpu)) = (sched_getaffinity(guest), sched_getcpu()) else { return };
        let choices = (0..CpuSet::count()).filter(|&n| mask.is_set(n).unwrap_or(false)).count();
        let mut here = CpuSet::new();
        if choices < 2 || !mask.is_set(cpu).unwrap_or(false) || here.set(cpu).is_err() {
            return;
        }
        if sched_setaffinity(guest, &here).is_ok() {
            self.held = Some(Held { tid, mask, fresh: true });
            let _ = sched_setaffinity(Pid::from_raw(0), &here);
            timer(TICK_US);
        }
    }
}

/// Starts (or with 0 stops) the ticks.
fn timer(microseconds: i64) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let value = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `value` outlives the call, the old value is not wanted.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const value, std::ptr::null_mut()) };
}
