//! `protocols`: what requests cost. First the servers, under one plain client and beside an echo of
//! the same bytes; then Parrot's drivers against each server, on loopback and through a stretch of
//! network; then many clients at once (see [`crate::crowd`]).
//!
//! Through a delay the limit is physical: round trips × delay. The proxy counts the round trips of
//! each operation, and the table shows how many times the limit an operation takes.

use crate::client::WHOLE;
use crate::delay::Delay;
use crate::engine::{Block, Cell, Contender, Layout, Row, Unit};
use crate::lab::{Common, Comparison, Lab};
use crate::micro;
use crate::ops::Kind;
use crate::place::Placement;
use crate::start::{Invocation, Starter};
use crate::suite::Technique;
use crate::{crowd, server};
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An operation: row, kind, the file, whether it is told in bytes a second.
type Op = (&'static str, Kind, &'static str, bool);

const SERVER: &[Op] = &[
    ("stat", Kind::Stat, "small", false),
    ("open+close", Kind::Open, "small", false),
    ("pread 1 B", Kind::Pread1, "large", false),
    ("pread 8 KiB", Kind::Pread8k, "large", false),
    ("pwrite 8 KiB", Kind::Pwrite8k, "scratch", false),
    ("pread by 1 MiB", Kind::Pread1m, "large", true),
    ("pwrite by 1 MiB", Kind::Pwrite1m, "scratch", true),
    ("getfile of 1 MiB", Kind::Getfile, "whole", true),
    ("putfile of 1 MiB", Kind::Putfile, "put", true),
];

/// Nothing of these is answered from a cache: the mount is `strict`.
const DRIVER: &[Op] = &[
    ("stat", Kind::Stat, "small", false),
    ("open+close", Kind::Open, "large", false),
    ("read 1 B", Kind::Pread1, "large", false),
    ("read 8 KiB", Kind::Pread8k, "large", false),
    ("read 1 MiB", Kind::Pread1m, "large", false),
    ("write 1 B", Kind::Pwrite1, "scratch", false),
    ("write 8 KiB", Kind::Pwrite8k, "scratch", false),
    ("write 1 MiB", Kind::Pwrite1m, "scratch", false),
];

/// Round trips in microseconds; quickly, only those with a mark.
const DELAYS: [(u64, bool); 5] =
    [(0, true), (130, false), (1_000, true), (10_000, false), (50_000, false)];

/// The one of them through which round trips are counted.
const COUNTED: u64 = 1_000;

/// The name of the mount; no machine has it.
const MOUNT: &str = "/parrot-delay";

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Comparison> {
    let told = "cannot make the files to work on";
    let files = [("small", 64 << 10), ("large", 64 << 20), ("scratch", 16 << 20)];
    for (name, size) in files.into_iter().chain([("whole", WHOLE as u64), ("put", WHOLE as u64)]) {
        lab.sandbox.fill(&format!("export/{name}"), size).context(told)?;
    }
    let notes = vec![
        "servers: one plain client on one connection; the echo takes and gives as many bytes and does \
         nothing else"
            .to_owned(),
        "drivers: mounts with cache=strict, so that every operation reaches the server; everything \
         goes through the proxy, without delay too; limit: round trips × delay"
            .to_owned(),
    ];
    let mut blocks = Vec::new();
    for placement in lab.common.placements(&[Placement::Same, Placement::Free]) {
        blocks.push(servers(lab, placement));
        blocks.push(against_stock(lab, placement));
    }
    for placement in lab.common.placements(&[Placement::Free]) {
        for kind in server::Kind::ALL {
            blocks.push(driver(lab, kind, placement));
        }
        blocks.push(local(lab, placement));
        blocks.push(crowd::block(lab, placement));
    }
    Comparison::run("protocols", lab.common.rounds(5, 1), notes, blocks)
}

fn rows(ops: &[Op]) -> Vec<Row> {
    let row = |op: &Op| Row::time(op.0).unit(if op.3 { Unit::Rate } else { Unit::Time });
    ops.iter().map(row).collect()
}

/// From nanoseconds for a mebibyte to megabytes a second, where that is asked.
fn rates(ops: &[Op], cells: Vec<Cell>) -> Vec<Cell> {
    let rate = |(op, cell): (&Op, Cell)| match op.3 {
        true => cell.map(|ns| 1_048_576.0 / ns * 1e3),
        false => cell,
    };
    ops.iter().zip(cells).map(rate).collect()
}

