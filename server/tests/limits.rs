//! How much one client may have, and that the others have the rest.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Client, Server, binary, wait_for};
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The server's resident memory, in KiB.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Its open descriptors.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count()
}

/// Its threads.
fn threads(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap().count()
}

/// For whoever wants to know the figures: `--no-capture` shows them.
fn tell(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lets this process have as many descriptors as it may, and says how many.
fn raise_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}

#[test]
fn clients_of_one_host_are_limited() {
    let server = Server::start(&["--max-clients-per-host", "2"]);
    let (first, second) = (server.client(), server.client());
    let mut third = server.connect();
    third.send("address\n");
    assert!(third.is_closed());
    // Another address has its own places.
    let other: std::net::SocketAddr = "127.0.0.9:0".parse().unwrap();
    let port = server.port;
    let there = std::process::Command::new("python3")
        .args([
            "-c",
            &format!(
                "import socket; s=socket.create_connection(('127.0.0.1',{port}),20,('{}',0)); \
             s.sendall(b'address\\n'); print(s.recv(3).decode())",
                other.ip()
            ),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&there.stdout), "yes\n", "{there:?}");
    drop((first, second));
    wait_for(|| {
        let mut client = server.connect();
        client.send("address\n");
        (!client.is_closed()).then_some(())
    });
}

/// A line must end in time, also when now and then a byte of it comes; so must the login.
#[test]
fn trickling_lines_are_cut_off() {
    let server = Server::start(&["-t", "1s", "-z", "1s"]);
    let mut fine = server.client();
    for logged_in in [true, false] {
        let mut client = if logged_in { server.client() } else { server.connect() };
        let begin = Instant::now();
        client.reader.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let closed = loop {
            assert!(begin.elapsed() < common::PATIENCE, "it may trickle for ever");
            fine.is_fine();
            // A write to a connection that was shut down fails at the latest the second time.
            if std::io::Write::write_all(client.reader.get_mut(), b"s").is_err() {
                break true;
            }
            match client.reader.get_mut().read(&mut [0]) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break true,
            }
        };
        assert!(closed);
    }
}

