//! The loop: one thread that sees every stop of every guest and never waits for a remote.
//!
//! ```text
//!   wait ──▶ Seccomp ──▶ handler, without waiting ──▶ outcome ──▶ resume
//!                              │ DEFER                  ▲
//!                              └──▶ worker ─────────────┘  (the guest stays in its stop)
//!   wait ──▶ Syscall (exit) ──▶ After: registers put back, new descriptors armed ──▶ resume
//!   wait ──▶ New, Exec, ends ──▶ tables of threads and processes
//! ```
//!
//! While no job is outstanding the loop blocks in waitpid(2); otherwise it polls SIGCHLD and the
//! workers' bell. `calls` decides and carries out calls, `lives` keeps the tables, `own`
//! has the calls that concern the tracer itself.

mod calls;
mod lives;
mod own;
mod slips;
mod waiting;

use crate::backend::{Backend, Way};
use crate::follow::Follow;
use crate::guest::Area;
use crate::holes::OnHole;
use crate::inject::Call;
use crate::lane::Lane;
use crate::process::Process;
use crate::ptrace::{Event, Running, wait_any};
use crate::regs::Regs;
use crate::signals::Signals;
use crate::slips::Slips;
use crate::stats::Stats;
use crate::worker::{Gate, Pool, new_scratch};
use parrot_common::handler::{Namespace, Scratch};
use parrot_common::outcome::Watch;
use parrot_common::shadow::Kind;
use parrot_common::syscall::{Row, TABLE};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// A guest thread.
#[derive(Debug)]
struct Thread {
    process: Arc<Process>,
    area: Area,
    /// What to do at the exit stop that it runs towards.
    after: Option<After>,
    /// Its call is with a worker.
    waiting: Option<Waiting>,
}

/// What a call's exit stop is awaited for.
#[derive(Debug, Clone, Copy)]
struct After {
    /// The registers at the entry.
    regs: Regs,
    watch: Option<Watch>,
}

/// A call that a worker decides.
#[derive(Debug)]
struct Waiting {
    call: Call,
    job: u64,
    nr: usize,
    args: [usize; 6],
    since: Instant,
    gate: Gate,
}

/// Everything that the loop is told at the start.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The namespace.
    pub(crate) ns: &'static Namespace<'static>,
    /// Where remote operations go.
    pub(crate) backend: Backend,
    /// What to do about holes.
    pub(crate) on_hole: OnHole,
    /// The first guest.
    pub(crate) root: i32,
    /// Its end is reported by nobody else: this process stops when it is stopped.
    pub(crate) job_control: bool,
    /// The library works too, and what slips past it is noted.
    pub(crate) watch: bool,
    /// The library keeps the lane in programs that bear it.
    pub(crate) lane: bool,
}

/// The loop and its tables.
#[derive(Debug)]
pub(crate) struct Engine {
    plan: Plan,
    threads: HashMap<i32, Thread>,
    /// First stops that came before the parent's event.
    early: HashMap<i32, Event>,
    /// Events met while something else was done.
    backlog: VecDeque<(i32, Event)>,
    root_end: Option<End>,
    pool: Pool,
    files: Way,
    scratch: Box<Scratch>,
    rows: Vec<Option<&'static Row>>,
    follow: Follow,
    signals: Signals,
    stats: Stats,
    next_job: u64,
    /// Shadows of the root process that no filter knows yet.
    brought: Vec<(i32, Kind)>,
    /// When pending signals were looked at.
    ticks: Instant,
    told: lives::Told,
    slips: Option<Slips>,
    lane: Option<Lane>,
}

impl Engine {
    /// A loop that traces the root process, which must have been seized.
    ///
    /// # Errors
    /// When the loop's descriptors cannot be made.
    pub(crate) fn new(plan: Plan, signals: Signals) -> io::Result<Self> {
        let pool = Pool::new(plan.backend.clone(), plan.ns)?;
        let files = plan.backend.inline();
        let numbers = TABLE.iter().map(|row| row.nr + 1).max().unwrap_or(0);
        let mut rows = vec![None; numbers];
        for row in TABLE {
            if let Some(place) = rows.get_mut(row.nr) {
                *place = Some(row);
            }
        }
        let root = plan.root;
        let slips = plan.watch.then(Slips::default);
        let lane = plan.lane.then(Lane::default);
        let mut engine = Self {
            plan,
            threads: HashMap::new(),
            early: HashMap::new(),
            backlog: VecDeque::new(),
            root_end: None,
            pool,
            files,
            scratch: new_scratch(),
            rows,
            follow: Follow::new(),
            signals,
            stats: Stats::default(),
            next_job: 1,
            brought: Vec::new(),
            ticks: Instant::now(),
            told: lives::Told::default(),
            slips,
            lane,
        };
        engine.adopt(root);
        Ok(engine)
    }

    /// Runs until the last guest has ended; how the root process ended.
    pub(crate) fn run(&mut self) -> End {
        while !self.threads.is_empty() {
            let Some((tid, event)) = self.next_event() else { break };
            self.handle_event(tid, event);
        }
        self.root_end.unwrap_or(End::Killed(libc::SIGKILL))
    }

    /// What slipped past the library, when that was asked for.
    pub(crate) const fn slips(&self) -> Option<&Slips> {
        self.slips.as_ref()
    }

    /// The counters.
    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The next stop or end; `None` when no guest is left.
    fn next_event(&mut self) -> Option<(i32, Event)> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                return Some(event);
            }
            self.forward_signals();
            self.follow.tick();
            let block = self.pool.outstanding() == 0;
            match wait_any(block) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => self.wait_with_workers(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            while let Some(message) = self.pool.next() {
                self.on_message(message);
            }
            if self.threads.is_empty() {
                return None;
            }
        }
    }

    fn handle_event(&mut self, tid: i32, event: Event) {
        if event.is_end() {
            self.on_end(tid, event);
            return;
        }
        let stopped = Running(tid).stopped();
        if event == Event::Exec {
            self.on_exec(stopped);
            return;
        }
        let Some(thread) = self.threads.get_mut(&tid) else {
            // The parent's event is still to come.
            self.early.insert(tid, event);
            return;
        };
        let exit_wanted = thread.after.is_some();
        let resume = |stopped: crate::ptrace::Stopped, signal| {
            if exit_wanted { stopped.syscall(signal) } else { stopped.cont(signal) }
        };
        match event {
            Event::Seccomp => self.on_call(stopped),
            Event::Syscall => self.on_exit(stopped),
            Event::New => {
                self.on_new(&stopped);
                resume(stopped, 0);
            }
            Event::Group(signal) => {
                stopped.listen();
                self.on_group_stop(tid, signal);
            }
            Event::Signal(signal) => {
                resume(stopped, signal);
            }
            Event::Trap | Event::Exec | Event::Exited(_) | Event::Killed(_) => {
                resume(stopped, 0);
            }
        }
    }
}
