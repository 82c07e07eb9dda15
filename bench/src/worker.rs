//! The program that is measured: runs operations and tells one line for each.
//!
//! ```text
//! INDEX \t NANOSECONDS \t COUNT          a result
//! INDEX \t ! \t STORY                    an operation that failed
//! end
//! ```
//!
//! `PARROT_BENCH_SLOW=LABEL:KIND:NANOSECONDS` makes one operation of one contender slower, on
//! purpose: so a test can show that the tool would see it.

use crate::cli::WorkerArgs;
use crate::client::Client;
use crate::echo;
use crate::measure::{Plan, Timing};
use crate::ops::{self, Kind};
use crate::place;
use crate::suite::Technique;
use anyhow::Context as _;
use std::ffi::CString;
use std::io::{self, Write as _};
use std::time::Duration;

/// The variable of the deliberate slow-down.
pub(crate) const SLOW: &str = "PARROT_BENCH_SLOW";

/// Runs the operations of the command line.
///
/// # Errors
/// The command line, the connection, the technique that is not there, or the output; not the
/// operations.
pub(crate) fn run(args: &WorkerArgs) -> anyhow::Result<()> {
    if let Some(cpu) = args.cpu {
        place::move_to(cpu).context("cannot move to another CPU")?;
    }
    caught(&args.label)?;
    let slow = std::env::var(SLOW).unwrap_or_default();
    let mut client = args
        .chirp
        .map(|server| Client::connect(server).with_context(|| format!("cannot use {server}")))
        .transpose()?;
    anyhow::ensure!(args.echo.is_none() || args.chirp.is_none(), "a server or an echo, not both");
    let mut out = io::stdout().lock();
    for (index, op) in args.ops.iter().enumerate() {
        let (word, path) = op.split_once('=').unwrap_or((op, ""));
        let kind = Kind::from_word(word).with_context(|| format!("unknown operation {word}"))?;
        let plan = Plan {
            batch: Duration::from_millis(args.batch_ms.into()),
            slow: slow_down(&slow, &args.label, kind.word()),
            times: args.times,
        };
        let timing = match args.echo {
            Some(server) => echo::run(server, kind, plan),
            None => one(client.as_mut(), kind, path, plan),
        };
        let line = match timing {
            Ok(timing) => format!("{index}\t{:.3}\t{}\n", timing.ns, timing.count),
            Err(error) => format!("{index}\t!\t{}\n", error.to_string().replace(['\t', '\n'], " ")),
        };
        out.write_all(line.as_bytes())?;
        out.flush()?;
    }
    out.write_all(b"end\n")?;
    out.flush()?;
    Ok(())
}

fn one(client: Option<&mut Client>, kind: Kind, path: &str, plan: Plan) -> io::Result<Timing> {
    match client {
        Some(client) => client.run(kind, path, plan),
        None => ops::run(kind, &CString::new(path)?, plan),
    }
}

/// Makes sure that the technique is at work: what nobody catches would look fast.
pub(crate) fn caught(label: &str) -> anyhow::Result<()> {
    let own = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    if label.starts_with(Technique::Preload.word()) {
        anyhow::ensure!(own("maps")?.contains("libparrot.so"), "libparrot.so is not loaded");
    }
    if label.starts_with(Technique::Trace.word()) {
        let status = own("status")?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        anyhow::ensure!(tracer.is_some_and(|pid| pid.trim() != "0"), "nobody traces this");
    }
    Ok(())
}

/// How much slower this contender's operation has to be.
pub(crate) fn slow_down(asked: &str, label: &str, operation: &str) -> Duration {
    let mut parts = asked.split(':');
    let ours = parts.next() == Some(label) && parts.next() == Some(operation);
    let time = parts.next().and_then(|text| text.parse().ok()).filter(|_| ours);
    Duration::from_nanos(time.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_catches_a_test() {
        assert!(caught("preload").unwrap_err().to_string().contains("not loaded"));
        assert!(caught("native").is_ok() && caught("control").is_ok());
    }

    #[test]
    fn a_slow_down_is_for_one_operation_of_one_contender() {
        let asked = "preload:stat:500";
        assert_eq!(slow_down(asked, "preload", "stat"), Duration::from_nanos(500));
        assert_eq!(slow_down(asked, "native", "stat"), Duration::ZERO);
        assert_eq!(slow_down(asked, "preload", "fstat"), Duration::ZERO);
        assert_eq!(slow_down("", "preload", "stat"), Duration::ZERO);
        assert_eq!(slow_down("preload:stat:x", "preload", "stat"), Duration::ZERO);
    }
}
