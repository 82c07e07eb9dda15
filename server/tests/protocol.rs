//! The requests of the protocol, byte by byte.

mod common;

use common::Server;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

#[test]
fn login_dialogues() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("kerberos\n");
    assert_eq!(client.line(), "no");
    let user = client.log_in_unix();
    assert_eq!(client.data("whoami 1024"), format!("unix:{user}").into_bytes());
    assert_eq!(client.data("whoami 4"), b"unix");
    assert_eq!(server.stranger().data("whoami 100"), b"address:127.0.0.1");

    let mut client = server.connect();
    client.send("hostname\n");
    for wanted in ["yes", "yes", "yes", "hostname"] {
        assert_eq!(client.line(), wanted);
    }
    let name = client.line();
    assert_eq!(client.data("whoami 1024"), format!("hostname:{name}").into_bytes());
}

#[test]
fn a_failed_unix_login_leaves_room_for_another_method() {
    let server = Server::start(&["-z", "1s"]);
    let mut client = server.connect();
    client.send("unix\n");
    assert_eq!(client.line(), "yes");
    client.line();
    client.send("no\naddress\n");
    assert_eq!(client.line(), "yes");
}

#[test]
fn files_that_prove_nothing() {
    let server = Server::start(&["-z", "1s"]);
    for round in 0..5 {
        let mut client = server.connect();
        client.send("unix\n");
        assert_eq!(client.line(), "yes");
        let challenge = client.line();
        let make =
            || std::fs::File::options().write(true).create_new(true).mode(0o600).open(&challenge);
        match round {
            0 => std::os::unix::fs::symlink("/etc/passwd", &challenge).unwrap(),
            1 => {
                // A second name, as of somebody else's file.
                make().unwrap();
                std::fs::hard_link(&challenge, format!("{challenge}.2")).unwrap();
            }
            2 => make().unwrap().set_permissions(PermissionsExt::from_mode(0o666)).unwrap(),
            3 => std::io::Write::write_all(&mut make().unwrap(), b"data").unwrap(),
            _ => {
                let old = std::time::SystemTime::UNIX_EPOCH;
                make().unwrap().set_modified(old).unwrap();
            }
        }
        client.send("yes\n");
        assert_eq!(client.line(), "no", "round {round}");
        let _ = std::fs::remove_file(format!("{challenge}.2"));
        let _ = std::fs::remove_file(challenge);
        client.send("address\n");
        assert_eq!(client.line(), "yes");
    }
}

#[test]
fn only_allowed_methods() {
    let server = Server::start(&["-a", "address"]);
    let mut client = server.connect();
    client.send("unix\nhostname\naddress\n");
    assert_eq!(
        (client.line(), client.line(), client.line()),
        ("no".into(), "no".into(), "yes".into())
    );
}

