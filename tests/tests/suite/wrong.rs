//! Wrong input, wrong servers, servers that die: a clear message and errno, in time, no panic, and
//! nothing left over.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use parrot_tests::fake::{Manner, serve};
use parrot_tests::proxy::Proxy;
use parrot_tests::server::{Make, Server, free_port};
use parrot_tests::{End, Guest, PlaceKind, Run, Session, Technique, compile, dir::TempDir};

/// Makes a function into a test for each technique.
macro_rules! both {
    ($name:ident) => {
        mod $name {
            use parrot_tests::Technique;

            #[test]
            fn preload() {
                super::$name(Technique::Preload);
            }

            #[test]
            fn trace() {
                super::$name(Technique::Trace);
            }
        }
    };
}

/// What guests are told to wait at most, in seconds.
const DEADLINE: u64 = 3;
/// When the failure must have come at the latest.
const PATIENCE: Duration = Duration::from_secs(DEADLINE + 5);

fn session(technique: Technique) -> Session {
    let mut session = Session::new(technique).env("PARROT_TIMEOUT", &DEADLINE.to_string());
    session.set_deadline(Duration::from_secs(30));
    session
}

/// What must hold of every failure.
#[track_caller]
fn orderly(run: &Run) {
    let err = run.err();
    assert!(run.took < PATIENCE, "too late: {}", run.describe());
    assert!(!matches!(run.end, End::Signal(_) | End::Held | End::Timeout), "{}", run.describe());
    for word in ["panicked", "RUST_BACKTRACE", "internal error", "Segmentation", "Aborted"] {
        assert!(!err.contains(word), "{}", run.describe());
    }
}

// ── mountlists ──────────────────────────────────────────────────────────────────────────────────

/// A bad line ends the run with 125 and says where it is: file, line, column.
#[test]
fn bad_mountlist_file() {
    for (text, place) in [
        ("/data /chirp/h/x\n/bad nonsense-target\n", ":2:"),
        ("# comment\n\n/data\n", ":3:"),
        ("relative /chirp/h/x\n", ":1:1"),
        ("/data /chirp/h/x cache=never\n", ":1:18"),
        ("/data /chirp/h/x rwq\n", ":1:"),
        ("/data /nosuchscheme: x y z\n", ":1:"),
    ] {
        let session = session(Technique::Native);
        let list = session.local().join("list");
        std::fs::write(&list, text).unwrap();
        let where_ = format!("{}{place}", list.display());
        for words in [["-m", "FILE"], ["--", "echo"]] {
            let mut command = session.clean(&parrot_tests::programs::program("parrot-trace"));
            if words[0] == "-m" {
                command.arg("-m").arg(&list).args(["--", "echo", "ran"]);
            } else {
                command.env("PARROT_MOUNT_FILE", &list).args(["--", "echo", "ran"]);
            }
            let run = session.run_command(&mut command).code(125);
            assert!(run.out().is_empty(), "{}", run.describe());
            assert!(
                run.err().contains(&where_),
                "expected {where_} for {text:?}: {}",
                run.describe()
            );
            orderly(&run);
        }
        session.finish();
    }
}

#[test]
fn bad_mountlist_option() {
    for rule in ["nonsense", "/a", "=/b", "a=/chirp/h/", "/a=", "/a=nosuch:thing"] {
        let session = session(Technique::Trace).mount(rule);
        let run = session.run(&["echo", "ran"]).code(125);
        assert!(run.out().is_empty() && !run.err().trim().is_empty(), "{rule}: {}", run.describe());
        orderly(&run);
        session.finish();
    }
}

/// A missing mountlist file is told by name.
#[test]
fn missing_mountlist() {
    let session = session(Technique::Native);
    let mut command = session.clean(&parrot_tests::programs::program("parrot-trace"));
    command.args(["-m", "/nowhere/list", "--", "echo", "ran"]);
    let run = session.run_command(&mut command).code(125);
    assert!(run.err().contains("/nowhere/list"), "{}", run.describe());
    session.finish();
}

