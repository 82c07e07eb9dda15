//! How processes begin, become other programs, leave their parents and end; who else may trace.

use std::time::Duration;

use nix::sys::signal::Signal;
use parrot_tests::compile::{Link, guest};
use parrot_tests::{End, Guest, Place, PlaceKind, Session, Technique, case, programs};

const TREE: &str = "mkdir -p $R/d; echo hello > $R/f; echo x > $R/d/inner";

/// The steps of `guests/lives.c`, whose name is `$P`.
const LIVES: &str = r#"$P threads $R/f
$P clone $R/f
$P spawn $R/d $R/f $R/spawned; rm $R/spawned
for h in execve execv execvp execvpe execl execlp execle fexecve execveat syscall thread bare; do $P exec $h $R/f; done
$P filter $R/f
$P popen $R/f
mkfifo $L/ready; $P daemon $R/made $L/ready & cat $L/ready; wait; cat $R/made; rm $R/made
env -i $P read $R/f; env -i PATH=$PATH sh -c "exec $P read $R/f"
setsid -w $P read $R/f; (cd $R/d && $P read ../f); nohup $P read $R/f 2>/dev/null
"#;

fn lives(g: &Guest, link: Link) {
    g.setup(TREE);
    let program = guest("lives", link).display().to_string();
    g.steps(&LIVES.replace("$P", &program));
}

case!(beginnings, servers, |g| lives(g, Link::Dynamic));

case!(beginnings_fixed, fixed, |g| lives(g, Link::Static));

/// A static program in a preloaded shell, with all that it starts: the tracer takes over.
#[test]
fn beginnings_of_a_static_child() {
    let mut g = Guest::new(Technique::Preload, PlaceKind::Ours);
    g.set_deadline(60);
    lives(&g, Link::Static);
    g.finish();
}

// Children that borrow their parent's memory: what they do is not seen in it.
case!(borrowed, ours, |g| {
    g.setup(TREE);
    g.setup("echo local > $L/local; cp /bin/true $R/true");
    let program = guest("borrow", Link::Dynamic).display().to_string();
    let steps = r#"$P descriptor $R/f $L/local; $P descriptor $L/local $R/f; $P given $R/f
cd $L; $P directory $R/d; $P mask $R/masked; rm $R/masked $R/masked.child
$P held $R/f; $P often /bin/true; $P often $R/true; $P fails $R/f
"#;
    g.steps(&steps.replace("$P", &program));
});

