//! The trace that `PARROT_DEBUG_FLAGS` asks for: what this library decided, one line each, in the form
//! of `parrot-trace -d`: time, process, subsystem, text.
//!
//! | flag | lines |
//! | --- | --- |
//! | `syscall` | every call that was not plain at first sight, and what became of it |
//! | `resolve` | of these, the calls that carry names, with what the name came to |
//! | `remote` | requests to the session, and their answers |
//! | `process` | programs that are run, and the agent |
//! | `hole` | nothing: what preloading does not see it cannot tell |
//!
//! `PARROT_DEBUG_FILE` is opened for each line, so that nothing the program does to its descriptors
//! matters; without it lines go to the standard error. Unset, all this costs a load where a call is no
//! plain one anyway.

use crate::init::{self, DEBUG_FILE, DEBUG_FLAGS};
use crate::text::Text;
use crate::{memory, namespace};
use core::sync::atomic::{AtomicU32, Ordering};
use parrot_common::handler::Scratch;
use parrot_common::resolve::Slot;
use parrot_common::sys::{self, arg};
use parrot_common::syscall::{Policy, TABLE};
use parrot_common::{Errno, Outcome, Reply, Request, Stop};
use syscalls::Sysno;

pub(crate) const SYSCALL: u32 = 1;
pub(crate) const RESOLVE: u32 = 2;
pub(crate) const REMOTE: u32 = 4;
pub(crate) const PROCESS: u32 = 8;
const HOLE: u32 = 16;
const ALL: u32 = 31;

static FLAGS: AtomicU32 = AtomicU32::new(0);

/// Whether any of these subsystems is traced.
#[inline(always)]
pub(crate) fn on(flags: u32) -> bool {
    FLAGS.load(Ordering::Relaxed) & flags != 0
}

/// Reads the environment's wish; the first word that is no flag.
pub(crate) fn start() -> Result<(), &'static [u8]> {
    let mut flags = 0;
    let words = init::value(DEBUG_FLAGS).unwrap_or_default().split(|&b| b == b',');
    for word in words.filter(|word| !word.is_empty()) {
        flags |= match word {
            b"syscall" => SYSCALL,
            b"resolve" => RESOLVE,
            b"remote" => REMOTE,
            b"process" => PROCESS,
            b"hole" => HOLE,
            b"all" => ALL,
            other => return Err(other),
        };
    }
    FLAGS.store(flags, Ordering::Relaxed);
    Ok(())
}

/// Names of calls by number, without pointers, and whether a call carries a name.
#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
static CALLS: [([u8; 24], bool); 480] = {
    let mut calls = [([0; 24], false); 480];
    let mut row = 0;
    while row < TABLE.len() {
        let (nr, name) = (TABLE[row].nr, TABLE[row].name.as_bytes());
        if nr < 480 {
            let mut at = 0;
            while at < name.len() && at < 24 {
                calls[nr].0[at] = name[at];
                at = usize::wrapping_add(at, 1);
            }
            calls[nr].1 = matches!(TABLE[row].policy, Policy::Path);
        }
        row = usize::wrapping_add(row, 1);
    }
    calls
};

type Line = Text<2048>;

/// A line's beginning.
fn line(subsystem: &[u8]) -> Line {
    let mut time = [0_u64; 2];
    let at = core::ptr::from_mut(&mut time) as usize;
    let _ = memory::raw(Sysno::clock_gettime, [arg(libc::CLOCK_REALTIME), at, 0, 0, 0, 0]);
    let [seconds, nanos] = time;
    let mut line = Line::new();
    line.number(seconds).put(b".");
    let micros = nanos.wrapping_div(1000);
    let mut unit = 100_000;
    while unit > 1 && micros < unit {
        line.put(b"0");
        unit = u64::wrapping_div(unit, 10);
    }
    let pid = u64::from(sys::getpid().unsigned_abs());
    line.number(micros).put(b" ").number(pid).put(b" ").put(subsystem).put(b": ");
    line
}

/// Writes a line. One that does not fit is told as that.
fn write(mut line: Line) {
    line.put(b"\n");
    let text = if line.fits() { line.get() } else { b"(a line that is too long)\n" };
    let file = init::value(DEBUG_FILE).and_then(|name| {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        sys::openat(libc::AT_FDCWD, namespace::terminated(&[name]).get(), flags, 0o644).ok()
    });
    let to = arg(file.unwrap_or(2));
    let _ = memory::raw(Sysno::write, [to, text.as_ptr() as usize, text.len(), 0, 0, 0]);
    if let Some(file) = file {
        sys::close(file);
    }
}

fn signed(line: &mut Line, value: i64) {
    if value < 0 {
        line.put(b"-");
    }
    line.number(value.unsigned_abs());
}

/// What a handler decided.
#[cold]
pub(crate) fn call(nr: usize, args: [usize; 6], outcome: &Outcome, scratch: &mut Scratch) {
    let (name, named) = CALLS.get(nr).copied().unwrap_or_default();
    let subsystem: &[u8] = if on(SYSCALL) { b"syscall" } else { b"resolve" };
    if !named && !on(SYSCALL) {
        return;
    }
    let mut line = line(subsystem);
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    line.put(name).put(b"(");
    let walker = scratch.walker(Slot::First);
    if named {
        line.put(b"\"").put(walker.input()).put(b"\"");
        if on(RESOLVE) && !walker.name().is_empty() {
            line.put(b" -> ").put(walker.name());
        }
    } else {
        line.number(args[0] as u64);
    }
    line.put(b")");
    match outcome {
        Outcome::Pass(_) => line.put(b" passes"),
        Outcome::Watch(_) => line.put(b" passes, watched"),
        Outcome::Rewrite(_) => {
            line.put(b" becomes ").put(walker.physical().strip_suffix(b"\0").unwrap_or_default())
        }
        Outcome::Fail(errno) => line.put(b" fails: ").put(errno.name().as_bytes()),
        Outcome::Done(value) => {
            line.put(b" = ");
            signed(&mut line, *value as i64);
            &mut line
        }
    };
    write(line);
}

/// A request to the session, and its answer.
#[cold]
pub(crate) fn request(request: &Request<'_>, answer: Result<&Reply, &Stop>) {
    let mut line = line(b"remote");
    line.put(request.op.name().as_bytes());
    if request.id != 0 {
        line.put(b" ").put(&parrot_common::shadow::format_id(request.id));
    }
    let data = request.op == parrot_common::Op::PWrite;
    if !request.a.is_empty() && !data {
        line.put(b" ").put(request.a);
    }
    match answer {
        Ok(reply) => {
            line.put(b" = ");
            signed(&mut line, reply.value);
        }
        Err(Stop::Fail(Errno(errno))) => {
            line.put(b" fails: ").put(Errno(*errno).name().as_bytes());
        }
        Err(Stop::Redirect(_)) => {
            line.put(b" leads elsewhere");
        }
    }
    write(line);
}

/// What happens to processes.
#[cold]
pub(crate) fn process(parts: &[&[u8]]) {
    let mut line = line(b"process");
    for part in parts {
        line.put(part);
    }
    write(line);
}
