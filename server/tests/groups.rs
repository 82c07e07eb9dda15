//! Groups in access control lists, and accounts of another file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod common;

use common::Server;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

fn server(options: &[&str], list: &str) -> Server {
    Server::start_with(options, |root| std::fs::write(root.join(".__acl"), list).unwrap())
}

#[test]
fn members_have_the_rights_of_their_group() {
    let groups = tempfile::TempDir::new().unwrap();
    let file = |name: &str| groups.path().join(name);
    std::fs::write(file("here"), "hostname:nobody.example.org\naddress:127.0.0.1\n").unwrap();
    std::fs::write(file("others"), "address:127.0.0.2\nann\n").unwrap();
    let url = format!("file://{}", groups.path().display());
    let list = "group:here rl\ngroup:others w\ngroup:none d\ngroup:../here a\n";
    let server = server(&["-G", &url, "-T", "1s"], list);
    let mut client = server.stranger();
    client.stat("stat /");
    for line in ["mkdir /d 493", "setacl / unix:x rl", "rmdir /x"] {
        assert_eq!(client.ask(line), -2, "{line}");
    }
    // An entry may name a group before there is one.
    std::fs::write(file("none"), "address:127.0.0.1\n").unwrap();
    std::fs::write(file("here"), "address:127.0.0.3\n").unwrap();
    common::wait_for(|| (client.ask("access / 4") == -2).then_some(()));
    let alone = crate::server(&[], list);
    assert_eq!(alone.stranger().ask("stat /"), -2, "without -G a group has no members");
}

/// A web server for one list, which counts how often it was asked.
fn serve(list: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/groups", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1000];
            let n = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..n]).into_owned();
            count.fetch_add(1, SeqCst);
            let answer = if request.starts_with("GET /groups/staff HTTP/1.0\r\n") {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len())
            } else {
                "HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\naddress:127.0.0.1".to_owned()
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, asked)
}

#[test]
fn lists_come_from_a_web_server_and_are_kept() {
    let (url, asked) = serve("address:127.0.0.1\n");
    let server = server(&["-G", &url], "group:staff rwl\ngroup:missing da\n");
    let mut client = server.stranger();
    for name in 0..20 {
        client.put(&format!("/{name}"), b"x");
    }
    assert_eq!(client.ask("unlink /1"), -2, "a missing list has no members");
    assert_eq!(client.ask("unlink /2"), -2);
    assert_eq!(asked.load(SeqCst), 2, "once for each list");
}

#[test]
fn accounts_of_another_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let me = std::fs::metadata(file.path()).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&me);
    std::fs::write(file.path(), format!("x:y:4999:1:::\nposeidon:x:{uid}:1:::\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let server = Server::start(&["-W", path]);
    assert_eq!(server.connect().log_in_unix(), "poseidon");
    std::fs::write(file.path(), "x:y:4999:1:::\n").unwrap();
    let mut client = server.connect();
    client.send("unix\n");
    assert_eq!(client.line(), "yes");
    let challenge = client.line();
    std::fs::write(&challenge, "").unwrap();
    std::fs::set_permissions(&challenge, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    client.send("yes\n");
    assert_eq!(client.line(), "no", "an account that the file does not know");
}
