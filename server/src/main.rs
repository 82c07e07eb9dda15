//! `parrot-chirpd`, a Chirp server.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use parrot_chirp::options::Options;

/// Exit status for everything that is the server's own trouble.
const TROUBLE: u8 = 125;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(message) => {
            // Help and version come this way too; standard output may be closed.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(TROUBLE) } else { ExitCode::SUCCESS };
        }
    };
    match parrot_chirp::server::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "parrot-chirpd: {error:#}");
            ExitCode::from(TROUBLE)
        }
    }
}
