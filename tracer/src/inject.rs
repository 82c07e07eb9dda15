//! [`Call`]: one caught call of a stopped guest thread, from its entry until its outcome.
//!
//! ```text
//!            filter stop                          exit stop of a call that was made instead
//!   guest ──▶ Entry ──native(nr, args)─────────────────▶ Exit ─┐
//!               ▲                                               │ native, pass, rewrite:
//!               └──── filter stop of the same call ◀── step back ┘ the instruction again
//!   Entry ── pass / answer: continue          Exit ── answer: continue
//! ```
//!
//! Stepping back leaves the kernel for an instant, where a signal could be delivered; so all
//! signals are blocked until the entry is reached again.

use crate::ptrace::{Event, Running, Stopped};
use crate::regs::Regs;

/// "Restart the call, or EINTR, as the handler's flags say", the kernel's internal code.
const ERESTARTSYS: isize = 512;
const ESRCH: isize = 3;

/// Where the thread stands.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// At the filter's stop: the kernel has not begun the call.
    Entry(Stopped),
    /// Behind a call.
    Exit(Stopped),
    /// It was killed, or another thread's exec ended it. The event is for the loop.
    Gone,
}

/// A caught call.
#[derive(Debug)]
pub(crate) struct Call {
    tid: i32,
    /// The registers at the entry, once somebody needed them.
    regs: Option<Regs>,
    place: Place,
    /// What a wait told that is not this module's business.
    stray: Option<Event>,
    /// A job control stop went by unanswered.
    interrupt: bool,
    /// A SIGSTOP, which no mask holds back, was taken out.
    stop_signal: bool,
}

/// A call that was let go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed {
    /// An event that was met on the way and must be handled as if a wait had brought it.
    pub(crate) stray: Option<Event>,
}

impl Call {
    /// The thread is at the filter's stop.
    pub(crate) const fn at_entry(stopped: Stopped) -> Self {
        Self::new(stopped.tid(), None, Place::Entry(stopped))
    }

    /// The thread is at the exit stop of the call whose registers at the entry were `regs`.
    pub(crate) const fn at_exit(stopped: Stopped, regs: Regs) -> Self {
        Self::new(stopped.tid(), Some(regs), Place::Exit(stopped))
    }

    const fn new(tid: i32, regs: Option<Regs>, place: Place) -> Self {
        Self { tid, regs, place, stray: None, interrupt: false, stop_signal: false }
    }

    /// The registers as they were at the entry; `None` when the thread has gone.
    pub(crate) fn regs(&mut self) -> Option<Regs> {
        if self.regs.is_none()
            && let Place::Entry(stopped) = &self.place
        {
            self.regs = stopped.regs().ok();
        }
        self.regs
    }

    /// The thread.
    pub(crate) const fn tid(&self) -> i32 {
        self.tid
    }

    /// Makes the guest make another call and gives its raw result.
    pub(crate) fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        let Some(mut regs) = self.regs() else { return -ESRCH };
        let Some(stopped) = self.enter() else { return -ESRCH };
        regs.set_call(nr, args);
        if stopped.set_regs(&regs).is_err() {
            return -ESRCH;
        }
        match self.run_to(stopped.syscall(0), Event::Syscall) {
            Some(stopped) => {
                let result = stopped.regs().map_or(-ESRCH, |regs| regs.result());
                self.place = Place::Exit(stopped);
                result
            }
            None => -ESRCH,
        }
    }

    /// Brings the thread to the entry of its own call; `None` when it has gone. The place is then
    /// `Gone` until the caller says otherwise.
    fn enter(&mut self) -> Option<Stopped> {
        match std::mem::replace(&mut self.place, Place::Gone) {
            Place::Entry(stopped) => Some(stopped),
            Place::Gone => None,
            Place::Exit(stopped) => {
                let mask = stopped.signal_mask().ok()?;
                stopped.set_signal_mask(u64::MAX).ok()?;
                let mut regs = self.regs?;
                regs.step_back();
                stopped.set_regs(&regs).ok()?;
                let stopped = self.run_to(stopped.cont(0), Event::Seccomp)?;
                stopped.set_signal_mask(mask).ok()?;
                Some(stopped)
            }
        }
    }

    /// Waits for the wanted stop.
    fn run_to(&mut self, mut running: Running, wanted: Event) -> Option<Stopped> {
        loop {
            let event = running.wait().ok()?;
            if event == wanted {
                return Some(running.stopped());
            }
            running = match event {
                Event::Group(_) | Event::Trap => {
                    self.interrupt = true;
                    self.go(running.stopped(), wanted)
                }
                Event::Signal(libc::SIGSTOP) => {
                    self.stop_signal = true;
                    self.go(running.stopped(), wanted)
                }
                _ => {
                    self.stray = Some(event);
                    return None;
                }
            };
        }
    }

    fn go(&self, stopped: Stopped, wanted: Event) -> Running {
        if wanted == Event::Syscall { stopped.syscall(0) } else { stopped.cont(0) }
    }

    /// Lets the guest's own call happen.
    pub(crate) fn pass(mut self) -> Resumed {
        match self.enter() {
            Some(stopped) => {
                let running = stopped.cont(0);
                self.resumed(running)
            }
            None => self.gone(),
        }
    }

    /// Lets the guest's own call happen, with other arguments if they are given, up to its exit.
    pub(crate) fn run_to_exit(mut self, args: Option<[usize; 6]>) -> Resumed {
        let regs = if args.is_some() { self.regs() } else { None };
        let Some(stopped) = self.enter() else { return self.gone() };
        if let (Some(args), Some(mut regs)) = (args, regs) {
            regs.set_args(args);
            let _ = stopped.set_regs(&regs);
        }
        let running = stopped.syscall(0);
        self.resumed(running)
    }

    /// The call's result is this value, and the kernel never sees the call.
    pub(crate) fn answer(mut self, value: isize) -> Resumed {
        let Some(mut regs) = self.regs() else { return self.gone() };
        match std::mem::replace(&mut self.place, Place::Gone) {
            Place::Entry(stopped) | Place::Exit(stopped) => {
                regs.set_done(value);
                let _ = stopped.set_regs(&regs);
                let running = stopped.cont(0);
                self.resumed(running)
            }
            Place::Gone => self.gone(),
        }
    }

    /// A signal waits: the call ends as an interrupted system call does, with EINTR or by being made
    /// again after the handler, as the program asked for in sigaction(2).
    pub(crate) fn interrupted(mut self) -> Resumed {
        let Some(mut regs) = self.regs() else { return self.gone() };
        let stopped = match std::mem::replace(&mut self.place, Place::Gone) {
            Place::Exit(stopped) => Some(stopped),
            Place::Entry(stopped) => {
                let mut regs = regs;
                regs.set_done(0);
                let _ = stopped.set_regs(&regs);
                self.run_to(stopped.syscall(0), Event::Syscall)
            }
            Place::Gone => None,
        };
        let Some(stopped) = stopped else { return self.gone() };
        regs.set_result(-ERESTARTSYS);
        let _ = stopped.set_regs(&regs);
        let running = stopped.cont(0);
        self.resumed(running)
    }

    fn resumed(&self, running: Running) -> Resumed {
        if self.stop_signal {
            crate::os::tkill(self.tid, libc::SIGSTOP);
        }
        if self.interrupt {
            running.interrupt();
        }
        Resumed { stray: self.stray }
    }

    const fn gone(&self) -> Resumed {
        Resumed { stray: self.stray }
    }
}
