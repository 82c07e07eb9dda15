//! Reservations, quotas, the floor: limits that hold, whoever writes, and after a crash.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Client, Server, StockServer};

const NO_SPACE: i64 = -6;
const CROSS_DEVICE: i64 = -16;
const BLOCK: u64 = 4096;

/// The size and the use that `lsalloc` tells, of the reservation that it names.
fn usage(client: &mut Client, path: &str) -> (String, u64, u64) {
    assert_eq!(client.ask(&format!("lsalloc {path}")), 0, "{path}");
    let line = client.line();
    let words: Vec<&str> = line.split(' ').collect();
    let [name, size, used] = *words else { panic!("{line}") };
    (name.to_owned(), size.parse().unwrap(), used.parse().unwrap())
}

fn used(client: &mut Client, path: &str) -> u64 {
    usage(client, path).2
}

/// What a tree takes, as the server should count it: counted here by other means.
fn counted(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(".__"));
    visible
        .map(|entry| {
            let about = entry.path().symlink_metadata().unwrap();
            if about.is_dir() {
                BLOCK + counted(&entry.path())
            } else if about.is_file() {
                about.len().next_multiple_of(BLOCK)
            } else {
                0
            }
        })
        .sum()
}

#[test]
fn a_server_without_a_quota_has_no_reservations() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask("lsalloc /"), -8);
    assert_eq!(client.ask("mkalloc /a 1000 493"), -8);
    assert!(!server.root().join("a").exists());
}

#[test]
fn reservations_are_made_shown_and_removed() {
    let server = Server::start_with(&["-Q", "1M"], |root| {
        std::fs::create_dir(root.join("old")).unwrap();
        std::fs::write(root.join("old/f"), [1; 5000]).unwrap();
        std::fs::hard_link(root.join("old/f"), root.join("g")).unwrap();
    });
    let mut client = server.client();
    let start = 3 * BLOCK;
    assert_eq!(usage(&mut client, "/"), ("/".into(), 1 << 20, start));
    assert_eq!(usage(&mut client, "/old/f"), ("/".into(), 1 << 20, start));
    assert_eq!(client.ask("mkalloc /r 102400 493"), 0);
    assert_eq!(client.ask("mkalloc /r 4096 493"), -4);
    assert_eq!(client.ask("mkalloc /no/r 4096 493"), -3);
    assert_eq!(client.ask("mkalloc /s -1 493"), -8);
    assert_eq!(client.ask("mkalloc /s 1048576 493"), NO_SPACE);
    assert_eq!(client.ask("mkalloc /.__s 1 493"), -2);
    assert_eq!(usage(&mut client, "/r"), ("/r".into(), 102_400, 0));
    assert_eq!(used(&mut client, "/"), start + 102_400);
    assert_eq!(client.ask("mkdir /r/d 493"), 0);
    assert_eq!(client.ask("mkalloc /r/d/in%20side 40960 493"), 0);
    assert_eq!(usage(&mut client, "/r/d"), ("/r".into(), 102_400, BLOCK + 40_960));
    assert_eq!(usage(&mut client, "/r/d/in%20side").0, "/r/d/in%20side");
    client.put("/r/d/in%20side/f", &vec![0; 40_960]);
    assert_eq!(client.ask("putfile /r/d/in%20side/g 420 1"), NO_SPACE);
    assert_eq!(used(&mut client, "/r"), BLOCK + 40_960);
    assert_eq!(client.ask("lsalloc /none"), -3);
    assert_eq!(client.ask("rmdir /r"), -15);
    assert_eq!(used(&mut client, "/"), start + 102_400);
    assert_eq!(client.ask("rmall /r/d"), 0);
    assert_eq!(used(&mut client, "/r"), 0);
    assert_eq!(client.ask("rmdir /r"), 0, "its record is no content");
    assert_eq!(used(&mut client, "/"), start);
    // The first of two names of a file gives nothing back.
    assert_eq!(client.ask("unlink /g"), 0);
    assert_eq!(used(&mut client, "/"), start);
    assert_eq!(client.ask("unlink /old/f"), 0);
    assert_eq!(used(&mut client, "/"), BLOCK);
    assert_eq!(server.stranger().ask("lsalloc /"), -2);
    assert_eq!(server.stranger().ask("mkalloc /x 1 493"), -2);
}

