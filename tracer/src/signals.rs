//! Signals to parrot-trace itself.
//!
//! Whoever signals `parrot-trace` means the program. What a process sent is sent on to the root guest;
//! what the terminal sent has reached the guest already, as it is in the same process group. Stop
//! signals do not stop the tracer (a stopped tracer could not let its guests stop): it waits until the
//! root guest has stopped and then stops itself, which the shell sees.
#![expect(unsafe_code, reason = "signal handlers")]

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What is handed on.
const FORWARDED: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// What this process was started with, before Rust's runtime changed it.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before the runtime.
extern "C" fn remember() {
    // SAFETY: all-zero bytes are a sigaction.
    let mut old = unsafe { std::mem::zeroed::<libc::sigaction>() };
    // SAFETY: only reads the disposition, into `old`.
    unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) };
    PIPE_IGNORED.store(old.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
}

#[used]
// The section of constructors; the entry has their signature (unused arguments aside).
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

/// In a process that is about to become the program: the signals as they were at the start.
pub(crate) fn restore(mask: &SigSet) {
    if !PIPE_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: the default action is no handler that could break anything.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    unblock(mask);
}

static ROOT: AtomicI32 = AtomicI32::new(0);
static LEFT_OVER: AtomicI32 = AtomicI32::new(0);
static STOP_WANTED: AtomicBool = AtomicBool::new(false);

/// The tracer's signals, set up.
#[derive(Debug)]
pub(crate) struct Signals {
    children: SignalFd,
}

/// Blocks everything in this thread, and so in the threads it makes; the mask before.
pub(crate) fn block_all() -> SigSet {
    let mut old = SigSet::empty();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut old));
    old
}

/// Puts a mask back.
pub(crate) fn unblock(old: &SigSet) {
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(old), None);
}

impl Signals {
    /// Handlers that hand signals on to the root guest; SIGCHLD becomes readable.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn start(root: i32, forward: bool) -> nix::Result<Self> {
        ROOT.store(root, Ordering::SeqCst);
        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        let children =
            SignalFd::with_flags(&child, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let tick = SigAction::new(
            SigHandler::Handler(crate::follow::on_tick),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler stores to an atomic.
        unsafe { sigaction(Signal::SIGALRM, &tick) }?;
        if forward {
            let handler = SigHandler::SigAction(on_signal);
            // No SA_RESTART: waitpid must come back.
            let action = SigAction::new(handler, SaFlags::empty(), SigSet::all());
            for signal in FORWARDED {
                // SAFETY: the handler uses atomics and kill(2) only, and keeps errno.
                unsafe { sigaction(signal, &action) }?;
            }
        }
        // Only SIGCHLD is blocked, whatever this process was started with; the guest has been
        // given the mask that was there.
        unblock(&child);
        Ok(Self { children })
    }

    /// What is readable when a guest has something to report.
    pub(crate) fn child_events(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }

    /// Makes it unreadable again.
    pub(crate) fn drain_child_events(&self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
    }

    /// The root guest has ended: signals are for those that are left.
    pub(crate) fn root_ended(&self) {
        ROOT.store(0, Ordering::SeqCst);
    }

    /// A signal that came after the root guest's end.
    pub(crate) fn left_over(&self) -> Option<Signal> {
        match LEFT_OVER.load(Ordering::Relaxed) {
            0 => None,
            _ => Signal::try_from(LEFT_OVER.swap(0, Ordering::SeqCst)).ok(),
        }
    }

    /// The root guest was stopped: if the job was meant, this process stops until it is continued.
    pub(crate) fn stop_with(&self, root: i32) {
        if !STOP_WANTED.swap(false, Ordering::SeqCst) {
            return;
        }
        let _ = nix::sys::signal::raise(Signal::SIGSTOP);
        // Continued. If only this process was meant, the guest has noticed nothing.
        // SAFETY: all-zero bytes are a siginfo_t.
        let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let id = root.unsigned_abs();
        // SAFETY: `info` outlives the call.
        let waited = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) };
        // SAFETY: waitid has filled it, or it is zero.
        let noticed = waited == 0 && unsafe { info.si_pid() } != 0;
        if !noticed {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(root), Signal::SIGCONT);
        }
    }
}

/// Async-signal-safe: atomics and kill(2).
extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    match signal {
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => STOP_WANTED.store(true, Ordering::SeqCst),
        libc::SIGCONT => STOP_WANTED.store(false, Ordering::SeqCst),
        _ => {}
    }
    // SAFETY: the kernel passes a valid siginfo_t.
    let info = unsafe { &*info };
    if info.si_code > 0 {
        // From the kernel: the terminal, which has told the whole group.
        return;
    }
    // SAFETY: sent by a process, so the sender is there.
    let sender = unsafe { info.si_pid() };
    let root = ROOT.load(Ordering::SeqCst);
    if root <= 0 {
        LEFT_OVER.store(signal, Ordering::SeqCst);
    } else if sender != root {
        // SAFETY: the address of this thread's errno.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: valid for this thread.
        let kept = unsafe { *errno };
        // SAFETY: no pointers.
        unsafe { libc::kill(root, signal) };
        // SAFETY: as above.
        unsafe { *errno = kept };
    }
}
