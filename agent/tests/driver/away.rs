//! Servers that go away and come back.

use crate::fake::{Fake, Peer, Script, impatient, script, stat_line};
use crate::site::{Row, Site, connect};
use crate::{CREATE, READ, WRITE, errno};
use parrot_agent::driver::{Config, OpenFlags};
use parrot_agent::error::{Error, Kind};
use parrot_agent::layer::{Cancel, Layered, Log, OnTransient, Retry, RetryPolicy, cancellable};
use parrot_common::Errno;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn restart(row: Row) {
    let mut site = Site::with(row, &impatient());
    let d = Arc::clone(&site.driver);
    let (file, _) = d.open(b"/file", CREATE, 0o644).unwrap();
    file.pwrite(b"before", 0).unwrap();
    let (reader, _) = d.open(b"/file", READ, 0).unwrap();
    let log_flags = OpenFlags { append: true, create: true, ..WRITE };
    let (log, _) = d.open(b"/log", log_flags, 0o644).unwrap();
    log.pwrite(b"one\n", 0).unwrap();
    let open = |name: &[u8]| d.open(name, CREATE, 0o644).unwrap().0;
    let (removed, replaced) = (open(b"/removed"), open(b"/replaced"));

    site.server().kill();
    let away = |error: Error| {
        assert!(matches!(error.kind(), Kind::Refused | Kind::Disconnected), "{error}");
        assert!(error.is_transient() && !error.is_in_doubt(), "{error}");
    };
    away(d.stat(b"/file", true).unwrap_err());
    away(reader.pread(&mut [0; 10], 0).unwrap_err());
    away(d.mkdir(b"/dir", 0o755).unwrap_err());
    away(log.pwrite(b"lost\n", 0).unwrap_err());

    site.server().start_again();
    let mut buf = [0; 10];
    assert_eq!(reader.pread(&mut buf, 0).unwrap(), 6);
    assert_eq!(&buf[..6], b"before");
    file.pwrite(b"after!", 0).unwrap();
    assert_eq!(reader.pread(&mut buf, 0).unwrap(), 6);
    assert_eq!(&buf[..6], b"after!");
    log.pwrite(b"two\n", 0).unwrap();
    assert_eq!(d.read_small(b"/log", 100).unwrap().1.unwrap(), b"one\ntwo\n");

    // At once, on connections that nobody has looked at since: nothing is lost or done twice.
    for i in 0..5 {
        site.server().kill();
        site.server().start_again();
        match i {
            0 => d.mkdir(b"/dir", 0o755).unwrap(),
            1 => log.pwrite(b"three\n", 0).unwrap(),
            2 => drop(d.open(b"/new", OpenFlags { exclusive: true, ..CREATE }, 0o644).unwrap()),
            3 => d.rename(b"/new", b"/newer", 0).unwrap(),
            _ => assert_eq!(d.list(b"/dir").unwrap().len(), 0),
        }
    }
    assert_eq!(d.read_small(b"/log", 100).unwrap().1.unwrap(), b"one\ntwo\nthree\n");

    std::fs::remove_file(site.tree.join("removed")).unwrap();
    let other = d.open(b"/other", CREATE, 0o644).unwrap().0;
    std::fs::rename(site.tree.join("other"), site.tree.join("replaced")).unwrap();
    drop(other);
    site.server().kill();
    site.server().start_again();
    assert_eq!(removed.fstat().unwrap_err().kind(), Kind::Stale);
    assert_eq!(replaced.pread(&mut buf, 0).unwrap_err().errno(), Errno::ESTALE);
    assert_eq!(replaced.pwrite(b"x", 0).unwrap_err().kind(), Kind::Stale);
}

#[test]
fn a_killed_server_comes_back_parrot() {
    restart(Row::Parrot);
}

#[test]
fn a_killed_server_comes_back_stock() {
    restart(Row::Stock);
}

#[test]
fn a_server_killed_in_the_middle_of_transfers() {
    let mut site = Site::with(Row::Parrot, &impatient());
    let told = Arc::new(Mutex::new(Vec::new()));
    let d = Layered::wrap(Retry::new("here", policy(20, &told)), Arc::clone(&site.driver));
    let content = vec![7; 6 << 20];
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (d, content) = (&d, &content);
            scope.spawn(move || {
                let name = [b"/file", &[b'0' + thread][..]].concat();
                for _ in 0..30 {
                    let (file, _) = d.open(&name, CREATE, 0o644).unwrap();
                    file.pwrite(content, 0).unwrap();
                    let mut back = vec![0; content.len()];
                    assert_eq!(file.pread(&mut back, 0).ok(), None, "opened for writing only");
                    let (file, attr) = d.open(&name, READ, 0).unwrap();
                    assert_eq!(attr.size, 6 << 20);
                    assert_eq!(file.pread(&mut back, 0).unwrap(), content.len());
                    assert!(back == *content);
                }
            });
        }
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(150));
            site.server.as_mut().unwrap().kill();
            site.server.as_mut().unwrap().start_again();
        }
    });
}

