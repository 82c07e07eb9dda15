//! The tool as a user starts it. None of these tests looks at how long anything takes, but for the
//! one that makes an operation hundreds of times slower on purpose.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

const SLOW: &str = "PARROT_BENCH_SLOW";

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-bench"));
    command.arg("micro").args(["--batch-ms", "1"]);
    if !arguments.contains(&"--rounds") {
        command.args(["--rounds", "3"]);
    }
    command.args(arguments);
    command.args(["--served-mib", "1"]).arg("--dir").arg(dir());
    // No programs there.
    command.env("PARROT_BIN_DIR", env!("CARGO_TARGET_TMPDIR")).env_remove(SLOW);
    command
}

/// A directory for this test alone.
fn dir() -> PathBuf {
    let name = std::thread::current().name().unwrap_or("main").to_owned();
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn table(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn rows(path: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    record["rows"].as_array().unwrap().clone()
}

#[test]
fn a_deliberate_slow_down_is_seen() {
    let path = json("slow.json");
    let output = bench(&["--techniques", "control", "--suites", "local", "--only", "stat"])
        .arg("--json")
        .arg(&path)
        .env(SLOW, "control:stat:200000")
        .output()
        .unwrap();
    let table = table(&output);
    assert!(table.contains("MISSED"), "{table}");
    let rows = rows(&path);
    for placement in ["same", "free"] {
        let row = |operation: &str| {
            let wanted = |row: &&Value| {
                row["placement"] == placement
                    && row["operation"] == operation
                    && row["technique"] == "control"
            };
            rows.iter().find(wanted).unwrap()
        };
        assert_eq!(row("stat")["verdict"], "MISSED");
        // 200 µs on top of far less than one: a machine must be very busy to hide that.
        assert!(row("stat")["ratio"]["median"].as_f64().unwrap() > 5.0, "{table}");
        assert!(row("fstat")["ratio"]["median"].is_f64());
    }
}

#[test]
fn missing_programs_are_rows_that_say_so() {
    let output =
        bench(&["--suites", "local,served,uncached", "--placements", "free"]).output().unwrap();
    let table = table(&output);
    for story in
        ["libparrot.so is not built", "parrot-trace is not built", "parrot-chirpd is not built"]
    {
        assert!(table.contains(&format!("missing: {story}")), "{story} in\n{table}");
    }
    assert!(table.contains("goals: 0 met, 0 missed"), "{table}");
}

#[test]
fn every_operation_runs_and_the_sandbox_goes() {
    let path = json("control.json");
    let output = bench(&["--techniques", "control", "--suites", "local"])
        .arg("--json")
        .arg(&path)
        .output()
        .unwrap();
    table(&output);
    let rows = rows(&path);
    // Ten operations at two placements, the baseline and the control.
    assert_eq!(rows.len(), 40);
    for row in rows {
        assert_eq!(row["trouble"], Value::Null, "{row}");
        assert_eq!(row["rounds"].as_array().unwrap().len(), 3);
    }
    assert_eq!(std::fs::read_dir(dir()).unwrap().count(), 0, "the sandbox is left behind");
}

#[test]
fn wrong_words_are_refused() {
    let output = bench(&["--only", "no such operation"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no operation has a name"));
    assert_eq!(bench(&["--techniques", "magic"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn an_interrupted_run_cleans_up() {
    let arguments = ["--techniques", "control", "--suites", "local", "--rounds", "10000"];
    let mut command = bench(&arguments);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("round 1/") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0);
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let rest = std::io::read_to_string(said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
    assert_eq!(std::fs::read_dir(dir()).unwrap().count(), 0, "the sandbox is left behind");
}
