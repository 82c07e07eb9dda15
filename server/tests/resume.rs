//! Sessions that go on with another connection.

mod common;

use common::{Client, Server, wait_for};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Connects and names the session; whether it goes on.
fn go_on(server: &Server, next: u64) -> (Client, i64) {
    let mut client = server.client();
    let goes_on = client.ask(&format!("session {KEY} {next}"));
    (client, goes_on)
}

#[test]
fn what_is_open_stays_open() {
    let server = Server::start(&[]);
    let (mut client, new) = go_on(&server, 1);
    assert_eq!(new, 0);
    assert_eq!(client.stat("open /f rwc 420").0, 0);
    assert_eq!(client.ask_with("pwrite 0 6 0", b"before"), 6);
    assert_eq!(client.stat("open /g rwc 420").0, 1);
    drop(client);
    std::fs::rename(server.root().join("f"), server.root().join("moved")).unwrap();
    std::fs::remove_file(server.root().join("g")).unwrap();
    let (mut client, goes_on) = go_on(&server, 4);
    assert_eq!(goes_on, 1);
    assert_eq!(client.data("pread 0 10 0"), b"before");
    assert_eq!(client.ask_with("pwrite 0 5 0", b"after"), 5);
    assert_eq!(server.read("moved"), b"aftere");
    assert_eq!(client.ask_with("pwrite 1 3 0", b"ghi"), 3);
    assert_eq!(client.data("pread 1 10 0"), b"ghi");
    // A goodbye ends it.
    client.send("\x04\n");
    assert!(client.is_closed());
    assert_eq!(go_on(&server, 1).1, 0);
}

#[test]
fn nothing_is_done_twice() {
    let server = Server::start(&[]);
    let (mut client, _) = go_on(&server, 1);
    client.send("open /log wca 420\npwrite 0 4 0\none\n");
    assert_eq!(client.number(), 0);
    drop(client);
    let (mut client, goes_on) = go_on(&server, 1);
    assert_eq!(goes_on, 1);
    assert_eq!(client.stat("open /log wca 420").0, 0);
    assert_eq!(client.ask_with("pwrite 0 4 0", b"one\n"), 4);
    assert_eq!(client.ask_with("pwrite 0 4 0", b"two\n"), 4);
    assert_eq!(client.ask("mkdir /dir 493"), 0);
    assert_eq!(client.ask("mkdir /dir 493"), -4);
    assert_eq!(client.ask("open /lock wcx 384"), 1);
    client.line();
    assert_eq!(client.ask("rename /lock /lock2"), 0);
    assert_eq!(client.ask("putfile /whole 420 5"), 0);
    client.send("whole");
    assert_eq!(client.number(), 5);
    assert_eq!(client.ask("putfile /nowhere/x 420 5"), -3);
    assert_eq!(client.ask("unlink /whole"), 0);
    assert_eq!(client.ask("no such request"), -8);
    drop(client);
    let (mut client, goes_on) = go_on(&server, 3);
    assert_eq!(goes_on, 1);
    assert_eq!(client.ask_with("pwrite 0 4 0", b"two\n"), 4);
    assert_eq!(client.ask("mkdir /dir 493"), 0);
    assert_eq!(client.ask("mkdir /dir 493"), -4);
    assert_eq!(client.ask("open /lock wcx 384"), 1);
    client.line();
    assert_eq!(client.ask("rename /lock /lock2"), 0);
    assert_eq!(client.ask("putfile /whole 420 5"), 0);
    client.send("whole");
    assert_eq!(client.number(), 5);
    assert_eq!(client.ask("putfile /nowhere/x 420 5"), -3);
    assert_eq!(client.ask("unlink /whole"), 0);
    assert_eq!(client.ask("no such request"), -8);
    // New from here on.
    assert_eq!(client.ask("mkdir /other 493"), 0);
    assert_eq!(server.read("log"), b"one\ntwo\n");
    assert!(!server.root().join("whole").exists());
    client.is_fine();
}

#[test]
fn another_request_under_an_old_number_ends_the_session() {
    let server = Server::start(&[]);
    let (mut client, _) = go_on(&server, 1);
    assert_eq!(client.ask("mkdir /a 493"), 0);
    drop(client);
    let (mut client, goes_on) = go_on(&server, 1);
    assert_eq!(goes_on, 1);
    client.send("mkdir /b 493\n");
    assert!(client.is_closed());
    assert!(!server.root().join("b").exists());
    assert_eq!(go_on(&server, 1).1, 0);
}

#[test]
fn a_connection_that_seems_alive_is_taken_over() {
    let server = Server::start(&[]);
    let (mut old, _) = go_on(&server, 1);
    assert_eq!(old.ask("open /f rwc 420"), 0);
    old.line();
    // Half a request: the thread waits for the rest of its body.
    old.send("pwrite 0 100 0\nhalf");
    let (mut client, goes_on) = go_on(&server, 2);
    assert_eq!(goes_on, 1);
    assert!(old.is_closed());
    assert_eq!(client.ask_with("pwrite 0 4 0", b"full"), 4);
    assert_eq!(server.read("f"), b"full");
}

#[test]
fn a_key_is_of_use_to_its_subject_only() {
    let server = Server::start_with(&[], |root| {
        std::fs::write(root.join(".__acl"), "unix:* rwlda\naddress:* rwlda\n").unwrap();
    });
    let (mut client, _) = go_on(&server, 1);
    assert_eq!(client.ask("open /f rwc 420"), 0);
    client.line();
    drop(client);
    let mut stranger = server.stranger();
    assert_eq!(stranger.ask(&format!("session {KEY} 2")), 0);
    assert_eq!(stranger.ask("xfstat 0"), -12);
    assert_eq!(go_on(&server, 2).1, 1);
}

#[test]
fn wrong_words() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for wrong in ["session x 1", &format!("session {KEY} 0"), &format!("session {KEY}0 1")] {
        assert_eq!(client.ask(wrong), -8, "{wrong}");
    }
    assert_eq!(client.ask("open / r 0"), 0);
    client.line();
    assert_eq!(client.ask(&format!("session {KEY} 1")), -8, "something is open");
    assert_eq!(client.ask("close 0"), 0);
    assert_eq!(client.ask(&format!("session {KEY} 1")), 0);
    assert_eq!(client.ask(&format!("session {KEY} 1")), -8, "once is enough");
}

#[test]
fn the_grace_is_the_servers_choice() {
    let server = Server::start(&["--grace", "0"]);
    assert_eq!(go_on(&server, 1).1, -23);
    let server = Server::start(&["--grace", "1s"]);
    let (mut client, _) = go_on(&server, 1);
    assert_eq!(client.ask("open /f rwc 420"), 0);
    client.line();
    let descriptors = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.filter(|link| link.ends_with("f")).count()
    };
    assert_eq!(descriptors(), 1);
    drop(client);
    wait_for(|| (descriptors() == 0).then_some(()));
    assert_eq!(go_on(&server, 2).1, 0);
}
