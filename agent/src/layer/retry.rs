//! A layer that waits for servers that are away.
//!
//! A transient failure is tried again, after pauses that grow from 50 ms to 5 s, until the deadline
//! of the mount. What must not be done twice is looked for first, if the server may have done it
//! ([`settle`](crate::driver::settle)). Somebody is told when a wait lasts, and when it ends.
//!
//! A deadline that passed is remembered for as long again (1 s to 10 s): a call that fails in that
//! time is tried once and not waited for, and a server that says nothing is not even asked.
//!
//! A host that was never reached is more likely a typing error than a server away: refusals and
//! unknown names are then an error after 3 s, unless the mount asks to hold or to kill.

use super::cancel::{Cancel, wait};
use super::{Around, Op};
use crate::driver::Driver;
use crate::driver::asking::asking;
use crate::driver::settle::Settled;
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use parrot_common::Errno;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a wait may last before somebody is told.
const QUIET: Duration = Duration::from_secs(1);
/// How long a host may be unreachable that was never reached.
const NEVER_REACHED: Duration = Duration::from_secs(3);
/// How long a wait in vain is remembered, at least and at most.
const REMEMBERED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// What to do when the deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTransient {
    /// The program gets an errno.
    #[default]
    Errno,
    /// There is no deadline.
    Hold,
    /// The program is to be ended: the session does that when an error comes back that
    /// [is transient](Error::is_transient).
    Kill,
}

/// Who is told of waits, in a sentence.
pub type Notify = Arc<dyn Fn(&str) + Send + Sync>;

/// How to wait.
#[derive(Clone)]
pub struct RetryPolicy {
    /// How long one operation is tried again.
    pub deadline: Duration,
    /// What comes then.
    pub on_transient: OnTransient,
    /// Told when a wait has lasted a second, and when it ends.
    pub notify: Notify,
    /// Ends all waits, for the end of the session. See also [`cancellable`](super::cancellable).
    pub cancel: Cancel,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            on_transient: OnTransient::Errno,
            notify: Arc::new(|_| {}),
            cancel: Cancel::new(),
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("deadline", &self.deadline)
            .field("on_transient", &self.on_transient)
            .finish_non_exhaustive()
    }
}

/// The waits that last now.
#[derive(Debug, Default)]
struct Outage {
    waiting: usize,
    since: Option<Instant>,
    announced: bool,
    /// A wait was in vain: until when nobody waits again.
    given_up: Option<Instant>,
}

/// The layer.
#[derive(Debug)]
pub struct Retry {
    server: String,
    policy: RetryPolicy,
    /// Whether the server has ever answered.
    reached: AtomicBool,
    outage: Mutex<Outage>,
    /// `outage.given_up` says something.
    away: AtomicBool,
}

impl Retry {
    /// Waits for `server`, named as people do.
    #[must_use]
    pub fn new(server: impl Into<String>, policy: RetryPolicy) -> Self {
        Self {
            server: server.into(),
            policy,
            reached: AtomicBool::new(false),
            outage: Mutex::default(),
            away: AtomicBool::new(false),
        }
    }

    /// When to give up on `error`, counted from the first failure; `None` is never.
    fn patience(&self, error: &Error) -> Option<Duration> {
        let strange = matches!(error.kind(), Kind::Refused | Kind::Unreachable);
        match self.policy.on_transient {
            OnTransient::Hold => None,
            OnTransient::Errno if strange && !self.reached.load(SeqCst) => {
                Some(self.policy.deadline.min(NEVER_REACHED))
            }
            OnTransient::Errno | OnTransient::Kill => Some(self.policy.deadline),
        }
    }

    /// Tries again until something else than a transient failure comes, or time is up.
    fn persist<T>(
        &self,
        (first, begin): (Error, Instant),
        mut attempt: impl FnMut(&Error) -> ControlFlow<Result<T>, Error>,
    ) -> Result<T> {
        // Silence was waited for already; a transfer that broke off in its middle was none.
        let start = if first.kind() == Kind::TimedOut { begin } else { Instant::now() };
        if self.has_given_up() {
            return Err(given_up(first, begin.elapsed()));
        }
        let mut waiting = Waiting::begin(self);
        let mut pause = FIRST;
        let mut error = first;
        loop {
            let end = self.patience(&error).map(|patience| start + patience);
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                waiting.outcome = "gave up";
                self.give_up(start.elapsed());
                return Err(given_up(error, start.elapsed()));
            }
            if !waiting.pause(jittered(pause).min(left), &error, end.map(|end| end - start)) {
                waiting.outcome = "no longer waited for";
                return Err(error.become_kind(Kind::Local(Errno::EINTR), "the wait was ended"));
            }
            pause = (pause * 2).min(LONGEST);
            match attempt(&error) {
                ControlFlow::Continue(next) => {
                    // Doubt stays until it is settled.
                    let in_doubt = error.is_in_doubt() || next.is_in_doubt();
                    error = next.doubted(in_doubt);
                }
                ControlFlow::Break(result) => {
                    self.note(&result);
                    waiting.outcome = "answers again";
                    return result;
                }
            }
        }
    }

    /// Remembers a wait in vain.
    fn give_up(&self, waited: Duration) {
        let [least, most] = REMEMBERED;
        let until = Instant::now() + waited.clamp(least, most);
        self.outage.lock().given_up = Some(until);
        self.away.store(true, SeqCst);
    }

    /// Whether it was waited for in vain a moment ago.
    fn has_given_up(&self) -> bool {
        self.away.load(SeqCst)
            && self.outage.lock().given_up.is_some_and(|until| Instant::now() < until)
    }

    /// Notes that the server has answered.
    fn note<T>(&self, result: &Result<T>) {
        let answered = match result {
            Ok(_) => true,
            Err(error) => matches!(error.kind(), Kind::Remote(_) | Kind::Stale),
        };
        if answered && !self.reached.load(SeqCst) {
            self.reached.store(true, SeqCst);
        }
        if answered && self.away.load(SeqCst) {
            self.away.store(false, SeqCst);
            self.outage.lock().given_up = None;
        }
    }
}

