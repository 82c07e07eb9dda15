//! Caught calls: decided by the handlers, carried out here.

use super::{After, Engine, Waiting};
use crate::guest::{Tracee, names_change};
use crate::holes::{self, OnHole};
use crate::inject::{Call, Resumed};
use crate::log::{self, Flag};
use crate::process::Process;
use crate::ptrace::{Entry, Stopped};
use crate::worker::{Gate, Job, lookup};
use crate::{filter, memory};
use parrot_common::handler::{Cx, handle};
use parrot_common::outcome::Watch;
use parrot_common::shadow::Kind;
use parrot_common::syscall::Policy;
use parrot_common::{Errno, FdClass, Outcome, Reason};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Space for one descriptor in a control message.
const FD_LEN: usize = 4;
/// `struct mmsghdr`.
const MMSGHDR: usize = 64;
/// `struct cmsghdr`.
const CMSG_HEADER: usize = 16;

/// Calls after which a name of this machine may lead elsewhere.
const RENAMING: [libc::c_long; 13] = [
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
];

impl Engine {
    /// The filter has stopped a call.
    pub(super) fn on_call(&mut self, stopped: Stopped) {
        let tid = stopped.tid();
        let Ok(entry) = stopped.entry() else { return };
        self.stats.stop(entry.nr);
        self.follow.stop(tid);
        let mut call = Call::at_entry(stopped);
        if !self.brought.is_empty() && tid == self.plan.root {
            let brought = std::mem::take(&mut self.brought);
            self.arm(&mut call, brought);
        }
        if log::on(Flag::Hole) {
            self.log_refused(tid, entry.nr);
        }
        if self.is_the_librarys(&mut call) {
            self.carry_out(call, entry, Outcome::Pass(Reason::Declared));
            return;
        }
        let outcome = if entry.message == filter::FOREIGN {
            self.foreign(tid)
        } else if let Some(outcome) = self.own(tid, entry) {
            outcome
        } else if self.rows.get(entry.nr).is_some_and(Option::is_some) {
            self.decide(&mut call, entry)
        } else {
            self.undeclared(&mut call, entry)
        };
        if outcome == Outcome::Fail(Errno::DEFER) {
            self.submit(call, entry);
        } else {
            self.carry_out(call, entry, outcome);
        }
    }

