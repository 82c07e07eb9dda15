//! ptrace(2) with the states of a tracee as types.
//!
//! ```text
//!   Running ──wait──▶ (Stopped, Event) ──cont/syscall/listen──▶ Running
//! ```
//!
//! Registers can be touched only through a [`Stopped`], and resuming consumes it. A tracee that was
//! killed while it was stopped makes every operation fail with ESRCH; resuming it is harmless, the
//! next wait reports its end.
#![expect(unsafe_code, reason = "ptrace and waitpid are C interfaces")]

use crate::regs::Regs;
use std::io;
use std::ptr::null_mut;

/// What every guest is seized with.
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_EXITKILL;

/// The type of ptrace(2)'s first argument, which libcs disagree about.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// Not in every version of the libc crate.
const PTRACE_GET_SYSCALL_INFO: Request = 0x420e;

/// A thread that runs, or is on its way to a stop that nobody has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running(pub(crate) i32);

/// A thread in a ptrace stop that this process has seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stopped(i32);

/// Why waitpid(2) returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The filter stopped a call at its entry.
    Seccomp,
    /// A call that was resumed with [`Stopped::syscall`] is at its entry or exit.
    Syscall,
    /// execve succeeded.
    Exec,
    /// fork, vfork or clone made a new thread or process; [`Stopped::message`] tells its id.
    New,
    /// Stopped by job control.
    Group(i32),
    /// A new thread's first stop, the end of a job control stop, or an interrupt.
    Trap,
    /// A signal is about to be delivered.
    Signal(i32),
    /// It ended by itself.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
}

impl Event {
    /// Reads a status of waitpid(2).
    pub(crate) const fn from_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            return Self::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return Self::Killed(libc::WTERMSIG(status));
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => Self::Seccomp,
            libc::PTRACE_EVENT_EXEC => Self::Exec,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                Self::New
            }
            libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Self::Trap,
            libc::PTRACE_EVENT_STOP => Self::Group(signal),
            _ if signal == libc::SIGTRAP | 0x80 => Self::Syscall,
            _ => Self::Signal(signal),
        }
    }

    /// Whether nothing is left to resume.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Exited(_) | Self::Killed(_))
    }
}

/// A call at the filter's stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) nr: usize,
    /// Its arguments.
    pub(crate) args: [usize; 6],
    /// What the filter said with its stop.
    pub(crate) message: u32,
}

/// `struct ptrace_syscall_info` as of a filter's stop.
#[derive(Debug, Default)]
#[repr(C)]
struct CallInfo {
    op: u8,
    reserved: u8,
    flags: u16,
    arch: u32,
    ip: u64,
    sp: u64,
    nr: u64,
    args: [u64; 6],
    message: u32,
}
const _: () = assert!(size_of::<CallInfo>() == 88, "the kernel's layout");

/// Starts tracing a process, without stopping it.
pub(crate) fn seize(pid: i32) -> io::Result<Running> {
    request(libc::PTRACE_SEIZE, pid, 0, OPTIONS as usize)?;
    Ok(Running(pid))
}

/// Waits for any tracee or child. `None` when there is nothing to report now (`block` = false).
///
/// # Errors
/// ECHILD when there is nobody left, EINTR when a signal came.
pub(crate) fn wait_any(block: bool) -> io::Result<Option<(i32, Event)>> {
    let options = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let (pid, status) = wait_raw(-1, options)?;
    Ok((pid != 0).then(|| (pid, Event::from_status(status))))
}

fn wait_raw(pid: i32, options: i32) -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let got = unsafe { libc::waitpid(pid, &raw mut status, options) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok((got, status)) }
}