#[test]
fn descriptors() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask("open /none r 0"), -3);
    let (fd, stat) = client.stat("open /f rwc 420");
    assert_eq!((fd, stat.size, stat.mode), (0, 0, 0o100_644));
    assert_eq!(client.ask_with("pwrite 0 5 3", b"hello"), 5);
    assert_eq!(client.data("pread 0 100 0"), b"\0\0\0hello");
    assert_eq!(client.data("pread 0 2 4"), b"el");
    assert_eq!(client.data("pread 0 10 100"), b"");
    assert_eq!(client.ask("pread 0 -1 0"), -8);
    assert_eq!(client.ask("pread 0 1 -1"), -8);
    assert_eq!(client.stat("fstat 0").1.size, 8);
    assert_eq!(client.ask("ftruncate 0 5"), 0);
    assert_eq!(client.ask("ftruncate 0 -5"), -8);
    assert_eq!(client.ask("fsync 0"), 0);
    assert_eq!(client.ask("fchmod 0 384"), 0);
    assert_eq!(client.ask("fchown 99 1 1"), 0);
    let (_, stat) = client.stat("stat /f");
    let file = std::fs::metadata(server.root().join("f")).unwrap();
    assert_eq!((stat.size, stat.mode & 0o777), (5, 0o600));
    assert_eq!((stat.ino, stat.dev, stat.nlink), (file.ino(), file.dev(), 1));
    assert_eq!((stat.mtime, stat.blocks), (file.mtime(), file.blocks()));
    assert_eq!(client.stat("open /f r 0").0, 1);
    assert_eq!(client.ask_with("pwrite 1 1 0", b"x"), -12);
    assert_eq!(client.ask("ftruncate 1 0"), -8);
    assert_eq!(client.ask("close 0"), 0);
    assert_eq!(client.ask("close 0"), -12);
    assert_eq!(client.stat("open /f wa 0").0, 0, "the lowest free descriptor");
    assert_eq!(client.ask_with("pwrite 0 3 0", b"end"), 3);
    assert_eq!(server.read("f"), b"\0\0\0heend");
    assert_eq!(client.ask("open /f wcx 420"), -4);
    assert_eq!(client.stat("open /f wt 420").1.size, 0);
    assert_eq!(client.ask("fstatfs 1"), 0);
    assert_eq!(client.line().split(' ').count(), 7);
}

#[test]
fn strides() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"hello");
    client.stat("open /f rw 0");
    assert_eq!(client.data("sread 0 4 1 2 0"), b"hlo");
    assert_eq!(client.ask_with("swrite 0 4 2 3 0", b"ABCD"), 4);
    assert_eq!(client.data("pread 0 10 0"), b"ABlCD");
    assert_eq!(client.ask("sread 0 4 0 0 0"), -8);
    assert_eq!(client.ask("sread 0 4 -1 0 0"), -8);
    client.is_fine();
}

