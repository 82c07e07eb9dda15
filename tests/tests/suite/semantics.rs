//! The promises of `docs/semantics.md`: each is a test, and its words are the test's.

use parrot_tests::server::Make;
use parrot_tests::{Guest, PlaceKind, Session, Technique, case, server::Server};

const BOTH: [Technique; 2] = [Technique::Preload, Technique::Trace];
const KINDS: [PlaceKind; 2] = [PlaceKind::Ours, PlaceKind::Debian];

/// Runs a body for both techniques on both servers.
fn everywhere(body: fn(&Guest, &str)) {
    for technique in BOTH {
        for kind in KINDS {
            let g = Guest::new(technique, kind);
            let backing = g.place.backing().display().to_string();
            eprintln!("{technique:?} {kind:?}");
            body(&g, &backing);
            g.finish();
        }
    }
}

/// A program that looks at the server's own directory: what is there, is on the server.
const BEHIND: &str = "behind() { env -u LD_PRELOAD cat \"$B/$1\" 2>&1; }; ";

fn with_behind(backing: &str, script: &str) -> String {
    format!("B={backing}; {BEHIND}{script}")
}

/// A new or truncated file exists on the server when `open` returns; its content is there when it
/// is closed.
#[test]
fn new_files() {
    everywhere(|g, backing| {
        g.setup("echo old > $R/f");
        let script = "exec 3> $R/new; test -e $B/new && echo exists; echo x >&3; exec 3>&-; behind new; exec 3> $R/f; echo [$(behind f)]; echo y >&3; exec 3>&-; behind f; echo z > $R/f; behind f";
        g.says(&with_behind(backing, script), "exists\nx\n[]\ny\nz\n");
    });
}

/// An existing file opened for writing is strict: each `write` reaches the server before it
/// returns.
#[test]
fn updates_are_strict() {
    everywhere(|g, backing| {
        g.setup("echo 0123456789 > $R/f");
        let script = "exec 3<> $R/f; printf A >&3; behind f; printf B >&3; behind f; exec 4>> $R/f; echo end >&4; behind f; exec 3>&- 4>&-";
        g.says(&with_behind(backing, script), "A123456789\nAB23456789\nAB23456789\nend\n");
    });
}

/// Every `close` sends, not only the last; `fsync` too.
#[test]
fn every_close_sends() {
    everywhere(|g, backing| {
        let script = r#"/usr/bin/python3 -c '
import os, subprocess
R, B = os.environ["R"], os.environ["B"]
def behind(): print(open(B + "/new", "rb").read())
f = os.open(R + "/new", os.O_WRONLY | os.O_CREAT, 0o600); g = os.dup(f)
os.write(f, b"one "); os.fsync(f); behind()
os.write(f, b"two "); os.close(f); behind()
os.write(g, b"three"); os.close(g); behind()
'"#;
        g.says(
            &format!("export B={backing}; {script}"),
            "b'one '\nb'one two '\nb'one two three'\n",
        );
    });
}

/// What a program that is killed had written is sent all the same.
#[test]
fn killed_writers() {
    everywhere(|g, _| {
        let run = g.run("bash -c 'exec 3> $R/new; echo written >&3; kill -KILL $$'; echo $?");
        assert_eq!(run.out(), "137\n", "{}", run.describe());
        g.session.finish();
        let text = std::fs::read_to_string(g.place.backing().join("new")).unwrap();
        assert_eq!(text, "written\n");
    });
}

/// What one guest of the session changes, the others see at once.
#[test]
fn one_session_sees_itself() {
    everywhere(|g, _| {
        g.setup("echo one > $R/f; mkdir $R/d");
        g.says(
            "cat $R/f; ls $R/d; stat -c %s $R/f; sh -c 'echo longer > $R/f; echo n > $R/d/n'; cat $R/f; ls $R/d; stat -c %s $R/f; sh -c 'rm $R/d/n; mv $R/f $R/g'; ls $R/d; test -e $R/f; echo $?; cat $R/g",
            "one\n4\nlonger\nn\n7\n1\nlonger\n",
        );
    });
}

/// Close-to-open between two sessions: what one closed, the other's next open sees, also when the
/// size is the same.
#[test]
fn close_to_open() {
    everywhere(|g, _| {
        g.setup("echo aaa > $R/f");
        let other = Session::new(Technique::Trace).env("R", g.root());
        for word in ["aaa", "bbb", "ccc", "ddd"] {
            let _ = other.bash(&format!("echo {word} > $R/f")).code(0);
            g.says("cat $R/f", &format!("{word}\n"));
        }
        other.finish();
    });
}

