//! The program that runs a sequence of commands under a technique and tells how long each took: the
//! worker of comparisons whose operations are whole programs. Same lines as [`crate::worker`].
//!
//! All commands of a sequence belong to one session, as they would in a user's shell.

use crate::cli::WorkerArgs;
use crate::place;
use crate::worker::{SLOW, caught, slow_down};
use anyhow::Context as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs the commands of the command line, each `NAME=COMMAND` for `sh -c`.
///
/// # Errors
/// The technique that is not there, or the output; not the commands.
pub(crate) fn run(args: &WorkerArgs) -> anyhow::Result<()> {
    if let Some(cpu) = args.cpu {
        place::move_to(cpu).context("cannot move to another CPU")?;
    }
    caught(&args.label)?;
    let slow = std::env::var(SLOW).unwrap_or_default();
    let mut out = io::stdout().lock();
    for (index, op) in args.ops.iter().enumerate() {
        let (name, command) = op.split_once('=').context("a command has no name")?;
        let start = Instant::now();
        let result = shell(command);
        std::thread::sleep(slow_down(&slow, &args.label, name));
        let ns = start.elapsed().as_secs_f64() * 1e9;
        let line = match result {
            Ok(()) => format!("{index}\t{ns:.0}\t1\n"),
            Err(story) => format!("{index}\t!\t{}\n", story.replace(['\t', '\n'], " ")),
        };
        out.write_all(line.as_bytes())?;
        out.flush()?;
    }
    out.write_all(b"end\n")?;
    out.flush()?;
    Ok(())
}

/// Runs a command; the last line of its complaints if it fails.
fn shell(command: &str) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
    let output = shell.output().map_err(|error| format!("no shell: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("{}: {last}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_tells_its_last_words() {
        assert_eq!(shell("true"), Ok(()));
        let story = shell("echo first >&2; echo last >&2; exit 3").unwrap_err();
        assert_eq!(story, "exit status: 3: last");
    }
}
