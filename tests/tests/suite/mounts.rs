//! The namespace: every kind of rule, every way to give one, and how names are resolved across.

use parrot_tests::server::{Make, Server};
use parrot_tests::{Run, Session, Technique, dir::TempDir, programs};

const BOTH: [Technique; 2] = [Technique::Preload, Technique::Trace];

/// A server with a small tree, and its name as a target.
struct Store {
    server: Server,
    dir: TempDir,
}

impl Store {
    fn new() -> Self {
        let dir = TempDir::new();
        let export = dir.sub("export");
        for name in ["data", "data/sub", "database"] {
            std::fs::create_dir(export.join(name)).unwrap();
        }
        for name in ["data/f", "data/sub/g", "database/h"] {
            std::fs::write(export.join(name), format!("remote {name}\n")).unwrap();
        }
        Self { server: Server::start(Make::Ours, &export), dir }
    }

    fn target(&self) -> String {
        format!("/chirp/127.0.0.1:{}", self.server.port())
    }
}

/// Runs a script under rules, by both techniques; what it says (errors too) must be this.
#[track_caller]
fn says(rules: &[String], script: &str, expected: &str) {
    for technique in BOTH {
        let mut session = Session::new(technique);
        for rule in rules {
            session = session.mount(rule);
        }
        let run = session.bash(&format!("exec 2>&1\n{script}"));
        assert!(run.out() == expected, "{technique:?}: expected {expected:?}: {}", run.describe());
        session.finish();
    }
}

#[test]
fn remote_target() {
    let store = Store::new();
    let target = store.target();
    let url = format!("chirp://127.0.0.1:{}/data", store.server.port());
    for target in [format!("{target}/data"), format!("{target}/data/"), url] {
        says(
            &[format!("/mnt-a={target}")],
            "cat /mnt-a/f /mnt-a/sub/g; ls /mnt-a; cd /mnt-a/sub && pwd && cat ../f; echo x > /mnt-a/n; cat /mnt-a/n; rm /mnt-a/n",
            "remote data/f\nremote data/sub/g\nf\nsub\n/mnt-a/sub\nremote data/f\nx\n",
        );
    }
}

#[test]
fn local_target() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.sub("there").join("sub")).unwrap();
    std::fs::write(dir.path().join("there/f"), "mapped\n").unwrap();
    says(
        &[format!("/mnt-a={}/there", dir.path().display())],
        "cat /mnt-a/f; ls /mnt-a; cd /mnt-a && pwd && cat f && /bin/pwd; cat sub/../f; echo x > n; cat /mnt-a/n; rm n; cat /mnt-a/missing",
        "mapped\nf\nsub\n/mnt-a\nmapped\n/mnt-a\nmapped\nx\ncat: /mnt-a/missing: No such file or directory\n",
    );
}

#[test]
fn deny_and_enoent() {
    let dir = TempDir::new();
    std::fs::write(dir.path().join("f"), "here\n").unwrap();
    let path = dir.path().display().to_string();
    says(
        &[format!("{path}/f=DENY")],
        &format!(
            "cat {path}/f; echo x > {path}/f; ls {path}; cd {path} && cat ./f; chmod 600 {path}/f; rm {path}/f; test -e /mnt-x"
        ),
        &format!(
            "cat: {path}/f: Permission denied\nbash: line 2: {path}/f: Permission denied\nf\ncat: ./f: Permission denied\nchmod: cannot access '{path}/f': Permission denied\nrm: cannot remove '{path}/f': Permission denied\n"
        ),
    );
    says(
        &[format!("{path}/f=ENOENT")],
        &format!("cat {path}/f; cat {path}/f/below; test -e {path}/f; echo $?; cd {path} && cat f"),
        &format!(
            "cat: {path}/f: No such file or directory\ncat: {path}/f/below: No such file or directory\n1\ncat: f: No such file or directory\n"
        ),
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "here\n");
}