    /// Asks the handler, which may not wait.
    fn decide(&mut self, call: &mut Call, entry: Entry) -> Outcome {
        let tid = call.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return Outcome::Fail(Errno::ESRCH) };
        if i64::try_from(entry.nr).is_ok_and(|nr| RENAMING.contains(&nr)) {
            names_change();
        }
        let ns = self.plan.ns;
        let mut guest = Tracee {
            tid,
            process: &thread.process,
            area: &mut thread.area,
            native: call,
            session: ns.session,
            gate: None,
        };
        guest.begin();
        self.files.who = guest.process.tgid;
        let mut cx = Cx {
            guest: &mut guest,
            files: &mut self.files,
            ns,
            scratch: &mut self.scratch,
            lookup: lookup(entry.nr),
        };
        handle(&mut cx, entry.nr, swept(&thread.process, entry))
    }

    /// Hands a call to a worker.
    fn submit(&mut self, mut call: Call, entry: Entry) {
        let tid = call.tid();
        let sp = call.regs().map_or(0, |regs| regs.sp());
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let id = self.next_job;
        self.next_job += 1;
        let Entry { nr, args, .. } = entry;
        let process = Arc::clone(&thread.process);
        let gate = Gate::new();
        let job = Job { id, tid, nr, args, sp, area: thread.area, process, gate: gate.clone() };
        match self.pool.submit(job) {
            Ok(()) => {
                self.stats.deferred += 1;
                let since = Instant::now();
                thread.waiting = Some(Waiting { call, job: id, nr, args, since, gate });
            }
            Err(error) => {
                log::tell(&format!("no worker can be started: {error}"));
                self.carry_out(call, entry, Outcome::Fail(Errno::EIO));
            }
        }
    }

    /// Does what the handler has decided.
    pub(super) fn carry_out(&mut self, mut call: Call, entry: Entry, outcome: Outcome) {
        let tid = call.tid();
        if let Some(flag) = self.wanted_in_log(entry.nr) {
            self.log_call(flag, &mut call, entry, &outcome);
        }
        self.note_slip(&mut call, entry, outcome);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let resumed = match outcome {
            Outcome::Pass(_) => {
                match i64::try_from(entry.nr) {
                    Ok(libc::SYS_chdir | libc::SYS_fchdir) => thread.process.moved(),
                    Ok(libc::SYS_chroot | libc::SYS_pivot_root) => {
                        thread.process.own_root.store(true, Ordering::Relaxed);
                    }
                    _ => {}
                }
                call.pass()
            }
            Outcome::Done(value) => call.answer(value),
            Outcome::Fail(errno) => call.answer(errno.raw()),
            Outcome::Rewrite(args) => {
                let regs = call.regs();
                thread.after = regs.map(|regs| After { regs, watch: None });
                call.run_to_exit(Some(args))
            }
            Outcome::Watch(watch) => {
                let regs = call.regs();
                thread.after = regs.map(|regs| After { regs, watch: Some(watch) });
                call.run_to_exit(None)
            }
        };
        self.resumed(tid, resumed);
    }

    /// Keeps what was met on the way for the loop.
    pub(super) fn resumed(&mut self, tid: i32, resumed: Resumed) {
        if let Some(event) = resumed.stray {
            self.backlog.push_back((tid, event));
        }
    }

    /// A call is at its exit stop.
    pub(super) fn on_exit(&mut self, stopped: Stopped) {
        let tid = stopped.tid();
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let (Some(after), Ok(mut now)) = (thread.after.take(), stopped.regs()) else {
            stopped.cont(0);
            return;
        };
        let result = now.result();
        let new = usize::try_from(result).ok().and_then(|fd| i32::try_from(fd).ok());
        let found = match (after.watch, new) {
            // A class that nobody could know beforehand is looked up.
            (Some(Watch::NewFd(FdClass::Plain) | Watch::AnyFd), Some(fd)) => {
                self.look_at(tid, &[fd])
            }
            (Some(Watch::NewFd(class)), Some(fd)) => vec![(fd, class)],
            (Some(Watch::Received(header)), Some(count)) => {
                let several = i64::try_from(after.regs.nr()) == Ok(libc::SYS_recvmmsg);
                let count = if several { count.unsigned_abs() as usize } else { 1 };
                (0..count).flat_map(|n| self.received(tid, header + n * MMSGHDR)).collect()
            }

            _ => Vec::new(),
        };
        let unarmed: Vec<_> = found
            .into_iter()
            .filter_map(|(fd, class)| match class {
                FdClass::Shadow { kind, .. } => Some((fd, kind)),
                FdClass::Plain => None,
            })
            .collect();
        if unarmed.is_empty() {
            if after.watch.is_none() {
                now.set_args(after.regs.args());
                let _ = stopped.set_regs(&now);
            }
            stopped.cont(0);
            return;
        }
        let mut call = Call::at_exit(stopped, after.regs);
        self.arm(&mut call, unarmed);
        let resumed = call.answer(result);
        self.resumed(tid, resumed);
    }

    fn arm(&mut self, call: &mut Call, shadows: Vec<(i32, Kind)>) {
        self.with_guest(call, |guest| {
            for (fd, kind) in shadows {
                guest.arm(fd, kind);
            }
        });
    }

    /// Runs something on the guest of a call.
    fn with_guest<R>(
        &mut self,
        call: &mut Call,
        run: impl FnOnce(&mut Tracee<'_>) -> R,
    ) -> Option<R> {
        let tid = call.tid();
        let thread = self.threads.get_mut(&tid)?;
        let mut guest = Tracee {
            tid,
            process: &thread.process,
            area: &mut thread.area,
            native: call,
            session: self.plan.ns.session,
            gate: None,
        };
        Some(run(&mut guest))
    }

    /// What these descriptors of a thread are.
    pub(super) fn look_at(&self, tid: i32, fds: &[i32]) -> Vec<(i32, FdClass)> {
        let session = self.plan.ns.session;
        let Some(thread) = self.threads.get(&tid) else { return Vec::new() };
        fds.iter().map(|&fd| (fd, thread.process.look(tid, fd, session))).collect()
    }

    /// The descriptors that came with a message.
    fn received(&self, tid: i32, header: usize) -> Vec<(i32, FdClass)> {
        const CONTROL: usize = 32;
        let word = |at| memory::read_u64(tid, at).and_then(|v| usize::try_from(v).ok());
        let (Some(at), Some(len)) = (word(header + CONTROL), word(header + CONTROL + 8)) else {
            return Vec::new();
        };
        let mut control = vec![0; len.min(64 << 10)];
        let n = memory::read(tid, at, &mut control).unwrap_or(0);
        control.truncate(n);
        self.look_at(tid, &rights(&control))
    }

    /// A call that the table does not know.
    fn undeclared(&mut self, call: &mut Call, entry: Entry) -> Outcome {
        let Entry { nr, args, .. } = entry;
        let tid = call.tid();
        let table = self.plan.ns.table;
        let ours = self.with_guest(call, |guest| guest.touches(&table, &args)).flatten();
        let Some(ours) = ours else {
            log::line(Flag::Hole, tid, || format!("{} touches nothing of ours", holes::name(nr)));
            return Outcome::Pass(Reason::Unknown);
        };
        let text = self.with_guest(call, |guest| guest.describe(nr, &args)).unwrap_or_default();
        self.on_hole(tid, nr, &format!("{text} on {ours}"))
    }

    /// A call of ours that nothing handles.
    fn on_hole(&mut self, tid: i32, nr: usize, text: &str) -> Outcome {
        self.stats.holes += 1;
        let done = match self.plan.on_hole {
            OnHole::Warn => "let through",
            OnHole::Refuse => "refused",
            OnHole::Kill => "program ended",
        };
        let program = super::lives::program(tid);
        let line = format!(
            "hole: {program} (process {tid}) made {text}, which Parrot does not handle: {done}"
        );
        if self.told.hole(nr) {
            log::tell(&line);
        } else {
            log::line(Flag::Hole, tid, || line);
        }
        match self.plan.on_hole {
            OnHole::Warn => Outcome::Pass(Reason::Unknown),
            OnHole::Refuse => Outcome::Fail(Errno::ENOSYS),
            OnHole::Kill => {
                crate::os::tkill(tid, libc::SIGKILL);
                Outcome::Fail(Errno::ENOSYS)
            }
        }
    }

    /// A call that the table refuses.
    fn log_refused(&self, tid: i32, nr: usize) {
        if let Some(Some(row)) = self.rows.get(nr)
            && let Policy::Refuse(errno) = row.policy
        {
            log::line(Flag::Hole, tid, || format!("{} is refused with {errno}", row.name));
        }
    }

    /// Under which subsystem a call is traced: all of them, or those that carry names.
    fn wanted_in_log(&self, nr: usize) -> Option<Flag> {
        let name = || {
            let row = self.rows.get(nr).copied().flatten();
            row.is_some_and(|row| row.policy == Policy::Path)
        };
        match (log::on(Flag::Syscall), log::on(Flag::Resolve)) {
            (true, _) => Some(Flag::Syscall),
            (false, true) if name() => Some(Flag::Resolve),
            _ => None,
        }
    }

    fn log_call(&mut self, flag: Flag, call: &mut Call, entry: Entry, outcome: &Outcome) {
        let tid = call.tid();
        let text = self
            .with_guest(call, |guest| guest.describe(entry.nr, &entry.args))
            .unwrap_or_else(|| holes::name(entry.nr));
        log::line(flag, tid, || match outcome {
            Outcome::Pass(reason) => format!("{text} passes: {}", reason.text()),
            Outcome::Done(value) => format!("{text} = {value}"),
            Outcome::Fail(errno) => format!("{text} fails: {errno}"),
            Outcome::Rewrite(args) => format!("{text} becomes {}", rewritten(tid, entry.nr, args)),
            Outcome::Watch(watch) => format!("{text} passes, watched: {watch:?}"),
        });
    }
}