#[test]
fn whole_files() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for size in [0, 1, 100_000, 3_000_000] {
        let data: Vec<u8> =
            (0..size).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        client.put("/f", &data);
        assert_eq!(server.read("f"), data);
        assert_eq!(client.data("getfile /f"), data);
    }
    client.put("/abc", b"abc");
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(client.data("md5 /abc")), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(hex(client.data("hash md5 /abc")), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(hex(client.data("hash sha1 /abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(client.ask("hash crc /abc"), -8);
    assert_eq!(client.ask("getfile /none"), -3);
    assert_eq!(client.ask("getfile /"), -13);
    assert_eq!(client.ask("putfile / 420 3"), -13);
    assert_eq!(client.ask("putfile /x 420 -3"), -8);
    client.is_fine();

    let mut stream = server.client();
    assert_eq!(stream.ask("getstream /abc"), 0);
    let mut data = [0; 3];
    stream.reader.read_exact_into(&mut data).unwrap();
    assert!(&data == b"abc" && stream.is_closed());
    let mut stream = server.client();
    assert_eq!(stream.ask("putstream /s"), 0);
    stream.send("some bytes");
    stream.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(stream.is_closed());
    assert_eq!(server.read("s"), b"some bytes");
}

#[test]
fn an_interrupted_putfile_leaves_the_old_file_and_nothing_else() {
    let server = Server::start(&[]);
    server.client().put("/f", b"old");
    let mut client = server.client();
    assert_eq!(client.ask("putfile /f 420 1000000"), 0);
    client.send(vec![b'x'; 5000]);
    drop(client);
    common::wait_for(|| (std::fs::read_dir(server.root()).unwrap().count() == 2).then_some(()));
    assert_eq!(server.read("f"), b"old");
}

#[test]
fn putfile_keeps_other_names_and_the_mode() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"old");
    assert_eq!(client.ask("chmod /f 448"), 0);
    client.put("/f", b"new");
    assert_eq!(client.stat("stat /f").1.mode & 0o777, 0o700);
    assert_eq!(client.ask("link /f /g"), 0);
    client.put("/f", b"newer");
    assert_eq!(server.read("g"), b"newer");
}

#[test]
fn names() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask("mkdir /d 493"), 0);
    assert_eq!(client.ask("mkdir /d 493"), -4);
    assert_eq!(client.ask("mkdir /none/d 493"), -3);
    assert_eq!(client.ask("mkdir /caf%C3%A9%0A%09x 493"), 0);
    assert!(server.root().join("café\n\tx").is_dir());
    client.put("/d/a", b"1");
    client.put("/d/b", b"22");
    assert_eq!(client.ask("stat /d/a/b"), -14);
    assert_eq!(client.ask("rmdir /d"), -15);
    assert_eq!(client.ask("rename /d/a /d/b"), 0);
    assert_eq!(server.read("d/b"), b"1");
    assert_eq!(client.ask("link /d/b /d/c"), 0);
    assert_eq!(client.stat("stat /d/c").1.nlink, 2);
    assert_eq!(client.ask("unlink /d"), -13);
    assert_eq!(client.ask("unlink /d/c"), 0);
    assert_eq!(client.ask("unlink /d/c"), -3);
    assert_eq!(client.ask("truncate /d/b 7"), 0);
    assert_eq!(client.ask("utime /d/b 1000 2000"), 0);
    let (_, stat) = client.stat("stat /d/b");
    assert_eq!((stat.size, stat.atime, stat.mtime), (7, 1000, 2000));
    assert_eq!(client.ask("chmod /d/b 2541"), 0);
    let mode = std::fs::metadata(server.root().join("d/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "no set-user-id for clients");
    assert_eq!(client.ask("access /d/b 6"), 0);
    assert_eq!(client.ask("access /d 5"), 0);
    assert_eq!(client.ask("access /none 0"), -3);
    assert_eq!(client.ask("statfs /d/b"), 0);
    assert_eq!(client.line().split(' ').count(), 7);
    assert_eq!(client.data("localpath /d/../d/b"), b"/d/b");
    assert_eq!(client.ask("rmall /d"), 0);
    assert_eq!(client.ask("lstat /d"), -3);
    assert_eq!(client.ask("rmdir /"), -10);
    assert_eq!(client.ask("unlink /"), -10);
}

#[test]
fn listings() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for name in ["/a", "/b%20c", "/.hidden", "/line%0Aend"] {
        client.put(name, b"123");
    }
    let mut names = client.list("getdir /");
    names.sort();
    assert_eq!(names, [".", "..", ".hidden", "a", "b c"]);
    let long = client.list("getlongdir /");
    assert_eq!(long.len(), 10);
    for pair in long.chunks(2) {
        assert_eq!(pair[1].split(' ').count(), 13, "{pair:?}");
    }
    let extended = client.list("xgetlongdir /");
    assert!(extended.contains(&"line%0Aend".to_owned()), "{extended:?}");
    assert!(extended.iter().skip(1).step_by(2).all(|line| line.split(' ').count() == 16));
    let inode = |name: &str| {
        let at = extended.iter().position(|line| line == name).unwrap();
        extended[at + 1].split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(inode("."), inode(".."), "nothing above the root is shown");
    assert_eq!(client.ask("getdir /a"), -14);
    assert_eq!(client.stat("open / r 0").0, 0);
    assert_eq!(client.ask("pread 0 10 0"), -13);
    assert_eq!(client.ask("open / w 0"), -13);
}

#[test]
fn a_large_listing() {
    let server = Server::start_with(&[], |root| {
        for i in 0..5000 {
            std::fs::write(root.join(format!("{i:0100}")), b"").unwrap();
        }
    });
    assert_eq!(server.client().list("getlongdir /").len(), 2 * 5002);
}

#[test]
fn links() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"data");
    assert_eq!(client.ask("symlink f /l"), 0);
    assert_eq!(client.ask("symlink a%20b /raw"), 0);
    assert_eq!(client.data("readlink /raw 100"), b"a%20b", "targets are stored as they come");
    assert_eq!(client.data("readlink /raw 2"), b"a%");
    assert_eq!(client.ask("readlink /f 100"), -8);
    assert_eq!(client.data("getfile /l"), b"data");
    assert_eq!(client.stat("lstat /l").1.mode & 0o170_000, 0o120_000);
    assert_eq!(client.stat("stat /l").1.mode & 0o170_000, 0o100_000);
    assert_eq!(client.ask("symlink loop /loop"), 0);
    assert_eq!(client.ask("stat /loop"), -127);
    assert_eq!(client.ask("symlink f /l"), -4);
    assert_eq!(client.ask("mkdir /d 493"), 0);
    assert_eq!(client.ask("symlink .. /d/up"), 0);
    assert_eq!(client.data("getfile /d/up/f"), b"data", "links within the tree are followed");
    assert_eq!(client.ask("symlink new /dangling"), 0);
    assert_eq!(client.ask("open /dangling wcx 420"), -4);
    client.put("/dangling", b"made");
    assert_eq!(server.read("new"), b"made");
    assert_eq!(client.ask("unlink /l"), 0);
    assert_eq!(server.read("f"), b"data");
}

