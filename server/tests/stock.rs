//! The tools of the Debian package `coop-computing-tools` against our server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, stock};
use std::path::Path;

/// Runs one command of the stock `chirp` and returns what it printed.
fn chirp(server: &Server, arguments: &[&str]) -> String {
    let (status, text) = try_chirp(server, arguments);
    assert!(status, "chirp {arguments:?}: {text}");
    text
}

fn try_chirp(server: &Server, arguments: &[&str]) -> (bool, String) {
    let host = format!("127.0.0.1:{}", server.port);
    let output = stock("chirp", &[&["-t", "10", "-a", "unix", &host], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_login_method() {
    let server = Server::start(&[]);
    let host = format!("127.0.0.1:{}", server.port);
    for method in ["unix", "hostname", "address"] {
        let output = stock("chirp", &["-t", "10", "-a", method, &host, "whoami"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("{method}:")), "{method}: {text}");
    }
}

#[test]
fn commands_of_the_stock_client() {
    let server = Server::start(&[]);
    let local = server.outside().join("local");
    std::fs::write(&local, "some text\n".repeat(10_000)).unwrap();
    chirp(&server, &["mkdir", "/dir"]);
    chirp(&server, &["put", path(&local), "/dir/f"]);
    assert_eq!(server.read("dir/f"), std::fs::read(&local).unwrap());
    assert!(chirp(&server, &["ls", "/dir"]).contains('f'));
    assert!(chirp(&server, &["ls", "-la", "/dir"]).contains("100000"));
    assert!(chirp(&server, &["stat", "/dir/f"]).contains("100000"));
    assert!(chirp(&server, &["cat", "/dir/f"]).starts_with("some text"));
    assert!(chirp(&server, &["df"]).contains("TOTAL"));
    let back = server.outside().join("back");
    chirp(&server, &["get", "/dir/f", path(&back)]);
    assert_eq!(std::fs::read(back).unwrap(), server.read("dir/f"));
    let digest = chirp(&server, &["md5", "/dir/f"]).to_lowercase();
    let ours = String::from_utf8(stock("md5sum", &[path(&local)]).stdout).unwrap();
    assert_eq!(digest.split_whitespace().next(), ours.split_whitespace().next());
    chirp(&server, &["chmod", "700", "/dir/f"]);
    chirp(&server, &["ln", "-s", "f", "/dir/l"]);
    assert_eq!(std::fs::read_link(server.root().join("dir/l")).unwrap(), Path::new("f"));
    chirp(&server, &["ln", "/dir/f", "/dir/hard"]);
    chirp(&server, &["mv", "/dir/f", "/dir/g"]);
    chirp(&server, &["setacl", "/dir", "unix:ann", "read"]);
    assert!(chirp(&server, &["listacl", "/dir"]).contains("unix:ann rl"));
    chirp(&server, &["resetacl", "/dir", "rwld"]);
    assert!(!chirp(&server, &["getacl", "/dir"]).contains("ann"));
    assert!(chirp(&server, &["localpath", "/dir"]).contains("/dir"));
    assert!(chirp(&server, &["audit", "-r"]).contains("unix:"));
    assert!(!try_chirp(&server, &["rmdir", "/dir"]).0);
    chirp(&server, &["rm", "/dir"]);
    assert!(!server.root().join("dir").exists());
    assert!(!try_chirp(&server, &["get", "/none", "/dev/null"]).0);
}

#[test]
fn attributes_of_the_stock_client() {
    let server = Server::start(&[]);
    server.client().put("/f", b"");
    chirp(&server, &["xattr_set", "/f", "user.colour", "green"]);
    assert!(chirp(&server, &["xattr_get", "/f", "user.colour"]).contains("green"));
    assert!(chirp(&server, &["xattr_list", "/f"]).contains("user.colour"));
}

#[test]
fn chirp_put_and_chirp_get_copy_files() {
    let server = Server::start(&[]);
    let host = format!("127.0.0.1:{}", server.port);
    let local = server.outside().join("in");
    std::fs::write(&local, vec![42; 5_000_000]).unwrap();
    let run = |program, arguments: &[&str]| {
        let output = stock(program, &[&["-a", "unix", "-t", "10"], arguments].concat());
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("chirp_put", &[path(&local), &host, "/f"]);
    assert_eq!(server.read("f"), std::fs::read(&local).unwrap());
    let back = server.outside().join("out");
    run("chirp_get", &[&host, "/f", path(&back)]);
    assert_eq!(std::fs::read(&back).unwrap(), server.read("f"));
    // Whole trees go name by name.
    let tree = server.outside().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/b/f"), b"deep").unwrap();
    std::os::unix::fs::symlink("f", tree.join("a/b/l")).unwrap();
    run("chirp_put", &[path(&tree), &host, "/tree"]);
    assert_eq!(server.read("tree/a/b/f"), b"deep");
    let copy = server.outside().join("copy");
    run("chirp_get", &[&host, "/tree", path(&copy)]);
    assert_eq!(std::fs::read(copy.join("a/b/f")).unwrap(), b"deep");
    assert_eq!(std::fs::read_link(copy.join("a/b/l")).unwrap(), Path::new("f"));
}
