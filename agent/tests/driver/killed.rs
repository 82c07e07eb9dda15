//! A server that is killed again and again at random moments, and started again on its port.

use crate::fake::impatient;
use crate::site::{Row, Site};
use crate::{CREATE, READ, WRITE};
use parrot_agent::driver::{Config, Driver, OpenFlags};
use parrot_agent::layer::{Layered, Retry, RetryPolicy};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// One worker's operations in a directory of its own, until it is told to stop. Each must succeed,
/// with the result that it would have had without any trouble. Returns how many rounds it made.
fn work(d: &dyn Driver, dir: &str, stop: &AtomicBool) -> usize {
    let path = |name: &str| format!("{dir}/{name}").into_bytes();
    let only_new = OpenFlags { exclusive: true, truncate: false, ..CREATE };
    let append = OpenFlags { append: true, create: true, ..WRITE };
    d.mkdir(dir.as_bytes(), 0o755).unwrap();
    let (log, _) = d.open(&path("log"), append, 0o644).unwrap();
    let mut rounds = 0;
    while !stop.load(SeqCst) || rounds < 3 {
        let content = format!("{rounds}\n");
        // As a program that takes a lock, writes beside and moves into place.
        let (lock, _) = d.open(&path("lock"), only_new, 0o600).unwrap();
        lock.pwrite(content.as_bytes(), 0).unwrap();
        drop(lock);
        d.rename(&path("lock"), &path("file"), 0).unwrap();
        log.pwrite(content.as_bytes(), 0).unwrap();
        let (_, read) = d.read_small(&path("file"), 100).unwrap();
        assert_eq!(read.unwrap(), content.as_bytes());
        d.mkdir(&path("sub"), 0o755).unwrap();
        d.link(&path("file"), &path("sub/second")).unwrap();
        assert_eq!(d.list(&path("sub")).unwrap().len(), 1);
        d.unlink(&path("sub/second")).unwrap();
        d.rmdir(&path("sub")).unwrap();
        rounds += 1;
    }
    rounds
}

fn killed(times: u32) {
    let config = Config { silence: Duration::from_secs(5), ..impatient() };
    let mut site = Site::with(Row::Parrot, &config);
    let policy = RetryPolicy { deadline: Duration::from_secs(60), ..RetryPolicy::default() };
    let d = Layered::wrap(Retry::new("killed", policy), Arc::clone(&site.driver));
    let stop = AtomicBool::new(false);
    let rounds: Vec<usize> = std::thread::scope(|scope| {
        let (d, stop) = (&d, &stop);
        let workers: Vec<_> =
            (0..3).map(|i| scope.spawn(move || work(&**d, &format!("/{i}"), stop))).collect();
        for i in 0..times {
            // No event: the moment is to be any.
            std::thread::sleep(Duration::from_millis(40 + u64::from(i * 37 % 61)));
            let server = site.server.as_mut().unwrap();
            server.kill();
            server.start_again();
        }
        stop.store(true, SeqCst);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for (i, rounds) in rounds.into_iter().enumerate() {
        let log = String::from_utf8(site.get(format!("{i}/log"))).unwrap();
        let lines: Vec<_> = log.lines().map(|line| line.parse::<usize>().unwrap()).collect();
        assert!(lines.into_iter().eq(0..rounds), "{rounds}: {log}");
        let (file, _) = site.driver.open(format!("/{i}/file").as_bytes(), READ, 0).unwrap();
        drop(file);
        assert_eq!(site.driver.list(format!("/{i}").as_bytes()).unwrap().len(), 2);
    }
}

#[test]
fn a_server_that_is_killed_now_and_then() {
    killed(8);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn a_server_that_is_killed_very_often() {
    killed(300);
}
