//! The command line: one subcommand per comparison, and the hidden one that is measured.

use crate::andrew::AndrewArgs;
use crate::compare::{self, CompareArgs};
use crate::fill::{self, FillArgs};
use crate::lab::{Common, Comparison, Lab};
use crate::suite::{SuiteName, Technique};
use crate::techniques::{self, TechniquesArgs};
use crate::{andrew, blocksize, echo, micro, phases, protocols, scale, worker};
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
    Spawn(PlainArgs),
    /// A developer's day on a tree of C source: list, scan, copy, make, delete
    Andrew(AndrewArgs),
    /// What requests cost: servers, drivers through delays, many clients
    Protocols(PlainArgs),
    /// Copying a large file in and out, by block size
    Blocksize(PlainArgs),
    /// How cost grows: guests, directories, files, mounts
    Scale(PlainArgs),
    /// All of these, one after the other
    All(PlainArgs),
    /// Two saved runs, and what became worse
    Compare(CompareArgs),
    /// Puts the tables of saved runs into a document
    Fill(FillArgs),
    /// Takes and gives bytes; started by the other commands
    #[command(hide = true)]
    Echo,
    /// The commands that are measured; started by the other commands
    #[command(hide = true)]
    Phases(WorkerArgs),
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

impl MicroArgs {
    /// What it is told by default.
    fn new(common: &Common) -> Self {
        use SuiteName::{Complete, Local, Served, Uncached, UncachedStock};
        Self {
            common: common.clone(),
            techniques: vec![Technique::Preload, Technique::Trace],
            suites: vec![Local, Complete, Served, Uncached, UncachedStock],
            complete_kib: 64,
            served_mib: 64,
        }
    }
}

/// What comparisons may be told that have no options of their own.
#[derive(Debug, Args)]
pub(crate) struct PlainArgs {
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

    /// Exchanges bytes with this echo instead, as many as the requests would
    #[arg(long)]
    pub(crate) echo: Option<SocketAddr>,

    /// Does each operation exactly so often, instead of measuring it
    #[arg(long)]
    pub(crate) times: Option<u32>,

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
        Command::Andrew(args) => one(&args.common, "andrew", |lab| andrew::run(lab, &args)),
        Command::Protocols(args) => one(&args.common, "protocols", protocols::run),
        Command::Blocksize(args) => one(&args.common, "blocksize", blocksize::run),
        Command::Scale(args) => one(&args.common, "scale", scale::run),
        Command::All(args) => all(&args.common),
        Command::Compare(args) => compare::run(&args),
        Command::Fill(args) => fill::run(&args),
        Command::Echo => echo::serve(),
        Command::Phases(args) => phases::run(&args),
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

/// Runs every comparison, each in a place of its own, and tells all results together.
fn all(common: &Common) -> anyhow::Result<()> {
    type Run = fn(&mut Lab, &Common) -> anyhow::Result<Comparison>;
    let runs: [Run; 7] = [
        |lab, common| micro::run(lab, &MicroArgs::new(common)),
        |lab, _| techniques::run(lab, None),
        |lab, _| techniques::run_spawn(lab),
        |lab, common| andrew::run(lab, &AndrewArgs::new(common)),
        |lab, _| protocols::run(lab),
        |lab, _| blocksize::run(lab),
        |lab, _| scale::run(lab),
    ];
    let mut comparisons = Vec::new();
    for run in runs {
        let mut lab = Lab::new(common)?;
        comparisons.push(run(&mut lab, common)?);
    }
    Lab::new(common)?.tell("all", &comparisons)
}