#[test]
fn everything_that_writes_is_counted() {
    let server = Server::start(&["-Q", "200K"]);
    let root = server.root();
    let mut client = server.client();
    let check = |client: &mut Client| {
        assert_eq!(used(client, "/"), counted(&root));
    };
    client.stat("open /f rwc 420");
    for (request, body) in [("pwrite 0 10000 0", 10_000), ("swrite 0 100 10 5000 20000", 100)] {
        assert_eq!(client.ask_with(request, &vec![1; body]), i64::try_from(body).unwrap());
        check(&mut client);
    }
    for request in ["ftruncate 0 3", "ftruncate 0 50000", "truncate /f 9000", "mkdir /d 493"] {
        assert_eq!(client.ask(request), 0, "{request}");
        check(&mut client);
    }
    // What does not fit is not done, and not charged.
    assert_eq!(client.ask_with("pwrite 0 10 204800", &[1; 10]), NO_SPACE);
    assert_eq!(client.ask_with("swrite 0 10 5 300000 0", &[1; 10]), NO_SPACE);
    assert_eq!(client.ask("ftruncate 0 204800"), NO_SPACE);
    assert_eq!(client.ask("truncate /f 9999999999999"), NO_SPACE);
    assert_eq!(client.ask("putfile /big 420 200000"), NO_SPACE);
    assert_eq!(server.read("f").len(), 9000);
    check(&mut client);
    client.put("/d/p", &[1; 8193]);
    check(&mut client);
    client.put("/d/p", &[1; 1]);
    check(&mut client);
    let mut stream = server.client();
    assert_eq!(stream.ask("putstream /d/s"), 0);
    stream.send(vec![7; 30_000]);
    stream.reader.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(stream.is_closed());
    check(&mut client);
    client.stat("open /d/a wca 420");
    for _ in 0..3 {
        assert_eq!(client.ask_with("pwrite 1 5000 0", &[1; 5000]), 5000, "appended");
        check(&mut client);
    }
    client.stat("open /d/a wt 420");
    check(&mut client);
    for request in ["rename /f /d/f", "rename /d/f /d/p", "link /d/p /d/q", "symlink p /d/l"] {
        assert_eq!(client.ask(request), 0, "{request}");
    }
    std::fs::remove_file(root.join("d/q")).unwrap();
    check(&mut client);
    // The rest of the tree fills up with directories, too.
    let made = (0..60).filter(|i| client.ask(&format!("mkdir /d{i} 493")) == 0).count();
    assert!(made < 50, "{made}");
    assert_eq!(client.ask("mkdir /last 493"), NO_SPACE);
    check(&mut client);
    assert_eq!(client.ask("rmall /d"), 0);
    for i in 0..made {
        assert_eq!(client.ask(&format!("rmdir /d{i}")), 0);
    }
    // The two open files of the removed directory still take what they took.
    assert_eq!(used(&mut client, "/"), 12_288);
    for fd in 0..3 {
        assert_eq!(client.ask(&format!("close {fd}")), 0);
    }
    assert_eq!(used(&mut client, "/"), 0);
}

#[test]
fn a_file_without_a_name_takes_space_until_it_is_closed() {
    let server = Server::start(&["-Q", "100K"]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.ask("mkalloc /r 40960 493"), 0);
    one.put("/r/f", &[1; 8192]);
    one.stat("open /r/f r 0");
    two.stat("open /r/f rw 0");
    assert_eq!(one.ask("unlink /r/f"), 0);
    assert_eq!(used(&mut one, "/r"), 8192);
    assert_eq!(two.ask_with("pwrite 0 4096 8192", &[1; 4096]), 4096);
    assert_eq!(used(&mut one, "/r"), 12_288);
    // Its directory may go, too: then it counts in the reservation around.
    assert_eq!(one.ask("rmdir /r"), 0);
    assert_eq!(used(&mut one, "/"), 12_288);
    assert_eq!(one.ask("close 0"), 0);
    assert_eq!(used(&mut one, "/"), 12_288);
    drop(two);
    common::wait_for(|| (used(&mut one, "/") == 0).then_some(()));
}

