//! The results as one page that needs nothing but itself: tables, and plots as inline SVG.
//!
//! A row without an axis becomes a chart of bars, a bar for each contender; rows with one become
//! curves, a curve for each contender. Scales are logarithmic, because techniques differ by factors.

use crate::engine::{Measured, Unit};
use crate::lab::Comparison;
use crate::machine::Machine;
use crate::report::{READING, number, ratio};
use crate::results::{Line, Verdict, lines};
use crate::stats::Summary;
use std::fmt::Write as _;

/// Width of a chart in pixels, and of the names at its left.
const WIDTH: f64 = 520.0;
const NAMES: f64 = 170.0;
/// Height of a bar's line.
const BAR: f64 = 17.0;
/// Height of a chart of curves.
const HEIGHT: f64 = 260.0;

const COLOURS: [&str; 10] = [
    "#1b6ca8", "#c8553d", "#4f9d69", "#8e5ea2", "#d4a017", "#3a7d7c", "#b23a6f", "#6b705c",
    "#2f4b7c", "#a05195",
];

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1180px;\
padding:0 1em;color:#222}table{border-collapse:collapse;margin:.8em 0;font-variant-numeric:\
tabular-nums}td,th{border-bottom:1px solid #ddd;padding:2px 9px;text-align:right}td:first-child,\
td.t,th:first-child{text-align:left}.m{color:#a33;fill:#a33}.q{color:#777;font-size:12px}.charts{display:\
flex;flex-wrap:wrap;gap:14px}svg{background:#fafafa;border:1px solid #eee}svg text{font:11px \
system-ui,sans-serif}h2{border-top:2px solid #222;padding-top:.4em;margin-top:2em}";

/// The whole page.
pub(crate) fn page(machine: &Machine, comparisons: &[Comparison]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<title>parrot-bench</title><style>{STYLE}</style>");
    let _ = writeln!(out, "<h1>parrot-bench</h1><p>{}<br>{READING}", escape(&machine.headline()));
    for comparison in comparisons {
        let name = escape(comparison.name);
        let _ = writeln!(out, "<h2>{name}</h2><p>{} rounds", comparison.rounds);
        for note in &comparison.notes {
            let _ = write!(out, "<br>{}", escape(note));
        }
        for measured in &comparison.blocks {
            block(measured, &mut out);
        }
    }
    out.push_str("</html>\n");
    out
}

fn block(measured: &Measured, out: &mut String) {
    let all = lines(measured);
    let (title, place) = (escape(&measured.title), escape(measured.placement.meaning()));
    let _ = writeln!(out, "<h3>{title} <span class=q>({place})</span></h3><div class=charts>");
    let mut drawn: Vec<&str> = Vec::new();
    for row in &measured.rows {
        let name = curve_of(&row.name);
        if row.x.is_none() {
            let mine: Vec<_> = all.iter().filter(|line| line.operation == row.name).collect();
            bars(&row.name, &mine, out);
        } else if !drawn.contains(&name) {
            drawn.push(name);
            let mine = all.iter().filter(|l| l.x.is_some() && curve_of(&l.operation) == name);
            curves(name, &measured.contenders, &mine.collect::<Vec<_>>(), out);
        }
    }
    out.push_str("</div>\n<table><tr><th>operation<th>by<th>median<th>ratio<th>quartiles<th>goal");
    for line in &all {
        table_row(line, out);
    }
    out.push_str("</table>\n");
}

/// Rows of one curve differ after the last comma.
fn curve_of(name: &str) -> &str {
    name.rsplit_once(", ").map_or(name, |(curve, _)| curve)
}

fn table_row(line: &Line, out: &mut String) {
    let (operation, who) = (escape(&line.operation), escape(&line.technique));
    let _ = write!(out, "\n<tr><td>{operation}<td class=t>{who}");
    let value = line.value().map(|value| number(value.median, line.unit));
    let _ = write!(out, "<td>{}", value.unwrap_or_else(|| "–".into()));
    match line.ratio() {
        Some(r) => {
            let (low, high) = (ratio(r.lower), ratio(r.upper));
            let _ = write!(out, "<td>{}<td class=q>{low}–{high}", ratio(r.median));
        }
        None => out.push_str("<td><td>"),
    }
    let goal = line.goal_text();
    let mark = if line.verdict() == Verdict::Missed { " class=m" } else { "" };
    let _ = write!(out, "<td{mark}>{goal} {}", line.verdict().word());
    if let Some(trouble) = line.trouble() {
        let _ = write!(out, "<td class=\"t m\">{}", escape(&trouble));
    }
}

/// A bar for each contender, with the middle half of its numbers as a line across its end.
fn bars(name: &str, lines: &[&Line], out: &mut String) {
    let medians = lines.iter().filter_map(|line| Some(line.value()?.median));
    let positive = medians.filter(|median| *median > 0.0);
    let Some(axis) = Axis::over(positive, NAMES, WIDTH - 90.0) else { return };
    let height = BAR * count(lines.len()) + 34.0;
    let _ = write!(out, "<svg width={WIDTH} height={height}><text x=6 y=15 font-weight=bold>");
    let _ = write!(out, "{}</text>", escape(name));
    for (index, line) in lines.iter().enumerate() {
        let y = 24.0 + BAR * count(index);
        let _ = write!(out, "<text x={:.0} y={:.0} text-anchor=end>", NAMES - 6.0, y + 12.0);
        let _ = write!(out, "{}</text>", escape(&line.technique));
        match line.value() {
            Some(value) => bar(line, value, y, &axis, out),
            None => {
                let _ = write!(out, "<text x={NAMES} y={:.0} class=m>missing</text>", y + 12.0);
            }
        }
    }
    out.push_str("</svg>\n");
}

fn bar(line: &Line, value: Summary, y: f64, axis: &Axis, out: &mut String) {
    let colour = if line.is_baseline() { "#888" } else { colour(0) };
    let (end, middle) = (axis.at(value.median), y + 9.0);
    let _ = write!(out, "<rect x={NAMES} y={:.0} width={:.1}", y + 3.0, end - NAMES);
    let _ = write!(out, " height=11 fill=\"{colour}\"/>");
    let (low, high) = (axis.at(value.lower), axis.at(value.upper));
    let _ = write!(out, "<path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"#000\"/>");
    let mut text = number(value.median, line.unit);
    if let Some(r) = line.ratio() {
        let _ = write!(text, " ({})", ratio(r.median));
    }
    let _ = write!(out, "<text x={:.0} y={:.0}>{text}</text>", high.max(end) + 5.0, y + 12.0);
}

/// A curve for each contender over the rows' axis.
fn curves(name: &str, contenders: &[String], lines: &[&Line], out: &mut String) {
    let values = lines.iter().filter_map(|line| Some(line.value()?.median));
    let positive = values.filter(|value| *value > 0.0);
    let Some(up) = Axis::over(positive, HEIGHT - 34.0, 28.0) else { return };
    let places: Vec<f64> = lines.iter().filter_map(|line| line.x).collect();
    let least = places.iter().copied().filter(|x| *x > 0.0).fold(f64::INFINITY, f64::min);
    // A logarithm has no zero: it stands a little left of the first point that is none.
    let along = |x: f64| if x > 0.0 { x } else { least / 4.0 };
    let Some(right) = Axis::over(places.iter().map(|x| along(*x)), 70.0, WIDTH - 20.0) else {
        return;
    };
    let height = HEIGHT + 16.0 * count(contenders.len());
    let _ = write!(out, "<svg width={WIDTH} height={height}><text x=6 y=15 font-weight=bold>");
    let _ = write!(out, "{}</text>", escape(name));
    let unit = lines.first().map_or(Unit::Number, |line| line.unit);
    for tick in up.ticks() {
        let y = up.at(tick);
        let _ = write!(
            out,
            "<path d=\"M70 {y:.0}H{WIDTH}\" stroke=\"#ddd\"/><text x=64 y={:.0} text-anchor=end>{}</text>",
            y + 4.0,
            number(tick, unit)
        );
    }
    let mut labels: Vec<(f64, &str)> = Vec::new();
    for line in lines {
        let (Some(x), Some((_, label))) = (line.x, line.operation.rsplit_once(", ")) else {
            continue;
        };
        let x = right.at(along(x));
        if labels.iter().all(|(other, _)| (other - x).abs() > 34.0) {
            labels.push((x, label));
        }
    }
    for (x, label) in labels {
        let y = HEIGHT - 16.0;
        let _ = write!(out, "<text x={x:.0} y={y} text-anchor=middle>{}</text>", escape(label));
    }
    for (index, contender) in contenders.iter().enumerate() {
        let mine = lines.iter().filter(|line| line.technique == *contender);
        let points: Vec<(f64, f64)> = mine
            .filter_map(|line| Some((right.at(along(line.x?)), up.at(line.value()?.median))))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = colour(index);
        let path = path.join(" ");
        // Colours come again after a while; lines of the second set are broken.
        let dashes = if index < COLOURS.len() { "" } else { "stroke-dasharray=\"5 3\"" };
        let _ = write!(
            out,
            "<polyline points=\"{path}\" fill=none stroke=\"{colour}\" stroke-width=1.6 {dashes}/>"
        );
        for (x, y) in points {
            let _ = write!(out, "<circle cx={x:.1} cy={y:.1} r=2.6 fill=\"{colour}\"/>");
        }
        let y = HEIGHT + 16.0 * count(index);
        let _ = write!(out, "<rect x=70 y={:.0} width=12 height=4 fill=\"{colour}\"/>", y - 5.0);
        let _ = write!(out, "<text x=88 y={y:.0}>{}</text>", escape(contender));
    }
    out.push_str("</svg>\n");
}

fn colour(index: usize) -> &'static str {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or("#000")
}

/// A small number of things, as a length.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A logarithmic scale between two places on the page.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The scale that holds all of some positive numbers; `None` if there are none.
    fn over(numbers: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (low, high) = numbers.fold((f64::INFINITY, 0.0_f64), |(low, high), number| {
            (low.min(number), high.max(number))
        });
        (low.is_finite() && high > 0.0).then(|| Self { low: low / 1.6, high: high * 1.1, from, to })
    }

    fn at(&self, number: f64) -> f64 {
        let part = (number.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        self.from + (self.to - self.from) * part
    }

    /// Powers of ten inside, or the ends if there are fewer than two.
    fn ticks(&self) -> Vec<f64> {
        let powers = (-12..16).map(|power| 10_f64.powi(power));
        let ticks: Vec<f64> = powers.filter(|p| (self.low..=self.high).contains(p)).collect();
        if ticks.len() < 2 { vec![self.low * 1.6, self.high / 1.1] } else { ticks }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Contender, Row, run, tests::block};
    use std::path::Path;

    #[test]
    fn everybody_is_on_the_page_and_nothing_is_fetched() {
        let mut table = block(vec![
            Contender::new("native", || Ok(vec![Ok(100.0), Ok(1e6)])),
            Contender::new("a<b", || Ok(vec![Ok(250.0), Err("no such call".to_owned())])),
            Contender::missing("gone", "not installed"),
        ]);
        table.rows = vec![Row::time("stat"), Row::time("copy, 4 KiB").at(4096.0)];
        let comparison = Comparison {
            name: "techniques",
            rounds: 2,
            notes: vec!["a note".into()],
            blocks: run(vec![table], 2),
            seconds: 1,
        };
        let page = page(&Machine::look(Path::new("/")), &[comparison]);
        for text in
            ["a&lt;b", "250 ns (2.5)", "not installed", ">missing<", "a note", "<polyline", "<rect"]
        {
            assert!(page.contains(text), "{text} in\n{page}");
        }
        assert!(!page.contains("http") && !page.contains("a<b"), "{page}");
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn a_scale_is_a_logarithm() {
        let axis = Axis::over([10.0, 1000.0].into_iter(), 0.0, 100.0).unwrap();
        let (a, b, c) = (axis.at(10.0), axis.at(100.0), axis.at(1000.0));
        assert!(((b - a) - (c - b)).abs() < 1e-9 && a > 0.0 && c < 100.0);
        assert_eq!(axis.ticks(), [10.0, 100.0, 1000.0]);
        assert!(Axis::over([].into_iter(), 0.0, 1.0).is_none());
    }
}