impl Running {
    /// Waits for this thread alone.
    pub(crate) fn wait(self) -> io::Result<Event> {
        loop {
            match wait_raw(self.0, libc::__WALL) {
                Ok((_, status)) => return Ok(Event::from_status(status)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// What a wait has shown: the thread is stopped.
    pub(crate) const fn stopped(self) -> Stopped {
        Stopped(self.0)
    }

    /// Asks for a stop ([`Event::Trap`] or [`Event::Group`]); harmless when the thread has gone.
    pub(crate) fn interrupt(self) {
        let _ = request(libc::PTRACE_INTERRUPT, self.0, 0, 0);
    }
}

impl Stopped {
    /// The thread's id.
    pub(crate) const fn tid(&self) -> i32 {
        self.0
    }

    /// The registers.
    pub(crate) fn regs(&self) -> io::Result<Regs> {
        let mut regs = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
        request(libc::PTRACE_GETREGS, self.0, 0, regs.as_mut_ptr() as usize)?;
        // SAFETY: the kernel has filled the structure; all bit patterns are valid.
        Ok(Regs(unsafe { regs.assume_init() }))
    }

    /// The call at the filter's stop, without the other registers.
    #[expect(clippy::cast_possible_truncation, reason = "registers of this machine")]
    pub(crate) fn entry(&self) -> io::Result<Entry> {
        let mut info = CallInfo::default();
        let size = size_of::<CallInfo>();
        match request(PTRACE_GET_SYSCALL_INFO, self.0, size, (&raw mut info) as usize) {
            Ok(()) => {
                let args = info.args.map(|arg| arg as usize);
                Ok(Entry { nr: info.nr as usize, args, message: info.message })
            }
            // Before Linux 5.3.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => {
                let regs = self.regs()?;
                Ok(Entry { nr: regs.nr(), args: regs.args(), message: self.message() as u32 })
            }
            Err(e) => Err(e),
        }
    }

    /// Sets the registers.
    pub(crate) fn set_regs(&self, regs: &Regs) -> io::Result<()> {
        request(libc::PTRACE_SETREGS, self.0, 0, (&raw const regs.0) as usize)
    }

    /// The message of an event: the new thread's id, the id before exec, the filter's data.
    pub(crate) fn message(&self) -> u64 {
        let mut message: libc::c_ulong = 0;
        match request(libc::PTRACE_GETEVENTMSG, self.0, 0, (&raw mut message) as usize) {
            Ok(()) => message,
            Err(_) => 0,
        }
    }

    /// The set of blocked signals, as the kernel keeps it (bit N-1 for signal N).
    pub(crate) fn signal_mask(&self) -> io::Result<u64> {
        let mut mask = 0_u64;
        request(libc::PTRACE_GETSIGMASK, self.0, 8, (&raw mut mask) as usize)?;
        Ok(mask)
    }

    /// Sets the blocked signals.
    pub(crate) fn set_signal_mask(&self, mask: u64) -> io::Result<()> {
        request(libc::PTRACE_SETSIGMASK, self.0, 8, (&raw const mask) as usize)
    }

    /// Lets it go on, delivering a signal (0 = none).
    pub(crate) fn cont(self, signal: i32) -> Running {
        self.resume(libc::PTRACE_CONT, signal)
    }

    /// Lets it go on up to the next entry or exit of a call.
    pub(crate) fn syscall(self, signal: i32) -> Running {
        self.resume(libc::PTRACE_SYSCALL, signal)
    }

    /// Leaves it in its job control stop, but able to notice the end of it.
    pub(crate) fn listen(self) -> Running {
        self.resume(libc::PTRACE_LISTEN, 0)
    }

    fn resume(self, how: Request, signal: i32) -> Running {
        let _ = request(how, self.0, 0, signal.unsigned_abs() as usize);
        Running(self.0)
    }
}

/// Every use of ptrace(2).
fn request(what: Request, pid: i32, addr: usize, data: usize) -> io::Result<()> {
    let addr = null_mut::<libc::c_void>().wrapping_byte_add(addr);
    let data = null_mut::<libc::c_void>().wrapping_byte_add(data);
    // SAFETY: the addresses that the callers above pass are of objects that outlive the call and
    // have the size that the request writes or reads.
    let value = unsafe { libc::ptrace(what, pid, addr, data) };
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let stop = |event: i32, signal: i32| (event << 16) | (signal << 8) | 0x7f;
        let cases = [
            (7 << 8, Event::Exited(7)),
            (libc::SIGKILL, Event::Killed(libc::SIGKILL)),
            (stop(0, libc::SIGTRAP | 0x80), Event::Syscall),
            (stop(0, libc::SIGTRAP), Event::Signal(libc::SIGTRAP)),
            (stop(libc::PTRACE_EVENT_SECCOMP, libc::SIGTRAP), Event::Seccomp),
            (stop(libc::PTRACE_EVENT_STOP, libc::SIGTRAP), Event::Trap),
            (stop(libc::PTRACE_EVENT_STOP, libc::SIGTSTP), Event::Group(libc::SIGTSTP)),
            (stop(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP), Event::New),
            (stop(libc::PTRACE_EVENT_EXEC, libc::SIGTRAP), Event::Exec),
        ];
        for (status, event) in cases {
            assert_eq!(Event::from_status(status), event);
        }
    }
}
