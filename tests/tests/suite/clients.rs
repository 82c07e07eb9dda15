//! Debian's own Chirp clients against our server: `chirp`, `chirp_get`, `chirp_put`.

use std::time::Duration;

use parrot_tests::dir::TempDir;
use parrot_tests::run::{Run, run};
use parrot_tests::server::{Make, Server};
use parrot_tests::{Session, Technique, programs};

fn client(server: &Server, program: &str, words: &[&str]) -> Run {
    let session = Session::new(Technique::Native);
    let host = format!("127.0.0.1:{}", server.port());
    let mut command = session.clean(&programs::tool(program));
    command.args(words.iter().map(|word| if *word == "HOST" { host.as_str() } else { word }));
    run(&mut command, Duration::from_secs(30))
}

fn start() -> (TempDir, Server) {
    let dir = TempDir::new();
    let export = dir.sub("export");
    std::fs::create_dir(export.join("d")).unwrap();
    std::fs::write(export.join("hello"), "hello\n").unwrap();
    std::fs::write(export.join("d/text"), "text\n").unwrap();
    let server = Server::start(Make::Ours, &export);
    (dir, server)
}

#[test]
fn get_and_put() {
    let (dir, server) = start();
    let got = client(&server, "chirp_get", &["HOST", "/hello", "-"]).code(0);
    assert_eq!(got.out(), "hello\n");
    let local = dir.path().join("big");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    std::fs::write(&local, &bytes).unwrap();
    let _ = client(&server, "chirp_put", &[local.to_str().unwrap(), "HOST", "/d/big"]).code(0);
    assert!(std::fs::read(server.export().join("d/big")).unwrap() == bytes);
    let back = dir.path().join("back");
    let _ = client(&server, "chirp_get", &["HOST", "/d/big", back.to_str().unwrap()]).code(0);
    assert!(std::fs::read(back).unwrap() == bytes);
    let tree = dir.path().join("tree");
    let _ = client(&server, "chirp_get", &["HOST", "/d", tree.to_str().unwrap()]).code(0);
    assert_eq!(std::fs::read_to_string(tree.join("text")).unwrap(), "text\n");
    let _ = client(&server, "chirp_put", &[tree.to_str().unwrap(), "HOST", "/copied"]).code(0);
    assert_eq!(std::fs::read_to_string(server.export().join("copied/text")).unwrap(), "text\n");
    let missing = client(&server, "chirp_get", &["HOST", "/missing", "-"]);
    assert!(missing.end != parrot_tests::End::Code(0), "{}", missing.describe());
}

/// What is asked of both servers.
const COMMANDS: &[&[&str]] = &[
    &["whoami"],
    &["ls", "/"],
    &["ls", "-la", "/d"],
    &["ls", "/missing"],
    &["cat", "/hello"],
    &["cat", "/missing"],
    &["mkdir", "/new"],
    &["mkdir", "/new"],
    &["mkdir", "-p", "/new/a/b"],
    &["mv", "/hello", "/new/moved"],
    &["cat", "/new/moved"],
    &["ln", "/new/moved", "/new/hard"],
    &["ln", "-s", "moved", "/new/soft"],
    &["cat", "/new/soft"],
    &["chmod", "644", "/new/moved"],
    &["md5", "/new/moved"],
    &["hash", "sha1", "/new/moved"],
    &["getacl", "/"],
    &["setacl", "/new", "unix:somebody", "rl"],
    &["setacl", "/new", "hostname:*.example.org", "rwlda"],
    &["getacl", "/new"],
    &["listacl", "/new"],
    &["getacl", "/missing"],
    &["getacl", "/closed"],
    &["setacl", "/closed", "unix:root", "rwlda"],
    &["ls", "/closed"],
    &["mkdir", "/closed/x"],
    &["localpath", "/new"],
    &["audit"],
    &["rm", "/new/hard"],
    &["rm", "/new/missing"],
    &["rmdir", "/new/a"],
    &["rmdir", "/new/a/b"],
    &["rm", "/new"],
    &["ls", "/../.."],
    &["cat", "/../../../../etc/passwd"],
    &["xattr_set", "/d/text", "user.note", "value"],
    &["xattr_get", "/d/text", "user.note"],
    &["xattr_list", "/d/text"],
    &["debug", "all"],
    &["lsalloc", "/"],
    &["mkalloc", "/reserved", "1M"],
    &["setrep", "/d/text", "2"],
    &["remote_debug", "all"],
    &["job_create", "{}"],
    &["job_status", "1"],
    &["search", "/d", "t*t"],
    &["search", "-m", "/missing", "*"],
    &["search", "-i", "/d", "/text"],
    &["whoareyou", "HOST"],
    &["thirdput", "/d", "HOST", "/d3"],
    &["cat", "/d3/text"],
    &["thirdput", "/missing", "HOST", "/d4"],
    &["thirdput", "/d/text", "HOST", "/missing/x"],
    &["ls", "/"],
];