#[test]
fn a_body_that_stands_still_is_given_up() {
    let server = Server::start(&["-s", "1s"]);
    let mut client = server.client();
    assert_eq!(client.ask("putfile /f 420 1000"), 0);
    client.send("begin");
    assert!(client.is_closed());
    assert_eq!(server.client().ask("stat /f"), -3, "half a file is no file");
    let left: Vec<_> = std::fs::read_dir(server.root()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the list: {left:?}");
}

/// Nothing stays behind of clients that come, open files, and go in whatever way.
#[test]
fn nothing_leaks() {
    let server = Server::start(&["--grace", "0"]);
    let mut fine = server.client();
    fine.put("/f", &vec![1; 100_000]);
    // The main one, the two that look after files, and that of `fine`.
    let settled = || wait_for(|| (threads(&server) <= 4).then(|| descriptors(&server)));
    let before = settled();
    for round in 0..100 {
        let mut client = server.client();
        for _ in 0..round % 7 {
            client.stat("open /f r 0");
            client.ask("open /none r 0");
            client.ask("open /new wcx 420");
        }
        match round % 4 {
            0 => client.send("pread 0 100000 0\n"),
            1 => client.send("putfile /g 420 100000\nhalf"),
            2 => client.send("getdir /\nstat"),
            _ => {}
        }
    }
    wait_for(|| (settled() <= before).then_some(()));
    fine.is_fine();
}

/// Nobody computes for ever for a client that has gone. Found by fuzzing.
#[test]
fn work_for_a_client_that_has_gone_ends() {
    let server = Server::start(&["-t", "1s"]);
    let mut client = server.client();
    client.stat("open /holes rwc 420");
    assert_eq!(client.ask("ftruncate 0 4000000000000"), 0);
    let before = threads(&server);
    let others = ["md5 /holes\n", "hash sha1 /holes\n", "getfile /holes\n", "getstream /holes\n"];
    for line in others {
        server.client().send(line);
    }
    wait_for(|| (threads(&server) <= before).then_some(()));
}

/// One client that opens whatever it can leaves descriptors for the others.
#[test]
fn the_last_descriptors_are_for_the_modest() {
    let server = Server::start_limited(&["-M", "30"], 200);
    let (mut greedy, mut modest) = (server.client(), server.client());
    greedy.put("/f", b"text");
    let mut open = 0;
    loop {
        match greedy.ask("open /f r 0") {
            -9 => break,
            fd => assert_eq!((fd, greedy.line().is_empty()), (open, false)),
        }
        open += 1;
    }
    assert!((16..200).contains(&open), "{open}");
    assert_eq!(modest.stat("open /f r 0").0, 0);
    assert_eq!(modest.data("getfile /f"), b"text");
    assert_eq!(server.client().ask("pread 0 4 0"), -12, "a descriptor of another's");
    for fd in 0..3 {
        assert_eq!(greedy.ask(&format!("close {fd}")), 0);
    }
    greedy.stat("open /f r 0");
}

/// Many clients at once, all of them busy: memory stays bounded, and each is served. One in so many
/// also has data picked for it, which takes the server's own memory and time.
fn busy(count: usize, strided: usize) {
    raise_limit();
    // A busy machine may need a minute for all of them.
    let server = Server::start(&["-M", "20000", "-t", "600s"]);
    let mut owner = server.client();
    owner.put("/big", &vec![5; 4 << 20]);
    owner.put("/small", &vec![6; 300 << 10]);
    assert_eq!(owner.ask("setacl / address:127.0.0.1 rwl"), 0);
    let mut clients: Vec<Client> = (0..count).map(|_| server.stranger()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.stat("open /big r 0");
        // Replies that nobody fetches, and a body that does not end.
        client.send("pread 0 1000000 0\ngetfile /small\npread 0 300000 0\n");
        if number % strided == 0 {
            client.send("sread 0 16777216 8 9 0\n");
        }
        client.send("swrite 0 16777216 8 8 0\n");
        client.send(vec![7; 20_000]);
    }
    owner.is_fine();
    assert_eq!(owner.data("getfile /big").len(), 4 << 20);
    for client in clients.iter_mut().rev().take(20) {
        assert_eq!(client.number(), 1_000_000);
        client.reader.skip(1_000_000).unwrap();
        assert_eq!(client.number(), 300 << 10);
    }
    let kib = resident(&server);
    tell(&format!("{count} busy clients: {kib} KiB resident"));
    assert!(kib < 200 << 10, "{kib} KiB resident with {count} clients");
}

#[test]
fn five_hundred_busy_clients_fit_into_200_mib() {
    busy(500, 50);
}

#[test]
#[ignore = "half a minute of work for the server; scripts/test --full"]
fn five_hundred_clients_that_all_pick_data_fit_into_200_mib() {
    busy(500, 1);
}

/// Connections that say nothing, each before or after its login: the next client is served.
fn idle(count: usize) {
    let hard = raise_limit();
    assert!(hard > u64::try_from(count).unwrap() + 100, "the limit of descriptors is {hard}");
    let server = Server::start(&["-M", "20000", "-t", "600s"]);
    let mut connections: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let client = if number % 10 == 0 { server.stranger() } else { server.connect() };
        connections.push(client.reader.get_ref().try_clone().unwrap());
        drop(client);
    }
    wait_for(|| (threads(&server) > count).then_some(()));
    let kib = resident(&server);
    tell(&format!("{count} idle clients: {kib} KiB resident"));
    let mut owner = server.client();
    owner.put("/f", b"text");
    assert_eq!(owner.data("getfile /f"), b"text");
    drop(connections);
    wait_for(|| (threads(&server) < 10).then_some(()));
    owner.is_fine();
}

#[test]
fn a_thousand_idle_clients() {
    idle(1000);
}

#[test]
#[ignore = "10,000 connections; scripts/test --full"]
fn ten_thousand_idle_clients() {
    idle(10_000);
}

#[test]
fn a_server_ends_with_its_parent_if_asked_to() {
    let dir = tempfile::TempDir::new().unwrap();
    let port = dir.path().join("port");
    let program = binary().get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$0\" -E -C -I 127.0.0.1 -r \"$1\" -Z \"$2\" & wait"]);
    shell.arg(program).arg(dir.path()).arg(&port);
    let mut shell = shell.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_for(|| port.exists().then_some(()));
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait_for(|| (!port.exists()).then_some(()));
}