#[test]
fn attributes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"");
    assert_eq!(client.ask_with("setxattr /f user.a 3 0", b"one"), 0);
    assert_eq!(client.data("getxattr /f user.a"), b"one");
    assert_eq!(client.data("listxattr /f"), b"user.a\0");
    assert_eq!(client.ask_with("setxattr /f user.a 3 1", b"two"), -4, "XATTR_CREATE");
    assert_eq!(client.ask("getxattr /f user.none"), -8);
    assert_eq!(client.ask("getxattr /f security.selinux"), -8);
    assert_eq!(client.ask("lgetxattr /f user.none"), -8);
    assert_eq!(client.stat("open /f rw 0").0, 0);
    assert_eq!(client.ask_with("fsetxattr 0 user.b 0 0", b""), 0);
    assert_eq!(client.data("fgetxattr 0 user.b"), b"");
    assert_eq!(client.ask("fremovexattr 0 user.b"), 0);
    assert_eq!(client.data("flistxattr 0"), b"user.a\0");
    assert_eq!(client.ask("removexattr /f user.a"), 0);
    assert_eq!(client.ask("removexattr /f user.a"), -8);
    assert_eq!(client.ask_with("setxattr /f trusted.a 3 0", b"one"), -23);
    assert_eq!(client.ask_with("setxattr /f user.a 70000 0", &vec![0; 70_000]), -7);
    assert_eq!(client.ask_with("lsetxattr /none user.a 3 0", b"one"), -3);
    assert_eq!(client.ask("symlink f /l"), 0);
    assert_eq!(client.data("llistxattr /l"), b"");
    assert_eq!(client.data("listxattr /l"), b"");
    client.is_fine();
}

#[test]
fn extensions() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let (fd, stat) = client.stat("xopen /f rwc 420");
    assert_eq!((fd, stat.size), (0, 0));
    assert_eq!(client.ask("symlink f /l"), 0);
    assert_eq!(client.ask("utimens /f 5 123456789 6 987654321 1"), 0);
    let (_, stat) = client.stat("xstat /l 1");
    assert_eq!((stat.atime, stat.atime_nsec), (5, 123_456_789));
    assert_eq!((stat.mtime, stat.mtime_nsec), (6, 987_654_321));
    assert_eq!(client.stat("xstat /l 0").1.mode & 0o170_000, 0o120_000);
    // UTIME_OMIT and UTIME_NOW.
    assert_eq!(client.ask("utimens /f 0 1073741822 0 1073741823 1"), 0);
    let (_, stat) = client.stat("xfstat 0");
    assert_eq!((stat.atime, stat.atime_nsec), (5, 123_456_789));
    assert!(stat.mtime > 1_000_000_000);
    assert_eq!(client.ask("utimens /f 0 -1 0 0 1"), -8);
    assert_eq!(client.ask("utimens /l 9 0 9 0 0"), 0);
    assert_eq!(client.stat("xstat /l 0").1.mtime, 9);
    assert_eq!(client.stat("xstat /l 1").1.atime, 5);
    client.put("/g", b"other");
    assert_eq!(client.ask("renameat2 /g /f 1"), -4, "RENAME_NOREPLACE");
    assert_eq!(client.ask("renameat2 /g /f 2"), 0, "RENAME_EXCHANGE");
    assert_eq!((server.read("f"), server.read("g")), (b"other".to_vec(), Vec::new()));
    assert_eq!(client.ask("renameat2 /g /f 4"), -8, "RENAME_WHITEOUT");
}