impl Around for Retry {
    fn call<T>(
        &self,
        inner: &dyn Driver,
        op: &Op<'_>,
        run: &mut dyn FnMut() -> Result<T>,
        done: fn() -> Option<T>,
    ) -> Result<T> {
        asking(|| self.ask(inner, op, run, done))
    }
}

impl Retry {
    /// Asks as often as it takes.
    fn ask<T>(
        &self,
        inner: &dyn Driver,
        op: &Op<'_>,
        run: &mut dyn FnMut() -> Result<T>,
        done: fn() -> Option<T>,
    ) -> Result<T> {
        let begin = Instant::now();
        let first = match judge(run()) {
            ControlFlow::Continue(error) => error,
            ControlFlow::Break(result) => {
                self.note(&result);
                return result;
            }
        };
        let Some(change) = &op.change else {
            return self.persist((first, begin), |_| judge(run()));
        };
        self.persist((first, begin), |error| {
            if error.is_in_doubt() {
                match inner.settle(change) {
                    Ok(Settled::NotDone) => {}
                    Ok(Settled::Done) => {
                        if let Some(value) = done() {
                            return ControlFlow::Break(Ok(value));
                        }
                    }
                    Ok(Settled::Unknown) => {
                        let story = "it may have been done, and must not be done twice";
                        let error = error.clone().become_kind(Kind::Disconnected, story);
                        return ControlFlow::Break(Err(error));
                    }
                    Err(error) => return judge(Err(error)),
                }
            }
            judge(run())
        })
    }
}

/// Whether there is more to do.
fn judge<T>(result: Result<T>) -> ControlFlow<Result<T>, Error> {
    match result {
        Err(error) if error.is_transient() => ControlFlow::Continue(error),
        result => ControlFlow::Break(result),
    }
}

/// The error after all tries.
fn given_up(error: Error, elapsed: Duration) -> Error {
    let kind = match error.kind() {
        kind @ (Kind::Refused | Kind::Unreachable) => kind,
        _ => Kind::TimedOut,
    };
    error.become_kind(kind, &format!("gave up after {:.1} s", elapsed.as_secs_f32()))
}

/// Between three and five quarters of a pause, so that many clients do not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    pause * 3 / 4 + pause * u32::try_from(random).unwrap_or(0) / 1024
}

/// One operation's wait: keeps the count of waits, and tells of the first and the last.
struct Waiting<'a> {
    retry: &'a Retry,
    outcome: &'static str,
}

impl<'a> Waiting<'a> {
    fn begin(retry: &'a Retry) -> Self {
        let mut outage = retry.outage.lock();
        outage.waiting += 1;
        outage.since.get_or_insert_with(Instant::now);
        drop(outage);
        Self { retry, outcome: "no longer waited for" }
    }

    /// Waits, and tells when it lasts; `false` if the wait was ended.
    fn pause(&self, time: Duration, error: &Error, limit: Option<Duration>) -> bool {
        let cancel = &self.retry.policy.cancel;
        let quiet = {
            let outage = self.retry.outage.lock();
            let lasted = outage.since.map_or(Duration::ZERO, |since| since.elapsed());
            if outage.announced { Duration::MAX } else { QUIET.saturating_sub(lasted) }
        };
        if quiet >= time {
            return wait(time, cancel);
        }
        if !wait(quiet, cancel) {
            return false;
        }
        let first = !std::mem::replace(&mut self.retry.outage.lock().announced, true);
        if first {
            let server = &self.retry.server;
            let limit = limit.map_or("as long as it takes".to_owned(), |limit| {
                format!("up to {} s", limit.as_secs())
            });
            (self.retry.policy.notify)(&format!("{error}; waiting for {server} {limit}"));
        }
        wait(time.saturating_sub(quiet), cancel)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut outage = self.retry.outage.lock();
        outage.waiting -= 1;
        let answered = self.outcome == "answers again";
        if outage.waiting > 0 && !answered {
            return;
        }
        let since = outage.since.map_or(Duration::ZERO, |since| since.elapsed());
        let told = std::mem::take(&mut outage.announced);
        if outage.waiting == 0 {
            outage.since = None;
        }
        drop(outage);
        if told {
            let (server, outcome) = (&self.retry.server, self.outcome);
            let story = format!("{server}: {outcome} after {:.1} s", since.as_secs_f32());
            (self.retry.policy.notify)(&story);
        }
    }
}
