//! A connection that is cut after every single byte of a session, in either direction.
//!
//! A scripted session runs through a proxy that passes so many bytes and then cuts, in turn by an
//! end and by a reset. Whatever the place, each operation must end with its right result or with a
//! clear error, in time, and the tree must be what the results say.

use crate::fake::impatient;
use crate::site::{Row, Site, connect};
use crate::{CREATE, READ, WRITE};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use parrot_agent::driver::{Config, Driver, OpenFlags, SetTime};
use parrot_agent::error::{Error, Kind, Result};
use parrot_agent::layer::{Layered, Retry, RetryPolicy};
use parrot_common::Errno;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many bytes a connection lets pass, towards the server and back.
#[derive(Debug, Clone, Copy)]
struct Budget {
    up: u64,
    down: u64,
}

const ENDLESS: Budget = Budget { up: u64::MAX, down: u64::MAX };

/// A proxy whose connections are cut.
#[derive(Debug)]
struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// For the connections to come, in their order; all others are endless.
    budgets: Mutex<VecDeque<Budget>>,
    /// Bytes that passed since the start.
    up: AtomicU64,
    down: AtomicU64,
    reset: AtomicBool,
}

impl Cutter {
    fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let budget = state.budgets.lock().unwrap().pop_front().unwrap_or(ENDLESS);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let [client, server] = [client, server].map(Arc::new);
                for (from, to, budget, up) in [
                    (Arc::clone(&client), Arc::clone(&server), budget.up, true),
                    (server, client, budget.down, false),
                ] {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || pass(&from, &to, budget, up, &state));
                }
            }
        });
        Self { port, shared }
    }
}

fn pass(from: &TcpStream, to: &TcpStream, budget: u64, up: bool, shared: &Shared) {
    let mut left = budget;
    let mut buffer = vec![0; 64 << 10];
    while left > 0
        && let Ok(count @ 1..) = (&*from).read(&mut buffer)
    {
        let pass = usize::try_from(left).unwrap_or(usize::MAX).min(count);
        if (&*to).write_all(&buffer[..pass]).is_err() {
            break;
        }
        let counter = if up { &shared.up } else { &shared.down };
        let pass = u64::try_from(pass).unwrap();
        counter.fetch_add(pass, SeqCst);
        left -= pass;
    }
    // Closed without a goodbye, a connection is reset; that happens when the last thread lets go.
    let reset = shared.reset.load(SeqCst);
    for stream in [from, to] {
        if reset {
            let linger = linger { l_onoff: 1, l_linger: 0 };
            let _ = setsockopt(stream, sockopt::Linger, &linger);
        }
        let _ = stream.shutdown(if reset { Shutdown::Read } else { Shutdown::Both });
    }
}

/// What one run did, and whether the append is known to be there once.
#[derive(Debug, Default)]
struct Outcome {
    /// Operations that ended with an error that leaves it open whether they were done.
    doubtful: Vec<&'static str>,
}

impl Outcome {
    /// The result of a step: right, or cut at a place where nobody can know.
    fn step<T>(&mut self, name: &'static str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let clear = matches!(error.kind(), Kind::Disconnected | Kind::TimedOut);
                assert!(clear, "{name}: {error}");
                self.doubtful.push(name);
                None
            }
        }
    }
}

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog\n";

/// The session. `dir` is new and of this run only.
fn session(d: &dyn Driver, dir: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let path = |name: &str| format!("{dir}/{name}").into_bytes();
    let o = &mut outcome;
    o.step("mkdir", d.mkdir(dir.as_bytes(), 0o755));
    // Parted from its name: only what is open leads to it.
    let open = d.open(&path("file"), CREATE, 0o644);
    let (file, _) = o.step("create", open).expect("creating is no matter of doubt");
    o.step("write", file.pwrite(TEXT, 0));
    o.step("write behind", file.pwrite(b"!", 43));
    let (reader, _) = o.step("open", d.open(&path("file"), READ, 0)).unwrap();
    let mut buffer = [0; 100];
    let got = o.step("read", reader.pread(&mut buffer, 0)).unwrap();
    assert_eq!(&buffer[..got], [&TEXT[..43], b"!"].concat());
    let attr = o.step("fstat", reader.fstat()).unwrap();
    assert_eq!(attr.size, 44);
    o.step("ftruncate", file.ftruncate(10));
    o.step("fsync", file.fsync());
    let append = OpenFlags { append: true, create: true, ..WRITE };
    let (log, _) = o.step("open to append", d.open(&path("log"), append, 0o644)).unwrap();
    o.step("append one", log.pwrite(b"one\n", 0));
    o.step("append two", log.pwrite(b"two\n", 0));
    let only_new = OpenFlags { exclusive: true, truncate: false, ..CREATE };
    let lock = o.step("exclusive create", d.open(&path("lock"), only_new, 0o600));
    assert!(lock.is_some() || o.doubtful.contains(&"exclusive create"));
    drop(lock);
    o.step("rename", d.rename(&path("lock"), &path("lock2"), 0));
    o.step("link", d.link(&path("file"), &path("second")));
    o.step("symlink", d.symlink(b"file", &path("soft")));
    assert_eq!(o.step("readlink", d.readlink(&path("soft"))).unwrap(), b"file");
    let names: Vec<_> = ["file", "second", "nothing"].map(path).into();
    let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
    let found = d.stat_many(&names);
    assert_eq!(found[0].as_ref().unwrap().ino, found[1].as_ref().unwrap().ino);
    assert_eq!(refusal(found[2].as_ref().unwrap_err()), Errno::ENOENT);
    o.step("unlink", d.unlink(&path("second")));
    match d.unlink(&path("second")) {
        // A stock server was asked, did not say what became of it, and the name is gone.
        Ok(()) => o.doubtful.push("unlink again"),
        Err(error) => assert_eq!(refusal(&error), Errno::ENOENT),
    }
    let (_, small) = o.step("read_small", d.read_small(&path("file"), 1000)).unwrap();
    assert_eq!(small.unwrap(), TEXT[..10]);
    o.step("chmod", d.chmod(&path("file"), 0o600));
    o.step("utimes", d.utimes(&path("file"), SetTime::At(1, 0), SetTime::At(2, 0), true));
    let list = o.step("list", d.list(dir.as_bytes())).unwrap();
    let mut names: Vec<_> = list.into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, [b"file".to_vec(), b"lock2".into(), b"log".into(), b"soft".into()]);
    o.step("mkdir below", d.mkdir(&path("sub"), 0o755));
    assert_eq!(refusal(&d.mkdir(&path("sub"), 0o755).unwrap_err()), Errno::EEXIST);
    o.step("rmdir", d.rmdir(&path("sub")));
    outcome
}

