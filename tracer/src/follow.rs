//! Keeps the loop and the guest on one processor while they talk.
//!
//! A ptrace stop costs about 3 µs when tracer and guest share a processor and 40 to 60 µs when each
//! wake-up crosses to another, which is where an idle machine's scheduler puts them: it looks for an
//! idle processor for whoever wakes up, and the waker's own is never idle. Binding only the tracer
//! does not help, the guest is then woken elsewhere. So a guest thread that makes several stops in a
//! row, with no other in between, or very many whoever else does, is *held* on the loop's processor,
//! and let go
//!
//! - when it makes a thread or process, ends, or asks for or sets its affinity,
//! - at a tick of a few milliseconds without a stop, or with few where several are held (it computes,
//!   and may go where it likes).
//!
//! The guest cannot see it: the calls about affinity stop, and find the guest's own mask.
#![expect(unsafe_code, reason = "setitimer")]

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops in a row that make a conversation: more than the start of a program has.
const STREAK: u32 = 64;
/// Stops of one thread in a window of time that make one too, whoever else stops meanwhile: so many
/// would cost more by wake-ups across processors than running at the same time as others gains.
const DENSE: u32 = 96;
/// The window, nanoseconds.
const WINDOW: u64 = 8_000_000;
/// Stops in a tick that keep one of several held.
const BUSY: u32 = 24;
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
    /// Its stops since the last tick.
    stops: u32,
}

/// Who is held, and who may be soon.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    last: i32,
    streak: u32,
    /// The present window, and the stops in it of those who are not held.
    window: u64,
    counts: Vec<(i32, u32)>,
    held: Vec<Held>,
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
        if let Some(held) = self.held.iter_mut().find(|held| held.tid == tid) {
            held.stops += 1;
            return;
        }
        if self.last != tid {
            self.last = tid;
            self.streak = 0;
        }
        self.streak = self.streak.saturating_add(1);
        let window = crate::os::clock() / WINDOW;
        if window != self.window {
            self.window = window;
            self.counts.clear();
        }
        let count = match self.counts.iter_mut().find(|(of, _)| *of == tid) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((tid, 1));
                1
            }
        };
        if count == DENSE || (self.streak == STREAK && self.held.is_empty()) {
            self.hold(tid);
        }
    }

    /// To be called whenever the loop comes by: lets a silent guest go.
    pub(crate) fn tick(&mut self) {
        if TICKED.load(Ordering::Relaxed) {
            TICKED.store(false, Ordering::Relaxed);
            let several = self.held.len() > 1;
            let mut index = 0;
            while let Some(held) = self.held.get_mut(index) {
                // Who is alone loses nothing here; several could run at the same time.
                if std::mem::take(&mut held.stops) >= if several { BUSY } else { 1 } {
                    index += 1;
                } else {
                    let held = self.held.swap_remove(index);
                    self.let_go(&held);
                }
            }
        }
    }

    /// A thread has made a child: the child is free, and now so is the parent.
    pub(crate) fn child(&mut self, parent: i32, child: i32) {
        if let Some(index) = self.held.iter().position(|held| held.tid == parent) {
            let held = self.held.swap_remove(index);
            let _ = sched_setaffinity(Pid::from_raw(child), &held.mask);
            self.let_go(&held);
        }
    }

    /// Lets all who are held go.
    pub(crate) fn release(&mut self) {
        while let Some(held) = self.held.pop() {
            self.let_go(&held);
        }
    }

    /// Lets one go that was taken from the list.
    fn let_go(&mut self, held: &Held) {
        let _ = sched_setaffinity(Pid::from_raw(held.tid), &held.mask);
        self.streak = 0;
        if self.held.is_empty() {
            timer(0);
            anywhere();
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
            if self.held.is_empty() {
                let _ = sched_setaffinity(Pid::from_raw(0), &here);
                timer(TICK_US);
            }
            self.held.push(Held { tid, mask, stops: 1 });
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
