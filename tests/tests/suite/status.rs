//! Exit status, signals and options of the programs.

use parrot_tests::{End, Run, Session, Technique, programs};

fn trace(words: &[&str]) -> Run {
    let session = Session::new(Technique::Native);
    let mut command = session.clean(&programs::program("parrot-trace"));
    let run = session.run_command(command.args(words));
    session.finish();
    run
}

#[test]
fn status_of_the_guest() {
    assert_eq!(trace(&["--", "true"]).end, End::Code(0));
    assert_eq!(trace(&["--", "sh", "-c", "exit 7"]).end, End::Code(7));
    assert_eq!(trace(&["sh", "-c", "exit 255"]).end, End::Code(255));
    assert_eq!(trace(&["--", "/nowhere/program"]).end, End::Code(127));
    assert_eq!(trace(&["--", "no-such-program-on-path"]).end, End::Code(127));
    assert_eq!(trace(&["--", "/etc/passwd"]).end, End::Code(126));
    assert_eq!(trace(&["--", "/etc"]).end, End::Code(126));
}

/// The guest's signal is the tracer's own: batch systems tell a signal from a status.
#[test]
fn signal_of_the_guest() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2), ("USR1", 10)] {
        let run = trace(&["--", "sh", "-c", &format!("kill -{name} $$")]);
        assert_eq!(run.end, End::Signal(number), "{}", run.describe());
    }
    let run = trace(&["--", "sh", "-c", "sh -c 'kill -TERM $$'; echo $?"]);
    assert_eq!(run.out(), "143\n", "{}", run.describe());
}

#[test]
fn own_errors_are_125() {
    for words in [&["--no-such-option", "true"][..], &["-M"], &[], &["-T", "soon", "true"]] {
        let run = trace(words).code(125);
        assert!(!run.err().trim().is_empty(), "{}", run.describe());
    }
}

/// Options end at the command; `--` is always accepted.
#[test]
fn options_end_at_the_command() {
    assert_eq!(trace(&["echo", "-M", "x", "--help"]).code(0).out(), "-M x --help\n");
    assert_eq!(trace(&["--", "echo", "--", "-h"]).code(0).out(), "-- -h\n");
}

#[test]
fn help_and_version() {
    for program in ["parrot-trace", "parrot-agent", "parrot-chirpd"] {
        for option in ["--help", "-h", "--version", "-V"] {
            let session = Session::new(Technique::Native);
            let mut command = session.clean(&programs::program(program));
            let run = session.run_command(command.arg(option)).code(0);
            assert!(
                !run.out().is_empty() && run.err().is_empty(),
                "{program} {option}: {}",
                run.describe()
            );
        }
    }
    let help = trace(&["--help"]).out();
    for word in ["-M", "-m", "-d", "-o", "-T", "-w", "/chirp/"] {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
}

/// Signals sent to the tracer reach the guest.
#[test]
fn signals_are_passed_on() {
    let session = Session::new(Technique::Trace);
    let fifo = session.local().join("told");
    let _ = session.bash(&format!("mkfifo {}", fifo.display())).code(0);
    let script = format!(
        "trap 'echo got it; exit 5' TERM; echo > {}; while :; do sleep 0.05; done",
        fifo.display()
    );
    let running = session.start(&["bash", "-c", &script]);
    let _ = std::fs::read(&fifo).unwrap();
    nix::sys::signal::kill(running.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
    let run = running.finish(std::time::Duration::from_secs(20)).code(5);
    assert_eq!(run.out(), "got it\n");
    session.finish();
}

/// What the guest leaves running in the background is still traced, and gone before the tracer is.
#[test]
fn background_children_are_waited_for() {
    let session = Session::new(Technique::Trace);
    let run = session.bash("(sleep 0.3; echo late > $L/late) & exit 3").code(3);
    assert!(run.out().is_empty());
    assert_eq!(std::fs::read_to_string(session.local().join("late")).unwrap(), "late\n");
    session.finish();
}

/// `-d` and `-o`: what happens is written to a file, never to the guest's output.
#[test]
fn debug_goes_to_its_file() {
    let session = Session::new(Technique::Native);
    let log = session.local().join("log");
    let mut command = session.clean(&programs::program("parrot-trace"));
    command.args(["-d", "all", "-o"]).arg(&log).args(["--", "cat", "/chirp/127.0.0.1:1/x"]);
    command.env("PARROT_TIMEOUT", "1");
    let run = session.run_command(&mut command).code(1);
    assert!(run.out().is_empty(), "{}", run.describe());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("/chirp/127.0.0.1:1/x"), "{text}");
    session.finish();
}

/// `PARROT_DEBUG_FLAGS` and `PARROT_DEBUG_FILE` for a preloaded program: what the library decided, of
/// every process, in the file; without flags no file; an unknown flag is an error.
#[test]
fn debug_of_preload() {
    let session = Session::new(Technique::Preload);
    std::fs::write(session.local().join("f"), "text\n").unwrap();
    let log = session.local().join("log");
    let name = format!("/local/-{}/f", session.local().display());
    let missing = format!("/local/-{}/none", session.local().display());
    let script = format!("exec 2>&1; cat {name}; cat {missing}; env -i cat {name}; sleep 0 3>&-");
    let trace = |flags: &str| {
        let mut command = session.command(&["bash", "-c", &script]);
        command.env("PARROT_DEBUG_FLAGS", flags).env("PARROT_DEBUG_FILE", &log);
        let run = session.run_command(&mut command).code(0);
        let said = format!("text\ncat: {missing}: No such file or directory\ntext\n");
        assert_eq!(run.out(), said, "{}", run.describe());
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        text
    };
    let text = trace("syscall,remote,process");
    let lines = |subsystem: &str, part: &str| {
        let found = text.lines().filter(|line| line.contains(subsystem) && line.contains(part));
        found.count()
    };
    // Opened three times, of which one fails.
    assert_eq!(lines(" syscall: ", &format!("(\"{name}\") = ")), 2, "{text}");
    assert_eq!(lines(" syscall: ", &format!("(\"{missing}\") fails: ENOENT")), 1, "{text}");
    assert_eq!(lines(" remote: ", &format!("Open {name} = 0")), 2, "{text}");
    assert_eq!(lines(" remote: ", &format!("Open {missing} fails: ENOENT")), 1, "{text}");
    assert_eq!(lines(" process: ", "starts "), 1, "{text}");
    assert!(lines(" process: ", "runs ") >= 3, "{text}");
    let only = trace("resolve");
    assert!(only.contains(" resolve: ") && !only.contains(" remote: "), "{only}");
    assert_eq!(trace(""), "");
    let mut command = session.command(&["true"]);
    let run = session.run_command(command.env("PARROT_DEBUG_FLAGS", "sycall")).code(125);
    assert!(run.err().starts_with("parrot: PARROT_DEBUG_FLAGS: no such flag: sycall"));
    session.finish();
}

/// `-w`: the guest starts there, a remote directory too.
#[test]
fn work_directory() {
    let run = trace(&["-w", "/usr/bin", "--", "pwd"]).code(0);
    assert_eq!(run.out(), "/usr/bin\n");
}
