//! Access control lists, and what each right allows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Server;

/// Starts a server whose tree has these lists; the tests' client is `address:127.0.0.1`.
fn server(lists: &[(&str, &str)]) -> Server {
    Server::start_with(&[], |root| {
        for (dir, list) in lists {
            std::fs::create_dir_all(root.join(dir)).unwrap();
            std::fs::write(root.join(dir).join(".__acl"), list).unwrap();
        }
    })
}

#[test]
fn a_new_root_belongs_to_the_account() {
    let server = Server::start_with(&[], |root| {
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::write(root.join("a/b/c/f"), b"deep").unwrap();
    });
    let mut owner = server.client();
    let identity = String::from_utf8(owner.data("whoami 100")).unwrap();
    assert_eq!(owner.list("getacl /"), [format!("{identity} rwldpa")]);
    // Directories of an existing tree have the rights of the nearest parent with a list.
    assert_eq!(owner.data("getfile /a/b/c/f"), b"deep");
    assert_eq!(owner.list("getacl /a/b/c"), [format!("{identity} rwldpa")]);
    assert_eq!(owner.list("getacl /a/b/c/f"), [format!("{identity} rwldpa")]);
    let mut stranger = server.stranger();
    for line in ["stat /", "stat /a", "stat /none", "getdir /", "mkdir /x 493", "unlink /a"] {
        assert_eq!(stranger.ask(line), -2, "{line}");
    }
    assert_eq!(stranger.ask("stat /none/none"), -3);
    assert_eq!(stranger.list("getacl /").len(), 1, "anyone may ask");
}

/// What each right allows in its directory `P`, and no other right does.
const ALLOWED: &[(&str, &[&str])] = &[
    ("r", &["open P/f r 0", "getfile P/f", "md5 P/f", "access P/f 4", "getxattr P/f user.a"]),
    (
        "w",
        &[
            "open P/f w 0",
            "open P/f wct 0",
            "chmod P/f 420",
            "truncate P/f 1",
            "mkdir P/d 493",
            "symlink x P/l",
            "utime P/f 1 1",
            "access P/f 2",
            "putfile P/f 420 0",
            "putfile P/n 420 0",
        ],
    ),
    ("d", &["unlink P/f"]),
    ("p", &["open P/new wc 420"]),
    ("a", &["setacl P unix:ann rl"]),
    ("x", &["access P/f 1"]),
];

#[test]
fn each_right() {
    let server = server(&[
        ("", "unix:* rwlda\naddress:127.* l"),
        ("r", "address:127.0.0.1 r"),
        ("w", "address:127.0.0.1 w"),
        ("d", "address:127.0.0.1 d"),
        ("p", "address:127.0.0.1 p"),
        ("a", "address:127.0.0.1 a"),
        ("x", "address:127.0.0.1 x"),
    ]);
    for dir in ["r", "w", "d", "p", "a", "x"] {
        let file = server.root().join(dir).join("f");
        std::fs::write(&file, b"data").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).unwrap();
    }
    let mut client = server.stranger();
    for (right, allowed) in ALLOWED.iter().copied() {
        let paths = ["r", "w", "d", "p", "a", "x"];
        for dir in paths.into_iter().filter(|dir| *dir != right) {
            for request in allowed {
                // The right to write includes the right to put.
                if (right, dir) == ("p", "w") || (dir == "p" && request.contains("/n ")) {
                    continue;
                }
                let line = request.replace('P', &format!("/{dir}"));
                // Whoever may put is told that a name is taken.
                let taken = dir == "p" && line.starts_with("putfile");
                assert_eq!(client.ask(&line), if taken { -4 } else { -2 }, "{line}");
            }
        }
        for request in allowed {
            let line = request.replace('P', &format!("/{right}"));
            match client.ask(&line) {
                0.. if line.starts_with("open") => drop(client.line()),
                0 if line.starts_with("putfile") => assert_eq!(client.number(), 0),
                16 if line.starts_with("md5") => drop(client.reader.skip(16)),
                n if line.starts_with("getfile") => client.reader.skip(n.cast_unsigned()).unwrap(),
                code => {
                    assert!(code == 0 || (line.contains("xattr") && code == -8), "{line}: {code}")
                }
            }
        }
    }
    client.is_fine();
}

#[test]
fn the_right_to_put_makes_new_files_only() {
    let server = server(&[("", "address:127.0.0.1 lp")]);
    let mut client = server.stranger();
    client.put("/f", b"mine");
    assert_eq!(client.ask("putfile /f 420 3"), -4);
    assert_eq!(client.ask("open /f wcx 420"), -4);
    assert_eq!(client.ask("open /f wc 420"), -2);
    assert_eq!(client.ask("unlink /f"), -2);
    assert_eq!(client.ask("open /g rwc 420"), -2, "reading is another right");
    assert_eq!(client.ask("rename /f /g"), -2);
    assert_eq!(client.ask("link /f /g"), -2);
    assert_eq!(server.read("f"), b"mine");
}

#[test]
fn reserved_directories_belong_to_their_makers() {
    let server = server(&[("", "address:* lv(rwlda)\nunix:* rwlda")]);
    let mut stranger = server.stranger();
    assert_eq!(stranger.ask("mkdir /mine 493"), 0);
    assert_eq!(stranger.list("getacl /mine"), ["address:127.0.0.1 rwldpa"]);
    stranger.put("/mine/f", b"x");
    assert_eq!(stranger.ask("putfile /f 420 0"), -2);
    let mut owner = server.client();
    assert_eq!(owner.ask("stat /mine/f"), -2, "the list is the maker's alone");
    assert_eq!(stranger.ask("mkdir /mine 493"), -4);
    assert_eq!(stranger.ask("unlink /mine/f"), 0);
    assert_eq!(
        stranger.ask("rmdir /mine"),
        0,
        "the list does not keep a directory from being empty"
    );
}

