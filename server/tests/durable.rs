//! What a crash leaves behind: the old file or the new one, never half of either, and no rubbish.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use common::{Server, wait_for};

/// Long enough that many pieces are written for it.
const LENGTH: usize = 3_000_000;

/// Stores `/f` again and again, each time with one more in every byte, until the server dies.
/// Tells what was begun and what was acknowledged.
fn put_until_it_dies(port: u16, begun: &AtomicU8, stored: &AtomicU8) -> std::io::Result<()> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line)
    };
    stream.write_all(b"address\n")?;
    for _ in 0..5 {
        line()?;
    }
    for value in 1.. {
        begun.store(value, Ordering::SeqCst);
        stream.write_all(format!("putfile /f 420 {LENGTH}\n").as_bytes())?;
        if line()? != "0\n" {
            break;
        }
        stream.write_all(&vec![value; LENGTH])?;
        if line()? != format!("{LENGTH}\n") {
            break;
        }
        stored.store(value, Ordering::SeqCst);
    }
    Ok(())
}

#[test]
fn a_crash_in_a_putfile_leaves_the_old_file_or_the_new_one() {
    for options in [&[][..], &["-Q", "1G"]] {
        let mut server = Server::start_with(options, |root| {
            std::fs::write(root.join(".__acl"), "address:* rwlda\n").unwrap();
        });
        let mut halfway = 0;
        for round in 0..12_u64 {
            let (begun, stored) = (AtomicU8::new(0), AtomicU8::new(0));
            std::thread::scope(|scope| {
                // It ends with an error of the connection, sooner or later.
                scope.spawn(|| put_until_it_dies(server.port, &begun, &stored));
                wait_for(|| (begun.load(Ordering::SeqCst) > 2).then_some(()));
                std::thread::sleep(Duration::from_micros(round * 700));
                server.signal("-KILL");
            });
            let name = server.root().join("f");
            let bytes = std::fs::read(&name).unwrap();
            let value = *bytes.first().unwrap();
            assert_eq!(bytes.len(), LENGTH);
            assert!(bytes.iter().all(|byte| *byte == value), "a mixture");
            let (begun, stored) = (begun.into_inner(), stored.into_inner());
            assert!((stored..=begun).contains(&value), "{stored} <= {value} <= {begun}");
            halfway += leftovers(&server.root());
            server.crash(options);
            wait_for(|| (leftovers(&server.root()) == 0).then_some(()));
            assert_eq!(std::fs::read(&name).unwrap(), bytes);
        }
        assert!(halfway > 0, "no crash ever came in the middle");
    }
}

/// How many files and directories with the names of unfinished ones are in a directory.
fn leftovers(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".__put.")).count()
}

#[test]
fn a_new_name_appears_when_all_is_there() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask("putfile /new 420 100000"), 0);
    client.send(vec![1; 50_000]);
    wait_for(|| (leftovers(&server.root()) == 1).then_some(()));
    assert_eq!(server.client().list("getdir /"), [".", ".."]);
    server.crash(&[]);
    wait_for(|| (leftovers(&server.root()) == 0).then_some(()));
    assert_eq!(server.client().ask("stat /new"), -3);
}

/// Leftovers of a server that was killed go, wherever they are; what another server is still busy
/// with stays, and so does everything when only reading is allowed.
#[test]
fn leftovers_are_swept() {
    let prepare = |root: &Path| {
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/.__put.1.2"), "half").unwrap();
        std::fs::write(root.join("a/b/.__put.1.3"), "half").unwrap();
        std::fs::create_dir_all(root.join("a/.__put.1.4/deep")).unwrap();
        std::fs::write(root.join("a/.__put.1.4/.__alloc"), "5\n0\n").unwrap();
        std::fs::write(root.join("a/b/.__other"), "not ours").unwrap();
        std::fs::write(root.join("a/kept"), "kept").unwrap();
    };
    for options in [&[][..], &["-Q", "1M"]] {
        // The lock must be there before the server looks.
        let mut lock = None;
        let server = Server::start_with(options, |root| {
            prepare(root);
            let busy = root.join("a/b/.__put.1.3");
            let mut flock = std::process::Command::new("flock");
            flock.arg(busy).args(["sh", "-c", "echo locked; read end"]);
            flock.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = flock.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "locked\n");
            lock = Some(child);
        });
        let root = server.root();
        wait_for(|| (leftovers(&root.join("a")) == 0).then_some(()));
        wait_for(|| (leftovers(&root.join("a/b")) == 1).then_some(()));
        assert!(root.join("a/b/.__put.1.3").exists() && root.join("a/b/.__other").exists());
        assert_eq!(server.read("a/kept"), b"kept");
        drop(lock.as_mut().unwrap().stdin.take());
        lock.unwrap().wait().unwrap();
    }
    let server = Server::start_with(&["-R", "-Q", "1M"], prepare);
    server.client().is_fine();
    assert_eq!(leftovers(&server.root().join("a/b")), 2);
}

#[test]
fn a_stored_file_has_its_mode_and_is_nobodys_while_it_comes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask("putfile /f 511 3"), 0);
    wait_for(|| (leftovers(&server.root()) == 1).then_some(()));
    let entries = std::fs::read_dir(server.root()).unwrap().map(Result::unwrap);
    let mut unfinished =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".__put."));
    let mode = unfinished.next().unwrap().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    client.send(b"abc");
    assert_eq!(client.number(), 3);
    let mode = std::fs::metadata(server.root().join("f")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o777);
}

/// The system calls that make things durable are made, and in the right order: data before names.
#[test]
fn what_is_acknowledged_was_asked_of_the_disk() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let trace = dir.path().join("trace");
    let server = Server::start(&[]);
    let mut strace = std::process::Command::new("strace");
    let calls = "trace=fsync,fdatasync,sync_file_range,rename,renameat,renameat2";
    strace.args(["-f", "-y", "-e", calls, "-o"]);
    strace.arg(&trace).args(["-p", &server.child.id().to_string()]);
    strace.stderr(std::process::Stdio::piped());
    let mut tracing = strace.spawn().unwrap();
    let mut messages = BufReader::new(tracing.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("attached") {
        line.clear();
        assert!(messages.read_line(&mut line).unwrap() > 0, "strace ended");
    }
    let mut client = server.client();
    client.put("/put", b"data");
    let seen = |steps: &[&[&str]]| {
        let is = |line: &str, step: &[&str]| step.iter().any(|word| line.contains(word));
        let text = wait_for(|| {
            let text = std::fs::read_to_string(&trace).unwrap();
            let last = steps.last().unwrap();
            text.lines().any(|line| is(line, last)).then_some(text)
        });
        let mut lines = text.lines();
        for step in steps {
            assert!(lines.any(|line| is(line, step)), "{step:?} not in its place:\n{text}");
        }
    };
    // Where the journal keeps the order, the data is waited for and nothing else.
    seen(&[&["fdatasync(", "SYNC_FILE_RANGE_WAIT_AFTER"], &["rename"]]);
    assert_eq!(client.ask("mkdir /d 493"), 0);
    client.stat("open /d/new rwc 420");
    assert_eq!(client.ask_with("pwrite 0 4 0", b"data"), 4);
    assert_eq!(client.ask("fsync 0"), 0);
    seen(&[&["/d/new>)"], &["/d>)"]]);
    let _ = tracing.kill();
    tracing.wait().unwrap();
}
