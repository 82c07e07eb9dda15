//! The command line.

use crate::holes::OnHole;
use crate::log::Flag;
use crate::slips::Format;
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  parrot-trace cat /chirp/host:9094/data/table.csv
      Reads one file of a Chirp server.
  parrot-trace -M /data=/chirp/host:9094/data ./simulate /data/in /data/out
      The program knows only /data; the files are on the server.
  parrot-trace -m mounts.txt -T 600 -- make -C /project
      A list of mounts, and ten minutes of patience when a server is away.
  parrot-trace -d syscall -o trace.txt ls /chirp/host:9094/
      Writes every caught call and what became of it to trace.txt.
  parrot-trace --holes python3 script.py /chirp/host:9094/data
      Runs it as LD_PRELOAD=libparrot.so would, and lists the calls that got past the library.

A mountlist has lines of the form  LOGICAL TARGET [OPTIONS]  as in
  /data     /chirp/host:9094/data   ro cache=session
  /scratch  /tmp/job                rwx

Exit status: the program's own (the same signal if one ended it); 125 if parrot-trace itself failed or a
file could not be written back; 126 if the program cannot be executed; 127 if it was not found.

Where ptrace is not allowed, try the preload technique:  LD_PRELOAD=libparrot.so PROGRAM";

/// Runs a program with remote storage as ordinary files.
///
/// Names like /chirp/HOST:PORT/PATH, and whatever a mountlist maps there, become files and directories
/// for the program and everything it starts. It needs no privilege and no change of the program. Calls
/// on other files run at the speed they have without it.
#[derive(Debug, Parser)]
#[command(name = "parrot-trace", version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Read mounts from this file.
    #[arg(short = 'm', long = "mount-file", value_name = "FILE", env = "PARROT_MOUNT_FILE")]
    pub(crate) mount_file: Option<PathBuf>,

    /// Mount TARGET at LOGICAL (repeatable; later ones win). OPTIONS as in a mountlist.
    #[arg(short = 'M', long = "mount", value_name = "/LOGICAL=/TARGET[,OPTIONS]")]
    pub(crate) mounts: Vec<OsString>,

    /// Mounts as with -M, separated by blanks.
    #[arg(long, value_name = "MOUNTS", env = "PARROT_MOUNT_STRING", hide = true)]
    pub(crate) mount_string: Option<OsString>,

    /// Trace these subsystems.
    #[arg(short, long, value_name = "FLAGS", value_delimiter = ',', env = "PARROT_DEBUG_FLAGS")]
    pub(crate) debug: Vec<Flag>,

    /// Write the trace to this file instead of stderr.
    #[arg(short = 'o', long, value_name = "FILE", env = "PARROT_DEBUG_FILE")]
    pub(crate) debug_file: Option<PathBuf>,

    /// Keep cached and working files below this directory.
    #[arg(short, long = "tempdir", value_name = "DIR", env = "PARROT_TEMP_DIR")]
    pub(crate) temp_dir: Option<PathBuf>,

    /// How long to retry when a server is away, before the program gets an error.
    #[arg(short = 'T', long, value_name = "SECONDS", env = "PARROT_TIMEOUT")]
    pub(crate) timeout: Option<u64>,

    /// Start in this directory, which may be remote.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) work_dir: Option<OsString>,

    /// Chirp login methods to try, in this order (repeatable).
    #[arg(
        short = 'a',
        long = "chirp-auth",
        value_name = "METHODS",
        value_delimiter = ',',
        env = "PARROT_CHIRP_AUTH"
    )]
    pub(crate) auth: Vec<String>,

    /// Tickets to log in to Chirp servers with, instead of the files ticket.* here.
    #[arg(short = 'i', long, value_name = "FILES", env = "CHIRP_CLIENT_TICKETS")]
    pub(crate) tickets: Option<String>,

    /// What to do when a program makes a call on a remote object that Parrot does not handle.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "warn", env = "PARROT_ON_HOLE")]
    pub(crate) on_hole: OnHole,

    /// Stop at every call that carries a name. Otherwise libparrot.so is loaded into dynamic programs
    /// to make the calls whose names are certainly local without a stop, ten times as fast; a program
    /// that is out to break a DENY rule could use that.
    #[arg(long, env = "PARROT_NO_LANE", value_parser = clap::builder::FalseyValueParser::new(), num_args = 0, default_value_t = false)]
    pub(crate) no_lane: bool,

    /// Run the program with libparrot.so, and tell which calls slip past it.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    pub(crate) holes: Option<Format>,

    /// Write what --holes tells to this file instead of stderr.
    #[arg(long, value_name = "FILE", requires = "holes")]
    pub(crate) holes_file: Option<PathBuf>,

    /// Tell which techniques work on this machine and, for COMMAND, what will catch its calls:
    /// status 0 all is well, 1 something is limited, 2 something does not work.
    #[arg(long, conflicts_with = "holes")]
    pub(crate) doctor: bool,

    /// With --doctor: ask each server of the mountlist, too.
    #[arg(long, requires = "doctor")]
    pub(crate) reach: bool,

    /// Write counters to this file as JSON when everything has ended.
    #[arg(long, value_name = "FILE")]
    pub(crate) stats_file: Option<PathBuf>,

    /// Print how often each call was caught when everything has ended.
    #[arg(short = 'W', long)]
    pub(crate) syscall_table: bool,

    /// Print whether a driver is there (status 0) or not (status 1).
    #[arg(long, value_name = "NAME")]
    pub(crate) check_driver: Option<String>,

    /// Status 0 inside Parrot, else 1.
    #[arg(long)]
    pub(crate) is_running: bool,

    /// Join the running session in this directory; used for static programs of preloaded ones.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) session: Option<PathBuf>,

    /// The program's zeroth argument, if it is not its name.
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) argv0: Option<OsString>,

    /// The program and its arguments.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Options {
    /// Whether any mount is given, so that the rules are not the built-in ones.
    pub(crate) fn has_rules(&self) -> bool {
        !self.mounts.is_empty() || self.mount_file.is_some() || self.mount_string.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_end_at_the_program() {
        Options::command().debug_assert();
        let options = Options::parse_from(["parrot-trace", "-T", "5", "ls", "-l", "-T", "6"]);
        assert_eq!(options.timeout, Some(5));
        assert_eq!(options.command, ["ls", "-l", "-T", "6"]);
        let options = Options::parse_from(["parrot-trace", "-d", "syscall,hole", "--", "-x", "--"]);
        assert_eq!(options.debug, [Flag::Syscall, Flag::Hole]);
        assert_eq!(options.command, ["-x", "--"]);
        assert!(Options::try_parse_from(["parrot-trace", "--no-such-option", "true"]).is_err());
    }
}