#[test]
fn lists_are_changed() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    let identity = String::from_utf8(owner.data("whoami 100")).unwrap();
    let mut stranger = server.stranger();
    assert_eq!(owner.ask("mkdir /d 493"), 0);
    owner.put("/d/f", b"x");
    assert_eq!(stranger.ask("stat /d/f"), -2);
    assert_eq!(owner.ask("setacl /d address:127.0.0.1 rl"), 0);
    stranger.stat("stat /d/f");
    assert_eq!(
        owner.list("getacl /d"),
        [format!("{identity} rwldpa"), "address:127.0.0.1 rl".into()]
    );
    assert_eq!(owner.list("getacl /").len(), 1);
    assert_eq!(owner.ask("setacl /d address:127.0.0.1 n"), 0);
    assert_eq!(stranger.ask("stat /d/f"), -2);
    assert_eq!(owner.ask("setacl /d/f unix:x rl"), -14);
    assert_eq!(stranger.ask("setacl /d address:127.0.0.1 rwlda"), -2);
    assert_eq!(owner.ask("setacl /d address:* rwlda"), 0);
    assert_eq!(stranger.ask("resetacl /d l"), 0);
    assert_eq!(stranger.list("getacl /d"), ["address:127.0.0.1 la"]);
    assert_eq!(owner.ask("stat /d/f"), -2);
    assert_eq!(owner.ask("rmall /d"), 0, "whatever the lists below say");
}

#[test]
fn an_edited_list_is_seen_at_once() {
    let server = server(&[("", "address:* rl")]);
    let mut client = server.stranger();
    for round in 0..50 {
        client.stat("stat /");
        std::fs::write(server.root().join(".__acl"), "address:* r").unwrap();
        assert_eq!(client.ask("stat /"), -2, "round {round}");
        std::fs::write(server.root().join(".__acl"), "address:* rl").unwrap();
    }
}

#[test]
fn a_moved_directory_has_the_rights_of_its_new_place() {
    let server = server(&[("", "unix:* rwlda"), ("open", "unix:* rwlda\naddress:* rl")]);
    let (mut owner, mut stranger) = (server.client(), server.stranger());
    assert_eq!(owner.ask("mkdir /open/d 493"), 0);
    stranger.stat("stat /open/d");
    assert_eq!(owner.ask("rename /open/d /d"), 0);
    assert_eq!(stranger.ask("stat /d"), -2);
    assert_eq!(owner.ask("rename /d /open/d"), 0);
    stranger.stat("stat /open/d");
}

#[test]
fn the_servers_own_names() {
    let server = server(&[("", "unix:* rwlda\naddress:* rwld")]);
    let (mut owner, mut client) = (server.client(), server.stranger());
    for line in [
        "unlink /.__acl",
        "rename /.__acl /x",
        "rename /f /.__acl",
        "link /.__acl /x",
        "symlink x /.__x",
        "mkdir /.__d 493",
        "chmod /.__acl 0",
        "truncate /.__acl 0",
        "open /.__acl w 0",
        "putfile /.__acl 420 3",
        "open /.__new wc 420",
    ] {
        client.put("/f", b"address:* rwlda");
        assert_eq!(client.ask(line), -2, "{line}");
    }
    assert_eq!(client.ask("symlink .__acl /l"), 0);
    assert_eq!(client.ask("open /l w 0"), -2, "nor by way of a link");
    assert!(client.list("getdir /").iter().all(|name| !name.starts_with(".__")));
    assert_eq!(owner.ask("unlink /.__acl"), -2);
    owner.put("/.__acl", b"unix:* rwlda\n");
    assert_eq!(client.ask("stat /f"), -2, "whoever has A may write the list as a file");
}

#[test]
fn read_only_superuser_and_default_list() {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "hostname:* l\naddress:* rwlda\n").unwrap();
    let list = list.path().to_str().unwrap();
    let server = Server::start_with(&["-R", "-A", list], |root| {
        std::fs::write(root.join("f"), b"data").unwrap();
    });
    let mut client = server.stranger();
    assert_eq!(client.data("getfile /f"), b"data");
    for line in ["open /f w 0", "unlink /f", "mkdir /d 493", "setacl / unix:x rl", "chmod /f 0"] {
        assert_eq!(client.ask(line), -2, "{line}");
    }
    assert_eq!(server.client().ask("stat /f"), -2);
    assert!(!server.root().join(".__acl").exists());
    let server = Server::start(&["-P", "address:127.0.0.1"]);
    let mut client = server.stranger();
    client.stat("stat /");
    assert_eq!(client.ask("setacl / address:127.0.0.1 rwlda"), 0);
    client.put("/f", b"x");
}

#[test]
fn audit_counts_by_owner() {
    let server = server(&[("", "unix:* rwlda\n"), ("d", "unix:ann rwl\nunix:* a\n")]);
    let mut client = server.client();
    client.put("/f", b"12345");
    std::fs::write(server.root().join("d/g"), b"123").unwrap();
    assert_eq!(client.ask("audit /"), 2);
    let lines = [client.line(), client.line()];
    assert_eq!(lines, ["unix:* 1 1 5", "unix:ann 1 1 3"]);
}
