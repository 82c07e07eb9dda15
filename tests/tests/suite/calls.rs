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

/// Runs a command line with `--holes`; what it says, and the list.
fn slips(g: &Guest, words: &[&str]) -> (Run, Vec<serde_json::Value>) {
    let file = g.session.local().join("slips");
    let mut command = g.session.clean(&programs::program("parrot-trace"));
    command.arg("--holes=json").arg("--holes-file").arg(&file);
    for rule in g.place.mounts() {
        command.args(["-M", rule]);
    }
    command.args(["-M", &format!("/etc/services={}/services", g.root())]);
    let run = g.session.run_command(command.arg("--").args(words));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}: {}", run.describe()));
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    (run, all["slipped"].as_array().unwrap().clone())
}

/// `--holes`: a call that gets past the library is told with its name, how often it was made, where
/// its instruction is and what it was about; and it is answered all the same.
#[test]
fn slips_are_told() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(&format!("{TREE}; echo 'parrot-test 4242/tcp' > $R/services"));
    let file = format!("{}/f", g.root());
    let program = guest("inline", Link::Dynamic).display().to_string();

    // What the library catches is no slip.
    let (run, list) = slips(&g, &["cat", &file]);
    assert_eq!((run.out().as_str(), list.len()), ("hello\n", 0), "{list:?} {}", run.describe());

    // An instruction in the program.
    let (run, list) = slips(&g, &[&program, "open", &file]);
    assert_eq!(run.out(), "hello\n", "{list:?} {}", run.describe());
    let [slip] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((&slip["call"], &slip["count"]), (&"open".into(), &1.into()), "{slip}");
    assert_eq!((&slip["library"], &slip["program"]), (&program.clone().into(), &program.into()));
    assert!(slip["symbol"].as_str().unwrap().starts_with("raw+"), "{slip}");
    assert_eq!((&slip["preloaded"], &slip["example"]), (&true.into(), &file.clone().into()));

    // libc's own open, in the middle of another function.
    let program = guest("inline", Link::Dynamic).display().to_string();
    let (run, list) = slips(&g, &[&program, "service", "parrot-test"]);
    assert_eq!(run.out(), "port 4242\n", "{list:?} {}", run.describe());
    let of_libc = |slip: &&serde_json::Value| {
        slip["library"].as_str().unwrap().contains("libc.so") && slip["example"] == "/etc/services"
    };
    let slip = list.iter().find(of_libc).unwrap_or_else(|| panic!("{list:?}"));
    assert!(slip["caller"]["symbol"].as_str().unwrap().starts_with("main+"), "{slip}");

    // A static child: nothing is preloaded into it.
    let script = format!("busybox cat {file}; cat {file}");
    let (run, list) = slips(&g, &["bash", "-c", &script]);
    assert_eq!(run.out(), "hello\nhello\n", "{list:?} {}", run.describe());
    assert!(!list.is_empty(), "{}", run.describe());
    for slip in &list {
        assert!(slip["program"].as_str().unwrap().ends_with("/busybox"), "{list:?}");
        assert_eq!(slip["preloaded"], false, "{list:?}");
    }
    g.finish();
}

/// What the usual tools do gets past the library nowhere, but for libc's own look at a stream's file.
#[test]
fn tools_do_not_slip() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    let script = format!("cd {} || exit 9\n{TOOLS}", g.root());
    let (run, list) = slips(&g, &["bash", "-c", &script]);
    assert_eq!(run.end, End::Code(0), "{}", run.describe());
    let harmless = |slip: &&serde_json::Value| {
        slip["call"] == "newfstatat" && slip["library"].as_str().unwrap().contains("/libc.so")
    };
    let wrong: Vec<_> = list.iter().filter(|slip| !harmless(slip)).collect();
    assert!(wrong.is_empty(), "{wrong:#?} {}", run.describe());
    g.finish();
}

const TOOLS: &str = r#"set -e
seq 1000 > n; sort -r n > m; wc n m; cp n k; mv m o; ln -s k l; readlink l; ls -la; find . -type f
grep -c 1 n k; sed -i s/1/x/ k; awk 'END{print NR}' k; tar cf t.tar n k; tar tf t.tar; gzip -c n > z; md5sum n
cmp n n; split -l 500 n s.; rm s.*; touch -d 2020-01-01 n; chmod 600 n; du -s .; df .; mkdir -p a/b; rsync -a a/ c/
dd if=n of=d bs=100 count=2 status=none; truncate -s 10 d; install n i; printf 'all:\n\tcp n made\n' > Makefile
make -s; printf 'int main(void){return 0;}' > p.c; gcc p.c -o p; ./p; realpath l; pwd; tail -1 n
python3 -c 'import os,shutil,sqlite3; shutil.copytree("a","e"); os.listdir(); c=sqlite3.connect("db"); c.execute("create table t(a)"); c.commit()'
perl -e 'open F,">pl"; print F "x"; close F; opendir D,"."; print readdir D; unlink "pl"'
git init -q g; cd g; echo a > f; git add f; git -c user.name=a -c user.email=b@c commit -qm x; git log --oneline; cd ..
rm -rf *"#;

/// The same for people, on stderr; the status is the program's own.
#[test]
fn slips_for_people() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let file = format!("{}/f", g.root());
    let program = guest("inline", Link::Dynamic).display().to_string();
    let mut command = g.session.clean(&programs::program("parrot-trace"));
    let words = ["--holes", "--", "sh", "-c", "\"$0\" open \"$1\"; exit 7", &program, &file];
    let run = g.session.run_command(command.args(words)).code(7);
    let err = run.err();
    assert!(err.contains("1 calls slipped past libparrot.so"), "{err}");
    assert!(err.contains("raw+") && err.contains(&file), "{err}");
    g.finish();
}
