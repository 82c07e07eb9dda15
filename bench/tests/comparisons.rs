//! The comparisons of whole programs and of requests as a user starts them, on a machine where
//! nothing of this project is built: what is there is measured, what is not is a row that says so.
//! None of these tests looks at how long anything takes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn bench(name: &str, arguments: &[&str]) -> (Output, PathBuf) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let json = dir.join("out.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-bench"));
    command
        .args(arguments)
        .args(["--quick", "--rounds", "1", "--batch-ms", "1", "--dir"])
        .arg(&dir);
    command.arg("--json").arg(&json).env("PARROT_BIN_DIR", env!("CARGO_TARGET_TMPDIR"));
    (command.output().unwrap(), json)
}

fn rows(name: &str, arguments: &[&str]) -> (String, Vec<Value>) {
    let (output, json) = bench(name, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rows = record["rows"].as_array().unwrap().clone();
    (String::from_utf8(output.stdout).unwrap(), rows)
}

#[test]
fn a_developers_day_runs_natively_and_names_who_is_missing() {
    let (table, rows) =
        rows("andrew", &["andrew", "--files", "25", "--by", "preload, local|parrot_run"]);
    for phase in ["list", "scan", "copy", "make -j2", "make again", "delete"] {
        for pass in ["cold", "warm"] {
            let operation = format!("{phase}, {pass}");
            let native =
                |row: &&Value| row["technique"] == "native" && row["operation"] == operation;
            let row = rows.iter().find(native).unwrap();
            assert_eq!(row["trouble"], Value::Null, "{row}\n{table}");
        }
    }
    assert!(
        table.contains("missing: preload, local, list, cold: libparrot.so is not built"),
        "{table}"
    );
}

#[test]
fn requests_are_compared_with_an_echo_of_their_bytes() {
    let arguments = ["protocols", "--only", "open+close", "--placements", "free"];
    let (table, rows) = rows("protocols", &arguments);
    let echo = rows.iter().find(|row| row["technique"] == "echo").unwrap();
    assert!(echo["value"]["median"].as_f64().unwrap() > 0.0, "{table}");
    assert!(table.contains("missing: parrot-chirpd is not built"), "{table}");
}

#[test]
fn copies_and_sizes_are_compared() {
    let (table, rows) = rows("blocksize", &["blocksize", "--only", "4096 KiB", "--by", "preload"]);
    let native = |row: &&Value| row["technique"] == "native" && row["value"].is_object();
    assert_eq!(rows.iter().filter(native).count(), 2, "{table}");
    let (table, rows) = self::rows("scale", &["scale", "--by", "trace", "--only", "byte"]);
    assert!(rows.iter().filter(native).count() >= 6, "{table}");
    assert!(table.contains("is not built"), "{table}");
}

#[test]
fn a_run_that_became_worse_is_no_success() {
    let row = |median: f64| {
        let ratio = serde_json::json!({ "median": median, "lower": median, "upper": median });
        serde_json::json!({ "schema": 2, "rows": [{ "operation": "stat", "ratio": ratio, "unit": "ns",
            "baseline": "native" }] })
    };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (before, after) = (dir.join("before.json"), dir.join("after.json"));
    std::fs::write(&before, row(1.0).to_string()).unwrap();
    std::fs::write(&after, row(2.0).to_string()).unwrap();
    let compare = |one: &PathBuf, other: &PathBuf| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-bench"));
        command.arg("compare").arg(one).arg(other).output().unwrap()
    };
    let output = compare(&before, &after);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("WORSE"));
    assert!(compare(&after, &before).status.success());
}
