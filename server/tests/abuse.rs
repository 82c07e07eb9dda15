//! Clients that misbehave hurt nobody but themselves.

mod common;

use common::Server;

#[test]
fn wrong_requests_get_an_answer_and_the_connection_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, code) in [
        ("bogus", -8),
        (" stat /", -8),
        ("stat", -8),
        ("open /f z 0", -8),
        ("open /f r x", -8),
        ("pread 0 1 0", -12),
        ("pread -1 1 0", -12),
        ("pread 99999999999 1 0", -12),
        ("pread 99999999999999999999 1 0", -8),
        ("pwrite 5 -1 0", -8),
        ("fstat 1024", -12),
        ("setacl / unix:x zzz", -8),
        ("lseek 0 0 0", -8),
        ("read 0 1", -8),
        ("ticket_delete x", -8),
        ("job_wait 0 1", -8),
        ("thirdput / 127.0.0.1:1 /", -20),
        ("setrep / 3", -8),
        ("mkalloc /d 1 493", -8),
        ("cookie x", -8),
        ("whoami -1", -8),
        ("\u{e9}t\u{e9}", -8),
    ] {
        assert_eq!(client.ask(line), code, "{line}");
    }
    client.send("\n\r\n\t\n");
    assert_eq!(client.number(), -8, "a line of white space is no command, an empty one nothing");
    assert_eq!(client.ask(&format!("stat /{}", "a".repeat(300))), -24);
    assert_eq!(client.ask_with("pwrite 7 5 0", b"hello"), -12);
    assert_eq!(client.ask_with("ticket_register self 10 4", b"stat"), -8);
    assert_eq!(client.ask_with("job_create 5", b"stat\n"), -8);
    client.is_fine();
}

#[test]
fn oversized_transfers() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.stat("open /f rwc 420");
    let body = vec![7; (16 << 20) + 1000];
    assert_eq!(client.ask_with(&format!("pwrite 0 {} 0", body.len()), &body), 16 << 20);
    assert_eq!(client.stat("fstat 0").1.size, 16 << 20);
    assert_eq!(client.data("pread 0 999999999999 0").len(), 16 << 20);
    assert_eq!(client.ask_with(&format!("swrite 0 {} 1 1 0", body.len()), &body), -7);
    let edge = i64::MAX;
    assert!(client.ask_with(&format!("pwrite 0 1 {edge}"), b"x") < 0);
    assert_eq!(client.ask(&format!("pread 0 1 {edge}")), -8);
    assert!(client.ask(&format!("ftruncate 0 {edge}")) < 0);
    assert_eq!(client.data(&format!("sread 0 10 {edge} {edge} 0")).len(), 10);
    client.is_fine();
}

#[test]
fn long_lines_and_the_end_byte_close_the_connection() {
    let server = Server::start(&[]);
    let mut fine = server.client();
    let mut client = server.client();
    assert_eq!(client.ask(&format!("stat /{}", "a".repeat(1017))), -24);
    client.send(format!("stat /{}\n", "a".repeat(1018)));
    assert!(client.is_closed());
    let mut client = server.client();
    client.send(vec![b'a'; 100_000]);
    assert!(client.is_closed());
    let mut client = server.client();
    client.send(b"\x04\n");
    assert!(client.is_closed());
    let mut client = server.connect();
    client.send(vec![b'a'; 5000]);
    assert!(client.is_closed());
    fine.is_fine();
}

#[test]
fn clients_that_leave_half_way_hurt_nobody() {
    let server = Server::start(&[]);
    let mut fine = server.client();
    fine.put("/f", &vec![1; 4 << 20]);
    for half in ["stat /", "pwrite 0 100 0\nhello", "putfile /x 420 100\nhello", "getfile /f\n"] {
        let mut client = server.client();
        client.send(half);
        drop(client);
    }
    for half in ["", "un", "unix\n", "bogus\n"] {
        server.connect().send(half);
    }
    fine.is_fine();
    assert_eq!(fine.ask("stat /x"), -3);
}

#[test]
fn endless_login_attempts_are_cut_off() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("bogus\n".repeat(100));
    while !client.is_closed() {}
}

#[test]
fn descriptors_are_limited() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"");
    for fd in 0..1024 {
        assert_eq!(client.stat("open /f r 0").0, fd);
    }
    assert_eq!(client.ask("open /f r 0"), -9);
    assert_eq!(client.ask("close 500"), 0);
    assert_eq!(client.stat("open /f r 0").0, 500);
    assert_eq!(server.client().stat("open /f r 0").0, 0, "each client has its own");
}

#[test]
fn idle_clients_are_dropped_and_the_number_of_clients_is_limited() {
    let server = Server::start(&["-t", "1s", "-M", "2"]);
    let (mut first, _second) = (server.client(), server.client());
    let mut third = server.connect();
    third.send("address\n");
    assert!(third.is_closed());
    assert!(first.is_closed(), "idle");
    common::wait_for(|| {
        let mut client = server.connect();
        client.send("address\n");
        (!client.is_closed()).then_some(())
    });
}

/// The server's own memory stays small whatever clients ask for.
#[test]
fn memory_is_bounded() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        client.stat("open /f rwc 420");
        client.ask("ftruncate 0 100000000");
        assert_eq!(client.data("pread 0 16777216 0").len(), 16 << 20);
        client.send("pwrite 0 9000000000000 0\nbegin");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 100_000, "{kib} KiB");
}
