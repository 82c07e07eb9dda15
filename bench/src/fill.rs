//! `fill`: puts the tables of saved runs into a document, so that what it says can be brought up to
//! date by one command.
//!
//! ```text
//! <!-- bench: COMPARISON | SUITE | PLACEMENT -->      the table of that block
//! <!-- bench: machine -->                             where and when
//! …whatever stood here is replaced…
//! <!-- end -->
//! ```
//!
//! Rows are contenders if there are more of them than of operations, else operations.

#![expect(clippy::indexing_slicing, reason = "JSON gives null for what is not there")]

use crate::engine::Unit;
use crate::report::{number, ratio};
use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

const START: &str = "<!-- bench: ";
const CLOSE: &str = " -->";
const END: &str = "<!-- end -->";

/// What `fill` may be told.
#[derive(Debug, Args)]
pub(crate) struct FillArgs {
    /// The document
    document: PathBuf,

    /// Runs, as `--json` or `--save` wrote them; of two that hold a table the later counts
    #[arg(required = true)]
    runs: Vec<PathBuf>,
}

/// Fills.
///
/// # Errors
/// A file cannot be read or written, is no run, or the document's marks do not match.
pub(crate) fn run(args: &FillArgs) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for path in args.runs.iter().rev() {
        let told = || format!("{} is no run", path.display());
        let text = std::fs::read(path).with_context(told)?;
        runs.push(serde_json::from_slice::<Value>(&text).with_context(told)?);
    }
    let told = || format!("cannot use {}", args.document.display());
    let text = std::fs::read_to_string(&args.document).with_context(told)?;
    let filled = fill(&text, &runs).with_context(told)?;
    std::fs::write(&args.document, filled).with_context(told)
}

/// The document with its tables replaced. A table that no run holds stays.
fn fill(text: &str, runs: &[Value]) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        let (mark, after) = after.split_once(CLOSE).context("a mark has no end")?;
        let (old, after) = after.split_once(END).with_context(|| format!("{mark}: no end"))?;
        out.push_str(before);
        let table = runs.iter().find_map(|run| table(run, mark));
        let body = table.map_or_else(|| old.to_owned(), |table| format!("\n\n{table}\n"));
        // Writing to a string cannot fail.
        let _ = write!(out, "{START}{mark}{CLOSE}{body}{END}");
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn table(run: &Value, mark: &str) -> Option<String> {
    if mark == "machine" {
        let (machine, text) = (&run["machine"], |value: &Value| value.as_str().map(str::to_owned));
        return Some(format!(
            "{} × {}, Linux {}, {}; files on {}; load before the run {}; commit {}, {}.\n",
            machine["cpus"],
            text(&machine["cpu"])?,
            text(&machine["kernel"])?,
            text(&machine["libc"])?,
            text(&machine["filesystem"])?,
            machine["load_before"],
            text(&run["commit"])?,
            text(&run["date"])?,
        ));
    }
    let wanted: Vec<&str> = mark.split(" | ").map(str::trim).collect();
    let names = ["comparison", "suite", "placement"];
    let mine = |row: &&Value| names.iter().zip(&wanted).all(|(name, word)| row[*name] == *word);
    let rows: Vec<&Value> = run["rows"].as_array()?.iter().filter(mine).collect();
    (!rows.is_empty()).then(|| markdown(&rows))
}

/// Words in the order in which they first stand there.
fn distinct<'a>(rows: &[&'a Value], name: &str) -> Vec<&'a str> {
    let mut words = Vec::new();
    for word in rows.iter().filter_map(|row| row[name].as_str()) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn markdown(rows: &[&Value]) -> String {
    let (operations, contenders) = (distinct(rows, "operation"), distinct(rows, "technique"));
    let turned = operations.len() >= contenders.len();
    let (down, across) =
        if turned { (&operations, &contenders) } else { (&contenders, &operations) };
    let mut out = format!("| | {} |\n|---|", across.join(" | "));
    out.push_str(&"---|".repeat(across.len()));
    for name in down {
        let _ = write!(out, "\n| {name} |");
        for other in across {
            let (operation, technique) = if turned { (name, other) } else { (other, name) };
            let is =
                |row: &&&Value| row["operation"] == **operation && row["technique"] == **technique;
            let _ = write!(out, " {} |", rows.iter().find(is).map_or("–".into(), |row| cell(row)));
        }
    }
    out.push('\n');
    for contender in contenders {
        let mine = rows.iter().filter(|row| row["technique"] == *contender);
        let gone: Vec<_> = mine.filter(|row| row["value"].is_null()).collect();
        if let Some(row) = gone.first() {
            let which = row["operation"].as_str().unwrap_or_default();
            let which = if gone.len() > 1 { format!("{which} …") } else { which.to_owned() };
            let why = row["trouble"].as_str().unwrap_or("no figure");
            let _ = write!(out, "\nNo figure: {contender}, {which}: {why}.\n");
        }
    }
    out
}

fn cell(row: &Value) -> String {
    let unit = row["unit"].as_str().and_then(Unit::from_word).unwrap_or(Unit::Number);
    let Some(value) = row["value"]["median"].as_f64() else { return "–".to_owned() };
    let mut text = number(value, unit);
    if let Some(r) = row["ratio"]["median"].as_f64() {
        let _ = write!(text, " ({})", ratio(r));
    }
    if row["verdict"] == "MISSED" { format!("**{text}**") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run_of(median: f64) -> Value {
        let row = |technique: &str, operation: &str, value: Value| {
            json!({ "comparison": "spawn", "suite": "spawn", "placement": "free", "unit": "ns",
                "technique": technique, "operation": operation, "trouble": "it is killed",
                "value": value, "ratio": null })
        };
        json!({ "rows": [
            row("native", "fork", json!({ "median": median })),
            row("trap", "fork", Value::Null),
        ]})
    }

    #[test]
    fn a_table_is_replaced_and_the_rest_stays() {
        let text = "a\n<!-- bench: spawn | spawn | free -->old<!-- end -->\nb\n";
        let once = fill(text, &[run_of(250.0)]).unwrap();
        assert!(once.starts_with("a\n") && once.ends_with("\nb\n"), "{once}");
        assert!(once.contains("| native | 250 ns |") && !once.contains("old"), "{once}");
        assert!(once.contains("No figure: trap, fork: it is killed."), "{once}");
        assert_eq!(fill(&once, &[run_of(250.0)]).unwrap(), once);
        assert!(fill(&once, &[run_of(300.0)]).unwrap().contains("300 ns"));
    }

    #[test]
    fn what_no_run_holds_stays_and_a_broken_mark_is_an_error() {
        let text = "<!-- bench: micro | x | same -->old<!-- end -->";
        assert_eq!(fill(text, &[run_of(1.0)]).unwrap(), text);
        assert!(fill("<!-- bench: x -->", &[]).is_err());
    }
}
