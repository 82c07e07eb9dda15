//! Threads and processes: how they begin, become other programs, stop and end.

use super::{End, Engine, Thread};
use crate::guest::Area;
use crate::log::{self, Flag};
use crate::memory;
use crate::process::Process;
use crate::ptrace::{Event, Stopped};
use parrot_common::FdClass;
use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the user has been told once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    holes: HashSet<usize>,
    foreign: HashSet<i32>,
    debuggers: HashSet<i32>,
    privilege: bool,
}

impl Told {
    /// Whether this is the first hole by this call.
    pub(super) fn hole(&mut self, nr: usize) -> bool {
        self.holes.insert(nr)
    }

    /// Whether this is the process's first call of another architecture.
    pub(super) fn foreign(&mut self, tgid: i32) -> bool {
        self.foreign.insert(tgid)
    }

    /// Whether this process has not yet been told that it cannot trace.
    pub(super) fn debugger(&mut self, tgid: i32) -> bool {
        self.debuggers.insert(tgid)
    }
}

/// Flags of clone and clone3 that matter here.
#[derive(Debug, Clone, Copy)]
struct CloneFlags(u64);

impl CloneFlags {
    const fn has(self, flag: i32) -> bool {
        self.0 & flag.cast_unsigned() as u64 != 0
    }
}

impl Engine {
    /// The root process: seized, not yet stopped.
    pub(super) fn adopt(&mut self, tid: i32) {
        let process = Process::new(tid);
        process.armed.lock().everything = self.plan.watch;
        let thread = Thread::new(Arc::new(process), Area::default());
        self.threads.insert(tid, thread);
    }

    /// The root process brought shadows along (it was started by a preloaded program): they are
    /// armed at its first call.
    pub(crate) fn adopt_descriptors(&mut self) {
        let root = self.plan.root;
        let Ok(entries) = std::fs::read_dir(format!("/proc/{root}/fd")) else { return };
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let fds: Vec<i32> = numbers.collect();
        self.brought = self
            .look_at(root, &fds)
            .into_iter()
            .filter_map(|(fd, class)| match class {
                FdClass::Shadow { kind, .. } => Some((fd, kind)),
                FdClass::Plain => None,
            })
            .collect();
    }

    /// A thread has made another one.
    pub(super) fn on_new(&mut self, stopped: &Stopped) {
        let Ok(child) = i32::try_from(stopped.message()) else { return };
        let flags = clone_flags(stopped);
        let Some(parent) = self.threads.get(&stopped.tid()) else { return };
        let thread = if flags.has(libc::CLONE_THREAD) {
            Thread::new(Arc::clone(&parent.process), Area::default())
        } else {
            let process = parent.process.fork(child);
            if flags.has(libc::CLONE_NEWNS) || flags.has(libc::CLONE_NEWUSER) {
                process.own_root.store(true, Ordering::Relaxed);
            }
            // A copy of the memory, or the memory of a parent that waits until the child is done.
            let same = !flags.has(libc::CLONE_VM) || flags.has(libc::CLONE_VFORK);
            let area = if same { parent.area } else { Area::default() };
            Thread::new(Arc::new(process), area)
        };
        self.stats.threads += 1;
        self.follow.child(stopped.tid(), child);
        log::line(Flag::Process, stopped.tid(), || format!("made {child}"));
        self.threads.insert(child, thread);
        if let Some(event) = self.early.remove(&child) {
            self.handle_event(child, event);
        }
    }

    /// A program was replaced. If another thread than the leader did it, it is the leader now.
    pub(super) fn on_exec(&mut self, stopped: Stopped) {
        let tid = stopped.tid();
        let former = i32::try_from(stopped.message()).unwrap_or(tid);
        let old = self.threads.remove(&former).or_else(|| self.threads.remove(&tid));
        if let Some(old) = old {
            let tgid = old.process.tgid;
            shut(&old);
            for (_, dead) in self.threads.extract_if(|_, thread| thread.process.tgid == tgid) {
                shut(&dead);
            }
            old.process.areas.lock().clear();
            self.threads.insert(tid, Thread::new(old.process, Area::default()));
        }
        if let Ok(exe) = std::fs::metadata(format!("/proc/{tid}/exe")) {
            self.keep_lane(&stopped, &exe);
            self.tell_privilege(tid, &exe);
        }
        self.stats.programs += 1;
        if let Some(slips) = &mut self.slips {
            slips.forget(tid);
        }
        log::line(Flag::Process, tid, || format!("is now {}", program(tid)));
        stopped.cont(0);
    }