/// What lies above a mount and does not exist here is a directory that only shows the mounts.
#[test]
fn above_a_mount() {
    let store = Store::new();
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("there")).unwrap();
    std::fs::write(dir.path().join("there/f"), "mapped\n").unwrap();
    says(
        &[
            format!("/mnt-a/b/far={}/data", store.target()),
            format!("/mnt-a/b/near={}/there,ro", dir.path().display()),
            "/mnt-a/hidden/x=ENOENT".to_owned(),
        ],
        "ls /mnt-a /mnt-a/b; stat -c %F /mnt-a/b/; realpath /mnt-a/b/../b/near/f; cd /mnt-a && pwd && ls && cd b && cat far/f near/f ../b/near/f ./far/../near/f; \
         cd near && /bin/pwd && ls ..; cat /mnt-a/b/none /mnt-a/none; ls -d /mnt-ab; mkdir /mnt-a; rmdir /mnt-a; echo x > /mnt-a/n; echo x > /mnt-a/b/near/n; cd /mnt-a/b; echo x > n",
        "/mnt-a:\nb\n\n/mnt-a/b:\nfar\nnear\ndirectory\n/mnt-a/b/near/f\n/mnt-a\nb\nremote data/f\nmapped\nmapped\nmapped\n\
         /mnt-a/b/near\nfar\nnear\ncat: /mnt-a/b/none: No such file or directory\ncat: /mnt-a/none: No such file or directory\n\
         ls: cannot access '/mnt-ab': No such file or directory\nmkdir: cannot create directory '/mnt-a': File exists\n\
         rmdir: failed to remove '/mnt-a': Read-only file system\nbash: line 2: /mnt-a/n: No such file or directory\n\
         bash: line 2: /mnt-a/b/near/n: Read-only file system\nbash: line 2: n: No such file or directory\n",
    );
}

/// The same inside a remote mount.
#[test]
fn above_a_mount_inside_another() {
    let store = Store::new();
    let target = store.target();
    says(
        &[format!("/mnt-a={target}/data"), format!("/mnt-a/new/deep={target}/database")],
        "ls /mnt-a /mnt-a/new; cd /mnt-a && cat new/deep/h; cd new/deep && cat h ../../f && cd .. && pwd && cat deep/h; mkdir -p /mnt-a/new/deep/d && rmdir /mnt-a/new/deep/d; mkdir /mnt-a/new",
        "/mnt-a:\nf\nsub\n\n/mnt-a/new:\ndeep\nremote database/h\nremote database/h\nremote data/f\n/mnt-a/new\nremote database/h\nmkdir: cannot create directory '/mnt-a/new': File exists\n",
    );
}

/// Where a directory above a mount exists here, its listing shows the mount beside its own names, each
/// once; hidden names are not shown, nor the built-in ones.
#[test]
fn listed_where_they_lie() {
    let store = Store::new();
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.path().join("here/own")).unwrap();
    let here = dir.path().join("here").display().to_string();
    says(
        &[
            format!("{here}/far={}/data", store.target()),
            format!("{here}/own={}/database", store.target()),
            format!("{here}/none=ENOENT"),
            format!("/mnt-a/b/far={}/data", store.target()),
        ],
        &format!(
            "ls {here}; ls {here}/far; cd {here} && echo * && ls -a | wc -l && find . | sort && cat far/f; find /mnt-a | sort; \
             busybox ls {here}; ls / | grep -cE '^(mnt-a|chirp)$'; \
             /usr/bin/python3 -c 'import os; d = os.open(\".\", 0); print(sorted(os.listdir(d)), sorted(os.listdir(d)), sorted(os.listdir(\"{here}\")))'"
        ),
        "far\nown\nf\nsub\nfar own\n4\n.\n./far\n./far/f\n./far/sub\n./far/sub/g\n./own\n./own/h\nremote data/f\n\
         /mnt-a\n/mnt-a/b\n/mnt-a/b/far\n/mnt-a/b/far/f\n/mnt-a/b/far/sub\n/mnt-a/b/far/sub/g\n\
         far\nown\n1\n['far', 'own'] ['far', 'own'] ['far', 'own']\n",
    );
}