/// The library has no command line to refuse: a bad list is said on stderr, and nothing remote
/// works; local work goes on.
#[test]
fn bad_mountlist_preloaded() {
    let session = session(Technique::Preload);
    let list = session.local().join("list");
    std::fs::write(&list, "/data /chirp/h/x\n/bad nonsense-target\n").unwrap();
    let mut command = session.command(&[
        "bash",
        "-c",
        "cat /data/x; echo status $?; echo local > $L/f; cat $L/f",
    ]);
    command.env("PARROT_MOUNT_FILE", &list);
    let run = session.run_command(&mut command);
    let place = format!("{}:2:", list.display());
    assert!(run.err().contains(&place), "expected {place}: {}", run.describe());
    assert!(run.out().is_empty() || run.out() == "status 1\nlocal\n", "{}", run.describe());
    orderly(&run);
    session.finish();
}

// ── names that lead nowhere ─────────────────────────────────────────────────────────────────────

both!(unknown_scheme);
/// An unknown scheme is no remote name: it does not exist, like any local name.
fn unknown_scheme(technique: Technique) {
    let session = session(technique);
    let run = session.run(&["cat", "/nosuchscheme/host/file"]).code(1);
    assert!(run.err().contains("No such file or directory"), "{}", run.describe());
    orderly(&run);
    session.finish();
}

/// As a target an unknown scheme is a mistake in the list, and the message says what there is.
#[test]
fn unknown_scheme_as_target() {
    let session = session(Technique::Trace).mount("/data=nosuch://host/x");
    let run = session.run(&["cat", "/data/x"]).code(125);
    assert!(run.err().contains("known: chirp"), "{}", run.describe());
    session.finish();
}

/// Each way a server can be missing: the shell goes on, the message names the server.
fn fails(technique: Technique, name: &str, host: &str, errnos: &[&str]) {
    let session = session(technique);
    let path = format!("/chirp/{host}/file");
    let run = session
        .bash(&format!("cat {path}; echo status $?; ls $L; echo x > {path}; echo status $?"));
    assert!(run.took < PATIENCE + Duration::from_secs(DEADLINE + 2), "{name}: {}", run.describe());
    assert_eq!(run.end, End::Code(0), "{name}: {}", run.describe());
    assert_eq!(run.out(), "status 1\nstatus 1\n", "{name}: {}", run.describe());
    let err = run.err();
    assert!(errnos.iter().any(|errno| err.contains(errno)), "{name}: {}", run.describe());
    assert!(!err.contains("panicked"), "{name}: {}", run.describe());
    session.finish();
}

const TIMED_OUT: &str = "Connection timed out";

both!(no_such_host);
fn no_such_host(technique: Technique) {
    fails(
        technique,
        "no such host",
        "no-such-host.invalid",
        &["No such file or directory", "No route to host", "Name or service not known", TIMED_OUT],
    );
}

both!(refused_connection);
fn refused_connection(technique: Technique) {
    fails(
        technique,
        "refused",
        &format!("127.0.0.1:{}", free_port()),
        &["Connection refused", TIMED_OUT],
    );
}

both!(bad_port);
fn bad_port(technique: Technique) {
    fails(
        technique,
        "bad port",
        "127.0.0.1:99999",
        &["No such file or directory", "Invalid argument", "No route to host", TIMED_OUT],
    );
}

const NOT_CHIRP: &[&str] = &["Protocol error", "Input/output error", TIMED_OUT, "Connection reset"];

both!(port_that_echoes);
fn port_that_echoes(technique: Technique) {
    fails(technique, "echo", &format!("127.0.0.1:{}", serve(Manner::Echo)), NOT_CHIRP);
}

both!(port_that_is_silent);
fn port_that_is_silent(technique: Technique) {
    fails(technique, "silent", &format!("127.0.0.1:{}", serve(Manner::Silent)), &[TIMED_OUT]);
}

both!(port_that_hangs_up);
fn port_that_hangs_up(technique: Technique) {
    fails(technique, "hangup", &format!("127.0.0.1:{}", serve(Manner::Hangup)), NOT_CHIRP);
}

both!(port_of_another_protocol);
fn port_of_another_protocol(technique: Technique) {
    fails(technique, "greeter", &format!("127.0.0.1:{}", serve(Manner::Greeter)), NOT_CHIRP);
}

both!(port_that_babbles);
fn port_that_babbles(technique: Technique) {
    fails(technique, "babbler", &format!("127.0.0.1:{}", serve(Manner::Babbler)), NOT_CHIRP);
}

