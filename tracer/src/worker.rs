//! Workers: threads on which handlers may wait for a remote.
//!
//! ```text
//!   loop ──Job──▶ worker ──Native──▶ loop (runs it in the stopped guest) ──result──▶ worker
//!                        ──Finished─▶ loop (carries the outcome out)
//! ```
//!
//! One job at a time per guest thread. The pool grows when all its workers are busy: a dead server
//! keeps its waiters, nobody else. Messages to the loop ring an eventfd, which the loop polls while
//! jobs are outstanding.

use crate::backend::Backend;
use crate::guest::{Area, Native, Tracee};
use crate::process::Process;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use parking_lot::Mutex;
use parrot_agent::layer::{Cancel, cancellable};
use parrot_common::handler::{Cx, Namespace, Scratch, handle};
use parrot_common::resolve::Lookup;
use parrot_common::{Errno, Outcome};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// A caught call that needs waiting.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) tid: i32,
    pub(crate) nr: usize,
    pub(crate) args: [usize; 6],
    pub(crate) sp: usize,
    pub(crate) area: Area,
    pub(crate) process: Arc<Process>,
    pub(crate) gate: Gate,
}

/// Whether a worker may still write to the guest's memory. Shut when the call ends without it (a
/// signal, another thread's exec): what the call pointed to may be something else then.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    open: Arc<Mutex<bool>>,
    /// Ends the session's waiting.
    cancel: Cancel,
}

impl Gate {
    /// An open gate.
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(Mutex::new(true)), cancel: Cancel::new() }
    }

    /// No write begins after this, and no server is waited for.
    pub(crate) fn shut(&self) {
        *self.open.lock() = false;
        self.cancel.cancel();
    }

    /// Does something while the gate is held open.
    ///
    /// # Errors
    /// EFAULT when it is shut.
    pub(crate) fn pass<R>(&self, write: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
        let open = self.open.lock();
        if *open { write() } else { Err(Errno::EFAULT) }
    }
}

/// What a worker tells the loop.
#[derive(Debug)]
pub(crate) enum Message {
    /// Make a call in the guest of this job.
    Native { job: u64, tid: i32, nr: usize, args: [usize; 6], reply: SyncSender<isize> },
    /// The handler has decided.
    Finished { job: u64, tid: i32, outcome: Outcome, area: Area, worker: usize },
}

/// The loop's end of all workers.
#[derive(Debug)]
pub(crate) struct Pool {
    backend: Backend,
    ns: &'static Namespace<'static>,
    workers: Vec<Sender<Job>>,
    idle: Vec<usize>,
    to_loop: Sender<Message>,
    messages: Receiver<Message>,
    bell: Arc<EventFd>,
    outstanding: usize,
}

impl Pool {
    /// A pool without workers.
    pub(crate) fn new(backend: Backend, ns: &'static Namespace<'static>) -> io::Result<Self> {
        let (to_loop, messages) = channel();
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(EventFd::from_flags(flags)?);
        let (workers, idle) = (Vec::new(), Vec::new());
        Ok(Self { backend, ns, workers, idle, to_loop, messages, bell, outstanding: 0 })
    }

    /// Jobs that are not finished.
    pub(crate) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// What rings when there are messages.
    pub(crate) fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Hands a job to an idle worker, or to a new one.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn submit(&mut self, job: Job) -> io::Result<()> {
        let index = match self.idle.pop() {
            Some(index) => index,
            None => self.start()?,
        };
        if self.workers.get(index).is_some_and(|worker| worker.send(job).is_ok()) {
            self.outstanding += 1;
            return Ok(());
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// The next message, if there is one.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let message = self.messages.try_recv().ok()?;
        if let Message::Finished { worker, .. } = &message {
            self.idle.push(*worker);
            self.outstanding -= 1;
        }
        Some(message)
    }

    fn start(&mut self) -> io::Result<usize> {
        let index = self.workers.len();
        let (jobs_tx, jobs_rx) = channel();
        let worker = Worker {
            index,
            backend: self.backend.clone(),
            ns: self.ns,
            line: Line { to_loop: self.to_loop.clone(), bell: Arc::clone(&self.bell) },
        };
        let name = format!("worker-{index}");
        std::thread::Builder::new().name(name).spawn(move || worker.run(&jobs_rx))?;
        self.workers.push(jobs_tx);
        Ok(index)
    }
}

/// The way to the loop.
#[derive(Debug)]
struct Line {
    to_loop: Sender<Message>,
    bell: Arc<EventFd>,
}

impl Line {
    fn send(&self, message: Message) -> bool {
        let sent = self.to_loop.send(message).is_ok();
        let _ = self.bell.write(1);
        sent
    }
}

#[derive(Debug)]
struct Worker {
    index: usize,
    backend: Backend,
    ns: &'static Namespace<'static>,
    line: Line,
}

impl Worker {
    fn run(self, jobs: &Receiver<Job>) {
        // Signals are the loop's business, and so is its choice of a processor.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
        crate::follow::anywhere();
        let mut files = self.backend.waiting();
        let mut scratch = new_scratch();
        while let Ok(job) = jobs.recv() {
            let mut area = job.area;
            let mut native = Remote { line: &self.line, job: job.id, tid: job.tid, sp: job.sp };
            let mut guest = Tracee {
                tid: job.tid,
                process: &job.process,
                area: &mut area,
                native: &mut native,
                session: self.ns.session,
                gate: Some(&job.gate),
            };
            guest.begin();
            let mut cx = Cx {
                guest: &mut guest,
                files: &mut files,
                ns: self.ns,
                scratch: &mut scratch,
                lookup: lookup(job.nr),
            };
            cx.files.who = job.process.tgid;
            let decide = || handle(&mut cx, job.nr, job.args);
            let outcome = match cancellable(&job.gate.cancel, decide) {
                // A session that defers where waiting is allowed would never answer.
                Outcome::Fail(Errno::DEFER) => Outcome::Fail(Errno::EIO),
                other => other,
            };
            let (job, tid, worker) = (job.id, job.tid, self.index);
            if !self.line.send(Message::Finished { job, tid, outcome, area, worker }) {
                return;
            }
        }
    }
}

/// Makes calls in the guest by way of the loop.
#[derive(Debug)]
struct Remote<'a> {
    line: &'a Line,
    job: u64,
    tid: i32,
    sp: usize,
}

impl Native for Remote<'_> {
    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        let (reply, answer) = sync_channel(1);
        self.line.send(Message::Native { job: self.job, tid: self.tid, nr, args, reply });
        answer.recv().unwrap_or(Errno::ESRCH.raw())
    }

    fn sp(&mut self) -> usize {
        self.sp
    }
}

/// How far the names of a call are resolved at first. A missing name is noticed by the guest's
/// `probe`; but a program that is there may still need an interpreter that is not, and the kernel's
/// answer to an exec comes too late.
pub(crate) fn lookup(nr: usize) -> Lookup {
    match i64::try_from(nr) {
        Ok(libc::SYS_execve | libc::SYS_execveat) => Lookup::Full,
        _ => Lookup::Quick,
    }
}

/// A handler's memory, fresh.
#[expect(unsafe_code, reason = "a big plain structure is allocated zeroed instead of on the stack")]
pub(crate) fn new_scratch() -> Box<Scratch> {
    let zeroed = Box::<Scratch>::new_zeroed();
    // SAFETY: all-zero bytes are a valid Scratch, as its documentation says.
    unsafe { zeroed.assume_init() }
}
