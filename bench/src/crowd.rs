//! Many clients of one server: what a connection costs while it does nothing, what a request costs
//! while everybody asks, and whether everybody gets his turn.

use crate::client::Client;
use crate::engine::{Block, Cell, Contender, Layout, Row, Unit};
use crate::lab::Lab;
use crate::orphans::children_of;
use crate::place::Placement;
use crate::server;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients at once; quickly, the first few.
const CLIENTS: [u32; 4] = [1, 10, 100, 500];
const QUICK: usize = 2;
/// How long everybody asks.
const ASKING: Duration = Duration::from_secs(1);
const STACK: usize = 128 << 10;

/// The table of many clients.
pub(crate) fn block(lab: &mut Lab, placement: Placement) -> Block<'static> {
    let many = if lab.common.quick { QUICK } else { CLIENTS.len() };
    let crowds: Vec<u32> = CLIENTS.iter().take(many).copied().collect();
    let mut rows = Vec::new();
    for clients in &crowds {
        let x = f64::from(*clients);
        let row =
            |what: &str, unit| Row::time(format!("{what}, {clients} clients")).unit(unit).at(x);
        rows.push(row("connect and log in", Unit::Time));
        rows.push(row("memory of a connection", Unit::Memory));
        rows.push(row("memory of the server", Unit::Memory));
        rows.push(row("time between answers", Unit::Time));
        rows.push(row("slowest client by the median", Unit::Factor));
    }
    if !rows.iter().any(|row| lab.common.wants(&row.name)) {
        rows.clear();
    }
    let mut contenders = Vec::new();
    for kind in server::Kind::ALL {
        let found = lab.servers.process(kind, placement, &lab.programs, &lab.sandbox);
        contenders.push(match found {
            Ok((address, pid)) => {
                let crowds = crowds.clone();
                Contender::new(kind.word(), move || {
                    Ok(crowds.iter().flat_map(|clients| cells(address, pid, *clients)).collect())
                })
            }
            Err(reason) => Contender::missing(kind.word(), reason),
        });
    }
    Block {
        title: "many clients: stat, as fast as they get answers".to_owned(),
        placement,
        layout: Layout::List,
        warm_up: false,
        rows,
        contenders,
        goals: Vec::new(),
    }
}

fn cells(address: SocketAddr, pid: i32, clients: u32) -> Vec<Cell> {
    match crowd(address, pid, clients) {
        Ok(cells) => cells.into_iter().map(Ok).collect(),
        Err(story) => vec![Err(story); 5],
    }
}

fn crowd(address: SocketAddr, pid: i32, clients: u32) -> Result<[f64; 5], String> {
    let before = memory(pid);
    let started = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..clients {
        let client = Client::connect(address)
            .map_err(|error| format!("client {} of {clients}: {error}", connections.len() + 1))?;
        connections.push(client);
    }
    let many = f64::from(clients);
    let connecting = started.elapsed().as_secs_f64() * 1e9 / many;
    let whole = memory(pid);
    let each = (whole - before).max(0.0) / many;
    let mut answers = ask(connections)?;
    answers.sort_by(f64::total_cmp);
    let all: f64 = answers.iter().sum();
    let (Some(least), Some(median)) = (answers.first(), answers.get(answers.len() / 2)) else {
        return Err("no client".to_owned());
    };
    Ok([connecting, each, whole, ASKING.as_secs_f64() * 1e9 / all, median / least.max(0.5)])
}

/// Everybody asks until the time is over; the answers that each got.
fn ask(connections: Vec<Client>) -> Result<Vec<f64>, String> {
    let start = Barrier::new(connections.len() + 1);
    let over = AtomicBool::new(false);
    let (start, over) = (&start, &over);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for mut client in connections {
            let one = move || -> std::io::Result<f64> {
                let mut answers = 0_u32;
                start.wait();
                while !over.load(Ordering::Relaxed) {
                    client.ask("/small")?;
                    answers += 1;
                }
                Ok(f64::from(answers))
            };
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, one);
            threads.push(thread.expect("a machine that measures can start threads"));
        }
        start.wait();
        std::thread::sleep(ASKING);
        over.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(answers) => answers.map_err(|error| format!("a client failed: {error}")),
            Err(_) => Err("a client's thread panicked".to_owned()),
        });
        ended.collect()
    })
}

/// Memory of a server and all its children, shared pages counted in parts, in bytes.
fn memory(pid: i32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let below: f64 = children_of(pid).into_iter().map(|child| memory(child.as_raw())).sum();
    kib.unwrap_or(0.0) * 1024.0 + below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(memory(me) > 100_000.0);
        assert_eq!(memory(-1), 0.0);
    }
}
