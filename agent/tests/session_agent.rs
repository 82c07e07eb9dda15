//! `parrot-agent`, the process: election, the protocol, its end.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking, in their helpers too")]

mod session;

use parrot_common::client::SessionClient;
use parrot_common::{Errno, Files, Name, Op, Request, Stop};
use session::Temp;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Place {
    temp: Temp,
    session: PathBuf,
}

impl Place {
    fn new() -> Self {
        let temp = Temp::new();
        let (session, remote) = (temp.0.join("session"), temp.0.join("remote"));
        fs::DirBuilder::new().mode(0o700).create(&session).unwrap();
        fs::create_dir(&remote).unwrap();
        let list = format!("/r /local/-{}\n", remote.display());
        fs::write(session.join("rules"), session::table(&list)).unwrap();
        Self { temp, session }
    }

    fn agent(&self, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-agent"));
        command.arg("--session").arg(&self.session).args(more).stdin(Stdio::null());
        command.spawn().unwrap()
    }

    fn ask(&self, option: &str) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-agent"));
        command.arg(option).arg(&self.session).output().unwrap()
    }

    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.session.join("sock").exists() {
            assert!(Instant::now() < end, "no agent");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn client(&self) -> SessionClient<'_> {
        SessionClient::new(self.session.as_os_str().as_bytes(), None)
    }
}

/// Ends a connection: a client leaves it open, as programs end without a word.
fn leave(client: SessionClient<'_>) {
    if let Some(fd) = client.descriptor() {
        nix::unistd::close(fd).unwrap();
    }
}

fn create(client: &mut SessionClient<'_>, path: &str) -> (fs::File, u64) {
    let flags = libc::O_CREAT | libc::O_RDWR | libc::O_TRUNC | libc::O_CLOEXEC;
    let name = Name { base: 0, path: path.as_bytes() };
    let args = [u64::from(flags.cast_unsigned()), 0o644, 0, 0, 0];
    let opened = client.open(&Request::named(Op::Open, name).args(args), &mut []).unwrap();
    (session::file(opened.fd), opened.id)
}

#[test]
fn one_agent_serves_and_leaves_when_nobody_needs_it() {
    let place = Place::new();
    let mut first = place.agent(&["--idle", "1"]);
    place.wait();
    assert!(place.agent(&[]).wait().unwrap().success(), "the second has nothing to do");
    let mut client = place.client();
    let (mut file, id) = create(&mut client, "/r/f");
    file.write_all(b"text").unwrap();
    client.call(&Request::on(Op::Flush, id), &mut []).unwrap();
    let name = Name { base: 0, path: b"/r/f" };
    let mut out = [0; 4096];
    let attr = client.attr(&Request::named(Op::Stat, name), &mut out).unwrap();
    assert_eq!(
        (attr.size, fs::read(place.temp.0.join("remote/f")).unwrap()),
        (4, b"text".to_vec())
    );
    let wrong = Request::new(Op::Hello).args([99, 0, 0, 0, 0]);
    assert_eq!(client.call(&wrong, &mut out), Err(Stop::Fail(Errno::EIO)));
    let stats = place.ask("--stats");
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert!(stats["operations"]["Open"]["calls"] == 1);
    // It stays while a file is open, whoever is connected.
    leave(client);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(first.try_wait().unwrap().is_none());
    file.rewind_and_read();
    drop(file);
    assert!(first.wait().unwrap().success());
    assert!(!place.session.join("sock").exists());
    assert!(!place.ask("--stats").status.success());
}

#[test]
fn a_client_asks_once_for_a_cache_that_is_not_there() {
    let place = Place::new();
    let list = format!("/r /local/-{} cache=strict\n", place.temp.0.join("remote").display());
    fs::write(place.session.join("rules"), session::table(&list)).unwrap();
    fs::write(place.temp.0.join("remote/f"), "text").unwrap();
    let mut agent = place.agent(&["--idle", "1"]);
    place.wait();
    let mut client = place.client();
    let name = Name { base: 0, path: b"/r/f" };
    let opened = client.open(&Request::named(Op::Open, name), &mut []).unwrap();
    let file = session::file(opened.fd);
    for _ in 0..5 {
        assert!(client.view(opened.id).is_none());
    }
    let stats = place.ask("--stats");
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["operations"]["Attach"]["calls"], 1, "{stats}");
    drop((client, file));
    assert!(agent.wait().unwrap().success());
}

trait RewindAndRead {
    fn rewind_and_read(&mut self);
}

impl RewindAndRead for fs::File {
    fn rewind_and_read(&mut self) {
        use std::io::Seek;
        let mut text = String::new();
        self.rewind().unwrap();
        self.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}

#[test]
fn an_agent_that_is_told_to_end_sends_everything_first() {
    let place = Place::new();
    let mut agent = place.agent(&[]);
    place.wait();
    let mut client = place.client();
    let (mut file, _) = create(&mut client, "/r/f");
    file.write_all(b"unsent").unwrap();
    let synced = place.temp.0.join("remote/f");
    assert!(place.ask("--sync").status.success());
    assert_eq!(fs::read(&synced).unwrap(), b"unsent");
    file.write_all(b", and more").unwrap();
    assert!(place.ask("--stop").status.success());
    assert_eq!(fs::read(&synced).unwrap(), b"unsent, and more");
    assert!(agent.wait().unwrap().success());
    drop(file);
    let left = fs::read_dir(place.session.join("c")).unwrap().count();
    assert!(left <= 1, "only what a guest could still write");
}

#[test]
fn a_killed_agents_data_are_sent_by_the_next_one() {
    let place = Place::new();
    let mut agent = place.agent(&[]);
    place.wait();
    let mut client = place.client();
    let (mut file, _) = create(&mut client, "/r/f");
    file.write_all(b"unsent").unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(fs::read(place.temp.0.join("remote/f")).unwrap(), b"");
    fs::remove_file(place.session.join("sock")).unwrap();
    let mut next = place.agent(&["--idle", "1"]);
    place.wait();
    assert_eq!(fs::read(place.temp.0.join("remote/f")).unwrap(), b"unsent");
    let name = Name { base: 0, path: b"/r/f" };
    let attr = client.attr(&Request::named(Op::Stat, name), &mut [0; 4096]);
    // The old connection is found broken, and a new one is made.
    assert!(attr.is_ok_and(|attr| attr.size == 6));
    leave(client);
    assert!(next.wait().unwrap().success());
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::set_permissions(&place.session, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!place.agent(&[]).wait().unwrap().success());
}
