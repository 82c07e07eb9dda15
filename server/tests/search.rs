//! `search`, as Debian's server does it, and the requests that are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use common::{Client, Server, StockServer};

fn fill(root: &Path) {
    for dir in ["d/e/deep", "closed", "unlisted/x"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for dir in ["", "d", "d/e", "d/e/deep", "unlisted/x"] {
        std::fs::write(root.join(dir).join(".__acl"), "address:* rwldax\n").unwrap();
    }
    std::fs::write(root.join("closed/.__acl"), "unix:ann rwldax\n").unwrap();
    std::fs::write(root.join("unlisted/.__acl"), "address:* rw\n").unwrap();
    for file in ["g.txt", "d/f.txt", "d/e/.hid.txt", "d/e/deep/z", "closed/c.txt", "unlisted/u.txt"]
    {
        std::fs::write(root.join(file), "hi\n").unwrap();
    }
    std::os::unix::fs::symlink("f.txt", root.join("d/link.txt")).unwrap();
    let run = root.join("d/run.txt");
    std::fs::write(&run, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(run, mode).unwrap();
}

fn found(client: &mut Client, request: &str) -> Vec<String> {
    let lines = client.list(request);
    // Debian's server writes `//` where the search begins at the root.
    let mut lines: Vec<_> = lines.iter().map(|line| line.replace("//", "/")).collect();
    if request.starts_with("search /") {
        // It looks for more than it can find, and complains of what it may not list.
        lines.retain(|line| !line.starts_with("1:1:"));
    }
    // The order is that of the directory.
    lines.sort();
    lines
}

#[test]
fn as_debians_server_searches() {
    let ours = Server::start_with(&[], fill);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fill(dir.path());
    let theirs = StockServer::start(dir.path(), &[]);
    let (mut ours, mut theirs) = (ours.stranger(), theirs.stranger());
    let mut compared = 0;
    for pattern in [
        "*.txt",
        "/d/*.txt",
        "f.txt|g.txt",
        "e/*.txt",
        "[fg].txt",
        "?.txt",
        "d",
        "*",
        "/*",
        "/d/e/*",
        "none",
    ] {
        for (place, flags) in [
            ("/", 0),
            ("/", 4),
            ("/d", 0),
            ("/d/", 4),
            ("/d", 8),
            ("/d", 16),
            ("/d", 32),
            ("/d", 64),
            ("/none|/d", 0),
            ("/d/f.txt", 0),
            ("/closed", 0),
            ("/d/e|/d/none|/", 4),
        ] {
            let request = format!("search {pattern} {place} {flags}");
            assert_eq!(found(&mut ours, &request), found(&mut theirs, &request), "{request}");
            compared += 1;
        }
    }
    assert!(compared > 100);
}

#[test]
fn searches_stop_tell_attributes_and_stay_in_step() {
    let server = Server::start_with(&[], fill);
    let mut client = server.stranger();
    let lines = client.list("search *.txt / 1");
    assert_eq!(lines.iter().filter(|line| line.starts_with("0:")).count(), 1, "{lines:?}");
    let lines = client.list("search f.txt /d 2");
    let [line] = &*lines else { panic!("{lines:?}") };
    let stat = line.strip_prefix("0:/f.txt:").unwrap().strip_suffix(':').unwrap();
    let (_, known) = client.stat("stat /d/f.txt");
    assert_eq!(parrot_chirp::wire::Stat::parse(stat.as_bytes()), Some(known));
    // A search that is larger than all buffers.
    let many = server.root().join("many");
    std::fs::create_dir(&many).unwrap();
    for i in 0..4000 {
        std::fs::write(many.join(format!("a-rather-{i:0150}")), "").unwrap();
    }
    assert_eq!(client.list("search a-rather-* /many 0").len(), 4000);
    client.is_fine();
    // Links lead nowhere, so there is no way to go round in circles.
    std::os::unix::fs::symlink("..", server.root().join("d/up")).unwrap();
    assert_eq!(client.list("search f.txt /d 0"), ["0:/f.txt::"]);
}

#[test]
fn jobs_are_refused_as_by_a_server_without_them() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.ask_with("job_create 2", b"{}"), -8);
    for request in ["job_commit 1", "job_kill 1", "job_reap 1", "job_status 1", "job_wait 1 1"] {
        assert_eq!(client.ask(request), -8, "{request}");
    }
    for request in ["setrep / 2", "setrep @@@ 2", "cookie abc", "nonsense"] {
        assert_eq!(client.ask(request), -8, "{request}");
    }
    client.is_fine();
}

#[test]
fn only_the_superuser_debugs() {
    let user =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout);
    let superuser = format!("unix:{}", user.unwrap().trim());
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = dir.path().join("log");
    let server = Server::start(&["-P", &superuser, "-o", log.to_str().unwrap()]);
    assert_eq!(server.stranger().ask("debug all"), -2);
    let mut client = server.client();
    assert_eq!(client.ask("stat /before"), -3);
    assert_eq!(client.ask("debug chirp"), 0);
    assert_eq!(client.ask("stat /during"), -3);
    assert_eq!(client.ask("debug clear"), 0);
    assert_eq!(client.ask("stat /after"), -3);
    let text = std::fs::read_to_string(log).unwrap();
    let seen = ["before", "during", "after"].map(|word| text.contains(word));
    assert_eq!(seen, [false, true, false], "{text}");
}
