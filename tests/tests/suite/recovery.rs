//! Servers that are killed and come back, networks that go away: programs go on, or are told.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use parrot_tests::dir::TempDir;
use parrot_tests::proxy::Proxy;
use parrot_tests::server::{Make, Server};
use parrot_tests::tree::{Look, snapshot};
use parrot_tests::{End, Session, Technique};

/// How long anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// How often the server is killed in each of the long tests, by each technique: a hundred times.
const OFTEN: u32 = 50;

/// One of the works that go on while the server is killed again and again. `$W` is its place on the
/// server, `$L/tree` what it starts from; it makes rounds until `$L/stop` is there.
struct Work {
    before: &'static str,
    round: &'static str,
    after: &'static str,
}

const TREE: &str = "mkdir -p $L/tree/sub/deep; for i in $(seq 25); do seq $((i * 40)) > $L/tree/f$i; \
     cp $L/tree/f$i $L/tree/sub/deep/g$i; done; ln -s f1 $L/tree/link; chmod 700 $L/tree/sub; \
     tar cf $L/tree.tar -C $L tree";

const COPY: Work = Work {
    before: "true",
    round: "rm -rf $W/tree && cp -r $L/tree $W/tree && diff -r $L/tree $W/tree",
    after: "true",
};

const TAR: Work = Work {
    before: "true",
    round: "rm -rf $W/tree && tar xf $L/tree.tar -C $W && diff -r $L/tree $W/tree",
    after: "true",
};

const GIT: Work = Work {
    before: "git init -q $W/repo && cd $W/repo && git config gc.auto 0",
    round: "echo $i > number && seq $i > list$((i % 5)) && git add -A && git commit -qm \"round $i\"",
    after: "git fsck --strict && test $(git log --format=%s | wc -l) = $i && git status --porcelain",
};

const SQLITE: Work = Work {
    before: "sqlite3 $W/db 'create table t(n integer primary key, s text)'",
    round: "sqlite3 $W/db \"insert into t values($i, 'row $i'); update t set s = s || '.' where n = $i\"",
    after: "sqlite3 $W/db 'pragma integrity_check; select count(*) = max(n) + 1 from t'",
};

fn killed(technique: Technique, work: &Work, times: u32) -> (TempDir, Session) {
    let dir = TempDir::new();
    let export = dir.sub("export");
    let mut server = Server::start(Make::Ours, &export);
    let place = format!("/chirp/127.0.0.1:{}", server.port());
    let mut session = Session::new(technique).env("W", &place).env("PARROT_TIMEOUT", "120");
    session.set_deadline(LONG);
    let native = Session::new(Technique::Native).env("L", &session.local().display().to_string());
    let _ = native.bash(TREE).code(0);
    let Work { before, round, after } = work;
    let script = format!(
        "{before} || exit 90; i=0; touch $L/go; while [ $i -lt 3 ] || [ ! -e $L/stop ]; do \
         {round} || {{ echo round $i; exit 91; }}; i=$((i + 1)); done; {after} || exit 92"
    );
    let running = session.start(&["bash", "-c", &script]);
    let until = Instant::now() + LONG;
    while !session.local().join("go").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    for i in 0..times {
        // No event: the moment is to be any.
        std::thread::sleep(Duration::from_millis(60 + u64::from(i * 97 % 240)));
        server.kill();
        server.start_again();
    }
    std::fs::write(session.local().join("stop"), "").unwrap();
    let run = running.finish(LONG).code(0);
    assert!(!run.out().contains("round"), "{}", run.describe());
    if work.after.contains("sqlite3") {
        assert_eq!(run.out(), "ok\n1\n", "{}", run.describe());
    }
    if work.round.contains("diff") {
        let look = Look { owner_keeps_rights: false };
        let there = snapshot(&export.join("tree"), look);
        assert_eq!(there, snapshot(&session.local().join("tree"), look));
    }
    (dir, session)
}

fn all(technique: Technique, work: &Work, times: u32) {
    let (_dir, session) = killed(technique, work, times);
    session.finish();
}

#[test]
fn killed_while_copying() {
    all(Technique::Preload, &COPY, 3);
}

