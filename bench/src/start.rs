//! Starting a worker and taking what it tells.
//!
//! A worker that hangs, crashes or cannot be started costs its own cells, with the reason, and
//! nothing else.

use crate::engine::Cell;
use crate::lab::Lab;
use crate::place::Placement;
use crate::worker;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a worker may take for one operation, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a contender's worker is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    /// What stands before the worker on the command line.
    pub(crate) before: Vec<OsString>,
    /// Environment on top of the usual one.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Operations with their paths.
    pub(crate) ops: Vec<(&'static str, String)>,
    /// The worker's other options.
    pub(crate) options: Vec<String>,
}

/// Starts workers.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    /// This program, or another that takes the same arguments and tells the same lines.
    pub(crate) worker: PathBuf,
    /// The worker's first argument: what kind of worker it is to be.
    pub(crate) word: &'static str,
    /// Length of a batch.
    pub(crate) batch: Duration,
    /// How long it may take for one operation.
    pub(crate) patience: Duration,
    /// Where workers' complaints go.
    pub(crate) log: PathBuf,
}

impl Starter {
    /// For this program as the worker.
    pub(crate) fn new(lab: &Lab) -> Self {
        let worker = lab.programs.bench.clone();
        let (batch, log) = (lab.common.batch(), lab.sandbox.path("log"));
        Self { worker, word: "worker", batch, patience: PATIENCE, log }
    }

    /// Runs one worker: a cell for each operation.
    pub(crate) fn run(
        &self,
        label: &str,
        invocation: &Invocation,
        placement: Placement,
    ) -> Vec<Cell> {
        let mut cells = vec![Err("not reached".to_owned()); invocation.ops.len()];
        let log = self.log.join("worker");
        let result = File::create(&log)
            .and_then(|log| placement.spawn(self.command(label, invocation, placement).stderr(log)))
            .map_err(|error| format!("cannot be started: {error}"))
            .and_then(|child| follow(child, &mut cells, self.patience));
        if let Err(story) = result {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let story =
                said.lines().last().map_or(story.clone(), |last| format!("{story}: {last}"));
            for cell in &mut cells {
                if cell.is_err() {
                    *cell = Err(story.clone());
                }
            }
        }
        cells
    }

    fn command(&self, label: &str, invocation: &Invocation, placement: Placement) -> Command {
        let worker = self.worker.clone().into_os_string();
        let mut words = invocation.before.iter().chain([&worker]);
        let mut command = Command::new(words.next().unwrap_or(&worker));
        command.args(words).args([self.word, "--label", label]);
        command.args(["--batch-ms", &self.batch.as_millis().to_string()]);
        if let Ok(Some(cpu)) = placement.guest_cpu() {
            command.args(["--cpu", &cpu.to_string()]);
        }
        command.args(&invocation.options);
        for (kind, path) in &invocation.ops {
            command.arg(format!("{kind}={path}"));
        }
        clean(&mut command);
        command.envs(invocation.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Takes out of a command's environment what would make it run under Parrot as we do ourselves.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy().starts_with("PARROT_") && name != worker::SLOW;
        if ours || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
}

/// Reads what a worker tells, and sees it end.
fn follow(mut child: Child, cells: &mut [Cell], patience: Duration) -> Result<(), String> {
    let lines = lines_of(&mut child);
    let story = loop {
        match lines.recv_timeout(patience) {
            Ok(line) if line == "end" => break None,
            Ok(line) => take(&line, cells),
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("no result for {} s", patience.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => break Some("ended early".to_owned()),
        }
    };
    let started = Instant::now();
    let limit = if story.as_ref().is_some_and(|s| s.starts_with("no")) { 0 } else { 10 };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if started.elapsed() < Duration::from_secs(limit) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    match (story, status) {
        (None, Some(status)) if status.success() => Ok(()),
        (None, Some(status)) => {
            // Its results count, but something is wrong and must be seen.
            for cell in cells.iter_mut() {
                *cell = Err("ended badly".to_owned());
            }
            Err(format!("ended with {status}"))
        }
        (Some(story), Some(status)) => Err(format!("{story} with {status}")),
        (Some(story), None) => Err(story),
        (None, None) => Err("does not end".to_owned()),
    }
}

/// The lines of a child's output. A thread reads, so that waiting can have a limit.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (line_tx, line_rx) = channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line_tx.send(line).is_err() {
                    return;
                }
            }
        });
    }
    line_rx
}

/// Puts a worker's line in its place.
fn take(line: &str, cells: &mut [Cell]) {
    let mut words = line.splitn(3, '\t');
    let index = words.next().and_then(|word| word.parse::<usize>().ok());
    let (value, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(cell) = index.and_then(|index| cells.get_mut(index)) else { return };
    *cell = match value {
        "!" => Err(rest.to_owned()),
        number => number.parse().map_err(|_| format!("said {line:?}")),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn lines_of_a_worker_find_their_cells() {
        let mut cells = vec![Err(String::new()); 3];
        follow(
            shell("printf '1\\t2.5\\t9\\n0\\t!\\tno file\\n7\\t1\\t1\\nend\\n'"),
            &mut cells,
            PATIENCE,
        )
        .unwrap();
        assert_eq!(cells, [Err("no file".to_owned()), Ok(2.5), Err(String::new())]);
    }

    #[test]
    fn a_worker_that_dies_is_a_story() {
        let mut cells = vec![Err(String::new()); 2];
        let story =
            follow(shell("printf '0\\t1\\t1\\n'; kill -9 $$"), &mut cells, PATIENCE).unwrap_err();
        assert!(story.contains("ended early") && story.contains("signal: 9"), "{story}");
        assert_eq!(cells[0], Ok(1.0));
        let story =
            follow(shell("printf '0\\t1\\t1\\nend\\n'; exit 3"), &mut cells, PATIENCE).unwrap_err();
        assert!(story.contains("exit status: 3"), "{story}");
        assert!(cells[0].is_err(), "a bad end spoils its results");
    }
}