fn wanted(common: &Common, ops: &[Op]) -> Vec<Op> {
    ops.iter().filter(|op| common.wants(op.0)).copied().collect()
}

/// What our server is held to: against an echo of the same bytes, and against the stock server;
/// for rates the least.
const GOALS: [(&str, Option<f64>, f64); 8] = [
    ("stat", Some(1.5), 0.15),
    ("open+close", Some(1.5), 0.15),
    ("pread 1 B", Some(1.5), 0.15),
    ("pread 8 KiB", Some(1.5), 0.15),
    ("pread by 1 MiB", None, 2.0),
    ("pwrite by 1 MiB", None, 2.0),
    ("getfile of 1 MiB", None, 1.2),
    ("putfile of 1 MiB", None, 1.2),
];

/// The servers under one plain client, beside the echo.
fn servers(lab: &mut Lab, placement: Placement) -> Block<'static> {
    let ops = wanted(&lab.common, SERVER);
    let starter = Starter::new(lab);
    let mut contenders = vec![match Echo::start(lab, placement) {
        Ok(echo) => {
            let invocation = plain(&ops, "--echo", echo.address);
            let (starter, ops) = (starter.clone(), ops.clone());
            Contender::new("echo", move || {
                // It lives as long as its contender.
                let _alive = &echo;
                Ok(rates(&ops, starter.run("echo", &invocation, placement)))
            })
        }
        Err(reason) => Contender::missing("echo", reason),
    }];
    contenders.extend(server::Kind::ALL.map(|kind| client(lab, kind, placement, &ops)));
    let goals = goals(&ops, |(_, echo, _)| *echo);
    table("requests to a server", placement, &ops, contenders, goals)
}

/// Our server with the stock server as the baseline.
fn against_stock(lab: &mut Lab, placement: Placement) -> Block<'static> {
    let ops = wanted(&lab.common, SERVER);
    let kinds = [server::Kind::Stock, server::Kind::Ours];
    let contenders = kinds.map(|kind| client(lab, kind, placement, &ops)).into();
    let goals = goals(&ops, |(_, _, stock)| Some(*stock));
    table("parrot-chirpd against chirp_server", placement, &ops, contenders, goals)
}

/// The goals of the second contender.
fn goals(
    ops: &[Op],
    goal: impl Fn(&(&str, Option<f64>, f64)) -> Option<f64>,
) -> Vec<(usize, usize, f64)> {
    let of = |name: &str| GOALS.iter().find(|(known, ..)| *known == name).and_then(&goal);
    ops.iter().enumerate().filter_map(|(row, op)| Some((row, 1, of(op.0)?))).collect()
}

fn table(
    title: &str,
    placement: Placement,
    ops: &[Op],
    contenders: Vec<Contender<'static>>,
    goals: Vec<(usize, usize, f64)>,
) -> Block<'static> {
    Block {
        title: title.to_owned(),
        placement,
        layout: Layout::List,
        warm_up: false,
        rows: rows(ops),
        contenders,
        goals,
    }
}

/// The plain client on one server.
fn client(
    lab: &mut Lab,
    kind: server::Kind,
    placement: Placement,
    ops: &[Op],
) -> Contender<'static> {
    let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox);
    match address.and_then(|address| placement.guest_cpu().map(|_| address)) {
        Ok(address) => {
            let (starter, ops) = (Starter::new(lab), ops.to_vec());
            let invocation = plain(&ops, "--chirp", address);
            Contender::new(kind.word(), move || {
                Ok(rates(&ops, starter.run("client", &invocation, placement)))
            })
        }
        Err(reason) => Contender::missing(kind.word(), reason),
    }
}

/// A worker that is a plain client.
fn plain(ops: &[Op], option: &str, address: SocketAddr) -> Invocation {
    Invocation {
        ops: ops.iter().map(|op| (op.1.word(), format!("/{}", op.2))).collect(),
        options: vec![option.to_owned(), address.to_string()],
        ..Invocation::default()
    }
}

/// The echo, in a process of its own like any server; ended when dropped.
#[derive(Debug)]
struct Echo {
    child: Child,
    address: SocketAddr,
}

impl Echo {
    fn start(lab: &Lab, placement: Placement) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("the echo cannot be started: {error}");
        let mut command = Command::new(&lab.programs.bench);
        command.arg("echo").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = placement.spawn(&mut command).map_err(told)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(told)?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err("the echo says no address".to_owned())
            }
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The delays that are measured, in microseconds.
fn delays(common: &Common) -> Vec<u64> {
    DELAYS.iter().filter(|(_, quick)| *quick || !common.quick).map(|(us, _)| *us).collect()
}