#[test]
fn names_move_between_reservations_with_their_space() {
    let server = Server::start(&["-Q", "1M"]);
    let mut client = server.client();
    for request in [
        "mkalloc /a 100000 493",
        "mkalloc /b 20480 493",
        "mkdir /a/d 493",
        "mkalloc /a/in 8192 493",
    ] {
        assert_eq!(client.ask(request), 0, "{request}");
    }
    client.put("/a/f", &[1; 10_000]);
    client.put("/a/g", &[1; 12_000]);
    client.put("/b/h", &[1; 5000]);
    let before = used(&mut client, "/a");
    // A file that is open moves with all that it will grow to.
    client.stat("open /a/f rw 0");
    assert_eq!(client.ask("rename /a/f /b/f"), 0);
    assert_eq!(used(&mut client, "/a"), before - 12_288);
    assert_eq!(used(&mut client, "/b"), 12_288 + 8192);
    assert_eq!(client.ask("rename /a/g /b/g"), NO_SPACE);
    assert!(server.root().join("a/g").exists());
    assert_eq!(client.ask("ftruncate 0 1"), 0);
    assert_eq!(used(&mut client, "/b"), 4096 + 8192);
    // What is replaced gives its space back, after the room for both was there.
    assert_eq!(client.ask("rename /b/f /b/h"), 0);
    assert_eq!(used(&mut client, "/b"), 4096);
    assert_eq!(client.ask("rename /a/g /b/h"), 0);
    assert_eq!(used(&mut client, "/b"), 12_288 + 4096, "the old file is still open");
    assert_eq!(client.ask("close 0"), 0);
    assert_eq!(used(&mut client, "/b"), 12_288);
    // Directories only as whole reservations, and no file in two.
    assert_eq!(client.ask("rename /a/d /b/d"), CROSS_DEVICE);
    assert_eq!(client.ask("rename /a/d /d"), CROSS_DEVICE);
    assert_eq!(client.ask("link /b/h /a/h"), CROSS_DEVICE);
    assert_eq!(client.ask("renameat2 /b/h /a/d 2"), CROSS_DEVICE);
    let (around, inside) = (used(&mut client, "/"), used(&mut client, "/a"));
    assert_eq!(client.ask("rename /a/in /in"), 0);
    assert_eq!(used(&mut client, "/"), around + 8192);
    assert_eq!(used(&mut client, "/a"), inside - 8192);
    assert_eq!(usage(&mut client, "/in").0, "/in");
    assert_eq!(client.ask("rename /in /b/in"), 0);
    assert_eq!(used(&mut client, "/b"), 12_288 + 8192);
    assert_eq!(client.ask("mkalloc /c 12288 493"), 0);
    assert_eq!(client.ask("rename /c /b/c"), NO_SPACE);
    assert_eq!(client.ask("rmall /b"), 0);
    assert_eq!(client.ask("rmall /a"), 0);
    assert_eq!(client.ask("rename /c /d"), 0);
    assert_eq!(used(&mut client, "/"), 12_288);
}

/// Many clients write, cut, replace and remove in one reservation: it is never overfull, and in
/// the end every byte is accounted for; and again after a crash in the middle of it.
#[test]
fn a_limit_holds_under_many_clients_and_after_a_crash() {
    const LIMIT: u64 = 400_000;
    let options = ["-Q", "10M"];
    let mut server = Server::start(&options);
    assert_eq!(server.client().ask(&format!("mkalloc /r {LIMIT} 493")), 0);
    let reservation = server.root().join("r");
    let mut clients = Vec::new();
    for round in 0..2 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..6_u64)
                .map(|seed| {
                    let (mut client, last) = (server.client(), round == 1);
                    scope.spawn(move || (write_at_random(&mut client, seed, last), client))
                })
                .collect();
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let lengths = std::fs::read_dir(&reservation).unwrap().flatten();
                    let sizes = lengths.filter_map(|entry| Some(entry.metadata().ok()?.len()));
                    assert!(sizes.sum::<u64>() <= LIMIT);
                }
            });
            let done: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            stop.store(true, Ordering::Relaxed);
            let mut full = 0;
            for worker in done {
                let (met, client) = worker.unwrap();
                full += met;
                clients.push(client);
            }
            assert!(full > 0, "nobody ever met the limit");
        });
        if round == 1 {
            break;
        }
        let mut client = server.client();
        assert_eq!(used(&mut client, "/r"), counted(&reservation));
        assert_eq!(used(&mut client, "/"), LIMIT);
    }
    let half = || std::fs::read_dir(&reservation).unwrap().flatten().filter(is_temporary).count();
    assert!(half() > 0, "the last clients are in the middle of something");
    server.crash(&options);
    assert_eq!(half(), 0);
    let mut client = server.client();
    assert_eq!(usage(&mut client, "/r"), ("/r".into(), LIMIT, counted(&reservation)));
    assert_eq!(used(&mut client, "/"), LIMIT);
}

fn is_temporary(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with(".__put.")
}