/// What is made with a mark is known by it, also where the right to reserve makes it.
#[test]
fn what_is_made_can_carry_a_mark() {
    let server = Server::start_with(&[], |root| {
        std::fs::write(root.join(".__acl"), "unix:* rwlda\naddress:* lv(rwl)\n").unwrap();
    });
    let before = std::time::SystemTime::now();
    let mut client = server.client();
    client.stat("xcreate /f wcx 420 7");
    assert_eq!(client.ask("xmkdir /d 448 999999999"), 0);
    let mut stranger = server.stranger();
    assert_eq!(stranger.ask("xmkdir /reserved 493 123"), 0);
    assert_eq!(client.stat("xstat /f 1").1.atime_nsec, 7);
    assert_eq!(client.stat("xstat /d 1").1.atime_nsec, 999_999_999);
    assert_eq!(stranger.stat("xstat /reserved 1").1.atime_nsec, 123);
    let made = std::fs::metadata(server.root().join("d")).unwrap();
    assert_eq!(made.permissions().mode() & 0o7777, 0o700);
    assert!(made.accessed().unwrap() >= before, "not before it was made");
    assert!(server.root().join("reserved/.__acl").exists());
    for (request, code) in [
        ("xmkdir /d 493 1", -4),
        ("xmkdir /f 493 1", -4),
        ("xmkdir /none/d 493 1", -3),
        ("xmkdir /e 493 1000000000", -8),
        ("xcreate /f wcx 420 1", -4),
        ("xcreate /e wc 420 1", -8),
        ("xcreate /e wcx 420 1000000000", -8),
    ] {
        assert_eq!(client.ask(request), code, "{request}");
    }
    let left = std::fs::read_dir(server.root()).unwrap().count();
    assert_eq!(left, 4, "a list, a file and two directories");
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"0123456789");
    let mut ahead = String::from("open /f rw 0\n");
    for i in 0..1000 {
        ahead.push_str(&format!("pread 0 1 {}\nbogus\npwrite 0 1 20\nx", i % 10));
    }
    ahead.push_str("close 0\n");
    let mut writer = client.reader.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, ahead.as_bytes()).unwrap();
    });
    assert_eq!(client.number(), 0);
    client.line();
    for i in 0..1000_u32 {
        assert_eq!(client.number(), 1);
        let mut byte = [0];
        client.reader.read_exact_into(&mut byte).unwrap();
        assert_eq!(u32::from(byte[0] - b'0'), i % 10);
        assert_eq!(client.number(), -8);
        assert_eq!(client.number(), 1);
    }
    assert_eq!(client.number(), 0);
    sender.join().unwrap();
}

#[test]
fn replies_do_not_wait_for_the_rest_of_a_later_request() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.stat("open /f rwc 420");
    // The reply to whoami must come although the next line, or the next body, is incomplete.
    client.send("whoami 100\nstat");
    let length = client.number();
    client.reader.skip(length.cast_unsigned()).unwrap();
    client.send(" /f\npwrite 0 5 0\nhel");
    assert_eq!(client.number(), 0);
    client.line();
    client.send("lo");
    assert_eq!(client.number(), 5);
}

