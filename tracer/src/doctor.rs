//! `--doctor`: which techniques work on this machine, what will catch a program's calls, and (with
//! `--reach`) whether the servers of the mountlist answer.
//!
//! What can be tried is tried: both techniques run a program on a directory of this machine that is
//! mounted as if it were remote. Files under `/proc` are only asked for the reason of a failure.

mod machine;
mod mounts;
mod program;
mod trial;

use crate::cli::Options;
use crate::rules;
use anyhow::Result;
use std::io::Write as _;
use std::process::ExitCode;

/// How good an answer is; the worst one is the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Level {
    /// As it should be.
    Good = 0,
    /// Something does not work, but Parrot can be used.
    Limited = 1,
    /// Parrot cannot be used, for the program or at all; a server does not answer.
    Bad = 2,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, a few letters.
    pub(super) what: String,
    pub(super) text: String,
}

impl Finding {
    fn new(level: Level, what: &str, text: impl Into<String>) -> Self {
        Self { level, what: what.to_owned(), text: text.into() }
    }

    fn line(&self) -> String {
        let mark = match self.level {
            Level::Good => "ok   ",
            Level::Limited => "limit",
            Level::Bad => "BAD  ",
        };
        format!("  {mark} {:18} {}\n", self.what, self.text)
    }
}

/// Which techniques were seen to work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Works {
    pub(super) preload: bool,
    pub(super) trace: bool,
}

/// Looks, tells, and gives the exit status: 0, 1 or 2 as [`Level`] has it.
///
/// # Errors
/// A mountlist that is wrong.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let table = rules::compile(options)?;
    let base = options.temp_dir.clone().unwrap_or_else(parrot_agent::session::pick_base);
    let mut out = String::from("this machine\n");
    let mut worst = Level::Good;
    let mut tell = |out: &mut String, findings: &[Finding]| {
        for finding in findings {
            worst = worst.max(finding.level);
            out.push_str(&finding.line());
        }
    };
    let (works, trials) = trial::both(&base);
    tell(&mut out, &trials);
    tell(&mut out, &machine::look(&base));
    if options.reach {
        out.push_str("mounts\n");
        tell(&mut out, &mounts::reach(options, table));
    }
    if let Some(name) = options.command.first() {
        out.push_str(&format!("program {}\n", name.to_string_lossy()));
        let (findings, advice) = program::look(&options.command, works);
        tell(&mut out, &findings);
        out.push_str(&advice);
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(ExitCode::from(worst as u8))
}
