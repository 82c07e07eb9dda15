//! What the tracer tells: messages for the user (always, on stderr) and the trace asked for by `-d`.
//!
//! One line = time, process id, subsystem, text. Never on the guest's stdout. The place is opened
//! once, so it survives whatever the guest does to its descriptors.

use parking_lot::Mutex;
use parrot_common::client::SessionClient;
use parrot_common::{Files, Op, Request};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A subsystem that can be traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[repr(u32)]
pub(crate) enum Flag {
    /// Every caught call and what became of it.
    Syscall = 1,
    /// Of these, the calls that carry names.
    Resolve = 2,
    /// Calls that went to the session.
    Remote = 4,
    /// Processes and threads.
    Process = 8,
    /// Calls without a handler.
    Hole = 16,
    /// All of these.
    All = 31,
}

static FLAGS: AtomicU32 = AtomicU32::new(0);
static SINK: OnceLock<Mutex<File>> = OnceLock::new();
static SESSION: OnceLock<&[u8]> = OnceLock::new();

/// Turns tracing on. Without a file it goes to stderr.
pub(crate) fn start(flags: &[Flag], file: Option<&Path>) -> io::Result<()> {
    if let Some(path) = file {
        let file = File::options().create(true).append(true).open(path)?;
        let _ = SINK.set(Mutex::new(file));
    }
    let bits = flags.iter().fold(0, |bits, flag| bits | *flag as u32);
    FLAGS.store(bits, Ordering::Relaxed);
    Ok(())
}

/// Whether the subsystem is traced.
pub(crate) fn on(flag: Flag) -> bool {
    FLAGS.load(Ordering::Relaxed) & flag as u32 != 0
}

/// A line of the trace; `text` is made only if it is wanted.
pub(crate) fn line(flag: Flag, pid: i32, text: impl FnOnce() -> String) {
    if on(flag) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        let name = format!("{flag:?}").to_lowercase();
        write(&format!("{seconds}.{micros:06} {pid} {name}: {}\n", text()));
    }
}

/// Messages for the user go to this session's log: this process has no terminal.
pub(crate) fn tell_session(dir: &'static [u8]) {
    let _ = SESSION.set(dir);
}

/// A message for the user; also in the trace file, if there is one.
pub(crate) fn tell(text: &str) {
    let line = format!("parrot-trace: {text}\n");
    match SESSION.get() {
        Some(dir) => {
            let request = Request { a: line.trim_end().as_bytes(), ..Request::new(Op::Log) };
            // Without an agent nobody is there to read it.
            let _ = SessionClient::new(dir, None).call(&request.args([1, 0, 0, 0, 0]), &mut []);
        }
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
    if SINK.get().is_some() {
        write(&line);
    }
}

fn write(line: &str) {
    let _ = match SINK.get() {
        Some(file) => file.lock().write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}