both!(interrupted_while_waiting);
/// While it waits for a server the user is told, and can interrupt.
fn interrupted_while_waiting(technique: Technique) {
    let mut session = Session::new(technique).env("PARROT_TIMEOUT", "100");
    session.set_deadline(Duration::from_secs(30));
    let path = format!("/chirp/127.0.0.1:{}/file", serve(Manner::Silent));
    let fifo = session.local().join("ready");
    let script = format!("echo > {}; exec cat {path}", fifo.display());
    let made =
        session.run_command(session.clean(std::path::Path::new("/usr/bin/mkfifo")).arg(&fifo));
    let _ = made.code(0);
    let running = session.start(&["bash", "-c", &script]);
    let _ = std::fs::read(&fifo).unwrap();
    // The guest is on its way to the call that waits; there is no event for being inside it.
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    running.signal(Signal::SIGTERM);
    let run = running.finish(Duration::from_secs(20));
    assert_eq!(run.end, End::Signal(15), "{technique:?}: {}", run.describe());
    assert!(start.elapsed() < Duration::from_secs(3), "{technique:?}: {}", run.describe());
    session.finish();
}

both!(handlers_while_waiting);
/// A signal handler runs while a call waits for a lost server, and ends the call with EINTR, unless
/// it was set with SA_RESTART: then the call takes its time. A server that answers is no lost one.
fn handlers_while_waiting(technique: Technique) {
    let session = session(technique);
    let program = compile::guest("interrupt", compile::Link::Dynamic).display().to_string();
    let says = |path: &str, how: &str, expected: &str| {
        let run = session.run(&[program.as_str(), path, how, "300"]).code(0);
        assert_eq!(run.out(), expected, "{technique:?} {how}: {}", run.describe());
    };
    let silent = format!("/chirp/127.0.0.1:{}/file", serve(Manner::Silent));
    says(&silent, "interrupt", "EINTR handled\n");
    says(&silent, "restart", "ETIMEDOUT handled\n");
    session.finish();
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup("echo hello > $R/f");
    let proxy = Proxy::start(g.place.server.as_ref().unwrap().port());
    // Some messages make up an open: it takes longer than the time between two signals.
    proxy.delay(Duration::from_millis(50));
    let path = format!("/chirp/127.0.0.1:{}/w/f", proxy.port());
    let run = g.session.run(&[program.as_str(), &path, "interrupt", "20"]).code(0);
    assert_eq!(run.out(), "opened handled\n", "{technique:?}: {}", run.describe());
    g.finish();
}

// ── servers that die ────────────────────────────────────────────────────────────────────────────

fn guest(technique: Technique, kind: PlaceKind) -> Guest {
    let mut g = Guest::new(technique, kind);
    g.session = session(technique).env("R", g.place.root());
    g
}

both!(server_killed_in_the_middle);
/// Killed while a script reads: what was asked for later fails in time, what is local goes on.
fn server_killed_in_the_middle(technique: Technique) {
    for kind in [PlaceKind::Ours, PlaceKind::Debian] {
        let mut g = guest(technique, kind);
        g.setup("seq 100000 > $R/numbers; truncate -s 500M $R/large; echo x > $R/f");
        let go = g.session.local().join("go");
        let told = g.session.local().join("told");
        let make = g.session.bash(&format!("mkfifo {} {}", go.display(), told.display()));
        let _ = make.code(0);
        let script = format!(
            "exec 3< $R/large; head -c 100 <&3 | wc -c; cat $R/f; echo > {}; read -r _ < {}; \
             cat $R/numbers; echo status $?; dd bs=1M skip=200 count=1 <&3 >/dev/null 2>&1; echo dd $?; \
             echo local > $L/l; cat $L/l",
            told.display(),
            go.display()
        );
        let running = g.session.start(&["bash", "-c", &script]);
        let _ = std::fs::read(&told).unwrap();
        g.place.server.as_mut().unwrap().kill();
        std::fs::write(&go, "\n").unwrap();
        let run = running.finish(Duration::from_secs(40));
        assert_eq!(run.end, End::Code(0), "{kind:?} {technique:?}: {}", run.describe());
        assert_eq!(
            run.out(),
            "100\nx\nstatus 1\ndd 1\nlocal\n",
            "{kind:?} {technique:?}: {}",
            run.describe()
        );
        assert!(run.took < PATIENCE * 2, "{kind:?} {technique:?}: {}", run.describe());
        assert!(!run.err().contains("panicked"), "{}", run.describe());
        g.finish();
    }
}