#[test]
fn killed_while_unpacking() {
    all(Technique::Trace, &TAR, 2);
}

#[test]
fn killed_while_committing() {
    all(Technique::Preload, &GIT, 3);
}

#[test]
fn killed_while_inserting() {
    all(Technique::Preload, &SQLITE, 3);
}

/// A hundred times while a work goes on.
fn very_often(work: &Work) {
    for technique in [Technique::Preload, Technique::Trace] {
        all(technique, work, OFTEN);
    }
}

#[test]
#[ignore = "long: scripts/test --full"]
fn killed_very_often_while_copying() {
    very_often(&COPY);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn killed_very_often_while_unpacking() {
    very_often(&TAR);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn killed_very_often_while_committing() {
    very_often(&GIT);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn killed_very_often_while_inserting() {
    very_often(&SQLITE);
}

/// What a session with these options says and does while the network is away.
struct Away {
    _dir: TempDir,
    _server: Server,
    proxy: Proxy,
    session: Session,
}

impl Away {
    fn new(technique: Technique, options: &str) -> Self {
        let dir = TempDir::new();
        let export = dir.sub("export");
        let server = Server::start(Make::Ours, &export);
        let proxy = Proxy::start(server.port());
        let rule = format!("/net=/chirp/127.0.0.1:{},{options}", proxy.port());
        let mut session = Session::new(technique).mount(&rule);
        session.set_deadline(LONG);
        Self { _dir: dir, _server: server, proxy, session }
    }

    /// Waits until a guest has told that it is there.
    fn wait_for(&self, name: &str) {
        let until = Instant::now() + LONG;
        while !self.session.local().join(name).exists() {
            assert!(Instant::now() < until, "{name}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the agents of the session have logged.
    fn log(&self) -> String {
        let logs = self.session.agents().into_iter().map(|dir| dir.join("log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect()
    }
}

/// The network is gone for a while, first without a word, then refusing; a mount that holds goes on
/// where it was, and says when the wait begins and ends.
fn gone_for_a_while(technique: Technique, seconds: u64) {
    let mut away = Away::new(technique, "on-transient=hold,silence=1");
    let script = "exec 3> /net/unlinked 4>> /net/log; rm /net/unlinked; echo one >&4; touch $L/go; \
         i=0; while [ ! -e $L/stop ]; do echo $i >> /net/log || exit 1; i=$((i + 1)); done; \
         echo end >&3 || exit 2; echo $i";
    let running = away.session.start(&["bash", "-c", script]);
    away.wait_for("go");
    std::thread::sleep(Duration::from_millis(200));
    away.proxy.black_hole();
    std::thread::sleep(Duration::from_secs(seconds));
    away.proxy.refuse();
    std::thread::sleep(Duration::from_secs(seconds.min(2)));
    away.proxy.heal();
    std::fs::write(away.session.local().join("stop"), "").unwrap();
    let run = running.finish(LONG).code(0);
    let log = away.session.bash("cat /net/log").code(0).out();
    let count: usize = run.out().trim().parse().unwrap();
    let wanted: String = (0..count).map(|i| format!("{i}\n")).collect();
    assert_eq!(log, format!("one\n{wanted}"));
    let said = format!("{}{}", run.err(), away.log());
    assert!(said.contains("waiting for chirp://127.0.0.1"), "{said}");
    assert!(said.contains("as long as it takes"), "{said}");
    assert!(said.contains("answers again after"), "{said}");
    away.session.finish();
}

#[test]
fn network_gone_for_a_while_preload() {
    gone_for_a_while(Technique::Preload, 3);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn network_gone_for_longer() {
    gone_for_a_while(Technique::Preload, 10);
    gone_for_a_while(Technique::Trace, 10);
}

/// A guest that waits for a server that stays away can be ended at any time.
fn killable(technique: Technique) {
    let mut away = Away::new(technique, "on-transient=hold,silence=1");
    away.proxy.refuse();
    let running = away.session.start(&["bash", "-c", "touch $L/go; exec cat /net/file"]);
    away.wait_for("go");
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    running.signal(Signal::SIGTERM);
    let run = running.finish(Duration::from_secs(60));
    assert_eq!(run.end, End::Signal(15), "{}", run.describe());
    assert!(start.elapsed() < Duration::from_secs(10), "{}", run.describe());
    away.session.finish();
}

#[test]
fn waiting_can_be_ended_preload() {
    killable(Technique::Preload);
}

#[test]
fn waiting_can_be_ended_trace() {
    killable(Technique::Trace);
}

/// `on-transient=kill` ends the program when the deadline is over; `errno` lets it go on.
#[test]
fn after_the_deadline() {
    let mut away = Away::new(Technique::Preload, "on-transient=kill,deadline=1");
    away.proxy.refuse();
    let run = away.session.bash("cat /net/file; echo status $?").code(0);
    assert_eq!(run.out(), "status 137\n", "{}", run.describe());
    let said = format!("{}{}", run.err(), away.log());
    assert!(said.contains("is ended: its server stays away"), "{said}");
    away.session.finish();
    let mut away = Away::new(Technique::Preload, "deadline=2");
    let _ = away.session.bash("echo x > /net/file").code(0);
    away.proxy.refuse();
    let run = away.session.bash("cat /net/file; echo status $?").code(0);
    assert_eq!(run.out(), "status 1\n", "{}", run.describe());
    let said = format!("{}{}", run.err(), away.log());
    assert!(said.contains("up to 2 s") && said.contains("gave up after"), "{said}");
    away.session.finish();
}

/// What a program wrote and could not be sent: `close` says so; and when nobody is left to be told,
/// the session's log names the file.
#[test]
fn unsent_data_are_told_of() {
    let mut away = Away::new(Technique::Preload, "deadline=1,silence=1");
    // By the shell alone: a program that starts has everything sent first.
    let script = "exec 3> /net/new; : > $L/go; until [ -e $L/now ]; do :; done; echo data >&3; \
         : > $L/written; read -r _ < $L/wait";
    let made = away.session.bash("mkfifo $L/wait");
    let _ = made.code(0);
    let running = away.session.start(&["bash", "-c", script]);
    away.wait_for("go");
    away.proxy.refuse();
    std::fs::write(away.session.local().join("now"), "").unwrap();
    away.wait_for("written");
    running.signal(Signal::SIGKILL);
    let _ = running.finish(Duration::from_secs(60));
    let until = Instant::now() + LONG;
    while !away.log().contains("not written to the server") {
        assert!(Instant::now() < until, "{}", away.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = away.log();
    let line = log.lines().find(|line| line.contains("not written to the server")).unwrap();
    assert!(line.contains("/net/new"), "{line}");
    let run = away.session.bash("dd if=/dev/zero of=/net/other bs=1k count=1 status=none; echo $?");
    assert_eq!(run.out(), "1\n", "{}", run.describe());
    // Back again: what the dead program wrote arrives all the same.
    away.proxy.heal();
    let run = away.session.bash("until [ -s /net/new ]; do sleep 0.2; done; cat /net/new").code(0);
    assert_eq!(run.out(), "data\n", "{}", run.describe());
    away.session.finish();
}

/// A server without room: who writes is told, and can make room.
#[test]
fn what_has_no_room_can_be_removed() {
    for technique in [Technique::Preload, Technique::Trace] {
        let dir = TempDir::new();
        let server = Server::start_with(Make::Ours, &dir.sub("export"), 0, &["-Q", "1M"]);
        let session = Session::new(technique);
        let place = format!("/chirp/127.0.0.1:{}", server.port());
        let session = session.env("W", &place);
        let run = session.bash(
            "cd $W; dd if=/dev/zero of=big bs=1M count=3 2> $L/said; echo $?; \
             grep -o 'No space left on device' $L/said; ls; stat -c %n big; rm big; echo $?; \
             echo small > small && cat small; ls",
        );
        let expected = "1\nNo space left on device\nbig\nbig\n0\nsmall\nsmall\n";
        assert_eq!(run.out(), expected, "{technique:?}: {}", run.describe());
        session.finish();
    }
}