#[test]
fn every_attribute_request() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("/f", b"");
    assert_eq!(client.ask("symlink f /l"), 0);
    client.stat("open /f rw 0");
    for (set, get, list, remove) in [
        ("setxattr /l", "getxattr /l", "listxattr /l", "removexattr /l"),
        ("lsetxattr /f", "lgetxattr /f", "llistxattr /f", "lremovexattr /f"),
        ("fsetxattr 0", "fgetxattr 0", "flistxattr 0", "fremovexattr 0"),
    ] {
        assert_eq!(client.ask_with(&format!("{set} user.a 5 0"), b"v\0\n v"), 0, "{set}");
        assert_eq!(client.data(&format!("{get} user.a")), b"v\0\n v", "{get}");
        assert_eq!(client.data(list), b"user.a\0", "{list}");
        assert_eq!(client.ask_with(&format!("{set} user.a 1 2"), b"w"), 0, "{set} replaces");
        assert_eq!(client.ask(&format!("{remove} user.a")), 0, "{remove}");
        assert_eq!(client.ask_with(&format!("{set} user.a 1 2"), b"w"), -8, "nothing to replace");
        assert_eq!(client.ask(&format!("{remove} user.a")), -8, "{remove}");
        assert_eq!(client.data(list), b"", "{list}");
    }
    // A link itself has no attributes that clients may set.
    assert_eq!(client.ask_with("lsetxattr /l user.a 1 0", b"x"), -2);
    assert_eq!(client.ask("lgetxattr /l user.a"), -8);
    client.is_fine();
}

#[test]
fn local_users_are_told_paths_that_a_list_gives_them() {
    let server = Server::start_with(&[], |root| {
        for (dir, list) in [("open", "system:localuser l\n"), ("shut", "unix:ann rl\n")] {
            std::fs::create_dir(root.join(dir)).unwrap();
            std::fs::write(root.join(dir).join(".__acl"), list).unwrap();
            std::fs::write(root.join(dir).join("f"), "").unwrap();
        }
    });
    let mut client = server.stranger();
    assert_eq!(client.data("localpath /open/f"), b"/open/f");
    assert_eq!(client.data("localpath /open"), b"/open");
    assert_eq!(client.ask("localpath /open/none"), -3);
    assert_eq!(client.ask("localpath /shut/f"), -2);
}

/// Offsets and lengths beyond 32 bits, in a file that takes no space.
#[test]
fn files_beyond_four_gigabytes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let size = 5_i64 << 30;
    client.stat("open /f rwc 420");
    assert_eq!(client.ask(&format!("ftruncate 0 {size}")), 0);
    assert_eq!(client.ask_with(&format!("pwrite 0 3 {}", size - 3), b"end"), 3);
    assert_eq!(client.data(&format!("pread 0 100 {}", size - 3)), b"end");
    assert_eq!(client.data(&format!("sread 0 2 1 2 {}", size - 3)), b"ed");
    assert_eq!(client.stat("stat /f").1.size, size.cast_unsigned());
    // All of it is promised; the client may leave before the end.
    assert_eq!(client.ask("getfile /f"), size);
    client.reader.skip(1 << 20).unwrap();
}

/// The same, to the end.
#[test]
#[ignore = "sends ten gigabytes over loopback"]
fn all_of_a_file_beyond_four_gigabytes() {
    let server = Server::start_with(&[], |root| {
        std::fs::write(root.join(".__acl"), "unix:* rwldax\nhostname:* rwldax\naddress:* rwldax\n")
            .unwrap();
        std::fs::File::create(root.join("f")).unwrap().set_len(5 << 30).unwrap();
    });
    let mut client = server.client();
    assert_eq!(client.ask("getfile /f"), 5 << 30);
    client.reader.skip(5 << 30).unwrap();
    client.is_fine();
    // The copy is written to the disk, and that is waited for.
    client.reader.get_ref().set_read_timeout(None).unwrap();
    let port = server.port;
    assert_eq!(client.ask(&format!("thirdput /f 127.0.0.1:{port} /g")), 5 << 30);
    assert_eq!(client.stat("stat /g").1.size, 5 << 30);
}
