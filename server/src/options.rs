//! The command line.

mod access;
mod catalog;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

pub use access::Access;
pub use catalog::Catalog;

use crate::auth::Method;
use crate::wire::DEFAULT_PORT;

/// What `--help` adds.
const EXAMPLES: &str = "\
Examples:
  parrot-chirpd -r /data
      Serve /data on port 9094. The account that starts the server owns the tree;
      programs of the same account on this host reach it as /chirp/localhost/...
  parrot-chirpd -r /data -I 127.0.0.1 -p 0 -Z port.txt
      Serve this host only, on any free port, and write its number to port.txt.
  parrot-chirpd -r /data -R -a hostname -A everyone.acl
      Serve the tree read-only; everyone.acl holds a line such as `hostname:* rl`.

Directories without a .__acl file have the rights of the nearest parent with one.
Exit status: 0 after SIGTERM or SIGINT, 125 when the server cannot start or run.";

/// A Chirp server: gives remote users access to a directory tree.
#[derive(Debug, Parser)]
#[command(name = "parrot-chirpd", version, after_help = EXAMPLES, disable_version_flag = true)]
pub struct Options {
    /// The directory to serve
    #[arg(short, long, value_name = "DIR")]
    pub root: PathBuf,
    /// Port to listen on; 0 picks a free one [default: 9094, or 0 with -Z]
    #[arg(short, long, value_name = "N")]
    pub port: Option<u16>,
    /// Write the port to this file once the server listens
    #[arg(short = 'Z', long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Listen on this address only
    #[arg(short = 'I', long, value_name = "ADDRESS")]
    pub interface: Option<IpAddr>,
    /// Work as this account (only root can) [default as root: the owner of the directory]
    #[arg(short = 'i', long, value_name = "ACCOUNT")]
    pub user: Option<String>,
    /// Allow this login method; may be repeated [default: all]
    #[arg(short, long, value_name = "METHOD")]
    pub auth: Vec<Method>,
    /// Rights where no directory up to the root has a list
    #[arg(short = 'A', long, value_name = "FILE")]
    pub default_acl: Option<PathBuf>,
    /// A subject, such as unix:ann, that may list and administrate every directory
    #[arg(short = 'P', long, value_name = "SUBJECT")]
    pub superuser: Option<String>,
    /// Allow reading and listing only
    #[arg(short = 'R', long)]
    pub read_only: bool,
    /// Limit what the tree may hold, such as 500M or 2T; clients may reserve parts of it
    #[arg(short = 'Q', long, value_name = "SIZE", value_parser = size)]
    pub root_quota: Option<u64>,
    /// Leave this much of the disk free
    #[arg(short = 'F', long, value_name = "SIZE", value_parser = size)]
    #[arg(default_value = "0", hide_default_value = true)]
    pub free_space: u64,
    /// Give a file that was put its name before the disk has it all: faster for many small files,
    /// but a power cut may leave some cut short
    #[arg(long)]
    pub fast_put: bool,
    /// Drop clients that ask nothing for this long
    #[arg(short = 't', long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub idle_clients: Duration,
    /// Give up transfers that stand still for this long
    #[arg(short, long, value_name = "TIME", default_value = "3600s", value_parser = duration)]
    pub stalled: Duration,
    /// Keep what a client has open for this long after its connection is lost; 0 for not at all
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration_or_none)]
    pub grace: Duration,
    /// Keep the sessions of at most this many lost connections, half of them for one subject
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub parked: usize,
    /// Serve at most this many clients at once
    #[arg(short = 'M', long, value_name = "N", default_value_t = 1000)]
    pub max_clients: usize,
    /// Let tickets end after this long, whatever was asked for [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_ticket_duration: Option<Duration>,
    /// Where the challenge files of the unix login method are made
    #[arg(short, long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub challenge_dir: PathBuf,
    /// How long to wait for a challenge file
    #[arg(short = 'z', long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub unix_timeout: Duration,
    /// Who may, and how much
    #[command(flatten)]
    pub access: Access,
    /// What the world hears of the server
    #[command(flatten)]
    pub catalog: Catalog,
    /// Go to the background once the server listens
    #[arg(short = 'b', long)]
    pub background: bool,
    /// Write the process id to this file
    #[arg(short = 'B', long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Report what happens: chirp (requests), auth (logins), tcp (connections),
    /// stats (figures), catalog, all
    #[arg(short, long, value_name = "FLAG")]
    pub debug: Vec<String>,
    /// Append the reports to this file [default: standard error]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub debug_file: Option<PathBuf>,
    /// Begin the file of reports anew at this size; the old one is kept as FILE.old. 0 for never
    #[arg(short = 'O', long, value_name = "SIZE", value_parser = size, default_value = "10M")]
    pub debug_rotate_max: u64,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