/// Times by delay, round trips, times the limit by delay: for each operation.
fn delay_rows(ops: &[Op], delays: &[u64]) -> Vec<Row> {
    let mut rows = Vec::new();
    for op in ops {
        for us in delays {
            rows.push(Row::time(format!("{}, {} ms", op.0, milli(*us))).at(milli(*us)));
        }
        rows.push(Row::time(format!("{}: round trips", op.0)).unit(Unit::Number));
        for us in delays.iter().filter(|us| **us > 0) {
            let name = format!("{}: limit, {} ms", op.0, milli(*us));
            rows.push(Row::time(name).unit(Unit::Factor).at(milli(*us)));
        }
    }
    rows
}

fn milli(us: u64) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1e3
}

/// The cells of one operation in the order of [`delay_rows`].
fn delay_cells(times: &[Cell], delays: &[u64], trips: &Cell) -> Vec<Cell> {
    let mut cells = times.to_vec();
    cells.push(trips.clone());
    for (time, us) in times.iter().zip(delays).filter(|(_, us)| **us > 0) {
        cells.push(match (time, trips) {
            (Ok(ns), Ok(trips)) if *trips > 0.0 => Ok(ns / (trips * milli(*us) * 1e6)),
            (Ok(_), Ok(_)) => Err("no round trip, no limit".to_owned()),
            (Err(story), _) | (_, Err(story)) => Err(story.clone()),
        });
    }
    cells
}

/// One server's driver, through every delay.
fn driver(lab: &mut Lab, kind: server::Kind, placement: Placement) -> Block<'static> {
    let ops = wanted(&lab.common, DRIVER);
    let delays = delays(&lab.common);
    let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox);
    let mut contenders = Vec::new();
    for technique in [None, Some(Technique::Preload), Some(Technique::Trace)] {
        let name = technique.map_or("client", Technique::word);
        if technique.is_some() && !lab.common.asks(name) {
            continue;
        }
        let made = address.clone().and_then(|address| {
            placement.guest_cpu()?;
            Delayed::new(lab, address, technique, placement, &ops, &delays, kind.word())
        });
        contenders.push(match made {
            Ok(mut delayed) => Contender::new(name, move || Ok(delayed.round())),
            Err(reason) => Contender::missing(name, reason),
        });
    }
    Block {
        title: format!("chirp driver, {}", kind.word()),
        placement,
        layout: Layout::List,
        warm_up: false,
        rows: delay_rows(&ops, &delays),
        contenders,
        goals: Vec::new(),
    }
}

/// One contender through every delay.
struct Delayed {
    name: &'static str,
    starter: Starter,
    placement: Placement,
    ops: Vec<Op>,
    delays: Vec<u64>,
    /// For each delay: how to start the worker, and the proxy.
    ways: Vec<(Invocation, Delay)>,
    /// Round trips of each operation, once they are counted.
    trips: Option<Vec<Cell>>,
}

impl Delayed {
    fn new(
        lab: &Lab,
        server: SocketAddr,
        technique: Option<Technique>,
        placement: Placement,
        ops: &[Op],
        delays: &[u64],
        of: &str,
    ) -> Result<Self, String> {
        let _held = placement.hold().map_err(|error| error.to_string())?;
        let way = |us: &u64| {
            let proxy = Delay::start(server, Duration::from_micros(*us))
                .map_err(|error| format!("no proxy: {error}"))?;
            let invocation = match technique {
                None => plain(ops, "--chirp", proxy.address),
                Some(technique) => {
                    let session =
                        format!("delay-{of}-{}-{us}-{}", technique.word(), placement.word());
                    let mount = format!("{MOUNT}=/chirp/{}/,cache=strict", proxy.address);
                    let mut made = micro::under(lab, technique, &session, Some(&mount))?;
                    made.ops =
                        ops.iter().map(|op| (op.1.word(), format!("{MOUNT}/{}", op.2))).collect();
                    made
                }
            };
            Ok((invocation, proxy))
        };
        Ok(Self {
            name: technique.map_or("client", Technique::word),
            starter: Starter::new(lab),
            placement,
            ops: ops.to_vec(),
            delays: delays.to_vec(),
            ways: delays.iter().map(way).collect::<Result<_, String>>()?,
            trips: None,
        })
    }