both!(server_frozen_while_writing);
/// Frozen while a script writes: the error comes at close, in time, and the program sees it.
fn server_frozen_while_writing(technique: Technique) {
    let g = guest(technique, PlaceKind::Ours);
    let server = g.place.server.as_ref().unwrap();
    g.says("echo before > $R/f; cat $R/f", "before\n");
    server.freeze();
    let run = g.session.bash("dd if=/dev/zero of=$R/new bs=1M count=3 status=none; echo status $?");
    server.thaw();
    assert_eq!(run.out(), "status 1\n", "{technique:?}: {}", run.describe());
    orderly(&run);
    g.finish();
}

both!(server_restarted);
/// The server comes back within the deadline: programs notice nothing.
fn server_restarted(technique: Technique) {
    for kind in [Make::Ours, Make::Debian] {
        let dir = TempDir::new();
        let export = dir.sub("export");
        std::fs::write(export.join("f"), "hello\n").unwrap();
        let mut server = Server::start(kind, &export);
        let session = Session::new(technique);
        let path = format!("/chirp/127.0.0.1:{}/f", server.port());
        let (go, told) = (session.local().join("go"), session.local().join("told"));
        let made = session.bash(&format!("mkfifo {} {}", go.display(), told.display()));
        let _ = made.code(0);
        let script = format!(
            "exec 3< {path}; cat {path}; echo > {}; read -r _ < {}; cat <&3; cat {path}; echo more >> {path}; cat {path}",
            told.display(),
            go.display()
        );
        let running = session.start(&["bash", "-c", &script]);
        let _ = std::fs::read(&told).unwrap();
        server.kill();
        let port = server.port();
        let again = Server::start_on(kind, &export, port);
        std::fs::write(&go, "\n").unwrap();
        let run = running.finish(Duration::from_secs(40)).code(0);
        assert_eq!(
            run.out(),
            "hello\nhello\nhello\nhello\nmore\n",
            "{kind:?} {technique:?}: {}",
            run.describe()
        );
        session.finish();
        drop(again);
    }
}

both!(cut_in_every_answer);
/// A network that is cut anywhere inside an answer: retried on a new connection, nothing mixed.
fn cut_in_every_answer(technique: Technique) {
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup("seq 50000 > $R/numbers");
    let mut proxy = Proxy::start(g.place.server.as_ref().unwrap().port());
    let path = format!("/chirp/127.0.0.1:{}/w/numbers", proxy.port());
    for bytes in [0, 1, 5, 20, 60, 150, 1000, 100_000, 250_000] {
        let session = Session::new(technique);
        let (go, told) = (session.local().join("go"), session.local().join("told"));
        let made = session.bash(&format!("mkfifo {} {}", go.display(), told.display()));
        let _ = made.code(0);
        proxy.cut_after(bytes);
        let script = format!("echo > {}; md5sum < {path}; ls -l {path} | wc -l", told.display());
        let running = session.start(&["bash", "-c", &script]);
        let _ = std::fs::read(&told).unwrap();
        // Healed when the cut was felt: every connection after it is cut at once.
        let until = Instant::now() + Duration::from_secs(5);
        while proxy.accepted() == 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(200));
        proxy.heal();
        let run = running.finish(Duration::from_secs(30)).code(0);
        let sum = g.run_reference("md5sum < $R/numbers").out();
        assert_eq!(run.out(), format!("{sum}1\n"), "after {bytes} bytes: {}", run.describe());
        session.finish();
    }
    g.finish();
}

