//! The command `parrot-bench`. Everything is in the library.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    parrot_bench::main(parrot_bench::cli::Cli::parse())
}