#[test]
fn lost_replies_are_settled_by_looking() {
    let dir = stat_line(1, 0o040_755, 0);
    let fake = Fake::new(vec![
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /dir");
            peer.say("-3\n");
            peer.expect("mkdir /dir 493");
        }),
        script(move |peer| {
            peer.let_in();
            peer.expect("lstat /dir");
            peer.say(format!("0\n{dir}"));
            peer.expect("unlink /file");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /file");
            peer.say(format!("0\n{}", stat_line(2, 0o100_644, 0)));
            peer.expect("unlink /file");
            peer.say("0\n");
            peer.expect("open /lock wcx 384");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /lock");
            peer.say(format!("0\n{}", stat_line(3, 0o100_600, 0)));
            peer.expect("open /log wa 0");
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 0)));
            peer.expect("pwrite 0 3 0");
            peer.skip(3);
        }),
    ]);
    let d = fake.driver();
    d.mkdir(b"/dir", 0o755).unwrap();
    d.unlink(b"/file").unwrap();
    let flags = OpenFlags { exclusive: true, truncate: false, ..CREATE };
    let error = d.open(b"/lock", flags, 0o600).unwrap_err();
    assert!(error.kind() == Kind::Disconnected && error.is_in_doubt(), "{error}");
    let append = OpenFlags { write: true, append: true, read: false, ..READ };
    let (log, _) = d.open(b"/log", append, 0).unwrap();
    let error = log.pwrite(b"abc", 0).unwrap_err();
    assert!(error.kind() == Kind::Disconnected && error.is_in_doubt(), "{error}");
    fake.finish();
}

/// Our own server died before it answered: a directory is known by the mark of its maker, so that
/// two programs that make the same one for a lock do not both hear of success.
#[test]
fn a_directory_is_known_by_its_mark() {
    for ours in [true, false] {
        let (mark_tx, mark_rx) = std::sync::mpsc::channel();
        let fake = Fake::new(vec![
            script(move |peer| {
                peer.let_in_ours();
                peer.expect("xstat / 1");
                peer.say("-3\n");
                let made = peer.hear();
                let mark = made.strip_prefix("xmkdir /lock 493 ").unwrap().to_owned();
                mark_tx.send(mark).unwrap();
            }),
            script(Peer::let_in_forgotten),
            script(move |peer| {
                let mark: u32 = mark_rx.recv().unwrap().parse().unwrap();
                let seen = if ours { mark } else { (mark + 1) % 1_000_000_000 };
                peer.let_in_ours();
                peer.expect("xstat /lock 0");
                peer.say(format!("0\n1 9 16877 2 0 0 0 4096 4096 8 1 2 3 {seen} 0 0\n"));
                if !ours {
                    peer.expect(&format!("xmkdir /lock 493 {mark}"));
                    peer.say("-4\n");
                }
            }),
        ]);
        let d = fake.driver();
        assert_eq!(errno(d.stat(b"/", true)), Errno::ENOENT);
        let made = d.mkdir(b"/lock", 0o755);
        match ours {
            true => made.unwrap(),
            false => assert_eq!(errno(made), Errno::EEXIST),
        }
        fake.finish();
    }
}

#[test]
fn a_request_is_not_repeated_without_end() {
    let fall_silent = || {
        script(|peer| {
            peer.let_in();
            peer.expect("stat /file");
        })
    };
    let fake = Fake::new(vec![fall_silent(), fall_silent()]);
    let error = fake.driver().stat(b"/file", true).unwrap_err();
    assert_eq!(error.kind(), Kind::Disconnected);
    assert_eq!(fake.connections(), 2);
    fake.finish();
}

