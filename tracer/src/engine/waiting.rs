//! Guests whose calls are with workers: messages, and signals that must not wait.

use super::Engine;
use crate::guest::Area;
use crate::log::{self, Flag};
use crate::ptrace::Entry;
use crate::worker::Message;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parrot_common::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

/// How often pending signals are looked at, milliseconds.
const TICK_MS: u8 = 50;
/// Signals that a program catches (timers, children) interrupt only calls that take longer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Waits for a guest's stop or a worker's message, and looks at signals now and then.
    pub(super) fn wait_with_workers(&mut self) {
        let child = self.signals.child_events();
        let bell = self.pool.bell();
        let mut fds =
            [PollFd::new(child, PollFlags::POLLIN), PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        let rung = poll(&mut fds, PollTimeout::from(TICK_MS));
        let [_, bell_fd] = fds;
        if bell_fd.any().unwrap_or(false) {
            let _ = self.pool.bell().read();
        }
        self.signals.drain_child_events();
        if rung == Ok(0) || self.ticks.elapsed() > Duration::from_millis(TICK_MS.into()) {
            self.ticks = std::time::Instant::now();
            self.look_for_signals();
        }
    }

    /// A worker has something to say.
    pub(super) fn on_message(&mut self, message: Message) {
        match message {
            Message::Native { job, tid, nr, args, reply } => {
                let waiting = self.threads.get_mut(&tid).and_then(|t| t.waiting.as_mut());
                let result = match waiting.filter(|waiting| waiting.job == job) {
                    Some(waiting) => waiting.call.native(nr, args),
                    None => Errno::ESRCH.raw(),
                };
                let _ = reply.send(result);
            }
            Message::Finished { job, tid, outcome, area, .. } => {
                let Some(thread) = self.threads.get_mut(&tid) else { return };
                let Some(waiting) = thread.waiting.take_if(|waiting| waiting.job == job) else {
                    return;
                };
                thread.area = area;
                let entry = Entry { nr: waiting.nr, args: waiting.args, message: 0 };
                self.carry_out(waiting.call, entry, outcome);
            }
        }
    }

    /// Ends the waiting of guests that a signal wants.
    fn look_for_signals(&mut self) {
        let waiting = self.threads.iter().filter_map(|(&tid, thread)| {
            let long = thread.waiting.as_ref()?.since.elapsed() > PATIENCE;
            pending(tid).is_some_and(|set| set.urgent || (set.caught && long)).then_some(tid)
        });
        for tid in waiting.collect::<Vec<_>>() {
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            if let Some(waiting) = thread.waiting.take() {
                // The worker may still write to its area: the thread gets another.
                waiting.gate.shut();
                thread.area = Area::default();
                log::line(Flag::Process, tid, || "a signal interrupts its call".to_owned());
                let resumed = waiting.call.interrupted();
                self.resumed(tid, resumed);
            }
        }
    }
}

/// Which pending signals a thread has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    /// One that ends or stops the program.
    urgent: bool,
    /// One for which it has a handler.
    caught: bool,
}

fn pending(tid: i32) -> Option<Pending> {
    parse_pending(&std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?)
}

/// Reads the signal sets of `/proc/TID/status`.
fn parse_pending(status: &str) -> Option<Pending> {
    let set = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(text.trim(), 16).ok()
    };
    let caught = set("SigCgt:")?;
    let coming = (set("SigPnd:")? | set("ShdPnd:")?) & !set("SigBlk:")? & !set("SigIgn:")?;
    let bit = |signal: i32| 1_u64 << (signal - 1);
    // Ignored unless caught.
    let idle = bit(libc::SIGCHLD) | bit(libc::SIGURG) | bit(libc::SIGWINCH) | bit(libc::SIGCONT);
    Some(Pending { urgent: coming & !caught & !idle != 0, caught: coming & caught != 0 })
}

#[cfg(test)]
mod tests {
    use super::{Pending, parse_pending};

    fn status(pending: &str, blocked: &str, ignored: &str, caught: &str) -> Option<Pending> {
        parse_pending(&format!(
            "SigPnd:\t0000000000000000\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n"
        ))
    }

    #[test]
    fn only_signals_that_will_act_interrupt() {
        let urgent = Some(Pending { urgent: true, caught: false });
        let caught = Some(Pending { urgent: false, caught: true });
        let none = Some(Pending { urgent: false, caught: false });
        // SIGINT is 2, SIGCHLD 17.
        assert_eq!(status("2", "0", "0", "0"), urgent);
        assert_eq!(status("2", "0", "0", "2"), caught);
        assert_eq!(status("2", "2", "0", "0"), none);
        assert_eq!(status("2", "0", "2", "0"), none);
        assert_eq!(status("10000", "0", "0", "0"), none);
        assert_eq!(parse_pending("nothing"), None);
    }
}
