//! The tables on the terminal, and words for people.

use crate::engine::{Layout, Measured, Unit};
use crate::lab::Comparison;
use crate::machine::Machine;
use crate::results::{Line, Verdict, lines};
use std::fmt::Write as _;
use std::io::Write as _;

/// A line on stderr: progress and complaints.
pub(crate) fn say(text: &str) {
    // Nobody to tell if that fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How the numbers are to be read.
pub(crate) const READING: &str = "medians; ratio to the baseline of the same round, its median and \
                                  quartiles (in a matrix: ± half of their distance, in percent)";

/// The whole report.
pub(crate) fn report(machine: &Machine, comparisons: &[Comparison]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}\n{READING}", machine.headline());
    for comparison in comparisons {
        let _ = writeln!(out, "\n== {}: {} rounds ==", comparison.name, comparison.rounds);
        for note in &comparison.notes {
            let _ = writeln!(out, "{note}");
        }
        for measured in &comparison.blocks {
            let _ = writeln!(out, "\n{} ({})", measured.title, measured.placement.meaning());
            match measured.layout {
                Layout::List => list(measured, &mut out),
                Layout::Matrix => matrix(measured, &mut out),
            }
        }
    }
    let all = comparisons.iter().flat_map(|one| one.blocks.iter().flat_map(lines));
    out.push_str(&total(&all.collect::<Vec<_>>()));
    out
}

fn list(measured: &Measured, out: &mut String) {
    let base = measured.contenders.first().map_or("", String::as_str);
    let width = longest(measured.contenders.iter().skip(1), 8);
    let wide = longest(measured.rows.iter().map(|row| &row.name), 20);
    let columns = format!(
        "{:<wide$} {:<width$} {:>10} {:>13} {:>8}  {:<14} {:>6}",
        "operation", "by", "median", base, "ratio", "quartiles", "goal"
    );
    let _ = writeln!(out, "{columns}\n{}", "─".repeat(columns.chars().count() + 8));
    let mut shown = None;
    for line in lines(measured).iter().filter(|line| !line.is_baseline()) {
        let first = shown.as_ref() != Some(&line.operation);
        shown = Some(line.operation.clone());
        out.push_str(&row(line, first, wide, width));
    }
}

/// The longest of some words, at least `least`.
fn longest<'a>(words: impl Iterator<Item = &'a String>, least: usize) -> usize {
    words.map(|word| word.chars().count()).max().unwrap_or(0).max(least)
}

fn row(line: &Line, first: bool, wide: usize, width: usize) -> String {
    let name = if first { line.operation.as_str() } else { "" };
    let goal = line.goal_text();
    let number = |summary: Option<crate::stats::Summary>| {
        summary.map_or("–".into(), |s| number(s.median, line.unit))
    };
    let mut out = format!("{name:<wide$} {:<width$} {:>10} ", line.technique, number(line.value()));
    let _ = write!(out, "{:>13} ", number(line.base_value()));
    let verdict = line.verdict();
    match line.ratio() {
        Some(r) => {
            let spread = format!("{}–{}", ratio(r.lower), ratio(r.upper));
            let _ =
                write!(out, "{:>8}  {spread:<14} {goal:>6}  {}", ratio(r.median), verdict.word());
        }
        None => {
            let _ = write!(out, "{:>8}  {:<14} {goal:>6}  {}", "–", "–", verdict.word());
        }
    }
    let mut out = out.trim_end().to_owned();
    if let Some(trouble) = line.trouble() {
        let _ = write!(out, ": {trouble}");
    }
    out.push('\n');
    out
}

