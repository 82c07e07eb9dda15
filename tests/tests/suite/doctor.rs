//! `parrot-trace --doctor`: what works here, and what will catch a program.

use parrot_tests::compile::{Link, guest};
use parrot_tests::server::free_port;
use parrot_tests::{Guest, PlaceKind, Run, Session, Technique, programs};

fn doctor(session: &Session, words: &[&str]) -> Run {
    let mut command = session.clean(&programs::program("parrot-trace"));
    session.run_command(command.args(words))
}

#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for word in words {
        assert!(run.out().contains(word), "{word}: {}", run.describe());
    }
}

/// Both techniques are tried, not only looked up; the trial leaves nothing behind.
#[test]
fn this_machine() {
    let session = Session::new(Technique::Native);
    let run = doctor(&session, &["--doctor"]);
    says(&run, &["ok    preload", "ok    trace", "session directory", "ptrace scope", "/dev/shm"]);
    assert!(std::fs::read_dir(session.directory()).unwrap().next().is_none());
    assert!(session.processes().is_empty());
    session.finish();
}

/// Where no program can trace, the doctor says so, and what is left to use.
#[test]
fn without_tracing() {
    let session = Session::new(Technique::Trace);
    let tracer = programs::program("parrot-trace").display().to_string();
    let run = session.run(&[tracer.as_str(), "--doctor", "cat"]).code(1);
    says(&run, &["limit trace", "another parrot-trace", "limit ptrace scope", "ok    preload"]);
    says(&run, &["use: LD_PRELOAD="]);
    session.finish();
}

/// Each kind of program: what catches it, and what to use.
#[test]
fn kinds_of_programs() {
    let session = Session::new(Technique::Native);
    let of = |link| guest("inline", link).display().to_string();
    let script = session.local().join("script");
    std::fs::write(&script, "#!/usr/bin/env busybox\n").unwrap();
    let broken = session.local().join("foreign");
    // A 32-bit ARM program, as far as its header tells.
    let mut head = *b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0";
    head[7] = 0;
    std::fs::write(&broken, head).unwrap();
    let sanitized = session.local().join("sanitized");
    let source = session.local().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let built = std::process::Command::new("gcc")
        .args(["-fsanitize=address", "-o"])
        .args([&sanitized, &source])
        .status()
        .unwrap();
    assert!(built.success());
    let sanitized = sanitized.display().to_string();
    let (script, broken) = (script.display().to_string(), broken.display().to_string());
    let (fixed, musl, own) = (of(Link::Static), of(Link::MuslDynamic), of(Link::Dynamic));
    for (program, code, words) in [
        ("cat", 0, ["is dynamic", "use: LD_PRELOAD="]),
        ("busybox", 1, ["limit static", "use: parrot-trace busybox"]),
        (fixed.as_str(), 1, ["limit static", "use: parrot-trace"]),
        (musl.as_str(), 1, ["limit musl", "use: parrot-trace"]),
        (sanitized.as_str(), 1, ["limit sanitizer", "use: parrot-trace"]),
        (own.as_str(), 1, ["limit instructions", "use: parrot-trace"]),
        (script.as_str(), 1, ["is a script of", "limit static"]),
        (broken.as_str(), 2, ["another architecture", "nothing that works here"]),
        ("no-such-program", 2, ["not found", "BAD"]),
    ] {
        let run = doctor(&session, &["--doctor", program]).code(code);
        says(&run, &words);
    }
    session.finish();
}

/// `--reach`: every remote mount is asked.
#[test]
fn mounts_are_reached() {
    let g = Guest::new(Technique::Native, PlaceKind::Ours);
    let good = format!("/mnt-good={}", g.root());
    let bad = format!("/mnt-bad=/chirp/127.0.0.1:{}/x", free_port());
    let run = doctor(&g.session, &["-T", "1", "-M", &good, "--doctor", "--reach"]).code(0);
    says(&run, &["ok    /mnt-good", "answers in"]);
    let run = doctor(&g.session, &["-T", "1", "-M", &good, "-M", &bad, "--doctor", "--reach"]);
    says(&run.clone().code(2), &["ok    /mnt-good", "BAD   /mnt-bad", "refused"]);
    g.finish();
}
