//! The table on the terminal, and words for people.

use crate::machine::Machine;
use crate::results::{Line, Verdict};
use std::fmt::Write as _;
use std::io::Write as _;

/// A line on stderr: progress and complaints.
pub(crate) fn say(text: &str) {
    // Nobody to tell if that fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The whole report.
pub(crate) fn report(machine: &Machine, lines: &[Line], rounds: u32) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", machine.headline());
    let _ = writeln!(
        out,
        "{rounds} rounds; median time, median ratio to the baseline of the same round, least–most"
    );
    let mut before = ("", "");
    let mut shown = None;
    for line in lines {
        if before != (line.suite, line.placement) {
            before = (line.suite, line.placement);
            shown = None;
            out.push_str(&heading(line));
        }
        let first = shown != Some(line.operation);
        shown = Some(line.operation);
        out.push_str(&row(line, first));
    }
    out.push_str(&total(lines));
    out
}

fn heading(line: &Line) -> String {
    let placement = match line.placement {
        "pinned" => "pinned: all on one CPU",
        other => other,
    };
    let columns = format!(
        "{:<26} {:<8} {:>10} {:>10} {:>8}  {:<14} {:>6}",
        "operation", "by", "time", line.baseline, "ratio", "spread", "goal"
    );
    format!("\n{} ({placement})\n{columns}\n{}\n", line.suite, "─".repeat(columns.len() + 8))
}

fn row(line: &Line, first: bool) -> String {
    let name = if first { line.operation } else { "" };
    let goal = line.goal.map_or(String::new(), |goal| format!("≤ {goal}"));
    let time =
        |summary: Option<crate::stats::Summary>| summary.map_or("–".into(), |s| time(s.median));
    let mut out = format!("{name:<26} {:<8} {:>10} ", line.technique, time(line.time()));
    let _ = write!(out, "{:>10} ", time(line.base_time()));
    let verdict = line.verdict();
    match line.ratio() {
        Some(r) => {
            let spread = format!("{}–{}", ratio(r.low), ratio(r.high));
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

fn total(lines: &[Line]) -> String {
    let count = |verdict| lines.iter().filter(|line| line.verdict() == verdict).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    let missing = lines.iter().filter(|l| l.verdict() == Verdict::Missing && l.goal.is_some());
    format!("\ngoals: {met} met, {missed} missed, {} without a figure\n", missing.count())
}

/// A ratio with as many decimals as mean something.
fn ratio(ratio: f64) -> String {
    match ratio {
        r if r < 10.0 => format!("{r:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// Nanoseconds in the unit that fits.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 10_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::example;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [ratio(1.0), ratio(1.0512), ratio(21.34), ratio(1387.2)],
            ["1", "1.051", "21.3", "1387"]
        );
        assert_eq!(
            [time(83.24), time(1259.0), time(23_456.0), time(2.5e6)],
            ["83.2 ns", "1259 ns", "23.5 µs", "2.50 ms"]
        );
    }

    #[test]
    fn a_missing_program_is_a_row_that_says_so() {
        let gone = || Err("libparrot.so is not built".to_owned());
        let lines =
            [example(vec![gone()], vec![Ok(100.0)]), example(vec![Ok(105.0)], vec![Ok(100.0)])];
        let text = lines.iter().map(|line| row(line, true)).collect::<String>();
        assert!(text.contains("missing: libparrot.so is not built"), "{text}");
        assert!(text.contains("1.05") && text.contains("≤ 1.1  met"), "{text}");
        assert_eq!(total(&lines), "\ngoals: 1 met, 0 missed, 1 without a figure\n");
    }
}