fn matrix(measured: &Measured, out: &mut String) {
    let all = lines(measured);
    let wide = longest(measured.contenders.iter(), 9);
    let mut table = vec![vec![String::new(); measured.rows.len() + 1]];
    if let Some(head) = table.first_mut() {
        for (cell, row) in head.iter_mut().skip(1).zip(&measured.rows) {
            cell.clone_from(&row.name);
        }
    }
    let mut stories = Vec::new();
    for contender in &measured.contenders {
        let mine: Vec<&Line> = all.iter().filter(|line| line.technique == *contender).collect();
        let mut cells = vec![contender.clone()];
        cells.extend(mine.iter().map(|line| cell(line)));
        table.push(cells);
        let mut told: Vec<String> = Vec::new();
        for line in mine {
            let Some(story) = line.trouble() else { continue };
            if !told.contains(&story) {
                let whole = line.value().is_none();
                stories.push((contender.clone(), line.operation.clone(), story.clone(), whole));
                told.push(story);
            }
        }
    }
    for cells in &table {
        let mut text = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let column = table.iter().filter_map(|cells| cells.get(index));
            let width = if index == 0 { wide } else { longest(column, 4) };
            let _ = match index {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    for (contender, operation, story, whole) in stories {
        let word = if whole { "missing" } else { "trouble" };
        let _ = writeln!(out, "  {word}: {contender}, {operation}: {story}");
    }
}

/// A cell of a matrix: the number, the ratio, how much it wavers.
fn cell(line: &Line) -> String {
    let Some(value) = line.value() else { return "–".to_owned() };
    let text = number(value.median, line.unit);
    match line.ratio() {
        Some(r) => format!("{text} ({}) ±{:.0}", ratio(r.median), r.wavers()),
        None => format!("{text} ±{:.0}", value.wavers()),
    }
}

fn total(lines: &[Line]) -> String {
    let count = |verdict| lines.iter().filter(|line| line.verdict() == verdict).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    let missing = lines.iter().filter(|l| l.verdict() == Verdict::Missing && l.goal.is_some());
    format!("\ngoals: {met} met, {missed} missed, {} without a figure\n", missing.count())
}

/// A ratio with as many decimals as mean something.
pub(crate) fn ratio(ratio: f64) -> String {
    match ratio {
        r if r < 10.0 => {
            let text = format!("{r:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// A number with its unit.
pub(crate) fn number(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Time => time(number),
        Unit::Rate if number < 100.0 => format!("{number:.1} MB/s"),
        Unit::Rate => format!("{number:.0} MB/s"),
        Unit::Memory if number < 1e6 => format!("{:.1} KB", number / 1e3),
        Unit::Memory => format!("{:.1} MB", number / 1e6),
        Unit::Number => ratio(number),
        Unit::Factor => format!("× {}", ratio(number)),
    }
}

/// Nanoseconds in the unit that fits.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 10_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Contender, run, tests::block};
    use crate::results::tests::example;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [ratio(1.0), ratio(1.0512), ratio(21.34), ratio(1387.2)],
            ["1", "1.051", "21.3", "1387"]
        );
        assert_eq!(
            [time(83.24), time(1259.0), time(23_456.0), time(2.5e6), time(3e9)],
            ["83.2 ns", "1259 ns", "23.5 µs", "2.50 ms", "3.00 s"]
        );
        assert_eq!(number(6970.4, Unit::Rate), "6970 MB/s");
        assert_eq!(number(1.5e6, Unit::Memory), "1.5 MB");
        assert_eq!(number(1.25, Unit::Factor), "× 1.25");
    }

    #[test]
    fn a_missing_program_is_a_row_that_says_so() {
        let gone = || Err("libparrot.so is not built".to_owned());
        let lines =
            [example(vec![gone()], vec![Ok(100.0)]), example(vec![Ok(105.0)], vec![Ok(100.0)])];
        let text = lines.iter().map(|line| row(line, true, 28, 8)).collect::<String>();
        assert!(text.contains("missing: libparrot.so is not built"), "{text}");
        assert!(text.contains("1.05") && text.contains("≤ 1.1  met"), "{text}");
        assert_eq!(total(&lines), "\ngoals: 1 met, 0 missed, 1 without a figure\n");
    }

    #[test]
    fn a_matrix_has_a_line_for_everybody_and_every_reason() {
        let contenders = vec![
            Contender::new("native", || Ok(vec![Ok(100.0), Ok(1e6)])),
            Contender::new("slow", || Ok(vec![Ok(250.0), Err("no such call".to_owned())])),
            Contender::missing("gone", "not installed"),
        ];
        let measured = run(vec![block(contenders)], 2);
        let mut out = String::new();
        matrix(&measured[0], &mut out);
        assert!(out.contains("250 ns (2.5) ±0"), "{out}");
        assert!(out.contains("missing: slow, b: no such call"), "{out}");
        assert!(out.contains("missing: gone, a: not installed"), "{out}");
        assert_eq!(out.matches("not installed").count(), 1, "{out}");
    }
}