/// The arguments for the handler. A sweep over all numbers need not go beyond those that can be ours:
/// the handler looks at each.
fn swept(process: &Process, entry: Entry) -> [usize; 6] {
    let [first, last, rest @ ..] = entry.args;
    let [a, b, c, d] = rest;
    if i64::try_from(entry.nr) != Ok(libc::SYS_close_range) {
        return entry.args;
    }
    match process.armed.lock().highest() {
        Some(highest) => [first, last.min(highest.unsigned_abs() as usize), a, b, c, d],
        // Nothing is ours: an empty sweep.
        None => [1, 0, a, b, c, d],
    }
}

fn rewritten(tid: i32, nr: usize, args: &[usize; 6]) -> String {
    holes::describe(nr, args, |index| args.get(index).and_then(|&arg| crate::guest::text(tid, arg)))
}

/// The descriptors among control messages.
fn rights(mut control: &[u8]) -> Vec<i32> {
    let mut fds = Vec::new();
    while let Some(header) = control.get(..CMSG_HEADER) {
        let (len, kind) = header.split_at(8);
        let len = len.try_into().map(usize::from_ne_bytes).unwrap_or(0);
        let (level, kind) = kind.split_at(4);
        let Some(data) = control.get(CMSG_HEADER..len) else { break };
        if level == libc::SOL_SOCKET.to_ne_bytes() && kind == libc::SCM_RIGHTS.to_ne_bytes() {
            let numbers = data.chunks_exact(FD_LEN).filter_map(|four| four.try_into().ok());
            fds.extend(numbers.map(i32::from_ne_bytes));
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    fds
}

#[cfg(test)]
mod tests {
    use super::rights;

    #[test]
    fn descriptors_are_found_among_control_messages() {
        let message = |len: usize, kind: i32, data: &[u8]| {
            let mut bytes = len.to_ne_bytes().to_vec();
            bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(data);
            bytes.resize(len.next_multiple_of(8), 0);
            bytes
        };
        let pair = [5_i32.to_ne_bytes(), 9_i32.to_ne_bytes()].concat();
        let mut all = message(28, libc::SCM_CREDENTIALS, &[0; 12]);
        all.extend(message(24, libc::SCM_RIGHTS, &pair));
        all.extend(message(20, libc::SCM_RIGHTS, &7_i32.to_ne_bytes()));
        assert_eq!(rights(&all), [5, 9, 7]);
        assert!(rights(&[1, 2, 3]).is_empty());
        assert!(rights(&[0; 16]).is_empty());
    }
}
