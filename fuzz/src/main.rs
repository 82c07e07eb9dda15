//! Mutates the seeds of targets for a while, or runs given inputs again. See the README.

use clap::Parser;
use parrot_fuzz::target::{TARGETS, Target};
use parrot_fuzz::{Until, run, target, try_input};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives nonsense to everything that parses the words of others.
#[derive(Debug, Parser)]
struct Cli {
    /// The target; all in turn if none is named
    target: Option<String>,
    /// Inputs to run again, instead of new ones
    inputs: Vec<PathBuf>,
    /// How long, in all
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Where to begin; the same number gives the same inputs [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Where inputs go that are not borne
    #[arg(long, default_value = "fuzz/found")]
    found: PathBuf,
}

fn main() -> ExitCode {
    match all(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::from(125)
        }
    }
}

fn tell(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "parrot-fuzz: {text}");
}

fn all(cli: &Cli) -> std::io::Result<bool> {
    let targets: Vec<&Target> = match &cli.target {
        None => TARGETS.iter().collect(),
        Some(name) => match target::find(name) {
            Some(target) => vec![target],
            None => return Err(std::io::Error::other(format!("there is no target {name}"))),
        },
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = cli.seed.unwrap_or(now.as_secs());
    let share = u32::try_from(targets.len()).unwrap_or(1).max(1);
    let time = Duration::from_secs(cli.seconds) / share;
    let mut fine = true;
    for target in targets {
        if !cli.inputs.is_empty() {
            for path in &cli.inputs {
                if !try_input(target, &std::fs::read(path)?) {
                    tell(&format!("{}: {} is not borne", target.name, path.display()));
                    fine = false;
                }
            }
            continue;
        }
        match run(target, seed, Until::Time(time)) {
            Ok(count) => tell(&format!("{}: {count} inputs from seed {seed}", target.name)),
            Err((input, count)) => {
                std::fs::create_dir_all(&cli.found)?;
                let path = cli.found.join(format!("{}-{seed}-{count}", target.name));
                std::fs::write(&path, input)?;
                tell(&format!("{}: {} is not borne", target.name, path.display()));
                fine = false;
            }
        }
    }
    Ok(fine)
}
