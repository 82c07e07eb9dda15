//! `micro`: makes a block of each suite at each placement. Goals stand in [`crate::suite`].

use crate::cli::MicroArgs;
use crate::engine::{self, Block, Contender, Layout};
use crate::lab::{Comparison, Lab};
use crate::ops::Kind;
use crate::place::Placement;
use crate::start::{Invocation, Starter};
use crate::suite::{Baseline, MOUNTS, Place, Row, SUITES, Suite, Technique};
use anyhow::Context as _;
use std::net::SocketAddr;

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble. Whatever is measured may fail: that is a row.
pub(crate) fn run(lab: &mut Lab, args: &MicroArgs) -> anyhow::Result<Comparison> {
    let sandbox = &lab.sandbox;
    let (small, large) = (args.complete_kib << 10, args.served_mib << 20);
    sandbox.fill("export/small", small).context("cannot make the files to work on")?;
    sandbox.fill("export/large", large).context("cannot make the files to work on")?;
    sandbox.fill_local().context("cannot make the files to work on")?;
    let notes = vec![format!(
        "complete file {} KiB, served file {} MiB, batches of {} ms",
        args.complete_kib, args.served_mib, lab.common.batch_ms
    )];
    let mut blocks = Vec::new();
    for suite in SUITES.iter().filter(|suite| args.suites.contains(&suite.name)) {
        let rows: Vec<_> = suite.rows.iter().filter(|row| lab.common.wants(row.name)).collect();
        for placement in lab.common.placements(&[Placement::Same, Placement::Free]) {
            blocks.push(block(lab, args, suite, placement, &rows));
        }
    }
    Comparison::run("micro", lab.common.rounds(10, 3), notes, blocks)
}

type Server = Option<Result<SocketAddr, String>>;

fn block(
    lab: &mut Lab,
    args: &MicroArgs,
    suite: &'static Suite,
    placement: Placement,
    rows: &[&'static Row],
) -> Block<'static> {
    let server =
        suite.server.map(|kind| lab.servers.address(kind, placement, &lab.programs, &lab.sandbox));
    let lab = &*lab;
    let base = baseline(lab, suite, rows, &server);
    let mut contenders = vec![contender(lab, suite.baseline.word(), placement, base.clone())];
    let techniques = args.techniques.iter().filter(|one| lab.common.asks(one.word()));
    let mut goals = Vec::new();
    for technique in techniques.copied() {
        let invocation = match technique {
            Technique::Control => base.clone(),
            _ => guest(lab, technique, suite, placement, rows, &server),
        };
        let index = contenders.len();
        contenders.push(contender(lab, technique.word(), placement, invocation));
        let held = rows.iter().enumerate();
        goals.extend(held.filter_map(|(row, def)| Some((row, index, def.goal(technique)?))));
    }
    let rows = rows.iter().map(|row| engine::Row::time(row.name)).collect();
    let title = suite.title.to_owned();
    Block { title, placement, layout: Layout::List, warm_up: false, rows, contenders, goals }
}

/// A worker that is started once a round.
pub(crate) fn contender(
    lab: &Lab,
    label: &str,
    placement: Placement,
    invocation: Result<Invocation, String>,
) -> Contender<'static> {
    match placement.guest_cpu().and(invocation) {
        Err(reason) => Contender::missing(label, reason),
        Ok(invocation) => {
            let (starter, name) = (Starter::new(lab), label.to_owned());
            Contender::new(label, move || Ok(starter.run(&name, &invocation, placement)))
        }
    }
}

fn baseline(
    lab: &Lab,
    suite: &Suite,
    rows: &[&Row],
    server: &Server,
) -> Result<Invocation, String> {
    let ops = rows.iter().map(|row| op(lab, row.base)).collect();
    let mut invocation = Invocation { ops, ..Invocation::default() };
    if let (Baseline::Client, Some(server)) = (suite.baseline, server) {
        let address = server.clone()?;
        invocation.options = vec!["--chirp".to_owned(), address.to_string()];
    }
    Ok(invocation)
}

fn guest(
    lab: &Lab,
    technique: Technique,
    suite: &Suite,
    placement: Placement,
    rows: &[&Row],
    server: &Server,
) -> Result<Invocation, String> {
    let server = server.clone().transpose()?;
    // Agents are found by their session: each placement has its own.
    let name = format!("{}-{}-{:?}", technique.word(), placement.word(), suite.server);
    let mut invocation = under(lab, technique, &name, server.map(mounts).as_deref())?;
    invocation.ops = rows.iter().map(|row| op(lab, row.guest)).collect();
    Ok(invocation)
}

/// How a guest of Parrot is started, with a session of its own below a name.
///
/// # Errors
/// A sentence for the table: a program is missing.
pub(crate) fn under(
    lab: &Lab,
    technique: Technique,
    session: &str,
    mounts: Option<&str>,
) -> Result<Invocation, String> {
    let mut invocation = Invocation::default();
    match technique {
        Technique::Control => {}
        Technique::Preload => {
            let library = lab.programs.preload.clone()?;
            invocation.environment.push(("LD_PRELOAD", library.into()));
        }
        Technique::Trace => {
            let tracer = lab.programs.trace.clone()?;
            invocation.before = vec![tracer.into(), "--".into()];
        }
    }
    let session = lab.sandbox.session(session).map_err(|error| error.to_string())?;
    invocation.environment.push(("PARROT_TEMP_DIR", session.into()));
    if let Some(mounts) = mounts {
        if technique == Technique::Preload {
            lab.programs.agent.clone()?;
        }
        invocation.environment.push(("PARROT_MOUNT_STRING", mounts.into()));
    }
    Ok(invocation)
}

/// An operation with its path.
fn op(lab: &Lab, (kind, place): (Kind, Place)) -> (&'static str, String) {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let path = match place {
        Place::Nowhere => String::new(),
        Place::Program => text(lab.programs.nothing.clone()),
        Place::Sandbox(name) => text(lab.sandbox.path(name)),
        Place::Mount(path) | Place::Server(path) => path.to_owned(),
    };
    (kind.word(), path)
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
