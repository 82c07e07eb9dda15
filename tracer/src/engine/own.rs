//! Calls that are the tracer's own business: what they do would escape it, or ask about it.

use super::Engine;
use crate::holes::OnHole;
use crate::log;
use crate::ptrace::Entry;
use parrot_common::{Errno, Outcome, Reason};
use std::sync::atomic::Ordering;

/// ptrace(2) requests that begin to trace.
const BEGINNINGS: [usize; 3] =
    [libc::PTRACE_TRACEME as usize, libc::PTRACE_ATTACH as usize, libc::PTRACE_SEIZE as usize];

impl Engine {
    /// What becomes of a call that the filter stops for the tracer's sake; `None` for the others.
    pub(super) fn own(&mut self, tid: i32, entry: Entry) -> Option<Outcome> {
        let [first, rest @ ..] = entry.args;
        match i64::try_from(entry.nr) {
            Ok(libc::SYS_clone) => {
                // A child that nobody traces could make no name call at all.
                let untraced = libc::CLONE_UNTRACED.unsigned_abs() as usize;
                if first & untraced != 0 {
                    let [a, b, c, d, e] = rest;
                    return Some(Outcome::Rewrite([first & !untraced, a, b, c, d, e]));
                }
            }
            Ok(libc::SYS_unshare | libc::SYS_setns) => {
                if let Some(thread) = self.threads.get(&tid) {
                    thread.process.own_root.store(true, Ordering::Relaxed);
                }
            }
            Ok(libc::SYS_sched_setaffinity | libc::SYS_sched_getaffinity) => self.follow.release(),
            Ok(libc::SYS_ptrace) => {
                if BEGINNINGS.contains(&first) {
                    self.tell_debugger(tid);
                }
            }
            _ => return None,
        }
        Some(Outcome::Pass(Reason::Declared))
    }

    /// A process wants to trace another one (or to be traced), which the kernel will not let it.
    fn tell_debugger(&mut self, tid: i32) {
        let Some(thread) = self.threads.get(&tid) else { return };
        if self.told.debugger(thread.process.tgid) {
            log::tell(&format!(
                "{} (process {tid}) wants to trace a program, but under parrot-trace every program is \
                 traced already, and the kernel allows one tracer only; for strace, gdb and the like \
                 start the program with LD_PRELOAD=libparrot.so instead",
                super::lives::program(tid)
            ));
        }
    }

    /// A call of another architecture: nobody reads its arguments, so it is not made.
    pub(super) fn foreign(&mut self, tid: i32) -> Outcome {
        let refused = Outcome::Fail(Errno::ENOSYS);
        let Some(thread) = self.threads.get(&tid) else { return refused };
        let kill = self.plan.on_hole == OnHole::Kill;
        if self.told.foreign(thread.process.tgid) {
            self.stats.holes += 1;
            log::tell(&format!(
                "hole: {} (process {tid}) makes calls of another architecture (int 0x80, x32 or a \
                 32-bit program), which Parrot does not handle: {}",
                super::lives::program(tid),
                if kill { "program ended" } else { "refused" }
            ));
        }
        if kill {
            crate::os::tkill(tid, libc::SIGKILL);
        }
        refused
    }
}
