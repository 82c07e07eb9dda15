//! Joining a running session: the fallback for static programs of preloaded ones.
//!
//! A preloaded program that runs a static one executes `parrot-trace --session DIR` instead. That
//! process must become the program (same id, same parent, same job), so the tracer is a descendant:
//!
//! ```text
//!   P (parrot-trace, to be the program) ── fork ── M ── fork ── T (tracer, own session)
//!   │ waits for M                          exits      │ seizes P, "go"
//!   └─ filter, exec of the program ◀──────────────────┘ loop, until P and its children end
//! ```
//!
//! T is nobody's child that P could wait for, and keeps none of P's descriptors.
#![expect(unsafe_code, reason = "fork, prctl")]

use crate::launch::{Failure, Program, Stage, exit, pipe};
use crate::{filter, log, ptrace, refused, signals};
use nix::sys::signal::SigSet;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use parrot_common::syscall::TABLE;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// Becomes the program, traced by a descendant that `trace` runs. Returns only when it fails.
pub(crate) fn become_traced(
    program: &Program,
    more: filter::More,
    trace: impl FnOnce(i32),
) -> (Failure, SigSet) {
    let mask = signals::block_all();
    let failure = match start_tracer(trace) {
        Ok(()) => program.become_guest(&filter::base(TABLE, more), &mask),
        Err(error) => {
            Failure { stage: Stage::Seize, errno: error.raw_os_error().unwrap_or(libc::EPERM) }
        }
    };
    (failure, mask)
}

/// Makes the tracer and waits until it has this process under control.
fn start_tracer(trace: impl FnOnce(i32)) -> io::Result<()> {
    let guest = std::process::id().cast_signed();
    // With the Yama module only ancestors may trace unless they are named.
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
    let (ready_rx, ready_tx) = pipe()?;
    // SAFETY: this process has one thread.
    let middle = unsafe { libc::fork() };
    match middle {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            drop(ready_rx);
            // SAFETY: one thread still.
            if unsafe { libc::fork() } == 0 {
                be_tracer(guest, ready_tx, trace);
            }
            exit(0);
        }
        _ => {}
    }
    drop(ready_tx);
    // SAFETY: no status wanted.
    unsafe { libc::waitpid(middle, std::ptr::null_mut(), 0) };
    let mut answer = [0; 4];
    File::from(ready_rx).read_exact(&mut answer)?;
    match i32::from_ne_bytes(answer) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The tracer's life.
fn be_tracer(guest: i32, ready: OwnedFd, trace: impl FnOnce(i32)) -> ! {
    let _ = setsid();
    let seized = ptrace::seize(guest);
    let errno = seized.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EPERM));
    // None of the program's files are held open.
    close_but(ready.as_raw_fd());
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        let _ = dup2_stderr(&null);
    }
    let _ = nix::unistd::chdir("/");
    let mut ready = File::from(ready);
    let told = ready.write_all(&errno.to_ne_bytes());
    drop(ready);
    if errno == 0 && told.is_ok() {
        trace(guest);
    }
    exit(0);
}

/// Closes everything but the standard descriptors and one more.
fn close_but(kept: i32) {
    let kept = kept.unsigned_abs();
    // SAFETY: no object of this process outlives its descriptor: it has just been forked, and only
    // `kept` is used from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 3, kept - 1, 0) };
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0) };
}

/// Says why the program did not start; the exit status.
pub(crate) fn report(failure: Failure, program: &str) -> u8 {
    log::tell(&refused::start(failure, program, ""));
    refused::status(failure)
}