#[test]
fn nobody_there() {
    let start = Instant::now();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let kind = |host: &str| connect("chirp", host, &impatient()).stat(b"/", true).unwrap_err();
    let refused = kind(&free);
    assert_eq!((refused.kind(), refused.errno()), (Kind::Refused, Errno::ECONNREFUSED));
    let unknown = kind("no-such-host.invalid");
    // Without a name server nobody can tell whether there is such a host.
    let seen = (unknown.kind(), unknown.errno());
    let expected = [(Kind::NoHost, Errno::ENOENT), (Kind::Unreachable, Errno::EHOSTUNREACH)];
    assert!(expected.contains(&seen), "{unknown}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

/// A policy that notes what it is told.
fn policy(seconds: u64, told: &Arc<Mutex<Vec<String>>>) -> RetryPolicy {
    let told = Arc::clone(told);
    RetryPolicy {
        deadline: Duration::from_secs(seconds),
        notify: Arc::new(move |story| told.lock().unwrap().push(story.to_owned())),
        ..RetryPolicy::default()
    }
}

#[test]
fn the_layer_waits_for_a_server_and_says_so() {
    let mut site = Site::with(Row::Parrot, &impatient());
    let told = Arc::new(Mutex::new(Vec::new()));
    let d = Layered::wrap(Retry::new("the server", policy(60, &told)), Arc::clone(&site.driver));
    let (file, _) = d.open(b"/file", CREATE, 0o644).unwrap();
    site.server().kill();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            file.pwrite(b"patience", 0).unwrap();
            d.mkdir(b"/dir", 0o755).unwrap();
        });
        while told.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        site.server.as_mut().unwrap().start_again();
        waits.join().unwrap();
    });
    assert_eq!(d.read_small(b"/file", 100).unwrap().1.unwrap(), b"patience");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("waiting for the server up to 60 s"), "{told:?}");
    assert!(told[1].starts_with("the server: answers again after"), "{told:?}");
}

#[test]
fn the_layer_gives_up_in_time() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let wrapped = |seconds| {
        let driver = connect("chirp", &free, &impatient());
        Layered::wrap(Retry::new("nobody", policy(seconds, &told)), driver)
    };
    // A host that never answered: soon, however long the deadline is.
    let start = Instant::now();
    let error = wrapped(600).stat(b"/", true).unwrap_err();
    assert_eq!(error.errno(), Errno::ECONNREFUSED);
    assert!((2..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(error.cause().contains("gave up"), "{error}");
    let start = Instant::now();
    wrapped(0).stat(b"/", true).unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(500));
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn a_wait_in_vain_is_not_repeated_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let driver = connect("chirp", &free, &impatient());
    let d = Layered::wrap(Retry::new("nobody", policy(1, &told)), driver);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(d.stat(b"/", true).unwrap_err().errno(), Errno::ECONNREFUSED);
    }
    assert!(start.elapsed() < Duration::from_millis(2000), "{:?}", start.elapsed());
}

#[test]
fn silence_is_asked_again_by_each_call() {
    // It accepts, as far as the kernel does, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let config = Config { silence: Duration::from_secs(1), ..Config::default() };
    let driver = connect("chirp", &host, &config);
    let d = Layered::wrap(Retry::new("silent", policy(1, &told)), driver);
    // Only asking tells that it is over, so each call asks, and takes its one silence.
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(d.stat(b"/", true).unwrap_err().errno(), Errno::ETIMEDOUT);
    }
    assert!(start.elapsed() < Duration::from_millis(2900), "{:?}", start.elapsed());
}

#[test]
fn a_wait_can_be_ended() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let hold = RetryPolicy { on_transient: OnTransient::Hold, ..RetryPolicy::default() };
    let retry = Retry::new("nobody", hold);
    let d = Layered::wrap(retry, connect("chirp", &free, &impatient()));
    let token = Cancel::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| cancellable(&token, || d.stat(b"/", true).unwrap_err()));
        std::thread::sleep(Duration::from_millis(100));
        token.cancel();
        assert_eq!(waits.join().unwrap().errno(), Errno::EINTR);
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Connections that break where it hurts.
fn scripts_with_lost_answers() -> Vec<Script> {
    vec![
        script(|peer| {
            peer.let_in();
            peer.expect("open /log wa 0");
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 0)));
            peer.expect("pwrite 0 3 0");
            peer.skip(3);
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("open /log wa 0");
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 0)));
            peer.expect("fstat 0");
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 5)));
            peer.expect("open /log r 0");
            peer.say(format!("1\n{}", stat_line(4, 0o100_600, 5)));
            peer.expect("pread 1 5 0");
            // Another program's line came first.
            peer.say("5\nx\nabc");
            peer.expect("close 1");
            peer.say("0\n");
            peer.expect("pwrite 0 3 0");
            peer.skip(3);
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("open /log wa 0");
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 5)));
            peer.expect("fstat 0");
            // It was cut by somebody: nobody can know.
            peer.say(format!("0\n{}", stat_line(4, 0o100_600, 4)));
        }),
        script(|peer| {
            peer.let_in();
            // Made, and the answer is lost; so is the first look.
            peer.expect("lstat /dir");
            peer.say("-3\n");
            peer.expect("mkdir /dir 493");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /dir");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /dir");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("lstat /dir");
            peer.say(format!("0\n{}", stat_line(1, 0o040_755, 0)));
        }),
    ]
}