/// Random requests in `/r`; tells how many met the limit. The `last` round is left in the middle
/// of a `putfile`.
fn write_at_random(client: &mut Client, seed: u64, last: bool) -> usize {
    let mut state = seed + 1;
    let mut random = move |below: u64| {
        // xorshift: the same requests in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut full = 0;
    let body = vec![1; 60_000];
    for _ in 0..120 {
        let (name, size) = (random(8), random(60_000));
        let bytes = body.get(..usize::try_from(size).unwrap()).unwrap();
        let result = match random(6) {
            0 => client.ask(&format!("unlink /r/f{name}")),
            1 => client.ask(&format!("truncate /r/f{name} {size}")),
            2 => client.ask(&format!("rename /r/f{name} /r/f{}", random(8))),
            3 => match client.ask(&format!("putfile /r/f{name} 420 {size}")) {
                0 => {
                    client.send(bytes);
                    client.number()
                }
                error => error,
            },
            _ => {
                let fd = client.ask(&format!("open /r/f{name} wc 420"));
                client.line();
                let offset = random(50_000);
                let written = client.ask_with(&format!("pwrite {fd} {size} {offset}"), bytes);
                // Half of them stay open, with or without a name.
                if random(2) == 0 {
                    assert_eq!(client.ask(&format!("close {fd}")), 0);
                }
                written
            }
        };
        assert!(result >= 0 || [NO_SPACE, -3].contains(&result), "{result}");
        full += usize::from(result == NO_SPACE);
    }
    for fd in 0..120 {
        client.ask(&format!("close {fd}"));
    }
    if last {
        while client.ask(&format!("putfile /r/f{seed} 420 1000")) != 0 {
            for name in 0..8 {
                client.ask(&format!("unlink /r/f{name}"));
            }
        }
        client.send([1; 500]);
    }
    full
}

#[test]
fn a_crash_forgets_no_reservation() {
    let options = ["-Q", "1M"];
    let mut server = Server::start(&options);
    let mut client = server.client();
    for request in ["mkalloc /a 100000 493", "mkdir /a/d 493", "mkalloc /a/d/b 8192 493"] {
        assert_eq!(client.ask(request), 0);
    }
    client.put("/a/d/b/f", &[1; 5000]);
    client.stat("open /a/f wc 420");
    assert_eq!(client.ask_with("pwrite 0 5000 0", &[1; 5000]), 5000);
    assert_eq!(client.ask("unlink /a/f"), 0);
    server.crash(&options);
    let mut client = server.client();
    assert_eq!(usage(&mut client, "/a"), ("/a".into(), 100_000, BLOCK + 8192));
    assert_eq!(usage(&mut client, "/a/d/b"), ("/a/d/b".into(), 8192, 8192));
    assert_eq!(client.ask("truncate /a/d/b/f 8193"), NO_SPACE);
    // A smaller quota than what is in use lets nothing grow, but shrink.
    server.crash(&["-Q", "50000"]);
    let mut client = server.client();
    assert_eq!(usage(&mut client, "/"), ("/".into(), 50_000, 100_000));
    assert_eq!(client.ask("mkdir /x 493"), NO_SPACE);
    assert_eq!(client.ask("rmall /a"), 0);
    assert_eq!(client.ask("mkdir /x 493"), 0);
    // Without a quota nothing is enforced, and no reservation is forgotten.
    server.crash(&options);
    assert_eq!(server.client().ask("mkalloc /a 8192 493"), 0);
    server.crash(&[]);
    server.client().put("/a/f", &[1; 10_000]);
    server.crash(&options);
    assert_eq!(usage(&mut server.client(), "/a"), ("/a".into(), 8192, 12_288));
}

#[test]
fn a_record_that_tells_no_limit_stops_the_server() {
    let mut server = Server::start(&["-Q", "1M"]);
    assert_eq!(server.client().ask("mkalloc /a 8192 493"), 0);
    server.signal("-KILL");
    server.child.wait().unwrap();
    std::fs::write(server.root().join("a/.__alloc"), "").unwrap();
    let run = common::binary().args(["-Q", "1M", "-p", "0", "-r"]).arg(server.root()).output();
    let run = run.unwrap();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(125), "{text}");
    assert!(text.contains("/a/.__alloc"), "{text}");
}

#[test]
fn one_server_counts_a_tree() {
    let server = Server::start(&["-Q", "1M"]);
    let other = common::binary().args(["-Q", "1M", "-p", "0", "-r"]).arg(server.root()).output();
    let text = String::from_utf8_lossy(&other.as_ref().unwrap().stderr).into_owned();
    assert_eq!(other.unwrap().status.code(), Some(125));
    assert!(text.contains("another server"), "{text}");
}

