//! The results as JSON: every cell of every round, so that anything can be worked out again.

use crate::cli::MicroArgs;
use crate::machine::{self, Machine};
use crate::results::Line;
use crate::runner::Cell;
use crate::stats::Summary;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes when the meaning of a field changes.
const SCHEMA: u32 = 1;

/// The whole record of a run.
pub(crate) fn record(machine: &Machine, args: &MicroArgs, lines: &[Line]) -> Value {
    json!({
        "schema": SCHEMA,
        "comparison": "micro",
        "machine": {
            "cpu": machine.cpu, "cpus": machine.cpus, "kernel": machine.kernel,
            "memory_mib": machine.memory_mib, "filesystem": machine.filesystem,
            "load_before": machine.load,
        },
        "commit": machine.commit,
        "date": machine.date,
        "settings": {
            "rounds": args.rounds, "batch_ms": args.batch_ms,
            "complete_kib": args.complete_kib, "served_mib": args.served_mib,
        },
        "rows": lines.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(line: &Line) -> Value {
    json!({
        "suite": line.suite,
        "placement": line.placement,
        "operation": line.operation,
        "technique": line.technique,
        "baseline": line.baseline,
        "goal": line.goal,
        "verdict": line.verdict().word(),
        "trouble": line.trouble(),
        "ratio": line.ratio().map(spread),
        "ns": line.time().map(spread),
        "baseline_ns": line.base_time().map(spread),
        "rounds_ns": cells(&line.cells),
        "rounds_baseline_ns": cells(&line.base_cells),
    })
}

fn spread(summary: Summary) -> Value {
    json!({ "median": summary.median, "low": summary.low, "high": summary.high })
}

fn cells(cells: &[Cell]) -> Vec<Option<f64>> {
    cells.iter().map(|cell| cell.as_ref().ok().copied()).collect()
}

/// Where `--save` puts a run: `bench/runs` of the repository that the command runs in.
pub(crate) fn saved_name(machine: &Machine) -> PathBuf {
    let top = machine::git(&["rev-parse", "--show-toplevel"]).unwrap_or_default();
    let name = format!("{}-{}.json", machine.date, machine.word());
    Path::new(&top).join("bench/runs").join(name)
}

/// Writes a record.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, record: &Value) -> anyhow::Result<()> {
    let told = || format!("cannot write {}", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(told)?;
    }
    fs::write(path, format!("{record:#}\n")).with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::example;

    #[test]
    fn a_row_keeps_every_round() {
        let line = example(vec![Ok(110.0), Err("gone".to_owned())], vec![Ok(100.0), Ok(100.0)]);
        let row = row(&line);
        assert_eq!(row["rounds_ns"], json!([110.0, null]));
        assert_eq!(row["ratio"]["median"], json!(1.1));
        assert_eq!(row["verdict"], "met");
        assert_eq!(row["trouble"], "1 of 2 rounds: gone");
    }
}