/// Every command of the interactive client that concerns files and access lists, in one go: what
/// it prints is what Debian's server makes it print.
#[test]
fn commands() {
    let answers = |make: Make| -> Vec<String> {
        let dir = TempDir::new();
        let export = dir.sub("export");
        std::fs::create_dir(export.join("d")).unwrap();
        std::fs::write(export.join("hello"), "hello\n").unwrap();
        std::fs::write(export.join("d/text"), "text\n").unwrap();
        std::fs::create_dir(export.join("closed")).unwrap();
        let server = Server::start(make, &export);
        std::fs::write(export.join("closed/.__acl"), "unix:somebody-else rwlda\n").unwrap();
        let answers = COMMANDS.iter().map(|step| {
            let run = client(&server, "chirp", &[&["HOST"], *step].concat());
            let text = run.out() + &run.err();
            let plain = plain(&text, &server);
            format!("{}\n{plain}-> {:?}", step.join(" "), run.end)
        });
        answers.collect()
    };
    let (expected, got) = (answers(Make::Debian), answers(Make::Ours));
    let wrong: Vec<_> = expected
        .iter()
        .zip(&got)
        .filter(|(expected, got)| expected != got)
        .map(|(expected, got)| format!("Debian's server: {expected}\nours: {got}\n"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without what differs from run to run: ports, times, paths of the test, sizes of directories.
fn plain(text: &str, server: &Server) -> String {
    let text = text
        .replace(&server.export().display().to_string(), "EXPORT")
        .replace(&format!(":{}", server.port()), ":PORT");
    text.lines()
        .filter(|line| !line.ends_with(".__uuid") && !line.contains("bytes transferred in"))
        .map(|line| {
            if line.starts_with(['d', '-', 'l']) && line.contains(':') && line.len() > 40 {
                // mode links uid gid size month day time name
                let words: Vec<_> = line.split_whitespace().collect();
                let (first, last) = (words.first().unwrap_or(&""), words.last().unwrap_or(&""));
                format!("{first} {last}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

/// Nothing escapes the exported root.
#[test]
fn nothing_escapes() {
    let (dir, server) = start();
    std::fs::write(dir.path().join("secret"), "secret\n").unwrap();
    let export = server.export().to_owned();
    std::os::unix::fs::symlink("../secret", export.join("up")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), export.join("absolute")).unwrap();
    std::os::unix::fs::symlink("..", export.join("dir")).unwrap();
    std::os::unix::fs::symlink("/", export.join("slash")).unwrap();
    for path in [
        "/../secret",
        "/d/../../secret",
        "/up",
        "/absolute",
        "/dir/secret",
        "/slash/etc/passwd",
        "/%2e%2e/secret",
    ] {
        let run = client(&server, "chirp_get", &["HOST", path, "-"]);
        assert!(
            !run.out().contains("secret") && !run.out().contains("root:"),
            "{path}: {}",
            run.describe()
        );
        assert!(run.end != parrot_tests::End::Code(0), "{path}: {}", run.describe());
    }
    let file = dir.path().join("f");
    std::fs::write(&file, "x\n").unwrap();
    for path in ["/dir/written", "/up", "/slash/tmp/parrot-escaped"] {
        let _ = client(&server, "chirp_put", &[file.to_str().unwrap(), "HOST", path]);
    }
    assert!(!dir.path().join("written").exists());
    assert_eq!(std::fs::read_to_string(dir.path().join("secret")).unwrap(), "secret\n");
    assert!(!std::path::Path::new("/tmp/parrot-escaped").exists());
}

/// What a list does not give is refused.
#[test]
fn access_lists() {
    let (_dir, server) = start();
    let export = server.export().to_owned();
    std::fs::create_dir(export.join("closed")).unwrap();
    std::fs::write(export.join("closed/f"), "hidden\n").unwrap();
    std::fs::write(export.join("closed/.__acl"), "unix:somebody-else rwlda\n").unwrap();
    let closed = client(&server, "chirp_get", &["HOST", "/closed/f", "-"]);
    assert!(
        closed.out().is_empty() && closed.end != parrot_tests::End::Code(0),
        "{}",
        closed.describe()
    );
    std::fs::write(export.join("d/.__acl"), "unix:* rl\nhostname:* rl\naddress:* rl\n").unwrap();
    assert_eq!(client(&server, "chirp_get", &["HOST", "/d/text", "-"]).code(0).out(), "text\n");
    for words in [["HOST", "rm", "/d/text"], ["HOST", "mkdir", "/d/x"]] {
        let run = client(&server, "chirp", &words);
        assert!(run.end != parrot_tests::End::Code(0), "{words:?}: {}", run.describe());
    }
    // The same through Parrot: permission denied, not a missing file and not an empty one.
    for technique in [Technique::Preload, Technique::Trace] {
        let session = Session::new(technique);
        let root = format!("/chirp/127.0.0.1:{}", server.port());
        let run = session.bash(&format!(
            "cat {root}/d/text; cat {root}/closed/f; echo x > {root}/d/text; echo x > {root}/d/new; rm {root}/d/text; mkdir {root}/d/x; ls {root}/closed; cat {root}/d/.__acl > /dev/null"
        ));
        assert_eq!(run.out(), "text\n", "{}", run.describe());
        assert_eq!(run.err().matches("Permission denied").count(), 6, "{}", run.describe());
        session.finish();
    }
}
