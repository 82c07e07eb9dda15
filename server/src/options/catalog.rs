//! Options that say what the world hears of the server.

use std::time::Duration;

use super::duration;

/// What the world hears of the server.
#[derive(Debug, clap::Args)]
pub struct Catalog {
    /// Catalog server to report to; may be repeated; `-` for none [default: none]
    #[arg(short = 'u', long, value_name = "HOST[:PORT]")]
    pub advertise: Vec<String>,
    /// Report to the catalog this often
    #[arg(short = 'U', long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub catalog_update: Duration,
    /// The host name to tell the catalog [default: the name of this host]
    #[arg(short = 'n', long, value_name = "NAME")]
    pub catalog_name: Option<String>,
    /// The owner to tell the catalog [default: the server's account]
    #[arg(short = 'w', long, value_name = "NAME")]
    pub owner: Option<String>,
    /// The project to tell the catalog
    #[arg(long, value_name = "NAME")]
    pub project_name: Option<String>,
}

impl Catalog {
    /// All catalog servers.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let all = self.advertise.iter().flat_map(|hosts| hosts.split(','));
        all.filter(|host| !matches!(*host, "" | "-")).map(str::to_owned).collect()
    }
}
