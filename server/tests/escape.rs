//! Nothing leads out of the exported tree.

mod common;

use common::Server;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests that would touch `P` if they could, each with a body where one belongs.
const TOUCHING: &[&str] = &[
    "open P r 0",
    "open P rw 0",
    "open P wct 420",
    "getfile P",
    "putfile P 420 0",
    "md5 P",
    "stat P",
    "statfs P",
    "getdir P",
    "getlongdir P",
    "chmod P 511",
    "truncate P 0",
    "utime P 1 1",
    "utimens P 1 0 1 0 1",
    "getxattr P user.a",
    "removexattr P user.a",
    "xstat P 1",
    "access P 4",
    "getacl P",
    "setacl P unix:evil rwlda",
];

#[test]
fn links_that_lead_out_lead_nowhere() {
    let server = Server::start(&[]);
    let outside = server.outside();
    std::fs::write(outside.join("secret"), b"secret").unwrap();
    let root = server.root();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink("/", root.join("top")).unwrap();
    std::fs::create_dir(root.join("d")).unwrap();
    symlink("../../outside/secret", root.join("d/deep")).unwrap();
    symlink("d/deep", root.join("twice")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("d/../../outside/new", root.join("create")).unwrap();
    let mut client = server.client();
    for path in [
        "/absolute",
        "/absolute/secret",
        "/relative",
        "/relative/secret",
        "/file",
        "/top",
        "/top/etc/passwd",
        "/d/deep",
        "/twice",
        "/magic",
        "/magic/etc/passwd",
        "/create",
        "/relative/new",
        "/absolute/new",
    ] {
        for request in TOUCHING {
            let line = request.replace('P', path);
            assert_eq!(client.ask(&line), -3, "{line}");
        }
        for line in [format!("mkdir {path}/x 493"), format!("rmall {path}/secret")] {
            let code = client.ask(&line);
            assert!(code == -3 || code == -14, "{line}: {code}");
        }
    }
    // The links themselves can be seen, read and removed.
    assert_eq!(client.stat("lstat /file").1.mode & 0o170_000, 0o120_000);
    assert_eq!(client.data("readlink /top 10"), b"/");
    assert_eq!(client.ask("rmall /absolute"), 0);
    assert_eq!(client.ask("unlink /relative"), 0);
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
}

#[test]
fn dots_do_not_climb() {
    let server = Server::start(&[]);
    std::fs::write(server.outside().join("secret"), b"secret").unwrap();
    let mut client = server.client();
    for path in ["/../outside/secret", "/%2e%2e/outside/secret", "..%2foutside%2fsecret"] {
        assert_eq!(client.ask(&format!("getfile {path}")), -3, "{path}");
    }
    assert_eq!(client.ask("stat /a%00b"), -8);
    let inode = client.stat("stat /").1.ino;
    assert_eq!(client.stat("stat /../..").1.ino, inode);
    assert_eq!(client.ask("rename /.. /x"), -10);
}

#[test]
fn rmall_does_not_follow_links() {
    let server = Server::start(&[]);
    std::fs::write(server.outside().join("secret"), b"secret").unwrap();
    std::fs::create_dir_all(server.root().join("tree/sub/sub")).unwrap();
    symlink(server.outside(), server.root().join("tree/sub/out")).unwrap();
    assert_eq!(server.client().ask("rmall /tree"), 0);
    assert_eq!(std::fs::read(server.outside().join("secret")).unwrap(), b"secret");
    assert!(!server.root().join("tree").exists());
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let server = Server::start(&[]);
    let pipe = server.root().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let mut client = server.client();
    for line in ["open /pipe r 0", "open /pipe w 0", "getfile /pipe", "putfile /pipe 420 0"] {
        assert_eq!(client.ask(line), -23, "{line}");
    }
    client.is_fine();
}

/// Ends the race even when an assertion fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While a directory and a link that leads out change places, no request may reach the outside.
#[test]
fn a_rename_race_does_not_lead_out() {
    let server = Server::start(&[]);
    let (root, outside) = (server.root(), server.outside());
    std::fs::create_dir(root.join("spot")).unwrap();
    std::fs::write(root.join("spot/f"), b"inside").unwrap();
    std::fs::write(outside.join("f"), b"OUTSIDE").unwrap();
    symlink(&outside, root.join("other")).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&outside).unwrap());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut racer = server.client();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(racer.ask("renameat2 /spot /other 2"), 0);
            }
        });
        let _stop = Stop(&stop);
        let mut client = server.client();
        let (mut reached, mut refused) = (0, 0);
        for round in 0..20_000 {
            match round % 4 {
                0 => match client.ask("getfile /spot/f") {
                    6 => {
                        let mut data = [0; 6];
                        client.reader.read_exact_into(&mut data).unwrap();
                        assert_eq!(&data, b"inside");
                        reached += 1;
                    }
                    code => {
                        assert!(code < 0, "{code} bytes of the file outside");
                        refused += 1;
                    }
                },
                1 => assert!(client.ask("utime /spot/f 1 1") <= 0),
                2 => assert!(client.ask("chmod /spot 488") <= 0),
                _ => {
                    let code = client.ask("open /spot/g wct 420");
                    if code >= 0 {
                        client.line();
                        client.ask(&format!("close {code}"));
                    }
                }
            }
        }
        assert!(reached > 0 && refused > 0, "no race: {reached} reached, {refused} refused");
    });
    assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"OUTSIDE");
    assert!(!outside.join("g").exists());
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&outside).unwrap().mode() & 0o777, mode & 0o777);
    let times = std::fs::metadata(outside.join("f")).unwrap().modified().unwrap();
    assert!(times.elapsed().unwrap().as_secs() < 3600, "utime reached the file outside");
}