    fn round(&mut self) -> Vec<Cell> {
        let trips = match self.trips.take() {
            Some(trips) => trips,
            None => (0..self.ops.len()).map(|op| self.count(op)).collect(),
        };
        let runs = self.ways.iter();
        let times: Vec<Vec<Cell>> =
            runs.map(|(way, _)| self.starter.run(self.name, way, self.placement)).collect();
        let mut cells = Vec::new();
        for (op, trips) in trips.iter().enumerate() {
            let mine: Vec<Cell> = times.iter().filter_map(|cells| cells.get(op).cloned()).collect();
            cells.extend(delay_cells(&mine, &self.delays, trips));
        }
        self.trips = Some(trips);
        cells
    }

    /// Round trips of one operation: what ten more of them add. Counted through a delay, where
    /// requests that do not wait for each other are seen to travel together.
    fn count(&self, op: usize) -> Cell {
        let at = self.delays.iter().position(|us| *us == COUNTED).unwrap_or(0);
        let trips = |times: u32| -> Result<u64, String> {
            let (way, proxy) = self.ways.get(at).ok_or("no proxy")?;
            let mut way = way.clone();
            way.ops = way.ops.get(op).cloned().into_iter().collect();
            way.options.extend(["--times".to_owned(), times.to_string()]);
            let before = proxy.trips();
            let cells = self.starter.run(self.name, &way, self.placement);
            cells.into_iter().collect::<Result<Vec<f64>, String>>()?;
            Ok(proxy.trips() - before)
        };
        // The first is for what is done once: login, caches.
        trips(1)?;
        let (few, many) = (trips(1)?, trips(11)?);
        Ok(f64::from(u32::try_from(many.saturating_sub(few)).unwrap_or(u32::MAX)) / 10.0)
    }
}

/// The driver for a directory of this machine, without any network.
fn local(lab: &Lab, placement: Placement) -> Block<'static> {
    let ops = wanted(&lab.common, DRIVER);
    let export = lab.sandbox.path("export");
    let native = Invocation {
        ops: ops
            .iter()
            .map(|op| (op.1.word(), export.join(op.2).to_string_lossy().into_owned()))
            .collect(),
        ..Invocation::default()
    };
    let mut contenders = vec![micro::contender(lab, "native", placement, Ok(native))];
    for technique in [Technique::Preload, Technique::Trace] {
        if !lab.common.asks(technique.word()) {
            continue;
        }
        let mount = format!("{MOUNT}=/local/-{}/,cache=strict", export.display());
        let session = format!("driver-local-{}-{}", technique.word(), placement.word());
        let made = micro::under(lab, technique, &session, Some(&mount)).map(|mut made| {
            made.ops = ops.iter().map(|op| (op.1.word(), format!("{MOUNT}/{}", op.2))).collect();
            made
        });
        contenders.push(micro::contender(lab, technique.word(), placement, made));
    }
    table("local driver", placement, &ops, contenders, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_one_of_a_row() {
        for (name, ..) in GOALS {
            assert!(SERVER.iter().any(|op| op.0 == name), "{name}");
        }
        assert_eq!(goals(SERVER, |(_, echo, _)| *echo).len(), 4);
    }

    #[test]
    fn every_operation_has_a_cell_for_every_row() {
        let delays = [0, 1_000, 10_000];
        let rows = delay_rows(&DRIVER[..1], &delays);
        let cells = delay_cells(&[Ok(1e5), Ok(2.5e6), Err("late".into())], &delays, &Ok(2.0));
        assert_eq!(rows.len(), cells.len());
        assert_eq!((rows[0].name.as_str(), rows[0].x), ("stat, 0 ms", Some(0.0)));
        assert_eq!((rows[4].name.as_str(), rows[4].unit), ("stat: limit, 1 ms", Unit::Factor));
        assert_eq!(cells[3], Ok(2.0));
        // 2.5 ms for two round trips of a millisecond.
        assert_eq!((&cells[4], &cells[5]), (&Ok(1.25), &Err("late".to_owned())));
    }

    #[test]
    fn a_mebibyte_in_a_millisecond() {
        let ops = [("a", Kind::Pread1m, "x", true), ("b", Kind::Stat, "x", false)];
        let cells = rates(&ops, vec![Ok(1_048_576.0), Ok(5.0)]);
        assert_eq!(cells, [Ok(1000.0), Ok(5.0)]);
    }
}