fn refusal(error: &Error) -> Errno {
    match error.kind() {
        Kind::Remote(errno) => errno,
        kind => panic!("not the server's answer: {kind:?}: {error}"),
    }
}

/// What must be there after a run.
fn verify(tree: &Path, outcome: &Outcome) {
    assert_eq!(std::fs::read(tree.join("file")).unwrap(), TEXT[..10]);
    let log = String::from_utf8(std::fs::read(tree.join("log")).unwrap()).unwrap();
    for (step, word) in [("append one", "one\n"), ("append two", "two\n")] {
        let times = log.matches(word).count();
        let least = usize::from(!outcome.doubtful.contains(&step));
        assert!((least..=1).contains(&times), "{log:?} after {outcome:?}");
    }
    assert!(tree.join("lock2").exists() && !tree.join("lock").exists());
    let meta = std::fs::metadata(tree.join("file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&meta), 2);
}

/// Runs the session for every `stride`th byte, from `first` on.
fn every_byte(row: Row, stride: usize) {
    let site = Site::with(row, &impatient());
    let cutter = Cutter::start(site.server.as_ref().unwrap().port);
    let host = format!("127.0.0.1:{}", cutter.port);
    let config = Config { connections: 1, silence: Duration::from_secs(5), ..impatient() };
    let mut count = 0;
    let mut run = |budgets: Vec<Budget>, reset: bool| {
        count += 1;
        let dir = format!("/run{count}");
        *cutter.shared.budgets.lock().unwrap() = budgets.iter().copied().collect();
        cutter.shared.reset.store(reset, SeqCst);
        let policy = RetryPolicy { deadline: Duration::from_secs(20), ..RetryPolicy::default() };
        let d = Layered::wrap(Retry::new("cut", policy), connect("chirp", &host, &config));
        let start = Instant::now();
        let outcome = session(&*d, &dir);
        assert!(start.elapsed() < Duration::from_secs(15), "{budgets:?}: {:?}", start.elapsed());
        verify(&site.tree.join(&dir[1..]), &outcome);
        if row == Row::Parrot {
            assert!(outcome.doubtful.is_empty(), "{budgets:?}: {outcome:?}");
        }
        let known = ["exclusive create", "unlink again"];
        assert!(outcome.doubtful.iter().all(|step| known.contains(step)), "{outcome:?}");
    };
    run(Vec::new(), false);
    let [up, down] = [&cutter.shared.up, &cutter.shared.down].map(|count| count.load(SeqCst));
    // In turn by an end and by a reset, once and once more soon after.
    for (i, bytes) in (0..up.max(down)).step_by(stride).enumerate() {
        let again = Budget { up: bytes % 331, down: u64::MAX };
        let reset = i % 2 == 1;
        if bytes < up {
            let first = Budget { up: bytes, down: u64::MAX };
            run([first, again][..1 + usize::from(i % 3 == 2)].to_vec(), reset);
        }
        if bytes < down {
            let first = Budget { up: u64::MAX, down: bytes };
            run([first, again][..1 + usize::from(i % 3 == 1)].to_vec(), reset);
        }
    }
    assert!(count > 50, "{count} runs: {up} bytes up, {down} down");
}

#[test]
fn cut_here_and_there_parrot() {
    every_byte(Row::Parrot, 23);
}

#[test]
fn cut_here_and_there_stock() {
    every_byte(Row::Stock, 37);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn cut_after_every_byte_parrot() {
    every_byte(Row::Parrot, 1);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn cut_after_every_byte_stock() {
    every_byte(Row::Stock, 1);
}