/// `LOCAL` below a wider mount, and letters that take rights away.
#[test]
fn local_word_and_rights() {
    let store = Store::new();
    let dir = TempDir::new();
    std::fs::write(dir.path().join("f"), "mine\n").unwrap();
    let path = dir.path().display().to_string();
    says(
        &[format!("/tmp={}/data", store.target()), format!("{path}=LOCAL")],
        &format!("cat /tmp/f; cat {path}/f"),
        "remote data/f\nmine\n",
    );
    let target = store.target();
    says(
        &[format!("/mnt-a={target}/data,ro")],
        "cat /mnt-a/f; echo x > /mnt-a/f; rm /mnt-a/f; mkdir /mnt-a/d; touch /mnt-a/n; mv /mnt-a/f /mnt-a/g; chmod 600 /mnt-a/f; test -w /mnt-a/f; echo $?",
        "remote data/f\nbash: line 2: /mnt-a/f: Read-only file system\nrm: cannot remove '/mnt-a/f': Read-only file system\nmkdir: cannot create directory '/mnt-a/d': Read-only file system\ntouch: cannot touch '/mnt-a/n': Read-only file system\nmv: cannot move '/mnt-a/f' to '/mnt-a/g': Read-only file system\nchmod: changing permissions of '/mnt-a/f': Read-only file system\n1\n",
    );
    says(
        &[format!("/mnt-a={target}/data,r")],
        "cat /mnt-a/f; echo x > /mnt-a/f; rm -f /mnt-a/f; mkdir /mnt-a/d",
        "remote data/f\nbash: line 2: /mnt-a/f: Permission denied\nrm: cannot remove '/mnt-a/f': Permission denied\nmkdir: cannot create directory '/mnt-a/d': Permission denied\n",
    );
}

/// The longest prefix wins at component borders; of equal ones the last.
#[test]
fn which_rule_wins() {
    let store = Store::new();
    let target = store.target();
    let rules = [
        format!("/mnt-a/sub={target}/database"),
        format!("/mnt-a={target}/database"),
        format!("/mnt-a={target}/data"),
    ];
    says(
        &rules,
        "cat /mnt-a/f /mnt-a/sub/h; cat /mnt-ab/f; cat /mnt-a//sub/./h; cat /mnt-a/sub/../f; cd /mnt-a/sub && cat h ../f && pwd && cd .. && pwd && ls sub",
        "remote data/f\nremote database/h\ncat: /mnt-ab/f: No such file or directory\nremote database/h\nremote data/f\nremote database/h\nremote data/f\n/mnt-a/sub\n/mnt-a\nh\n",
    );
}

/// A file with comments, blanks as `\040`, and both variables.
#[test]
fn where_rules_come_from() {
    let store = Store::new();
    let target = store.target();
    std::fs::create_dir(store.server.export().join("a b")).unwrap();
    std::fs::write(store.server.export().join("a b/c d"), "blanks\n").unwrap();
    parrot_tests::server::seal(store.server.export());
    let list = store.dir.path().join("list");
    let text = format!(
        "# rules\n\n/mnt-a  {target}/data\tro # read only\n/mnt\\040b {target}/a\\040b cache=session,ttl=5\n/mnt-c {}/export/database\n",
        store.dir.path().display()
    );
    std::fs::write(&list, text).unwrap();
    let script = "cat /mnt-a/f '/mnt b/c d' /mnt-c/h";
    let expected = "remote data/f\nblanks\nremote database/h\n";
    let check = |session: &Session, command: &mut std::process::Command| {
        let run = session.run_command(command).code(0);
        assert_eq!(run.out(), expected, "{}", run.describe());
        session.finish();
    };
    for technique in BOTH {
        let session = Session::new(technique);
        let mut command = session.command(&["bash", "-c", script]);
        check(&session, command.env("PARROT_MOUNT_FILE", &list));
    }
    let session = Session::new(Technique::Native);
    let mut command = session.clean(&programs::program("parrot-trace"));
    check(&session, command.arg("-m").arg(&list).args(["--", "bash", "-c", script]));
    for technique in BOTH {
        let session = Session::new(technique);
        let mut command = session.command(&["cat", "/mnt-a/f", "/mnt-d/h"]);
        command
            .env("PARROT_MOUNT_STRING", format!("/mnt-a={target}/data /mnt-d={target}/database"));
        let run: Run = session.run_command(&mut command).code(0);
        assert_eq!(run.out(), "remote data/f\nremote database/h\n");
        session.finish();
    }
}

