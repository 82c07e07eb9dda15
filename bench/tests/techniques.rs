//! `techniques` and `spawn` as a user starts them. No test looks at how long anything takes, but for
//! the one that makes an operation many times slower on purpose.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const SLOW: &str = "PARROT_BENCH_SLOW";

/// Runs a comparison in a directory of its own; its table, its page and its rows.
fn bench(name: &str, arguments: &[&str], slow: &str) -> (String, String, Vec<Value>) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let (json, html) = (dir.join("out.json"), dir.join("out.html"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-bench"));
    command.args(arguments).args(["--rounds", "2", "--batch-ms", "1", "--dir"]).arg(&dir);
    command.arg("--json").arg(&json).arg("--html").arg(&html).env(SLOW, slow);
    // No programs of this project there.
    command.env("PARROT_BIN_DIR", env!("CARGO_TARGET_TMPDIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rows = record["rows"].as_array().unwrap().clone();
    (String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(html).unwrap(), rows)
}

fn row<'a>(rows: &'a [Value], technique: &str, operation: &str) -> &'a Value {
    let wanted = |row: &&Value| row["technique"] == technique && row["operation"] == operation;
    rows.iter().find(wanted).unwrap()
}

#[test]
fn the_worker_in_c_shows_a_deliberate_slow_down() {
    let arguments = ["techniques", "--placements", "same", "--by", "control", "--only", "stat"];
    let (table, page, rows) = bench("slow", &arguments, "control:stat:300000");
    let ratio = |operation: &str| {
        row(&rows, "control: native again", operation)["ratio"]["median"].as_f64().unwrap()
    };
    assert!(ratio("stat") > 5.0 && ratio("stat") > 2.0 * ratio("fstat"), "{table}");
    assert!(page.contains("<svg") && page.contains("control: native again"));
}

#[test]
fn minimal_agents_catch_and_what_cannot_be_is_told() {
    let by = "preload|rewriting|dispatch|trap|notify|ptrace|static|FUSE|NFS|PARROT";
    let arguments = ["techniques", "--placements", "same", "--by", by];
    let (table, _, rows) = bench("agents", &arguments, "");
    // These need nothing but a compiler and an ordinary kernel.
    for technique in ["static", "static, --wrap", "preload, C", "rewriting at start"] {
        for operation in ["getpid", "open+close", "read by 1 MiB", "getdents 64", "fork+exec"] {
            let row = row(&rows, technique, operation);
            assert_eq!(row["trouble"], Value::Null, "{row}\n{table}");
        }
    }
    // These are told to be missing, or have a figure.
    for technique in ["ptrace, two stops", "ptrace + seccomp", "notify, continue", "FUSE, cached"] {
        let row = row(&rows, technique, "stat");
        assert!(row["value"].is_object() || row["trouble"].is_string(), "{row}\n{table}");
    }
    let killed = row(&rows, "seccomp trap", "fork+exec")["trouble"].as_str().unwrap().to_owned();
    assert!(killed.contains("is killed") || killed.contains("seccomp"), "{killed}");
    assert!(table.contains("missing: trace, PARROT, getpid: parrot-trace is not built"), "{table}");
    assert!(table.contains("missing: NFS, loopback, getpid: "), "{table}");
}

#[test]
fn starting_processes_is_compared() {
    let arguments = ["spawn", "--placements", "free", "--by", "preload, C|ptrace + seccomp"];
    let (table, _, rows) = bench("spawn", &arguments, "");
    for operation in ["fork+exec true", "posix_spawn true", "sh -c 'true; true'"] {
        assert!(row(&rows, "preload, C", operation)["ratio"].is_object(), "{table}");
    }
}
