//! The command line: one subcommand per comparison, and the hidden one that is measured.

use crate::lab::{Common, Comparison, Lab};
use crate::suite::{SuiteName, Technique};
use crate::techniques::{self, TechniquesArgs};
use crate::{micro, worker};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Measures what Parrot costs, as ratios to native in the same run.
#[derive(Debug, Parser)]
#[command(name = "parrot-bench", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cost of single calls: local files, remote files known to the session, uncached requests
    Micro(MicroArgs),
    /// Cost of single calls by every technique: minimal agents, and Parrot
    Techniques(TechniquesArgs),
    /// Cost of starting processes by every technique
    Spawn(SpawnArgs),
    /// The program that is measured; started by the other commands
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// What `micro` may be told.
#[derive(Debug, Args)]
pub(crate) struct MicroArgs {
    #[command(flatten)]
    common: Common,

    /// Only these techniques
    #[arg(long, value_delimiter = ',', default_value = "preload,trace")]
    pub(crate) techniques: Vec<Technique>,

    /// Only these suites
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "local,complete,served,uncached,uncached-stock"
    )]
    pub(crate) suites: Vec<SuiteName>,

    /// Size of the file that a session keeps complete, KiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..))]
    pub(crate) complete_kib: u64,

    /// Size of the file that is served, MiB; above the session's limit for complete files
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) served_mib: u64,
}

/// What `spawn` may be told.
#[derive(Debug, Args)]
pub(crate) struct SpawnArgs {
    #[command(flatten)]
    common: Common,
}

/// What a worker is told.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Who it runs as: a technique or a baseline
    #[arg(long)]
    pub(crate) label: String,

    /// Length of a batch, milliseconds
    #[arg(long, default_value_t = 5)]
    pub(crate) batch_ms: u32,

    /// Moves itself to this CPU first
    #[arg(long)]
    pub(crate) cpu: Option<usize>,

    /// Sends Chirp requests to this server instead of calling libc
    #[arg(long)]
    pub(crate) chirp: Option<SocketAddr>,

    /// Operations, each `KIND` or `KIND=PATH`
    pub(crate) ops: Vec<String>,
}

/// Runs what was asked for. Status 0, or 1 when the tool itself failed; a missed goal is a result.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Micro(args) => one(&args.common, "micro", |lab| micro::run(lab, &args)),
        Command::Techniques(args) => {
            one(&args.common, "techniques", |lab| techniques::run(lab, args.nfs.as_deref()))
        }
        Command::Spawn(args) => one(&args.common, "spawn", |lab| techniques::run_spawn(lab)),
        Command::Worker(args) => worker::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::report::say(&format!("parrot-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes the place, runs one comparison, tells its results.
fn one(
    common: &Common,
    name: &str,
    run: impl FnOnce(&mut Lab) -> anyhow::Result<Comparison>,
) -> anyhow::Result<()> {
    let mut lab = Lab::new(common)?;
    let comparison = run(&mut lab)?;
    lab.tell(name, &[comparison])
}
