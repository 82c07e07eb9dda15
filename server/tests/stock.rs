//! The tools of the Debian package `coop-computing-tools` against our server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, StockServer, stock, wait_for};
use std::path::Path;

/// Runs one command of the stock `chirp` against some server, and returns what it says to that.
fn answer(port: u16, arguments: &[&str]) -> String {
    let host = format!("127.0.0.1:{port}");
    let output = stock("chirp", &[&["-t", "10", "-a", "address", &host], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&text))
}

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

/// What the stock client shows of reservations, with Debian's server and with ours.
#[test]
fn reservations_by_the_stock_client() {
    let prepare = |root: &Path| {
        std::fs::write(root.join(".__acl"), "address:* rwldax\n").unwrap();
    };
    let ours = Server::start_with(&["-Q", "1M"], prepare);
    let local = ours.outside().join("local");
    std::fs::write(&local, vec![1; 50_000]).unwrap();
    let (theirs, _tree) = StockServer::with_quota(prepare);
    for command in [
        &["mkalloc", "/r", "100K"][..],
        &["mkalloc", "/r", "100K"],
        &["mkalloc", "/s", "1M"],
        &["lsalloc", "/r"],
        &["put", path(&local), "/r/one"],
        &["put", path(&local), "/r/two"],
        &["lsalloc", "/r"],
        &["mkalloc", "/r/in", "40K"],
        &["lsalloc", "/r/in"],
        &["lsalloc", "/r"],
        &["rm", "/r/one"],
        &["lsalloc", "/r"],
    ] {
        let (ours, theirs) = (answer(ours.port, command), answer(theirs.port, command));
        // How long it took, and how fast that was, is not compared.
        let plain = |text: String| text.split(" written in").next().map(str::to_owned);
        assert_eq!(plain(ours), plain(theirs), "{command:?}");
    }
}

#[test]
fn the_other_tools_of_the_package() {
    let server = Server::start_with(&[], |root| {
        std::fs::write(root.join(".__acl"), "unix:* rwlda\naddress:* rwlda\nhostname:* rwlda\n")
            .unwrap();
    });
    let host = format!("127.0.0.1:{}", server.port);
    let run = |program, arguments: &[&str]| {
        let output = stock(program, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {text}{said}");
        text
    };
    let text = run("chirp_benchmark", &[&host, "/bench", "5", "1", "1"]);
    assert!(text.contains("getpid") || text.contains("stat"), "{text}");
    let dir = server.outside();
    let lines: String = (0..5000).map(|i| format!("line {i}\n")).collect();
    std::fs::write(dir.join("all"), &lines).unwrap();
    let all = dir.join("all");
    run("chirp_stream_files", &["-t", "10", "copy", path(&all), &host, "/one", &host, "/two"]);
    // The tool leaves before the server has written all: nobody tells it in this protocol.
    let length =
        |name: &str| std::fs::metadata(server.root().join(name)).map_or(0, |file| file.len());
    let all_of_it = u64::try_from(lines.len()).unwrap();
    for name in ["one", "two"] {
        wait_for(|| (length(name) == all_of_it).then_some(()));
        assert!(server.read(name) == lines.as_bytes(), "{name} differs");
    }
    run("chirp_stream_files", &["-t", "10", "split", path(&all), &host, "/odd", &host, "/even"]);
    wait_for(|| (length("odd") + length("even") == all_of_it).then_some(()));
    let joined = dir.join("joined");
    run("chirp_stream_files", &["-t", "10", "join", path(&joined), &host, "/odd", &host, "/even"]);
    assert_eq!(std::fs::read(joined).unwrap().len(), lines.len());
}