#[test]
fn figures_of_the_file_system_are_those_of_the_reservation() {
    let server = Server::start(&["-Q", "1M"]);
    let mut client = server.client();
    assert_eq!(client.ask("mkalloc /r 409600 493"), 0);
    client.put("/r/f", &vec![1; 40_960]);
    let mut figures = |request: &str| {
        assert_eq!(client.ask(request), 0);
        let line = client.line();
        let figures: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [_, size, blocks, free, available, ..] = *figures else { panic!("{line}") };
        (size * blocks, size * free, size * available)
    };
    assert_eq!(figures("statfs /r"), (409_600, 368_640, 368_640));
    assert_eq!(figures("statfs /r/f"), (409_600, 368_640, 368_640));
    assert_eq!(figures("statfs /"), (1 << 20, (1 << 20) - 409_600, (1 << 20) - 409_600));
    client.stat("open /r/f r 0");
    let mut figures = |request: &str| {
        assert_eq!(client.ask(request), 0);
        let line = client.line();
        line.split(' ').take(5).map(str::to_owned).collect::<Vec<_>>()
    };
    let of_file = figures("fstatfs 0");
    assert_eq!(of_file, figures("statfs /r"));
}

#[test]
fn the_floor_keeps_space_free() {
    let mut server = Server::start(&["-F", "1000P", "-Q", "1M"]);
    server.crash(&["-F", "1000P"]);
    std::fs::write(server.root().join("f"), "old").unwrap();
    let mut client = server.client();
    client.stat("open /f rw 0");
    client.stat("open /new rwc 420");
    for (request, body) in [
        ("pwrite 0 1 0", "x"),
        ("swrite 1 1 1 1 0", "x"),
        ("putfile /f 420 1", ""),
        ("putfile /g 420 1", ""),
        ("mkdir /d 493", ""),
        ("setxattr /f user.a 1 0", "x"),
    ] {
        assert_eq!(client.ask_with(request, body.as_bytes()), NO_SPACE, "{request}");
    }
    assert_eq!(client.data("getfile /f"), b"old");
    assert_eq!(client.ask("truncate /f 0"), 0);
    assert_eq!(client.ask("unlink /f"), 0);
    server.crash(&["-F", "4K"]);
    server.client().put("/f", b"new");
}

/// The same requests to Debian's server and to ours. A difference is a defect, or stands in the
/// README and is not asked here: Debian's counts no directories, wants more free than it takes,
/// refuses links, says -8 when there is no room for what is moved, and gives nothing back when a
/// reservation is removed.
#[test]
fn as_debians_server_counts() {
    const SCRIPT: &[&str] = &[
        "lsalloc /",
        "mkalloc /r 102400 493",
        "mkalloc /r 100 493",
        "mkalloc /s 99999999 493",
        "mkalloc /s -5 493",
        "mkalloc /no/s 5 493",
        "lsalloc /r",
        "lsalloc /",
        "truncate /f 50000",
        "lsalloc /f",
        "truncate /f 2000000",
        "truncate /f 4097",
        "lsalloc /f",
        "rename /f /r/f",
        "lsalloc /r",
        "lsalloc /",
        "truncate /r/f 102401",
        "truncate /r/f 102400",
        "lsalloc /r",
        "mkalloc /r/in 1 493",
        "truncate /r/f 1",
        "mkalloc /r/in 8192 493",
        "lsalloc /r",
        "lsalloc /r/in",
        "rename /g /r/in/g",
        "lsalloc /r",
        "lsalloc /r/in",
        "unlink /r/in/g",
        "lsalloc /r/in",
        "rmdir /r",
        "unlink /r/f",
        "lsalloc /r",
        "lsalloc /",
    ];
    let prepare = |root: &Path| {
        std::fs::write(root.join(".__acl"), "address:* rwlda\n").unwrap();
        std::fs::write(root.join("f"), [1; 10]).unwrap();
        std::fs::write(root.join("g"), [1; 5000]).unwrap();
    };
    let ours = Server::start_with(&["-Q", "1M"], prepare);
    let (theirs, _tree) = StockServer::with_quota(prepare);
    let (mut ours, mut theirs) = (ours.stranger(), theirs.stranger());
    for request in SCRIPT {
        let answer = |client: &mut Client| {
            let number = client.ask(request);
            (number, (number == 0 && request.starts_with("lsalloc")).then(|| client.line()))
        };
        assert_eq!(answer(&mut ours), answer(&mut theirs), "{request}");
    }
}
