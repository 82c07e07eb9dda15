//! Peers that do not speak Chirp, or break its rules.

use crate::fake::{Fake, Peer, impatient, script, stat_line};
use crate::site::connect;
use crate::{READ, WRITE};
use parrot_agent::driver::{Config, Driver, OpenFlags};
use parrot_agent::error::{Error, Kind};
use parrot_common::Errno;
use std::time::{Duration, Instant};

/// What a first request meets at a peer.
fn meet(work: impl FnOnce(&mut Peer) + Send + 'static) -> Error {
    let start = Instant::now();
    let fake = Fake::new(vec![script(work)]);
    let error = fake.driver().stat(b"/", true).unwrap_err();
    fake.finish();
    assert!(start.elapsed() < Duration::from_secs(3), "{error} took {:?}", start.elapsed());
    error
}

#[test]
fn ports_that_do_not_speak_chirp() {
    let echo = meet(|peer| {
        let line = peer.hear();
        peer.say(format!("{line}\n"));
        assert_eq!(peer.hear(), "");
    });
    assert_eq!((echo.kind(), echo.errno()), (Kind::Protocol, Errno::EIO), "{echo}");
    let silent = meet(|peer| while !peer.hear().is_empty() {});
    assert_eq!((silent.kind(), silent.errno()), (Kind::TimedOut, Errno::ETIMEDOUT), "{silent}");
    let http = meet(|peer| peer.say("HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert_eq!(http.kind(), Kind::Protocol, "{http}");
    let endless = meet(|peer| peer.say(vec![b'x'; 100_000]));
    assert_eq!(endless.kind(), Kind::Protocol, "{endless}");
    let closing = meet(|_| {});
    assert_eq!(closing.kind(), Kind::Disconnected, "{closing}");
}

#[test]
fn a_server_that_does_not_want_us() {
    let fake = Fake::new(vec![script(|peer| {
        peer.expect("hostname");
        peer.say("yes\nno\n");
        peer.expect("unix");
        peer.say("yes\n/nowhere/challenge.1\n");
        peer.expect("no");
        peer.expect("address");
        peer.say("no\n");
    })]);
    let auth = ["hostname", "unix", "address"].map(str::to_owned).to_vec();
    let d = connect("chirp", &fake.host, &Config { auth, ..impatient() });
    let error = d.stat(b"/", true).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (Kind::Login, Errno::EACCES));
    let story = error.to_string();
    for part in ["hostname: refused", "unix: cannot make /nowhere/challenge.1", "address: not off"]
    {
        assert!(story.contains(part), "{story}");
    }
    fake.finish();
}

#[test]
fn a_challenge_touches_no_file_of_ours() {
    let victim = std::env::temp_dir().join(format!("driver-victim-{}", std::process::id()));
    std::fs::write(&victim, b"mine").unwrap();
    let missing = std::env::temp_dir().join(format!("driver-missing-{}", std::process::id()));
    let paths = [victim.clone(), missing.clone()].map(|path| path.display().to_string());
    let fake = Fake::new(vec![script(move |peer| {
        for path in paths {
            peer.expect("unix");
            peer.say(format!("yes\n{path}\n"));
            peer.expect("no");
        }
    })]);
    let auth = vec!["unix".to_owned(), "unix".to_owned()];
    let d = connect("chirp", &fake.host, &Config { auth, ..impatient() });
    assert_eq!(d.stat(b"/", true).unwrap_err().kind(), Kind::Login);
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    assert!(!missing.exists(), "the name is none of a challenge");
    std::fs::remove_file(victim).unwrap();
    fake.finish();
}

/// What an operation meets when its reply is `reply`, and whether the connection was kept.
fn answer<T: std::fmt::Debug>(
    reply: impl AsRef<[u8]> + Send + 'static,
    operation: impl FnOnce(&dyn Driver) -> parrot_agent::error::Result<T>,
) -> (Error, bool) {
    let fake = Fake::new(vec![script(move |peer| {
        peer.let_in();
        peer.hear();
        peer.say(reply);
        if !peer.hear().is_empty() {
            peer.say("-3\n");
        }
    })]);
    let d = fake.driver();
    let error = operation(&*d).unwrap_err();
    let kept = d.counters().connections == 1
        && d.stat(b"/next", true).is_err_and(|e| e.kind() == Kind::Remote(Errno::ENOENT));
    drop(d);
    fake.finish();
    (error, kept)
}

#[test]
fn codes_are_errors_and_keep_the_connection() {
    for (reply, errno) in [
        ("-1\n", Errno::EACCES),
        ("-3\n", Errno::ENOENT),
        ("-17\n", Errno::EIO),
        ("-99\n", Errno::EIO),
        ("-127\n", Errno::EIO),
        ("-9223372036854775808\n", Errno::EIO),
    ] {
        let (error, kept) = answer(reply, |d| d.stat(b"/file", true));
        assert_eq!((error.kind(), kept), (Kind::Remote(errno), true), "{reply}");
    }
    for reply in ["-127\n", "-8\n"] {
        let (error, kept) = answer(reply, |d| d.getxattr(b"/file", b"security.selinux", true));
        assert_eq!((error.kind(), kept), (Kind::Remote(Errno::ENODATA), true));
    }
}

#[test]
fn broken_rules_end_the_connection() {
    let stat = |reply: &'static str| answer(reply, |d| d.stat(b"/file", true));
    let long: &'static str = Box::leak("1".repeat(5000).into_boxed_str());
    for reply in
        ["hello\n", "\n", "99999999999999999999\n", "0\nno attributes\n", "0\n1 2 3\n", long]
    {
        let (error, kept) = stat(reply);
        assert_eq!((error.kind(), kept), (Kind::Protocol, false), "{reply:.20}");
    }
    let negative = format!("0\n{}", stat_line(1, 0o100_644, 0).replace(" 0 4096", " -5 4096"));
    let (error, kept) = answer(negative, |d| d.stat(b"/file", true));
    assert_eq!((error.kind(), kept), (Kind::Protocol, false));
    // Too much data is not waited for, let alone stored.
    for reply in ["99999999999\n", "9223372036854775807\n", "4097\n"] {
        let (error, kept) = answer(reply, |d| d.readlink(b"/link"));
        assert_eq!((error.kind(), kept), (Kind::Protocol, false), "{reply}");
    }
    let (error, kept) = answer("0\nname\nno attributes\n\n", |d| d.list(b"/"));
    assert_ne!((error.kind(), kept), (Kind::Remote(Errno::EIO), true));
}

#[test]
fn words_that_nobody_asked_for_end_the_connection() {
    let fake = Fake::new(vec![
        script(|peer| {
            peer.let_in();
            peer.hear();
            // As after a listing that held a name with two line ends.
            peer.say("-3\n0\n1 2 3\n");
            assert_eq!(peer.hear(), "");
        }),
        script(|peer| {
            peer.let_in();
            peer.expect("stat /two");
            peer.say("-4\n");
        }),
    ]);
    let d = fake.driver();
    assert_eq!(d.stat(b"/one", true).unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(d.stat(b"/two", true).unwrap_err().errno(), Errno::EEXIST);
    drop(d);
    fake.finish();
}

#[test]
fn transfers_that_break_the_rules() {
    let fake = Fake::new(vec![script(|peer| {
        peer.let_in();
        peer.expect("open /file rw 0");
        peer.say(format!("7\n{}", stat_line(1, 0o100_644, 10)));
        // Short, and not at the end: asked again.
        peer.expect("pread 7 10 0");
        peer.say("4\n0123");
        peer.expect("pread 7 6 4");
        peer.say("6\n456789");
        peer.expect("pwrite 7 5 0");
        peer.skip(5);
        peer.say("2\n");
        peer.expect("pwrite 7 3 2");
        peer.skip(3);
        peer.say("-6\n");
        peer.expect("pread 7 10 0");
        peer.say("11\n01234567890");
    })]);
    let d = fake.driver();
    let both = OpenFlags { read: true, ..WRITE };
    let (file, _) = d.open(b"/file", both, 0).unwrap();
    let mut buf = [0; 10];
    assert_eq!(file.pread(&mut buf, 0).unwrap(), 10);
    assert_eq!(&buf, b"0123456789");
    assert_eq!(file.pwrite(b"abcde", 0).unwrap_err().errno(), Errno::ENOSPC);
    assert_eq!(file.pread(&mut buf, 0).unwrap_err().kind(), Kind::Protocol);
    drop((file, d));
    fake.finish();
}

#[test]
fn requests_travel_together() {
    let fake = Fake::new(vec![script(|peer| {
        peer.let_in();
        // Nothing is answered before everything is there.
        peer.expect("open /small r 0");
        peer.expect("pread 0 100 0");
        peer.expect("close 0");
        peer.say(format!("0\n{}5\nsmall0\n", stat_line(1, 0o100_644, 5)));
        let names: Vec<_> = (0..50).map(|_| peer.hear()).collect();
        assert_eq!(names[49], "lstat /49");
        peer.say("-3\n".repeat(50));
        // A wrong guess of the descriptor, and then none.
        peer.expect("open /small r 0");
        peer.expect("pread 0 100 0");
        peer.expect("close 0");
        peer.say(format!("5\n{}-12\n-12\n", stat_line(1, 0o100_644, 5)));
        peer.expect("pread 5 100 0");
        peer.expect("close 5");
        peer.say("5\nsmall0\n");
        peer.expect("open /small r 0");
        peer.say(format!("5\n{}", stat_line(1, 0o100_644, 5)));
        peer.expect("pread 5 100 0");
        peer.expect("close 5");
        peer.say("5\nsmall0\n");
        // A long read: eight pieces at once.
        peer.expect("open /long r 0");
        peer.say(format!("0\n{}", stat_line(1, 0o100_644, 12 << 20)));
        let piece = 1_048_576;
        let expect = |peer: &mut Peer, pieces: std::ops::Range<usize>| {
            for i in pieces {
                peer.expect(&format!("pread 0 {piece} {}", i * piece));
            }
        };
        expect(peer, 0..8);
        for _ in 0..3 {
            peer.say(format!("{piece}\n"));
            peer.say(vec![b'x'; piece]);
        }
        peer.say("0\n");
        expect(peer, 8..11);
        peer.say("0\n".repeat(7));
        // The rest, for the file is known to be longer.
        expect(peer, 3..11);
        peer.say("0\n".repeat(8));
        // The file is closed.
        peer.expect("close 0");
        peer.say("0\n");
    })]);
    let d = fake.driver();
    let small = |d: &dyn Driver| d.read_small(b"/small", 100).unwrap().1.unwrap();
    assert_eq!(small(&*d), b"small");
    let names: Vec<_> = (0..50).map(|i| format!("/{i}").into_bytes()).collect();
    let paths: Vec<_> = names.iter().map(Vec::as_slice).collect();
    assert!(d.stat_many(&paths).iter().all(Result::is_err));
    assert_eq!(small(&*d), b"small");
    assert_eq!(small(&*d), b"small");
    let (file, _) = d.open(b"/long", READ, 0).unwrap();
    let mut buf = vec![0; 12 << 20];
    assert_eq!(file.pread(&mut buf, 0).unwrap(), 3 << 20);
    drop((file, d));
    fake.finish();
}
