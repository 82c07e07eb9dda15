//! Copies from server to server: ours to ours, ours to Debian's, Debian's to ours.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Server, StockServer, stock};

/// Everybody who comes from this machine may do everything.
const OPEN: &str = "hostname:* rwldax\naddress:* rwldax\n";

fn open(root: &Path) {
    std::fs::write(root.join(".__acl"), OPEN).unwrap();
}

/// A tree with everything that can be copied.
fn fill(root: &Path) {
    open(root);
    std::fs::create_dir_all(root.join("t/deep/er")).unwrap();
    std::fs::write(root.join("t/f"), "text\n").unwrap();
    std::fs::write(root.join("t/empty"), "").unwrap();
    std::fs::write(root.join("t/deep/big"), big()).unwrap();
    std::fs::write(root.join("t/deep/er/odd %41 name"), "odd\n").unwrap();
    std::os::unix::fs::symlink("deep/big", root.join("t/link")).unwrap();
    for dir in ["t", "t/deep"] {
        std::fs::write(root.join(dir).join(".__acl"), OPEN).unwrap();
    }
    let own = format!("{OPEN}unix:ann rl\n");
    std::fs::write(root.join("t/deep/er/.__acl"), own).unwrap();
    assert!(
        std::process::Command::new("mkfifo").arg(root.join("t/pipe")).status().unwrap().success()
    );
}

fn big() -> Vec<u8> {
    (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect()
}

/// What the files hold together.
const BYTES: i64 = 5 + 3_000_000 + 4;

/// All names below a directory but the server's own, with what they stand for.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if name.starts_with(".__") {
            continue;
        } else if kind.is_dir() {
            let below = tree(&entry.path()).into_iter();
            all.extend(below.map(|(inner, what)| (format!("{name}/{inner}"), what)));
            all.insert(name, b"directory".to_vec());
        } else if kind.is_symlink() {
            let aim = std::fs::read_link(entry.path()).unwrap();
            all.insert(name, aim.into_os_string().into_encoded_bytes());
        } else if kind.is_file() {
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// Compares names and contents, without printing megabytes.
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, what) in &one {
        assert!(other.get(name) == Some(what), "{name} differs");
    }
}

#[test]
fn a_tree_goes_from_ours_to_ours() {
    let (from, to) = (Server::start_with(&[], fill), Server::start_with(&[], open));
    let mut client = from.stranger();
    let request = format!("thirdput /t 127.0.0.1:{} /copy", to.port);
    assert_eq!(client.ask(&request), BYTES);
    assert_same(&from.root().join("t"), &to.root().join("copy"));
    // Again, over what is there: files are replaced, links are in the way as everywhere.
    assert_eq!(client.ask(&request), -4);
    std::fs::remove_file(to.root().join("copy/link")).unwrap();
    assert_eq!(client.ask(&request), BYTES);
    // The lists are those of the originals; the initiator keeps what it needs.
    let list = to.stranger().list("getacl /copy/deep/er");
    assert!(list.contains(&"unix:ann rl".to_owned()), "{list:?}");
    assert!(list.contains(&"address:127.0.0.1 rwldpax".to_owned()), "{list:?}");
    // One file, and a link itself.
    assert_eq!(client.ask(&format!("thirdput /t/f 127.0.0.1:{} /one%20file", to.port)), 5);
    assert_eq!(to.read("one file"), b"text\n");
    assert_eq!(client.ask(&format!("thirdput /t/link 127.0.0.1:{} /l", to.port)), 0);
    assert_eq!(std::fs::read_link(to.root().join("l")).unwrap(), Path::new("deep/big"));
    // To itself, too.
    assert_eq!(client.ask(&format!("thirdput /t/f 127.0.0.1:{} /t/g", from.port)), 5);
    client.is_fine();
}

#[test]
fn a_tree_goes_to_debians_server_and_back() {
    let ours = Server::start_with(&[], fill);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    open(dir.path());
    let theirs = StockServer::start(dir.path(), &[]);
    let there = format!("127.0.0.1:{}", theirs.port);
    assert_eq!(ours.stranger().ask(&format!("thirdput /t {there} /copy")), BYTES);
    assert_same(&ours.root().join("t"), &dir.path().join("copy"));
    let list = std::fs::read_to_string(dir.path().join("copy/deep/er/.__acl")).unwrap();
    assert!(list.contains("unix:ann rl"), "{list}");
    // Back by Debian's server. It reads links without their end, and cuts odd names: without them.
    std::fs::remove_file(dir.path().join("copy/link")).unwrap();
    let request = format!("thirdput /copy 127.0.0.1:{} /back", ours.port);
    assert_eq!(theirs.stranger().ask(&request), BYTES);
    assert_same(&dir.path().join("copy"), &ours.root().join("back"));
}