    /// The library stays in the environment of programs that bear it.
    fn keep_lane(&mut self, stopped: &Stopped, exe: &Metadata) {
        let Some(lane) = &mut self.lane else { return };
        let foreign = self.threads.get(&stopped.tid());
        let foreign = foreign.is_some_and(|t| t.process.own_root.load(Ordering::Relaxed));
        lane.after_exec(stopped, exe, foreign);
    }

    /// A thread or process has ended.
    pub(super) fn on_end(&mut self, tid: i32, event: Event) {
        self.early.remove(&tid);
        if let Some(thread) = self.threads.remove(&tid) {
            shut(&thread);
            if thread.area.base != 0 && thread.waiting.is_none() {
                thread.process.areas.lock().push(thread.area.base);
            }
        }
        let end = match event {
            Event::Killed(signal) => End::Killed(signal),
            Event::Exited(code) => End::Exited(code),
            _ => return,
        };
        log::line(Flag::Process, tid, || format!("ended: {end:?}"));
        if tid == self.plan.root {
            self.root_end = Some(end);
            self.signals.root_ended();
        }
    }

    /// A thread has stopped by job control. When the whole job is meant, this process stops too, so
    /// that the shell which started it notices.
    pub(super) fn on_group_stop(&self, tid: i32, signal: i32) {
        log::line(Flag::Process, tid, || format!("stopped by signal {signal}"));
        if tid == self.plan.root && self.plan.job_control {
            self.signals.stop_with(tid);
        }
    }

    /// Hands on signals for which the handler found no root process any more.
    pub(super) fn forward_signals(&self) {
        if let Some(signal) = self.signals.left_over() {
            let processes: HashSet<_> =
                self.threads.values().map(|thread| thread.process.tgid).collect();
            for tgid in processes {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(tgid), signal);
            }
        }
    }

    /// A set-user-id program that runs without its privilege.
    fn tell_privilege(&mut self, tid: i32, exe: &Metadata) {
        if self.told.privilege || exe.mode() & libc::S_ISUID == 0 {
            return;
        }
        // The owner of the directory is whom the process acts as.
        let user = std::fs::metadata(format!("/proc/{tid}")).map_or(0, |meta| meta.uid());
        if exe.uid() != user {
            self.told.privilege = true;
            log::tell(&format!(
                "{} is a set-user-id program; it runs without that privilege, as every traced \
                 program does",
                program(tid)
            ));
        }
    }
}

impl Thread {
    const fn new(process: Arc<Process>, area: Area) -> Self {
        Self { process, area, after: None, waiting: None }
    }
}

/// No worker writes for this thread any more.
fn shut(thread: &Thread) {
    if let Some(waiting) = &thread.waiting {
        waiting.gate.shut();
    }
}

/// The flags of the call that made a new thread.
fn clone_flags(stopped: &Stopped) -> CloneFlags {
    let Ok(regs) = stopped.regs() else { return CloneFlags(0) };
    let [first, ..] = regs.args();
    CloneFlags(match i64::try_from(regs.nr()) {
        Ok(libc::SYS_clone) => first as u64,
        Ok(libc::SYS_clone3) => memory::read_u64(stopped.tid(), first).unwrap_or(0),
        Ok(libc::SYS_vfork) => (libc::CLONE_VM | libc::CLONE_VFORK).unsigned_abs().into(),
        _ => 0,
    })
}

/// The program's name, for messages.
pub(super) fn program(tid: i32) -> String {
    let path = std::fs::read_link(format!("/proc/{tid}/exe"));
    path.map_or_else(|_| "a program".to_owned(), |path| path.display().to_string())
}
