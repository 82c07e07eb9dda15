//! Options that say who may, and how much.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use crate::group::Source;

/// Who may, and how much.
#[derive(Debug, clap::Args)]
pub struct Access {
    /// Where the lists of groups are, for entries `group:NAME`: a directory or http://HOST/PATH
    #[arg(short = 'G', long, value_name = "URL", value_parser = Source::parse)]
    pub group_url: Option<Source>,
    /// Read the list of a group again after this long
    #[arg(short = 'T', long, value_name = "TIME", default_value = "900s", value_parser = duration)]
    pub group_cache_exp: Duration,
    /// Serve at most this many clients from one address at once [default: as many as -M]
    #[arg(long, value_name = "N")]
    pub max_clients_per_host: Option<usize>,
    /// Look up the accounts of the unix login method in this file, of the form of /etc/passwd
    #[arg(short = 'W', long, value_name = "FILE")]
    pub passwd: Option<PathBuf>,
    /// Wait so many microseconds before each request, to try how clients bear it
    #[arg(short = 'l', long, value_name = "MICROSECONDS", default_value_t = 0)]
    #[arg(hide_default_value = true)]
    pub latency: u64,
    /// Accepted: a directory without a list has the rights of its parent here anyway
    #[arg(long)]
    pub inherit_default_acl: bool,
    /// Accepted: nothing is kept outside the tree
    #[arg(short = 'y', long, value_name = "DIR")]
    pub transient: Option<PathBuf>,
    /// End when the process that started the server ends
    #[arg(short = 'E', long)]
    pub parent_death: bool,
    /// Write no core file, whatever happens
    #[arg(short = 'C', long)]
    pub no_core_dump: bool,
}