// `#!` lines that name scripts that name scripts, with an argument each.
case!(chains, servers, |g| {
    g.setup(
        r#"mkdir $R/b; cp /bin/sh $R/b/sh
printf '#!/bin/sh -e\necho "one: $1 $2" | sed "s,$R,ROOT,g"; cat "$R/b/text"\n' > $R/b/one; echo text > $R/b/text
chmod 755 $R/b/*"#,
    );
    g.steps(
        r#"printf '#!%s/b/one two\n' $R > $R/b/two; printf '#!%s/b/two three\n' $R > $R/b/three; chmod 755 $R/b/two $R/b/three
$R/b/one; $R/b/two x; $R/b/three y
bash -c "exec $R/b/three z"; env -i R=$R $R/b/two bare
printf '#!%s/b/loop\n' $R > $R/b/loop; chmod 755 $R/b/loop; $R/b/loop 2>/dev/null; echo $?
rm $R/b/two $R/b/three $R/b/loop
"#,
    );
});

/// Stopped and continued, a program goes on where it was; ended while stopped, it ends.
///
/// A traced program is in the same state for a moment at each of its stops: only one that stays in it
/// counts.
fn job_control(technique: Technique) {
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup(TREE);
    let script = r#"state() { n=0; while [ $n -lt 5 ]; do
  if grep -qi "^State:[[:space:]]*$2" /proc/$1/status; then n=$((n + 1)); else n=0; fi; sleep 0.02; done; echo $2; }
mkfifo $L/go; sh -c 'read -r line < $L/go; cat $R/f; exit 4' & p=$!
kill -STOP $p; state $p T; kill -CONT $p; echo > $L/go; wait $p; echo $?
sleep 100 & p=$!; kill -STOP $p; state $p T; kill -KILL $p; wait $p 2>/dev/null; echo $?
set -m; sh -c 'kill -STOP $$; cat $R/f' & p=$!; state $p T; fg >/dev/null; echo $?"#;
    g.says(script, "T\nhello\n4\nT\n137\nT\nhello\n0\n");
    g.finish();
}

#[test]
fn job_control_preload() {
    job_control(Technique::Preload);
}

#[test]
fn job_control_trace() {
    job_control(Technique::Trace);
}

/// Killed at any moment, programs leave the session in order: others go on, nothing stays behind.
fn killed_at_any_moment(technique: Technique) {
    let g = Guest::new(technique, PlaceKind::Ours);
    g.setup(TREE);
    let script = r#"for i in $(seq 12); do
  sh -c 'while :; do cat $R/f; echo y > $R/d/w'$i'; ls -l $R/d; mv $R/d/w'$i' $R/d/v'$i'; rm $R/d/v'$i'; done' > /dev/null 2>&1 &
  p=$!; sleep 0.0$i; kill -KILL $p; wait $p 2>/dev/null
  [ $? = 137 ] || echo "ended otherwise"
  cat $R/f
done | sort | uniq -c | tr -s ' '; rm -f $R/d/w* $R/d/v*; ls $R/d"#;
    g.says(script, " 12 hello\ninner\n");
    g.finish();
}

#[test]
fn killed_at_any_moment_preload() {
    killed_at_any_moment(Technique::Preload);
}

#[test]
fn killed_at_any_moment_trace() {
    killed_at_any_moment(Technique::Trace);
}

/// The tracer itself is killed: its programs end, none runs on without it.
#[test]
fn a_killed_tracer_takes_its_programs_along() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let ready = g.session.local().join("ready");
    let _ = g.run("mkfifo $L/ready").code(0);
    let running = g.session.start(&["sh", "-c", "cat $R/f; echo > $L/ready; sleep 100"]);
    let _ = std::fs::read(&ready).unwrap();
    nix::sys::signal::kill(running.pid(), Signal::SIGKILL).unwrap();
    let run = running.finish(Duration::from_secs(20));
    assert_eq!((run.end, run.out().as_str()), (End::Signal(9), "hello\n"));
    g.finish();
}

// ── one inside the other ────────────────────────────────────────────────────────────────────────

/// parrot-trace started in a preload session traces its program by itself.
#[test]
fn trace_in_preload() {
    let g = Guest::new(Technique::Preload, PlaceKind::Ours);
    g.setup(TREE);
    let tracer = programs::program("parrot-trace").display().to_string();
    g.says(&format!("cat $R/f; {tracer} -- busybox cat $R/f; cat $R/f"), "hello\nhello\nhello\n");
    g.finish();
}

/// In a traced program the library does nothing.
#[test]
fn preload_in_trace() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let library = programs::program("libparrot.so").display().to_string();
    let script = format!("LD_PRELOAD={library} cat $R/f; LD_PRELOAD={library} sh -c 'cat $R/f'");
    g.says(&script, "hello\nhello\n");
    g.finish();
}

/// parrot-trace inside parrot-trace: the program runs in the outer one's namespace; mounts of its
/// own it cannot have, and says so.
#[test]
fn trace_in_trace() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let tracer = programs::program("parrot-trace").display().to_string();
    g.says(&format!("{tracer} -- cat $R/f; {tracer} sh -c 'exit 3'; echo $?"), "hello\n3\n");
    let run = g.run(&format!("{tracer} -M /x=$R -- cat /x/f")).code(125);
    assert!(run.err().contains("under another parrot-trace"), "{}", run.describe());
    g.finish();
}

/// strace and gdb work in a preload session, on programs that use remote files.
#[test]
fn debuggers_in_preload() {
    let g = Guest::new(Technique::Preload, PlaceKind::Ours);
    g.setup(TREE);
    g.says("strace -f -o $L/log cat $R/f; grep -c exited $L/log", "hello\n1\n");
    let run = g.run("gdb -q -batch -ex run -ex 'info inferiors' --args cat $R/f").code(0);
    assert!(run.out().contains("hello\n"), "{}", run.describe());
    assert!(run.out().contains("exited normally"), "{}", run.describe());
    g.finish();
}

/// Under trace they cannot, and the message says why and what to do instead.
#[test]
fn debuggers_in_trace() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup(TREE);
    let run = g.run("strace -o $L/log cat $R/f; echo $?");
    assert_ne!(run.out(), "hello\n0\n", "{}", run.describe());
    for word in ["/strace", "wants to trace", "LD_PRELOAD=libparrot.so"] {
        assert!(run.err().contains(word), "{word}: {}", run.describe());
    }
    g.finish();
}

/// A program of the shared musl, whose loader cannot load the library, is handed to the tracer too.
#[test]
fn musl_child_of_preloaded() {
    let g = Guest::new(Technique::Preload, PlaceKind::Ours);
    g.setup(TREE);
    let program = guest("inline", Link::MuslDynamic).display().to_string();
    g.says(&format!("{program} open $R/f; {program} open /dev/null; cat $R/f"), "hello\nhello\n");
    g.finish();
}

/// A set-user-id program runs without its privilege under trace, which says so.
#[test]
fn set_user_id_programs() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("only root can make a program of root's");
        return;
    }
    let session = Session::new(Technique::Trace);
    let run = session.bash(
        "umask 022; chmod 755 $L/.. $L; cp $(command -v id) $L/id; chmod 4755 $L/id
setpriv --reuid 65534 --clear-groups $L/id -u",
    );
    // Natively it would be 0.
    assert_eq!(run.clone().code(0).out(), "65534\n", "{}", run.describe());
    assert!(run.err().contains("without that privilege"), "{}", run.describe());
    session.finish();
}

/// Where another user has taken this user's place for sessions, they lie elsewhere.
#[test]
fn a_place_that_another_user_has_taken() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let place = Place::new(PlaceKind::Local);
    std::fs::write(place.backing().join("f"), "hello\n").unwrap();
    for technique in [Technique::Preload, Technique::Trace] {
        let session = Session::new(technique);
        let taken = session.directory().join("parrot.0");
        std::fs::create_dir(&taken).unwrap();
        std::os::unix::fs::chown(&taken, Some(65534), Some(65534)).unwrap();
        let run = session.run(&["cat", &format!("{}/f", place.root())]).code(0);
        assert_eq!(run.out(), "hello\n");
        assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 0);
        session.finish();
    }
}

/// A program that was root when the name of its session was made, and then is somebody else, does
/// not take root's place.
#[test]
fn a_program_that_gives_up_its_rights_takes_nobodys_place() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let place = Place::new(PlaceKind::Local);
    std::fs::write(place.backing().join("f"), "hello\n").unwrap();
    let session = Session::new(Technique::Preload);
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(session.directory(), all).unwrap();
    let program = "import os, sys\nos.readlink('/proc/self/exe')\nos.setuid(65534)\n\
                   try: open(sys.argv[1])\nexcept OSError as e: print(e.errno)";
    let run = session.run(&["python3", "-c", program, &format!("{}/f", place.root())]).code(0);
    assert_eq!(run.out(), format!("{}\n", nix::libc::EIO), "{}", run.describe());
    assert!(!session.directory().join("parrot.0").exists());
    session.finish();
}
