//! What all comparisons share: options, programs, the directory, the servers; and telling results.

use crate::engine::{self, Block, Measured};
use crate::machine::Machine;
use crate::orphans::Orphans;
use crate::place::Placement;
use crate::programs::Programs;
use crate::sandbox::Sandbox;
use crate::server::Servers;
use crate::{html, interrupt, record, report};
use anyhow::Context as _;
use clap::Args;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options that every comparison has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Rounds; every round runs every contender once [default: as many as the comparison needs]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,

    /// Length of a batch of single calls in milliseconds; the best of three batches counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_ms: u32,

    /// Small trees and files and few rounds: to see that everything works, not for figures
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only these placements [default: those that make a difference]
    #[arg(long, value_delimiter = ',')]
    pub(crate) placements: Vec<Placement>,

    /// Only the operations whose name holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,

    /// Only the contenders whose name holds one of these texts, `|` between them; the baseline
    /// always runs
    #[arg(long, value_name = "TEXT", value_delimiter = '|')]
    pub(crate) by: Vec<String>,

    /// Where the files lie while it runs [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Writes the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Writes the results as one page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Keeps the raw results in bench/runs/DATE-MACHINE-COMPARISON.json
    #[arg(long)]
    pub(crate) save: bool,
}

impl Common {
    /// Whether an operation was asked for.
    pub(crate) fn wants(&self, operation: &str) -> bool {
        self.only.as_deref().is_none_or(|only| operation.contains(only))
    }

    /// Whether a contender was asked for.
    pub(crate) fn asks(&self, contender: &str) -> bool {
        self.by.is_empty() || self.by.iter().any(|text| contender.contains(text.as_str()))
    }

    /// The rounds that were asked for, or these: in earnest, and quick.
    pub(crate) fn rounds(&self, earnest: u32, quick: u32) -> u32 {
        self.rounds.unwrap_or(if self.quick { quick } else { earnest })
    }

    /// The placements that were asked for, or these.
    pub(crate) fn placements(&self, default: &[Placement]) -> Vec<Placement> {
        if self.placements.is_empty() { default.to_vec() } else { self.placements.clone() }
    }

    /// One of two numbers.
    pub(crate) fn size(&self, earnest: u64, quick: u64) -> u64 {
        if self.quick { quick } else { earnest }
    }

    /// How long a batch lasts.
    pub(crate) fn batch(&self) -> Duration {
        Duration::from_millis(self.batch_ms.into())
    }
}

/// A comparison that has been run.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Rounds.
    pub(crate) rounds: u32,
    /// What must be known to read it: sizes, trees, what was left out.
    pub(crate) notes: Vec<String>,
    /// The tables.
    pub(crate) blocks: Vec<Measured>,
    /// How long it took.
    pub(crate) seconds: u64,
}

impl Comparison {
    /// Runs the blocks.
    ///
    /// # Errors
    /// There is nothing to run.
    pub(crate) fn run(
        name: &'static str,
        rounds: u32,
        notes: Vec<String>,
        mut blocks: Vec<Block<'_>>,
    ) -> anyhow::Result<Self> {
        blocks.retain(|block| !block.rows.is_empty());
        anyhow::ensure!(!blocks.is_empty(), "{name}: no operation has a name with that text");
        let started = Instant::now();
        let blocks = engine::run(blocks, rounds);
        anyhow::ensure!(!interrupt::asked(), "interrupted");
        Ok(Self { name, rounds, notes, blocks, seconds: started.elapsed().as_secs() })
    }
}

/// Where comparisons are made. Dropped in this order: servers, then daemons, then files.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Servers on loopback.
    pub(crate) servers: Servers,
    _orphans: Orphans,
    /// The directory of the run.
    pub(crate) sandbox: Sandbox,
    /// The programs.
    pub(crate) programs: Programs,
    /// What was asked for.
    pub(crate) common: Common,
    machine: Machine,
}

impl Lab {
    /// Makes the place.
    ///
    /// # Errors
    /// The tool's own trouble.
    pub(crate) fn new(common: &Common) -> anyhow::Result<Self> {
        let programs = Programs::find().context("cannot find this program")?;
        let sandbox =
            Sandbox::new(common.dir.as_deref()).context("cannot make the files to work on")?;
        interrupt::listen().context("cannot listen to signals")?;
        let orphans = Orphans::inherit().context("cannot look after daemons")?;
        let machine = Machine::look(&sandbox.path(""));
        report::say(&format!("programs: {}", programs.dir.display()));
        let servers = Servers::default();
        Ok(Self { servers, _orphans: orphans, sandbox, programs, common: common.clone(), machine })
    }

    /// Tells the results: on the terminal and in the files that were asked for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn tell(&self, what: &str, comparisons: &[Comparison]) -> anyhow::Result<()> {
        let saved = self.common.save.then(|| record::saved_name(&self.machine, what));
        if self.common.json.is_some() || saved.is_some() {
            let record = format!("{:#}\n", record::record(&self.machine, comparisons));
            for path in self.common.json.iter().chain(saved.iter()) {
                record::write(path, &record)?;
            }
        }
        if let Some(path) = &self.common.html {
            record::write(path, &html::page(&self.machine, comparisons))?;
        }
        let text = report::report(&self.machine, comparisons);
        std::io::stdout().write_all(text.as_bytes()).context("cannot write the table")
    }
}
