//! The table of calls: what few programs call, what nobody handles, and what the tracer says of it.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{End, Guest, PlaceKind, Run, Technique, programs};

/// What `guests/rows.c` must say of a directory on our server.
const ROWS: &str = "\
setxattrat: ok
getxattrat: ok
 five!
getxattrat empty: ok
 five!
listxattrat: ok
 user.five
removexattrat: ok
getxattrat gone: ENODATA
getxattrat short: EINVAL
RESOLVE_NO_XDEV: EXDEV
RESOLVE_NO_MAGICLINKS: ok
RESOLVE_NO_SYMLINKS: EXDEV
RESOLVE_BENEATH: EXDEV
RESOLVE_IN_ROOT: EXDEV
RESOLVE_CACHED: EAGAIN
mount: EPERM
bind mount: EPERM
umount2: EINVAL
open_tree: EPERM
open_tree_attr: EPERM
move_mount: EPERM
fspick: EPERM
mount_setattr: EPERM
swapon: EINVAL
name_to_handle_at: EOPNOTSUPP
file_getattr: EOPNOTSUPP
fanotify_mark: ENODEV
connect: ECONNREFUSED
bind: EPERM
tee: EBADF
vmsplice: EBADF
F_SETLEASE: EINVAL
F_NOTIFY: EINVAL
pidfd_getfd: ok
 6
close_range: ok
read closed: EBADF
stat .: ok
newfstatat empty: ok
 the same
faccessat2: ok
fchmodat2: ok
 640
";

const TREE: &str = "mkdir $R/d; echo hello > $R/f; ln -s f $R/link";

/// Each considered row, by both techniques: the answers of the table's summaries.
fn rows(technique: Technique) {
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup(TREE);
    let program = guest("rows", Link::Dynamic).display().to_string();
    let run = g.session.run(&[program.as_str(), g.root()]).code(0);
    assert_eq!(run.out(), ROWS, "{}", run.describe());
    g.finish();
}

#[test]
fn rows_preload() {
    rows(Technique::Preload);
}

#[test]
fn rows_trace() {
    rows(Technique::Trace);
}

/// A socket below a mapped directory has the mapped name, not the one that is hidden by the rule.
#[test]
fn sockets_below_a_mapping() {
    let g = Guest::new(Technique::Trace, PlaceKind::Mapped);
    let script = r#"/usr/bin/python3 -c '
import os, socket
name = os.environ["R"] + "/s"
a = socket.socket(socket.AF_UNIX); a.bind(name); a.listen()
b = socket.socket(socket.AF_UNIX); b.connect(name); b.send(b"through")
print(a.accept()[0].recv(9))'"#;
    g.says(script, "b'through'\n");
    assert!(g.place.backing().join("s").exists());
    g.finish();
}

fn inline(g: &Guest, policy: &str, words: &[&str]) -> Run {
    let program = guest("inline", Link::Dynamic).display().to_string();
    let mut command = g.session.clean(&programs::program("parrot-trace"));
    command.args(["--on-hole", policy, "--"]).arg(program).args(words);
    g.session.run_command(&mut command)
}

/// A call that no table knows is a hole when a name or a descriptor of ours is in it, and by policy
/// let through, refused or fatal; reported with number, program and name.
#[test]
fn newer_calls() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let file = format!("{}/f", g.root());
    for (call, shown) in [("newer", file.as_str()), ("newerfd", "descriptor")] {
        for (policy, done) in [("warn", "let through"), ("refuse", "refused")] {
            let run = inline(&g, policy, &[call, &file]).code(0);
            assert_eq!(run.out(), format!("{call}: ENOSYS\n"));
            for word in ["hole: ", "call 600", "inline-", shown, done] {
                assert!(run.err().contains(word), "{word}: {}", run.describe());
            }
        }
        let run = inline(&g, "kill", &[call, &file]);
        assert_eq!(run.end, End::Signal(9), "{}", run.describe());
        assert!(run.err().contains("program ended"), "{}", run.describe());
    }
    // With nothing of ours in it, it is the kernel's business.
    let run = inline(&g, "kill", &["newer", "/etc/passwd"]).code(0);
    assert_eq!((run.out().as_str(), run.err().as_str()), ("newer: ENOSYS\n", ""));
    g.finish();
}

/// Calls by the 32-bit entry, or with x32 numbers, are not made: nobody could read their names.
#[test]
fn other_architectures() {
    let g = Guest::new(Technique::Trace, PlaceKind::Plain);
    for call in ["int80", "x32"] {
        for policy in ["warn", "refuse"] {
            let run = inline(&g, policy, &[call]).code(0);
            assert_eq!(run.out(), format!("{call}: ENOSYS\n"), "{}", run.describe());
            assert!(run.err().contains("another architecture"), "{}", run.describe());
        }
        let run = inline(&g, "kill", &[call]);
        assert_eq!(run.end, End::Signal(9), "{}", run.describe());
    }
    g.finish();
}
