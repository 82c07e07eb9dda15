//! The results as JSON: every cell of every round, so that anything can be worked out again.

use crate::engine::Cell;
use crate::lab::Comparison;
use crate::machine::{self, Machine};
use crate::results::{Line, lines};
use crate::stats::Summary;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes when the meaning of a field changes.
const SCHEMA: u32 = 2;

/// The whole record of a run.
pub(crate) fn record(machine: &Machine, comparisons: &[Comparison]) -> Value {
    let rows = |comparison: &Comparison| {
        let lines = comparison.blocks.iter().flat_map(lines);
        lines.map(|line| row(comparison.name, &line)).collect::<Vec<_>>()
    };
    json!({
        "schema": SCHEMA,
        "machine": {
            "cpu": machine.cpu, "cpus": machine.cpus, "kernel": machine.kernel,
            "libc": machine.libc, "memory_mib": machine.memory_mib,
            "filesystem": machine.filesystem, "load_before": machine.load,
        },
        "commit": machine.commit,
        "date": machine.date,
        "comparisons": comparisons.iter().map(|one| json!({
            "name": one.name, "rounds": one.rounds, "notes": one.notes, "seconds": one.seconds,
        })).collect::<Vec<_>>(),
        "rows": comparisons.iter().flat_map(rows).collect::<Vec<_>>(),
    })
}

fn row(comparison: &str, line: &Line) -> Value {
    json!({
        "comparison": comparison,
        "suite": line.suite,
        "placement": line.placement,
        "operation": line.operation,
        "technique": line.technique,
        "baseline": line.baseline,
        "unit": line.unit.word(),
        "x": line.x,
        "goal": line.goal,
        "verdict": line.verdict().word(),
        "trouble": line.trouble(),
        "ratio": line.ratio().map(spread),
        "value": line.value().map(spread),
        "baseline_value": line.base_value().map(spread),
        "rounds": cells(&line.cells),
        "rounds_baseline": cells(&line.base_cells),
    })
}

fn spread(summary: Summary) -> Value {
    let Summary { median, lower, upper, low, high } = summary;
    json!({ "median": median, "lower": lower, "upper": upper, "low": low, "high": high })
}

fn cells(cells: &[Cell]) -> Vec<Option<f64>> {
    cells.iter().map(|cell| cell.as_ref().ok().copied()).collect()
}

/// Where `--save` puts a run: `bench/runs` of the repository that the command runs in.
pub(crate) fn saved_name(machine: &Machine, what: &str) -> PathBuf {
    let top = machine::git(&["rev-parse", "--show-toplevel"]).unwrap_or_default();
    let name = format!("{}-{}-{what}.json", machine.date, machine.word());
    Path::new(&top).join("bench/runs").join(name)
}

/// Writes a file, and its directory if need be.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let told = || format!("cannot write {}", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(told)?;
    }
    fs::write(path, text).with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::example;

    #[test]
    fn a_row_keeps_every_round() {
        let line = example(vec![Ok(110.0), Err("gone".to_owned())], vec![Ok(100.0), Ok(100.0)]);
        let row = row("micro", &line);
        assert_eq!(row["rounds"], json!([110.0, null]));
        assert_eq!(row["ratio"]["median"], json!(1.1));
        assert_eq!((&row["verdict"], &row["comparison"]), (&json!("met"), &json!("micro")));
        assert_eq!(row["trouble"], "1 of 2 rounds: gone");
    }
}
