//! `micro`: makes the cases of the suites, runs them, tells the results.

use crate::cli::MicroArgs;
use crate::machine::Machine;
use crate::ops::Kind;
use crate::orphans::Orphans;
use crate::place::Placement;
use crate::programs::Programs;
use crate::runner::{Case, Contender, Invocation, Runner};
use crate::sandbox::Sandbox;
use crate::server::{self, Server};
use crate::suite::{Baseline, MOUNTS, Place, Row, SUITES, Suite, Technique};
use crate::{record, report, results};
use anyhow::Context as _;
use std::io::Write as _;
use std::net::SocketAddr;

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble. Whatever is measured may fail: that is a row.
pub(crate) fn run(args: &MicroArgs) -> anyhow::Result<()> {
    let programs = Programs::find().context("cannot find this program")?;
    // Dropped in the opposite order: servers, then daemons, then files.
    let sandbox = Sandbox::new(args.dir.as_deref(), args.complete_kib << 10, args.served_mib << 20)
        .context("cannot make the files to work on")?;
    let _orphans = Orphans::inherit().context("cannot look after daemons")?;
    let machine = Machine::look(&sandbox.path(""));
    report::say(&format!("programs: {}", programs.dir.display()));
    let mut setup = Setup { args, programs, sandbox: &sandbox, servers: Vec::new() };
    let mut cases = setup.cases();
    anyhow::ensure!(!cases.is_empty(), "no operation has a name with that text");
    let log = sandbox.path("log");
    let runner = Runner { bench: setup.programs.bench.clone(), batch_ms: args.batch_ms, log: &log };
    runner.run(&mut cases, args.rounds);
    let lines = results::lines(&cases);
    let record = record::record(&machine, args, &lines);
    for path in args.json.iter().cloned().chain(args.save.then(|| record::saved_name(&machine))) {
        record::write(&path, &record)?;
    }
    let text = report::report(&machine, &lines, args.rounds);
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the table")
}

/// A server that was tried, for one placement.
type Tried = (server::Kind, Placement, Result<Server, String>);

/// What the cases are made of.
struct Setup<'a> {
    args: &'a MicroArgs,
    programs: Programs,
    sandbox: &'a Sandbox,
    servers: Vec<Tried>,
}

impl Setup<'_> {
    fn cases(&mut self) -> Vec<Case> {
        let args = self.args;
        let only = args.only.as_deref().unwrap_or_default();
        let mut cases = Vec::new();
        for suite in SUITES.iter().filter(|suite| args.suites.contains(&suite.name)) {
            let rows: Vec<_> = suite.rows.iter().filter(|row| row.name.contains(only)).collect();
            for placement in args.placements.iter().copied() {
                if !rows.is_empty() {
                    cases.push(self.case(suite, placement, rows.clone()));
                }
            }
        }
        cases
    }

    fn case(
        &mut self,
        suite: &'static Suite,
        placement: Placement,
        rows: Vec<&'static Row>,
    ) -> Case {
        let server = suite.server.map(|kind| self.server(kind, placement));
        let mut contenders = vec![Contender {
            label: suite.baseline.word(),
            technique: None,
            invocation: self.baseline(suite, &rows, server.as_ref()),
        }];
        for technique in self.args.techniques.iter().copied() {
            contenders.push(Contender {
                label: technique.word(),
                technique: Some(technique),
                invocation: match technique {
                    Technique::Control => self.baseline(suite, &rows, server.as_ref()),
                    _ => self.guest(technique, suite, placement, &rows, server.as_ref()),
                },
            });
        }
        Case { suite, placement, rows, contenders, cells: Vec::new() }
    }

    /// The server of this kind and placement, started at the first need.
    fn server(&mut self, kind: server::Kind, placement: Placement) -> Result<SocketAddr, String> {
        let known = self.servers.iter().position(|tried| (tried.0, tried.1) == (kind, placement));
        let index = known.unwrap_or_else(|| {
            let server = Server::start(kind, placement, &self.programs, self.sandbox);
            self.servers.push((kind, placement, server));
            self.servers.len() - 1
        });
        match self.servers.get(index) {
            Some((.., Ok(server))) => Ok(server.address),
            Some((.., Err(story))) => Err(story.clone()),
            None => Err("no server".to_owned()),
        }
    }

    fn baseline(
        &self,
        suite: &Suite,
        rows: &[&Row],
        server: Option<&Result<SocketAddr, String>>,
    ) -> Result<Invocation, String> {
        let ops = rows.iter().map(|row| self.op(row.base)).collect();
        let mut invocation = Invocation { ops, ..Invocation::default() };
        if let (Baseline::Client, Some(server)) = (suite.baseline, server) {
            let address = server.clone()?;
            invocation.options = vec!["--chirp".to_owned(), address.to_string()];
        }
        Ok(invocation)
    }

    fn guest(
        &self,
        technique: Technique,
        suite: &Suite,
        placement: Placement,
        rows: &[&Row],
        server: Option<&Result<SocketAddr, String>>,
    ) -> Result<Invocation, String> {
        let server = server.cloned().transpose()?;
        let ops = rows.iter().map(|row| self.op(row.guest)).collect();
        let mut invocation = Invocation { ops, ..Invocation::default() };
        match technique {
            Technique::Control => {}
            Technique::Preload => {
                let library = self.programs.preload.clone()?;
                invocation.environment.push(("LD_PRELOAD", library.into()));
            }
            Technique::Trace => {
                let tracer = self.programs.trace.clone()?;
                invocation.before = vec![tracer.into(), "--".into()];
            }
        }
        // Agents are found by their session: each placement has its own.
        let name = format!("{}-{}-{:?}", technique.word(), placement.word(), suite.server);
        let session = self.sandbox.session(&name).map_err(|error| error.to_string())?;
        invocation.environment.push(("PARROT_TEMP_DIR", session.into()));
        if let Some(address) = server {
            if technique == Technique::Preload {
                self.programs.agent.clone()?;
            }
            invocation.environment.push(("PARROT_MOUNT_STRING", mounts(address).into()));
        }
        Ok(invocation)
    }

    /// An operation with its path.
    fn op(&self, (kind, place): (Kind, Place)) -> (Kind, String) {
        let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let path = match place {
            Place::Nowhere => String::new(),
            Place::Program => text(self.programs.nothing.clone()),
            Place::Sandbox(name) => text(self.sandbox.path(name)),
            Place::Mount(path) | Place::Server(path) => path.to_owned(),
        };
        (kind, path)
    }
}

/// The mounts on a server.
fn mounts(server: SocketAddr) -> String {
    MOUNTS.map(|(name, options)| format!("{name}=/chirp/{server}/{options}")).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_as_the_mountlist_wants_them() {
        let text = mounts(SocketAddr::from(([127, 0, 0, 1], 9094)));
        let mut words = text.split(' ');
        assert_eq!(words.next(), Some("/parrot-open=/chirp/127.0.0.1:9094/"));
        assert_eq!(words.next(), Some("/parrot-session=/chirp/127.0.0.1:9094/,cache=session"));
    }
}