/// Symbolic links cross mounts; loops end; names are bytes.
#[test]
fn links_across_mounts() {
    let store = Store::new();
    let export = store.server.export();
    let local = TempDir::new();
    std::fs::write(local.path().join("l"), "a local file\n").unwrap();
    let link =
        |target: &str, name: &str| std::os::unix::fs::symlink(target, export.join(name)).unwrap();
    link("/mnt-b/h", "data/to-b");
    link(local.path().join("l").to_str().unwrap(), "data/to-local");
    link("/mnt-a/loop2", "data/loop1");
    link("/mnt-a/loop1", "data/loop2");
    link("../../../../../../etc/hostname", "data/up");
    let mut name = std::ffi::OsString::from("data/odd-");
    name.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xe9"));
    std::fs::write(export.join(&name), "bytes\n").unwrap();
    std::os::unix::fs::symlink("/mnt-a", local.path().join("in")).unwrap();
    let target = store.target();
    let here = local.path().display();
    says(
        &[format!("/mnt-a={target}/data"), format!("/mnt-b={target}/database")],
        &format!(
            "cat /mnt-a/to-b /mnt-a/to-local; cat /mnt-a/loop1; cat /mnt-a/odd-*; cat /mnt-a/up > /dev/null && echo up; cat {here}/in/f; cd {here}/in/sub && pwd -P && cat g; cat {here}/../../mnt-a/f; readlink -f {here}/in/to-b; ls {here}/in/ | wc -l"
        ),
        "remote database/h\na local file\ncat: /mnt-a/loop1: Too many levels of symbolic links\nbytes\nup\nremote data/f\n/mnt-a/sub\nremote data/sub/g\nremote data/f\n/mnt-b/h\n8\n",
    );
}

/// Between two places: renames and links do not cross, so tools copy.
#[test]
fn between_places() {
    let store = Store::new();
    let target = store.target();
    says(
        &[format!("/mnt-a={target}/data"), "/mnt-b=/local/-/tmp".to_owned()],
        "cd $L; mv /mnt-a/f $L/f && cat $L/f && mv $L/f /mnt-a/f && cat /mnt-a/f; ln /mnt-a/f $L/hard 2>&1 | sed 's/.*: //'; /usr/bin/python3 -c 'import os
try: os.rename(\"/mnt-a/f\", os.environ[\"L\"] + \"/f\")
except OSError as e: print(e.strerror)'",
        "remote data/f\nremote data/f\nInvalid cross-device link\nInvalid cross-device link\n",
    );
}

/// A mount over a local directory that exists hides it.
#[test]
fn mount_over_an_existing_directory() {
    let store = Store::new();
    let dir = TempDir::new();
    std::fs::write(dir.sub("over").join("hidden"), "hidden\n").unwrap();
    let path = dir.path().display();
    says(
        &[format!("{path}/over={}/data", store.target())],
        &format!(
            "cat {path}/over/f; cat {path}/over/hidden; cd {path} && ls over && cat over/f && cat over/../over/sub/g; find {path} -name g"
        ),
        &format!(
            "remote data/f\ncat: {path}/over/hidden: No such file or directory\nf\nsub\nremote data/f\nremote data/sub/g\n{path}/over/sub/g\n"
        ),
    );
}

/// `PARROT_TIMEOUT` belongs to the rules: another one is another session with another deadline, also
/// for a program that a running one starts; what is no number ends the program at once.
#[test]
fn timeouts_of_their_own() {
    let session = Session::new(Technique::Preload);
    let ask = "cat /chirp/127.0.0.1:1/x";
    let script = format!("{ask}; {ask}; PARROT_TIMEOUT=2 {ask}; env -i {ask}");
    let mut command = session.command(&["bash", "-c", &script]);
    let run = session.run_command(command.env("PARROT_TIMEOUT", "1")).code(1);
    assert_eq!(run.err().matches(": Connection refused\n").count(), 4, "{}", run.describe());
    let mut deadlines: Vec<_> = session
        .agents()
        .iter()
        .map(|dir| {
            let bytes = std::fs::read(dir.join("rules")).unwrap();
            let table = parrot_common::mountlist::Table::from_bytes(&bytes).unwrap();
            table.lookup(b"/chirp/h/x").unwrap().rule.deadline_ms
        })
        .collect();
    deadlines.sort_unstable();
    assert_eq!(deadlines, [Some(1000), Some(2000)]);
    let mut command = session.command(&["true"]);
    let run = session.run_command(command.env("PARROT_TIMEOUT", "soon")).code(125);
    assert_eq!(run.err(), "parrot: PARROT_TIMEOUT takes seconds, not soon\n");
    session.finish();
}
