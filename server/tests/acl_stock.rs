//! The same lists, the same requests: our server and Debian's must decide alike.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Client, Server, StockServer};
use std::path::Path;

/// What the client, `address:127.0.0.1`, may in a directory. Rights come from several entries too.
const LISTS: &[(&str, &str)] = &[
    ("none", "unix:nobody rwlda"),
    ("r", "address:127.0.0.1 r"),
    ("w", "address:127.0.0.1 w"),
    ("l", "address:127.0.0.1 l"),
    ("d", "address:127.0.0.1 d"),
    ("p", "address:127.0.0.1 p"),
    ("a", "address:127.0.0.1 a"),
    ("x", "address:127.0.0.1 x"),
    ("v", "address:127.0.0.1 v"),
    ("vl", "address:127.0.0.1 v(l)"),
    ("vrwv", "address:127.0.0.1 lv(rwlav)"),
    ("vempty", "address:127.0.0.1 v()"),
    ("wv", "address:127.0.0.1 wlv(rl)"),
    ("rl", "address:127.* r\naddress:* l\nunix:* rwlda"),
    ("all", "address:127.0.0.1 rwldax"),
    ("star", "*:127.0.0.1 rl\naddress:127.0.0.2 wd"),
    ("other", "hostname:* rwldax\naddress:127.0.0.10 rwldax\naddress:127.0.0. rwldax"),
];

/// `D` stands for a directory of its own for each list and request; `f` in it is a file, `s` an empty
/// directory with the same list, `l` a link to the file.
const REQUESTS: &[&str] = &[
    "stat D/f",
    "lstat D/l",
    "stat D",
    "stat D/none",
    "access D/f 4",
    "access D/f 2",
    "access D/f 1",
    "getdir D",
    "getfile D/f",
    "getfile D/l",
    "md5 D/f",
    "open D/f r 0",
    "open D/f w 0",
    "open D/f rw 0",
    "open D/f wt 0",
    "open D/new wc 420",
    "open D/new wcx 420",
    "open D/f wcx 420",
    "putfile D/f 420 0",
    "putfile D/new 420 0",
    "mkdir D/new 493",
    "mkdir D/s 493",
    "unlink D/none",
    "rename D/f D/g",
    "link D/f D/g",
    "symlink f D/n",
    "readlink D/l 100",
    "chmod D/f 420",
    "truncate D/f 1",
    "utime D/f 1 1",
    "setacl D unix:ann rl",
    "resetacl D rl",
    "getacl D",
    "setxattr D/f user.a 0 0",
];

/// Where the two are known to differ, and why ours is as it is.
fn differs(list: &str, request: &str) -> bool {
    match request {
        // The stock server tells everybody which directories there are; ours whoever may look.
        "mkdir D/s 493" => !matches!(list, "l" | "rl" | "star"),
        _ => false,
    }
}

fn prepare(root: &Path) {
    std::fs::write(root.join(".__acl"), "address:* l\nunix:* rwlda\n").unwrap();
    for (name, list) in LISTS {
        for number in 0..REQUESTS.len() {
            let dir = root.join(format!("{name}{number}"));
            std::fs::create_dir_all(dir.join("s")).unwrap();
            std::fs::write(dir.join("f"), "text").unwrap();
            std::os::unix::fs::symlink("f", dir.join("l")).unwrap();
            for place in [dir.clone(), dir.join("s")] {
                std::fs::write(place.join(".__acl"), format!("{list}\n")).unwrap();
            }
        }
    }
}

/// Makes a request and reads all of its reply; the number that it begins with, or 0 for a success.
fn ask(client: &mut Client, line: &str) -> i64 {
    let number = client.ask(line);
    if number < 0 {
        return number;
    }
    match line.split(' ').next().unwrap() {
        "stat" | "lstat" | "open" => drop(client.line()),
        "getdir" | "getacl" => drop(client.lines()),
        "getfile" | "md5" | "readlink" => client.reader.skip(number.cast_unsigned()).unwrap(),
        "putfile" => assert_eq!(client.number(), 0),
        _ => {}
    }
    0
}

#[test]
fn the_same_decisions_as_the_stock_server() {
    let server = Server::start_with(&[], prepare);
    let other = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    prepare(other.path());
    let stock = StockServer::start(other.path(), &[]);
    let (mut ours, mut theirs) = (server.stranger(), stock.stranger());
    let mut wrong = Vec::new();
    for (list, _) in LISTS {
        for (number, request) in REQUESTS.iter().enumerate() {
            let line = request.replace('D', &format!("/{list}{number}"));
            let (our, their) = (ask(&mut ours, &line), ask(&mut theirs, &line));
            if our != their && !differs(list, request) {
                wrong.push(format!("{list}: {request}: ours {our}, theirs {their}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn new_directories_have_the_same_rights() {
    let server = Server::start_with(&[], prepare);
    let other = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    prepare(other.path());
    let stock = StockServer::start(other.path(), &[]);
    let (mut ours, mut theirs) = (server.stranger(), stock.stranger());
    let mkdir = REQUESTS.iter().position(|request| *request == "mkdir D/new 493").unwrap();
    for list in ["v", "vl", "vrwv", "vempty", "wv", "w", "all"] {
        let dir = format!("/{list}{mkdir}/new");
        for client in [&mut ours, &mut theirs] {
            assert_eq!(client.ask(&format!("mkdir {dir} 493")), 0, "{list}");
        }
        let line = format!("getacl {dir}");
        assert_eq!(ours.list(&line), theirs.list(&line), "{list}");
    }
}

/// What is set by one is told by the other in the same words.
#[test]
fn lists_are_told_in_the_same_words() {
    let server = Server::start_with(&[], prepare);
    let other = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    prepare(other.path());
    let stock = StockServer::start(other.path(), &[]);
    let (mut ours, mut theirs) = (server.stranger(), stock.stranger());
    for rights in [
        "rwldax",
        "xadlwr",
        "p",
        "w",
        "v(rwldpax)",
        "v(v)",
        "lv(rwlv)",
        "rwldapxv(rwldpvax)",
        "n",
        ".",
    ] {
        for client in [&mut ours, &mut theirs] {
            assert_eq!(client.ask(&format!("setacl /all0 unix:ann {rights}")), 0, "{rights}");
        }
        let told = |client: &mut Client| {
            let mut lines = client.list("getacl /all0");
            // Both remove an entry without rights, or tell that it has none.
            lines.retain(|line| !line.ends_with(" n"));
            lines
        };
        assert_eq!(told(&mut ours), told(&mut theirs), "{rights}");
    }
}