impl Options {
    /// The port to ask the system for.
    #[must_use]
    pub fn wanted_port(&self) -> u16 {
        let usual = if self.port_file.is_some() { 0 } else { DEFAULT_PORT };
        self.port.unwrap_or(usual)
    }

    /// Tells whether a login method is allowed.
    #[must_use]
    pub fn allows(&self, method: Method) -> bool {
        self.auth.is_empty() || self.auth.contains(&method)
    }
}

/// Reads a time: a number of seconds, or one with `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        Some((at, 'd')) => (text.get(..at), 86400),
        _ => (Some(text), 1),
    };
    let seconds = digits.and_then(|digits| digits.parse::<u64>().ok());
    match seconds.and_then(|seconds| seconds.checked_mul(unit)) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a time such as 60, 60s, 5m or 1h".to_owned()),
    }
}

/// Reads a time that may be zero.
fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text.trim_start_matches('0').is_empty() && !text.is_empty() {
        return Ok(Duration::ZERO);
    }
    duration(text)
}

/// Reads a size: a number of bytes, or one with `K`, `M`, `G`, `T` or `P` (powers of 1024).
fn size(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let units = ["k", "m", "g", "t", "p"];
    let unit = units.iter().position(|unit| number.to_ascii_lowercase().ends_with(unit));
    let digits = number.get(..number.len() - usize::from(unit.is_some())).unwrap_or_default();
    let factor = unit.and_then(|unit| 1024_u64.checked_pow(u32::try_from(unit).ok()? + 1));
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor.unwrap_or(1)));
    // The wire has no larger numbers.
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "expected a size such as 1000000, 500M or 2T".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    /// Nothing can be asked for that the README does not name.
    #[test]
    fn the_readme_names_every_request_and_option() {
        let text = include_str!("../README.md");
        for command in crate::wire::Command::ALL {
            let (whole, begun) = (format!("`{}`", command.name()), format!("`{} ", command.name()));
            assert!(text.contains(&whole) || text.contains(&begun), "{}", command.name());
        }
        for option in Options::command().get_arguments().filter_map(clap::Arg::get_long) {
            let known = ["help", "version"].contains(&option);
            assert!(known || text.contains(&format!("`--{option}`")), "--{option}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(duration_or_none("2m"), Ok(Duration::from_secs(120)));
        assert!(duration_or_none("").is_err() && duration_or_none("x").is_err());
        for wrong in ["", "s", "0", "-1", "1x", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("12345"), Ok(12345));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("3MB"), Ok(3 << 20));
        assert_eq!(size("2T"), Ok(2 << 40));
        for wrong in ["", "M", "-1", "1x", "1.5G", "9999999999P", "9223372036854775808"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_file_alone_asks_for_any_port() {
        let port = |args: &[&str]| Options::parse_from(args).wanted_port();
        assert_eq!(port(&["parrot-chirpd", "-r", "/"]), 9094);
        assert_eq!(port(&["parrot-chirpd", "-r", "/", "-Z", "f"]), 0);
        assert_eq!(port(&["parrot-chirpd", "-r", "/", "-Z", "f", "-p", "5"]), 5);
    }
}
