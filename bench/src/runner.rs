//! Rounds: every round starts one worker for each contender of each case, in alternating order.
//!
//! A worker that hangs, crashes or cannot be started costs its own cells, with the reason, and
//! nothing else.

use crate::ops::Kind;
use crate::place::Placement;
use crate::report::say;
use crate::suite::{Row, Suite, Technique};
use crate::worker;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a worker may take for one operation.
const PATIENCE: Duration = Duration::from_secs(20);

/// A number, or why there is none.
pub(crate) type Cell = Result<f64, String>;

/// How a contender's worker is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    /// What stands before the worker on the command line.
    pub(crate) before: Vec<OsString>,
    /// Environment on top of the usual one.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Operations with their paths.
    pub(crate) ops: Vec<(Kind, String)>,
    /// The worker's other options.
    pub(crate) options: Vec<String>,
}

/// One of those that are compared.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What it is called.
    pub(crate) label: &'static str,
    /// `None`: the baseline.
    pub(crate) technique: Option<Technique>,
    /// How to start it, or why that is not possible.
    pub(crate) invocation: Result<Invocation, String>,
}

/// A suite at a placement.
#[derive(Debug)]
pub(crate) struct Case {
    /// The suite.
    pub(crate) suite: &'static Suite,
    /// The placement.
    pub(crate) placement: Placement,
    /// Those rows of the suite that were asked for.
    pub(crate) rows: Vec<&'static Row>,
    /// The baseline and the techniques.
    pub(crate) contenders: Vec<Contender>,
    /// What was measured: by contender, then by row, then by round.
    pub(crate) cells: Vec<Vec<Vec<Cell>>>,
}

/// Runs the rounds.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    /// This program.
    pub(crate) bench: PathBuf,
    /// Length of a batch.
    pub(crate) batch_ms: u32,
    /// Where workers' complaints go.
    pub(crate) log: &'a Path,
}

impl Runner<'_> {
    /// Runs all rounds and fills the cases' cells.
    pub(crate) fn run(&self, cases: &mut [Case], rounds: u32) {
        let started = Instant::now();
        for case in &mut *cases {
            case.cells = vec![vec![Vec::new(); case.rows.len()]; case.contenders.len()];
        }
        for round in 0..rounds {
            for case in &mut *cases {
                let seconds = started.elapsed().as_secs();
                let (title, placement) = (case.suite.title, case.placement.word());
                say(&format!("{seconds:4} s  round {}/{rounds}: {title}, {placement}", round + 1));
                self.round(case, round);
            }
        }
    }

    fn round(&self, case: &mut Case, round: u32) {
        let mut order: Vec<usize> = (0..case.contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let Some(contender) = case.contenders.get(index) else { continue };
            let cells = match &contender.invocation {
                Ok(invocation) => self.worker(contender.label, invocation, case.placement),
                Err(reason) => vec![Err(reason.clone()); case.rows.len()],
            };
            let kept = case.cells.get_mut(index).into_iter().flatten();
            for (column, cell) in kept.zip(cells) {
                column.push(cell);
            }
        }
    }

    /// Runs one worker.
    fn worker(&self, label: &str, invocation: &Invocation, placement: Placement) -> Vec<Cell> {
        let mut cells = vec![Err("not reached".to_owned()); invocation.ops.len()];
        let log = self.log.join("worker");
        let result = File::create(&log)
            .and_then(|log| placement.spawn(self.command(label, invocation).stderr(log)))
            .map_err(|error| format!("cannot be started: {error}"))
            .and_then(|child| follow(child, &mut cells));
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

    fn command(&self, label: &str, invocation: &Invocation) -> Command {
        let bench = self.bench.clone().into_os_string();
        let mut words = invocation.before.iter().chain([&bench]);
        let mut command = Command::new(words.next().unwrap_or(&bench));
        command.args(words).args(["worker", "--label", label]);
        command.args(["--batch-ms", &self.batch_ms.to_string()]).args(&invocation.options);
        for (kind, path) in &invocation.ops {
            command.arg(format!("{}={path}", kind.word()));
        }
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().starts_with("PARROT_") && name != worker::SLOW;
            if ours || name == "LD_PRELOAD" {
                command.env_remove(name);
            }
        }
        command.envs(invocation.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Reads what a worker tells, and sees it end.
fn follow(mut child: Child, cells: &mut [Cell]) -> Result<(), String> {
    let lines = lines_of(&mut child);
    let story = loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line == "end" => break None,
            Ok(line) => take(&line, cells),
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("no result for {} s", PATIENCE.as_secs()));
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
        follow(shell("printf '1\\t2.5\\t9\\n0\\t!\\tno file\\n7\\t1\\t1\\nend\\n'"), &mut cells)
            .unwrap();
        assert_eq!(cells, [Err("no file".to_owned()), Ok(2.5), Err(String::new())]);
    }

    #[test]
    fn a_worker_that_dies_is_a_story() {
        let mut cells = vec![Err(String::new()); 2];
        let story = follow(shell("printf '0\\t1\\t1\\n'; kill -9 $$"), &mut cells).unwrap_err();
        assert!(story.contains("ended early") && story.contains("signal: 9"), "{story}");
        assert_eq!(cells[0], Ok(1.0));
        let story = follow(shell("printf '0\\t1\\t1\\nend\\n'; exit 3"), &mut cells).unwrap_err();
        assert!(story.contains("exit status: 3"), "{story}");
        assert!(cells[0].is_err(), "a bad end spoils its results");
    }
}