/// `cache=strict` asks at every read, `cache=session` once.
#[test]
fn freshness_by_mount() {
    for technique in BOTH {
        let dir = parrot_tests::dir::TempDir::new();
        let export = dir.sub("export");
        let server = Server::start(Make::Ours, &export);
        let session = Session::new(technique)
            .mount(&format!("/mnt-strict=/chirp/127.0.0.1:{}/,cache=strict", server.port()))
            .mount(&format!("/mnt-session=/chirp/127.0.0.1:{}/,cache=session", server.port()));
        let script = "B=$1; set -e; echo one > $B/f
exec 3< /mnt-strict/f; dd bs=4 count=1 status=none <&3
echo two >> $B/f; cat <&3; exec 3<&-; stat -c %s /mnt-strict/f; echo three >> $B/f; stat -c %s /mnt-strict/f
cat /mnt-session/f; ls /mnt-session; test ! -e /mnt-session/later
echo four >> $B/f; echo x > $B/later; cat /mnt-session/f; stat -c %s /mnt-session/f; test ! -e /mnt-session/later && echo remembered";
        let run = session.run(&["bash", "-c", script, "bash", export.to_str().unwrap()]).code(0);
        let three = "one\ntwo\nthree\n";
        assert_eq!(
            run.out(),
            format!("one\ntwo\n8\n14\n{three}f\n{three}14\nremembered\n"),
            "{}",
            run.describe()
        );
        session.finish();
    }
}

/// Owner and group appear as the caller's own; changing them to anything else is EPERM.
#[test]
fn owners() {
    everywhere(|g, _| {
        g.setup("echo x > $R/f");
        g.says(
            "test $(stat -c %u $R/f) = $(id -u) && test $(stat -c %g $R/f) = $(id -g) && echo mine; chown $(id -u):$(id -g) $R/f && echo fine; chown 12345 $R/f 2>&1 | sed 's/.*: //'",
            "mine\nfine\nOperation not permitted\n",
        );
    });
}

/// What there is not: pipes and devices, watches, other roots, rings.
#[test]
fn not_there() {
    everywhere(|g, _| {
        g.setup("mkdir $R/d; echo x > $R/f");
        g.says(
            "mkfifo $R/p 2>&1 | sed 's/.*: //'; test -e $R/p; echo $?",
            "Operation not permitted\n1\n",
        );
        let python = r#"/usr/bin/python3 -c '
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def show(value): print("ok" if value >= 0 else errno.errorcode[ctypes.get_errno()])
R = os.environ["R"].encode()
i = libc.inotify_init()
show(libc.inotify_add_watch(i, R + b"/f", 2))
show(libc.inotify_add_watch(i, R + b"/d", 2))
show(libc.inotify_add_watch(i, b"/tmp", 2))
show(libc.chroot(R))
'"#;
        let root = nix::unistd::getuid().is_root();
        if root {
            g.says(python, "ENOSPC\nENOSPC\nok\nEPERM\n");
        }
        let ring = r#"/usr/bin/python3 -c '
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
value = libc.syscall(425, 8, ctypes.create_string_buffer(256))
print("ok" if value >= 0 else errno.errorcode[ctypes.get_errno()])'"#;
        g.says(ring, "ENOSYS\n");
    });
}

/// Locks hold within the session; `locks=refuse` says that they hold nowhere.
#[test]
fn locks() {
    everywhere(|g, _| {
        g.setup(": > $R/lock");
        g.says(
            "exec 3< $R/lock; flock -n 3 && echo mine; flock -n $R/lock true || echo busy; exec 3<&-; flock -n $R/lock echo free",
            "mine\nbusy\nfree\n",
        );
        let python = r#"/usr/bin/python3 -c '
import fcntl, os
f = open(os.environ["R"] + "/lock", "r+"); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print("mine", flush=True)
if os.fork() == 0:
    g = open(os.environ["R"] + "/lock", "r+")
    try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB); print("both", flush=True)
    except OSError: print("busy", flush=True)
    os._exit(0)
os.wait()'"#;
        g.says(python, "mine\nbusy\n");
    });
    for technique in BOTH {
        let dir = parrot_tests::dir::TempDir::new();
        let export = dir.sub("export");
        std::fs::write(export.join("lock"), "").unwrap();
        let server = Server::start(Make::Ours, &export);
        let rule = format!("/mnt-a=/chirp/127.0.0.1:{}/,locks=refuse", server.port());
        let session = Session::new(technique).mount(&rule);
        let run = session.bash("flock -n /mnt-a/lock echo locked 2>&1 | sed 's/.*: //'");
        assert_eq!(run.out(), "No locks available\n", "{}", run.describe());
        session.finish();
    }
}

// Every write through Parrot is found behind it: `same` looks at the server's directory after the
// last process has ended, without asking the session to sync.
case!(on_the_server_at_the_end, |g| {
    g.steps(
        r#"seq 100000 > $R/a; exec 7> $R/b; echo left open >&7; (exec 8> $R/c; echo in a subshell >&8); /usr/bin/python3 -c 'import os; f = open(os.environ["R"] + "/d", "w"); f.write("at exit")'
/usr/bin/python3 -c 'import os; f = open(os.environ["R"] + "/e", "w"); f.write("_exit"); f.flush(); os._exit(0)'
/usr/bin/python3 -c 'import os; f = os.open(os.environ["R"] + "/f", os.O_WRONLY | os.O_CREAT, 0o600); os.write(f, b"exec"); os.set_inheritable(f, True); os.execv("/bin/true", ["true"])'
/usr/bin/python3 -c 'import os; f = os.open(os.environ["R"] + "/g", os.O_WRONLY | os.O_CREAT, 0o600); os.write(f, b"dup2"); os.dup2(0, f)'
"#,
    );
});