#[test]
fn debians_client_asks_for_copies() {
    let (from, to) = (Server::start_with(&[], fill), Server::start_with(&[], open));
    let (here, there) = (format!("127.0.0.1:{}", from.port), format!("127.0.0.1:{}", to.port));
    let run = |words: &[&str]| {
        let run = stock("chirp", &[&["-t", "10", "-a", "address", &*here], words].concat());
        assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    run(&["thirdput", "/t", &there, "/copy"]);
    assert_same(&from.root().join("t"), &to.root().join("copy"));
    let who = run(&["whoareyou", &there]);
    assert!(who.contains("hostname:") || who.contains("address:"), "{who}");
}

#[test]
fn what_a_server_is_for_another() {
    let one = Server::start_with(&[], open);
    let other = Server::start(&["-a", "address"]);
    let mut client = one.stranger();
    let there = format!("127.0.0.1:{}", other.port);
    assert_eq!(client.data(&format!("whoareyou {there} 100")), b"address:127.0.0.1");
    assert_eq!(client.data(&format!("whoareyou {there} 4")), b"addr");
    assert_eq!(client.ask(&format!("whoareyou {there} -1")), -8);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    open(dir.path());
    let stock = StockServer::start(dir.path(), &[]);
    let itself = stock.stranger().data(&format!("whoareyou 127.0.0.1:{} 100", stock.port));
    assert_eq!(client.data(&format!("whoareyou 127.0.0.1:{} 100", stock.port)), itself);
}

#[test]
fn copies_fail_as_what_failed() {
    let from = Server::start_with(&[], |root| {
        fill(root);
        std::fs::create_dir_all(root.join("part/closed")).unwrap();
        std::fs::write(root.join("part/closed/.__acl"), "unix:ann rwlda\n").unwrap();
    });
    let to = Server::start_with(&["-Q", "100K"], |root| {
        open(root);
        std::fs::create_dir_all(root.join("shut")).unwrap();
        std::fs::write(root.join("shut/.__acl"), "unix:ann rwlda\n").unwrap();
    });
    let mut client = from.stranger();
    let there = format!("127.0.0.1:{}", to.port);
    let nobody = format!("127.0.0.1:{}", common::free_port());
    let unix_only = Server::start(&["-a", "unix"]);
    for (request, code) in [
        (format!("thirdput /none {nobody} /x"), -3),
        (format!("thirdput /part/closed {nobody} /x"), -2),
        (format!("thirdput /t {nobody} /x"), -20),
        ("thirdput /t no-such-host.invalid /x".to_owned(), -20),
        (format!("whoareyou {nobody} 100"), -20),
        (format!("thirdput /t 127.0.0.1:{} /x", unix_only.port), -1),
        (format!("thirdput /part {there} /part"), -2),
        (format!("thirdput /t {there} /shut/t"), -2),
        (format!("thirdput /t {there} /none/t"), -3),
        (format!("thirdput /t {there} /t"), -6),
        (format!("thirdput /t/f {there} /shut"), -13),
    ] {
        assert_eq!(client.ask(&request), code, "{request}");
    }
    client.is_fine();
}

/// A server that says yes to everything and then hangs up in the middle of a file.
#[test]
fn a_server_that_hangs_up_ends_the_copy() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (mut reader, mut line) = (BufReader::new(stream.try_clone().unwrap()), String::new());
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "hostname\n");
        (&stream).write_all(b"yes\nyes\nyes\nhostname\nhere\n").unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("putfile /x "), "{line}");
        (&stream).write_all(b"0\n").unwrap();
    });
    let from = Server::start_with(&[], fill);
    let mut client = from.stranger();
    assert_eq!(client.ask(&format!("thirdput /t/deep/big 127.0.0.1:{port} /x")), -19);
    client.is_fine();
    other.join().unwrap();
}
