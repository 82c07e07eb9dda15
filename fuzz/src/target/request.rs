//! Requests, as the server reads them: what is one is written again and read again, the same.

use parrot_chirp::wire::{Command, Dialect, Reader, Request, Stat, StatFs};

/// Reads lines, and after each as much of a body as it promises.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    while let Ok(line) = reader.read_line() {
        let line = line.to_vec();
        let Ok(request) = Request::parse(&line) else { continue };
        let mut again = Vec::new();
        if request.encode(Dialect::Percent, &mut again).is_ok() {
            let line = again.strip_suffix(b"\n").unwrap_or(&again);
            assert_eq!(Request::parse(line).as_ref(), Ok(&request), "{}", line.escape_ascii());
        }
        let mut other = Vec::new();
        // Whether the other dialect can say it is its own affair.
        let _ = request.encode(Dialect::Backslash, &mut other);
        let body = request.body_len().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        if reader.skip(body).is_err() {
            return;
        }
    }
    // The rest of what both sides read.
    let _ = (Stat::parse(input), StatFs::parse(input));
}

/// A line for each command of the table.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Command::ALL
        .iter()
        .map(|command| {
            let mut line = command.name().to_owned();
            for argument in command.arguments() {
                line.push_str(match *argument {
                    "path" | "target" => " /dir%2f../a%20b",
                    "flags" => " rwc",
                    "name" => " user.name",
                    "subject" => " unix:ann",
                    "rights" => " rwldav(rl)",
                    "host" => " localhost:1",
                    _ => " 5",
                });
            }
            line.push_str("\nbody\n");
            line.into_bytes()
        })
        .collect();
    seeds.extend(super::inputs(&[
        "1 2 3 4 5 6 7 8 9 10 11 12 13\n",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
    ]));
    seeds
}
