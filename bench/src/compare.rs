//! `compare`: two runs, and what has changed between them: how a regression is noticed.
//!
//! What is compared is the ratio to the baseline, or the number itself where there is no ratio, so
//! that a machine that was busier one day is no news. A change counts when it is larger than asked
//! for *and* the middle halves of both runs' rounds do not touch.

#![expect(clippy::indexing_slicing, reason = "JSON gives null for what is not there")]

use crate::report::ratio;
use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What `compare` may be told.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The earlier run, as `--json` or `--save` wrote it
    before: PathBuf,

    /// The later run
    after: PathBuf,

    /// Changes smaller than this many percent are not told
    #[arg(long, default_value_t = 10.0)]
    percent: f64,
}

/// Median and quartiles of a row.
#[derive(Clone, Copy, Debug)]
struct Number {
    median: f64,
    lower: f64,
    upper: f64,
}

/// Compares.
///
/// # Errors
/// A file is no run; or something became worse, which must not look like success to a script.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let (text, worse) = compare(&before, &after, args.percent);
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the table")?;
    anyhow::ensure!(worse == 0, "{worse} rows became worse");
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is no run", path.display()))?;
    anyhow::ensure!(record["schema"] == 2, "{} is of another schema", path.display());
    Ok(record)
}

/// The table, and how many rows became worse.
fn compare(before: &Value, after: &Value, percent: f64) -> (String, usize) {
    let none = Vec::new();
    let rows =
        |record: &'_ Value| record["rows"].as_array().cloned().unwrap_or_else(|| none.clone());
    let (old, new) = (rows(before), rows(after));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{} → {}", told(before), told(after));
    if before["machine"]["cpu"] != after["machine"]["cpu"] {
        out.push_str("the machines differ: only ratios of the same kind of work mean anything\n");
    }
    let (mut same, mut worse, mut gone) = (0, 0, 0);
    for row in &new {
        let Some(was) = old.iter().find(|was| key(was) == key(row)) else { continue };
        match (number(was), number(row)) {
            (Some(was), Some(is)) => {
                let more = row["unit"] == "MB/s";
                match change(was, is, percent, more) {
                    Some(bad) => {
                        worse += usize::from(bad);
                        let word = if bad { "WORSE" } else { "better" };
                        let (was, is) = (ratio(was.median), ratio(is.median));
                        let _ =
                            writeln!(out, "{word:<7} {was:>8} → {is:<8} {}", key(row).join(" · "));
                    }
                    None => same += 1,
                }
            }
            (Some(_), None) => {
                gone += 1;
                let why = row["trouble"].as_str().unwrap_or("no figure");
                let _ = writeln!(out, "GONE    {}: {why}", key(row).join(" · "));
            }
            (None, _) => {}
        }
    }
    let _ = writeln!(out, "{same} rows as before, {worse} worse, {gone} without a figure now");
    (out, worse + gone)
}

fn told(record: &Value) -> String {
    let text = |name: &str| record[name].as_str().unwrap_or("unknown").to_owned();
    format!("{} ({})", text("commit"), text("date"))
}

/// What makes a row the same row.
fn key(row: &Value) -> Vec<&str> {
    let names = ["comparison", "suite", "placement", "operation", "technique"];
    names.iter().map(|name| row[*name].as_str().unwrap_or_default()).collect()
}

fn number(row: &Value) -> Option<Number> {
    let told = if row["ratio"].is_object() { &row["ratio"] } else { &row["value"] };
    // The baseline itself is the day's weather.
    if row["baseline"] == "" {
        return None;
    }
    let part = |name: &str| told[name].as_f64();
    Some(Number { median: part("median")?, lower: part("lower")?, upper: part("upper")? })
}

/// Whether it became worse, if it changed at all.
fn change(was: Number, is: Number, percent: f64, more_is_better: bool) -> Option<bool> {
    let apart = is.lower > was.upper || is.upper < was.lower;
    let much = (is.median / was.median - 1.0).abs() * 100.0 > percent;
    (apart && much).then_some((is.median > was.median) != more_is_better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run_of(median: f64, unit: &str) -> Value {
        json!({ "schema": 2, "commit": "c", "date": "d", "machine": { "cpu": "x" }, "rows": [{
            "comparison": "micro", "suite": "local", "placement": "same", "operation": "stat",
            "technique": "preload", "baseline": "native", "unit": unit, "trouble": "it is gone",
            "ratio": { "median": median, "lower": median * 0.98, "upper": median * 1.02 },
        }]})
    }

    #[test]
    fn a_regression_is_noticed_and_noise_is_not() {
        let (text, worse) = compare(&run_of(1.0, "ns"), &run_of(1.3, "ns"), 10.0);
        assert!(worse == 1 && text.contains("WORSE"), "{text}");
        assert!(text.contains("micro · local · same · stat · preload"), "{text}");
        let (text, worse) = compare(&run_of(1.3, "ns"), &run_of(1.0, "ns"), 10.0);
        assert!(worse == 0 && text.contains("better"), "{text}");
        let (text, worse) = compare(&run_of(1.0, "ns"), &run_of(1.05, "ns"), 10.0);
        assert!(worse == 0 && text.contains("1 rows as before"), "{text}");
        assert_eq!(compare(&run_of(1.0, "MB/s"), &run_of(0.7, "MB/s"), 10.0).1, 1);
    }

    #[test]
    fn a_figure_that_is_gone_is_noticed() {
        let mut after = run_of(1.0, "ns");
        after["rows"][0]["ratio"] = Value::Null;
        let (text, worse) = compare(&run_of(1.0, "ns"), &after, 10.0);
        assert!(worse == 1 && text.contains("GONE") && text.contains("it is gone"), "{text}");
    }
}