both!(cut_while_read_ahead);
/// A large file that is read in order, over a connection that is cut again and again while more of the
/// file is fetched than was asked for; then a network that swallows everything in its middle.
fn cut_while_read_ahead(technique: Technique) {
    for kind in [PlaceKind::Ours, PlaceKind::Debian] {
        let g = guest(technique, kind);
        g.setup("seq 3000000 > $R/big");
        let sum = g.run_reference("md5sum < $R/big").out();
        let mut proxy = Proxy::start(g.place.server.as_ref().unwrap().port());
        proxy.delay(Duration::from_millis(3));
        let path = format!("/chirp/127.0.0.1:{}/w/big", proxy.port());
        let session = Session::new(technique);
        let running = session.start(&["bash", "-c", &format!("md5sum < {path}")]);
        let wait_for = |proxy: &Proxy, bytes: u64| {
            let until = Instant::now() + Duration::from_secs(20);
            while proxy.passed() < bytes && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let mut cuts = 0;
        for passed in (1..).map(|n| n * 3_000_000).take_while(|passed| *passed < 20_000_000) {
            wait_for(&proxy, passed);
            proxy.cut_now();
            cuts += 1;
        }
        let run = running.finish(Duration::from_secs(60)).code(0);
        assert_eq!(run.out(), sum, "{kind:?} {technique:?}, {cuts} cuts: {}", run.describe());
        assert!(proxy.accepted() > 3, "the cuts were felt");
        session.finish();

        let script = format!(
            "exec < {path}; head -c 6000000 > /dev/null; sleep 1; cat > /dev/null; echo status $?"
        );
        let before = proxy.passed();
        let running = g.session.start(&["bash", "-c", &script]);
        wait_for(&proxy, before + 5_000_000);
        proxy.black_hole();
        let run = running.finish(Duration::from_secs(60));
        assert_eq!(run.out(), "status 1\n", "{kind:?} {technique:?}: {}", run.describe());
        proxy.heal();
        g.finish();
    }
}

both!(black_hole);
/// A network that swallows everything: the deadline holds, and afterwards all is well again.
fn black_hole(technique: Technique) {
    let g = guest(technique, PlaceKind::Ours);
    g.setup("echo hello > $R/f");
    let mut proxy = Proxy::start(g.place.server.as_ref().unwrap().port());
    let path = format!("/chirp/127.0.0.1:{}/w/f", proxy.port());
    g.says(&format!("cat {path}"), "hello\n");
    proxy.black_hole();
    let run = g.session.bash(&format!("cat {path}; echo status $?"));
    assert_eq!(run.out(), "status 1\n", "{technique:?}: {}", run.describe());
    orderly(&run);
    proxy.heal();
    g.says(&format!("cat {path}"), "hello\n");
    g.finish();
}

both!(slow_network);
/// A slow network is slow, and nothing else.
fn slow_network(technique: Technique) {
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup("echo hello > $R/f; seq 50000 > $R/numbers");
    let proxy = Proxy::start(g.place.server.as_ref().unwrap().port());
    proxy.delay(Duration::from_millis(30));
    let root = format!("/chirp/127.0.0.1:{}/w", proxy.port());
    let sum = g.run_reference("md5sum < $R/numbers").out();
    g.says(
        &format!(
            "cat {root}/f; md5sum < {root}/numbers; echo x > {root}/n; cat {root}/n; rm {root}/n"
        ),
        &format!("hello\n{sum}x\n"),
    );
    g.finish();
}

/// The tracer killed: no process of the guest survives.
#[test]
fn tracer_killed() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    let told = g.session.local().join("told");
    let _ = g.session.bash(&format!("mkfifo {}", told.display())).code(0);
    let running = g.session.start(&[
        "bash",
        "-c",
        &format!("sleep 1000 & echo > {}; sleep 1000", told.display()),
    ]);
    let _ = std::fs::read(&told).unwrap();
    nix::sys::signal::kill(running.pid(), Signal::SIGKILL).unwrap();
    let run = running.finish(Duration::from_secs(10));
    assert_eq!(run.end, End::Signal(9), "{}", run.describe());
    g.finish();
}

/// The agent killed: calls on remote names fail or find a new one, local ones go on, no hang.
#[test]
fn agent_killed() {
    let g = guest(Technique::Preload, PlaceKind::Ours);
    g.setup("echo hello > $R/f");
    let (go, told) = (g.session.local().join("go"), g.session.local().join("told"));
    let _ = g.session.bash(&format!("mkfifo {} {}", go.display(), told.display())).code(0);
    let script = format!(
        "cat $R/f; echo > {}; read -r _ < {}; cat $R/f; ls $R > /dev/null; echo local > $L/l; cat $L/l",
        told.display(),
        go.display()
    );
    let running = g.session.start(&["bash", "-c", &script]);
    let _ = std::fs::read(&told).unwrap();
    let agents: Vec<_> = g
        .session
        .processes()
        .into_iter()
        .filter(|(_, line)| line.contains("parrot-agent"))
        .collect();
    assert_eq!(agents.len(), 1, "{agents:?}");
    nix::sys::signal::kill(agents[0].0, Signal::SIGKILL).unwrap();
    std::fs::write(&go, "\n").unwrap();
    let run = running.finish(Duration::from_secs(30));
    assert_eq!(run.end, End::Code(0), "{}", run.describe());
    assert!(
        run.out().ends_with("local\n") && run.out().starts_with("hello\n"),
        "{}",
        run.describe()
    );
    orderly(&run);
    g.finish();
}
