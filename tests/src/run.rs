//! Runs one command to its end, or to its deadline, and keeps all it said.
//!
//! The command leads a process group of its own; at the deadline the whole group is killed. Its
//! output is read by two threads. When the command has ended but something still holds its output
//! open (a daemon that inherited it would make `$(…)` hang), that is an error too.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long output may stay open after the command's own end.
const LINGER: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an exit status.
    Code(i32),
    /// Killed by a signal.
    Signal(i32),
    /// Not at all: it was killed at the deadline.
    Timeout,
    /// By itself, but something that it started still holds its output open.
    Held,
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// What it wrote to its output.
    pub stdout: Vec<u8>,
    /// What it wrote to its error output.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub took: Duration,
    /// The command line, for messages.
    pub command: String,
}

impl Run {
    /// Its output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its error output as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// All that is known of it, for a failure's message.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "{}\n--- ended with {:?} after {:?}\n--- stdout:\n{}\n--- stderr:\n{}",
            self.command,
            self.end,
            self.took,
            shorten(&self.out()),
            shorten(&self.err())
        )
    }

    /// The run itself, if it ended with this exit status.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[must_use]
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert!(self.end == End::Code(code), "expected exit status {code}: {}", self.describe());
        self
    }
}

/// Cuts a long text in the middle.
#[must_use]
pub fn shorten(text: &str) -> String {
    const KEEP: usize = 3000;
    let count = text.chars().count();
    if count <= 2 * KEEP {
        return text.to_owned();
    }
    let head: String = text.chars().take(KEEP).collect();
    let tail: String = text.chars().skip(count - KEEP).collect();
    format!("{head}\n[… {} characters …]\n{tail}", count - 2 * KEEP)
}

/// A command that is running.
#[derive(Debug)]
pub struct Running {
    group: Pid,
    started: Instant,
    command: String,
    ended: mpsc::Receiver<std::io::Result<ExitStatus>>,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
}

/// Starts a command, with bytes for its input.
///
/// # Panics
///
/// When it cannot be started.
#[must_use]
pub fn start(command: &mut Command, input: &[u8]) -> Running {
    let text = format!("{command:?}");
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        std::thread::spawn(move || {
            let _ = pipe.write_all(&input);
        });
    }
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let group = group_of(&child);
    let (ended_tx, ended) = mpsc::channel();
    std::thread::spawn(move || ended_tx.send(child.wait()));
    Running { group, started: Instant::now(), command: text, ended, stdout, stderr }
}

fn group_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// Reads a pipe to its end in a thread of its own.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (bytes_tx, bytes_rx) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = pipe.unwrap();
        let mut buffer = vec![0_u8; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if bytes_tx.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                break;
            }
        }
    });
    bytes_rx
}

/// Takes what a reader sends until its end or the deadline; says whether the end was seen.
fn collect(chunks: &mpsc::Receiver<Vec<u8>>, until: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match chunks.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(chunk) => all.extend(chunk),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, true),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

impl Running {
    /// The process group, which is also the id of the command's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.group
    }

    /// Sends a signal to the command and all of its group.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(self.group, signal);
    }

    /// Waits for the end, at most so long.
    ///
    /// # Panics
    ///
    /// When the command cannot be waited for.
    #[must_use]
    pub fn finish(self, timeout: Duration) -> Run {
        let (mut end, killed) = match self.ended.recv_timeout(timeout) {
            Ok(status) => (of_status(status.unwrap()), false),
            Err(_) => {
                self.signal(Signal::SIGKILL);
                let _ = self.ended.recv_timeout(LINGER);
                (End::Timeout, true)
            }
        };
        let took = self.started.elapsed();
        let until = Instant::now() + LINGER;
        let (stdout, out_end) = collect(&self.stdout, until);
        let (stderr, err_end) = collect(&self.stderr, until);
        let all_read = out_end && err_end;
        if !killed && !all_read {
            end = End::Held;
            self.signal(Signal::SIGKILL);
        }
        Run { end, stdout, stderr, took, command: self.command }
    }
}

fn of_status(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Timeout,
    }
}

/// Runs a command to its end.
#[must_use]
pub fn run(command: &mut Command, timeout: Duration) -> Run {
    start(command, &[]).finish(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_output_and_status() {
        let run = run(&mut sh("echo out; echo err >&2; exit 7"), Duration::from_secs(10));
        assert_eq!((run.out().as_str(), run.err().as_str()), ("out\n", "err\n"));
        assert_eq!(run.end, End::Code(7));
    }

    #[test]
    fn tells_a_signal() {
        let run = run(&mut sh("kill -TERM $$"), Duration::from_secs(10));
        assert_eq!(run.end, End::Signal(15));
    }

    #[test]
    fn kills_the_group_at_the_deadline() {
        let run = run(&mut sh("echo before; sleep 1000 & sleep 1000"), Duration::from_millis(300));
        assert_eq!((run.end, run.out().as_str()), (End::Timeout, "before\n"));
        assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
    }

    #[test]
    fn notices_held_output() {
        let run = run(&mut sh("sleep 1000 & exit 0"), Duration::from_secs(10));
        assert_eq!(run.end, End::Held);
    }

    #[test]
    fn feeds_input() {
        let run = start(&mut sh("wc -c"), b"12345").finish(Duration::from_secs(10));
        assert_eq!(run.out(), "5\n");
    }
}