#[test]
fn the_layer_does_nothing_twice() {
    let fake = Fake::new(scripts_with_lost_answers());
    let told = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&logged);
    let log =
        Log::new("log", Box::new(move |record| sink.lock().unwrap().push(record.to_string())));
    let d = Layered::wrap(Retry::new("fake", policy(10, &told)), fake.driver());
    let d = Layered::wrap(log, d);
    let append = OpenFlags { write: true, append: true, read: false, ..READ };
    let (file, _) = d.open(b"/log", append, 0).unwrap();
    file.pwrite(b"abc", 0).unwrap();
    let error = file.pwrite(b"def", 0).unwrap_err();
    assert_eq!(error.errno(), Errno::EIO, "{error}");
    d.mkdir(b"/dir", 0o755).unwrap();
    let logged = logged.lock().unwrap();
    assert_eq!(logged.len(), 4);
    assert!(logged[0].starts_with("open log/log "), "{logged:?}");
    assert!(logged[2].contains("must not be done twice"), "{logged:?}");
    fake.finish();
}

/// Renamed while it is open, by us, and the server forgets what was open: found by its new name.
fn renamed(row: Row) {
    let mut site = Site::with(row, &impatient());
    let d = Arc::clone(&site.driver);
    d.mkdir(b"/dir", 0o755).unwrap();
    let (file, _) = d.open(b"/dir/old", CREATE, 0o644).unwrap();
    file.pwrite(b"one", 0).unwrap();
    d.rename(b"/dir/old", b"/dir/new", 0).unwrap();
    d.rename(b"/dir", b"/moved", 0).unwrap();
    site.server().kill();
    site.server().start_again();
    file.pwrite(b"two", 3).unwrap();
    assert_eq!(std::fs::read(site.tree.join("moved/new")).unwrap(), b"onetwo");
}

#[test]
fn an_open_file_is_found_under_its_new_name_parrot() {
    renamed(Row::Parrot);
}

#[test]
fn an_open_file_is_found_under_its_new_name_stock() {
    renamed(Row::Stock);
}

/// Idle for longer than the server allows, with a file open that has no name any more.
fn idle(row: Row, keep_alive: Duration) {
    let config = Config { keep_alive, ..impatient() };
    let site = Site::with_options(row, &config, &["-t", "1s"]);
    let (file, _) = site.driver.open(b"/file", CREATE, 0o644).unwrap();
    file.pwrite(b"still here", 0).unwrap();
    let both = OpenFlags { read: true, ..WRITE };
    let (file, _) = site.driver.open(b"/file", both, 0).unwrap();
    std::fs::remove_file(site.tree.join("file")).unwrap();
    // What is waited for is that nothing happens.
    std::thread::sleep(Duration::from_millis(2500));
    let mut buf = [0; 20];
    assert_eq!(file.pread(&mut buf, 0).unwrap(), 10);
    assert_eq!(&buf[..10], b"still here");
}

#[test]
fn idle_connections_with_files_are_kept_parrot() {
    idle(Row::Parrot, Duration::from_millis(300));
}

#[test]
fn idle_connections_with_files_are_kept_stock() {
    idle(Row::Stock, Duration::from_millis(300));
}

#[test]
fn a_file_without_a_name_outlives_its_connection() {
    // Nothing is said meanwhile, and the server hangs up; it keeps the session.
    idle(Row::Parrot, Duration::from_secs(1000));
}

#[test]
fn idle_connections_without_files_cost_nothing() {
    let config = Config { keep_alive: Duration::from_millis(50), ..impatient() };
    let site = Site::with(Row::Parrot, &config);
    drop(site.driver.open(b"/file", CREATE, 0o644).unwrap());
    let before = site.driver.counters().requests;
    std::thread::sleep(Duration::from_millis(400));
    assert!(site.driver.counters().requests <= before + 1, "something was said for no file");
}
