//! The program itself: options, messages, exit statuses, signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, binary, free_port, wait_for};
use std::process::Output;
use tempfile::TempDir;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = binary().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_and_version() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("Examples:") && help.contains("--port-file"), "{help}");
    let (code, version, _) = run(&["-V"]);
    assert_eq!((code, version.starts_with("parrot-chirpd ")), (Some(0), true));
}

#[test]
fn trouble_is_125_and_one_clear_line() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, wanted) in [
        (&["-r", "/none/such"][..], "/none/such"),
        (&["-r", root, "-I", "127.0.0.1", "-p", &port], "cannot listen on 127.0.0.1"),
        (&["-r", root, "-G", "https://groups.example.org/"], "http://"),
        (&["-r", root, "-W", "/none/passwd"], "/none/passwd"),
        (&["-r", root, "-I", "127.0.0.1", "-p", "0", "-i", "no-such-account"], "no-such-account"),
        (&["-r", root, "-I", "127.0.0.1", "-p", "0", "-Z", "/none/port"], "/none/port"),
        (&["-r", root, "-I", "127.0.0.1", "-p", "0", "-A", "/none/acl"], "/none/acl"),
        (&["-r", root, "-t", "soon"], "expected a time"),
        (&["-r", root, "-d", "no such flag"], "chirp, auth, tcp, stats, catalog, all"),
        (&[], "--root"),
    ] {
        let (code, _, message) = run(arguments);
        assert_eq!(code, Some(125), "{arguments:?}: {message}");
        assert!(message.contains(wanted), "{arguments:?}: {message}");
    }
}

#[test]
fn signals_end_the_server_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&[]);
        let mut client = server.client();
        assert_eq!(client.ask("putfile /f 420 1000"), 0);
        client.send("half");
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        assert!(client.is_closed());
        let left: Vec<_> = std::fs::read_dir(server.root()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the list: {left:?}");
        assert!(!server.outside().with_file_name("port").exists());
    }
}

#[test]
fn background_pid_file_and_reports() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("root")).unwrap();
    let port = free_port().to_string();
    let (code, _, message) = run(&[
        "-r",
        &at("root"),
        "-I",
        "127.0.0.1",
        "-p",
        &port,
        "-b",
        "-B",
        &at("pid"),
        "-d",
        "all",
        "-o",
        &at("log"),
    ]);
    assert_eq!(code, Some(0), "{message}");
    let pid = wait_for(|| std::fs::read_to_string(at("pid")).ok());
    let stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}"));
    drop(stream.unwrap());
    wait_for(|| std::fs::read_to_string(at("log")).ok().filter(|log| log.contains("connected")));
    let pid: i32 = pid.trim().parse().unwrap();
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    wait_for(|| (!std::path::Path::new(&at("pid")).exists()).then_some(()));
}

/// The account the server works as when root starts it; the rest can only be tried as root.
#[test]
fn a_server_started_by_root_works_as_the_owner_of_the_tree() {
    use std::os::unix::fs::{MetadataExt, chown};
    let dir = TempDir::new().unwrap();
    if std::fs::metadata(dir.path()).unwrap().uid() != 0 {
        return;
    }
    let (code, _, message) = run(&["-r", "/", "-R", "-I", "0.0.0.0", "-p", "0"]);
    assert_eq!(code, Some(125));
    assert!(message.contains("loopback"), "{message}");
    let server = Server::start_for_all(&[], |root| {
        chown(root, Some(4321), Some(4321)).unwrap();
    });
    let mut client = server.client();
    assert_eq!(client.list("getacl /"), ["unix:4321 rwldpa"]);
    assert_eq!(client.ask("stat /"), -2);
    let acl = std::fs::metadata(server.root().join(".__acl")).unwrap();
    assert_eq!((acl.uid(), acl.gid()), (4321, 4321));
}

/// The account that a server of root's works as with `-i`, and what it does without.
#[test]
fn the_server_never_works_as_root_on_others_data() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let dir = TempDir::new().unwrap();
    if std::fs::metadata(dir.path()).unwrap().uid() != 0 {
        return;
    }
    let server = Server::start_for_all(&["-i", "daemon"], |root| {
        chown(root, Some(1), Some(1)).unwrap();
        std::fs::write(root.join("private"), "of root").unwrap();
        std::fs::set_permissions(root.join("private"), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(root.join(".__acl"), "address:* rwlda\n").unwrap();
    });
    let mut client = server.stranger();
    client.put("/f", b"x");
    assert_eq!(std::fs::metadata(server.root().join("f")).unwrap().uid(), 1);
    assert_eq!(client.ask("getfile /private"), -2, "the account's permissions count as well");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let groups = status.lines().find(|line| line.starts_with("Groups:")).unwrap();
    assert!(!groups.split_ascii_whitespace().any(|group| group == "0"), "{groups}");
    // A tree of root's without `-i`: loopback, though no address was asked for.
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let port_file = dir.path().join("port");
    let mut child = binary()
        .arg("-r")
        .arg(&root)
        .arg("-Z")
        .arg(&port_file)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let port = wait_for(|| std::fs::read_to_string(&port_file).ok());
    let port = format!(":{:04X} ", port.trim().parse::<u16>().unwrap());
    let listeners = ["tcp", "tcp6"]
        .map(|table| std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default());
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let ours: Vec<&str> = listeners
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| line.contains(&port))
        .collect();
    assert!(!ours.is_empty() && ours.iter().all(|line| line.contains("0100007F:")), "{ours:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("loopback only"), "{message}");
}
