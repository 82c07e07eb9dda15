//! From cells to lines: ratios inside a round, medians over rounds, verdicts.

use crate::engine::{Cell, Measured, Unit};
use crate::stats::{Summary, summary};

/// One row of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The block's heading.
    pub(crate) suite: String,
    /// The placement's word.
    pub(crate) placement: &'static str,
    /// The row.
    pub(crate) operation: String,
    /// The contender.
    pub(crate) technique: String,
    /// What it is compared with; empty for the baseline itself.
    pub(crate) baseline: String,
    /// What the numbers mean.
    pub(crate) unit: Unit,
    /// Where it stands on the axis of a curve.
    pub(crate) x: Option<f64>,
    /// The most that the ratio may be; for a rate the least.
    pub(crate) goal: Option<f64>,
    /// The numbers, by round.
    pub(crate) cells: Vec<Cell>,
    /// The baseline's numbers, by round.
    pub(crate) base_cells: Vec<Cell>,
}

/// What a line says about its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The median ratio is not above the goal.
    Met,
    /// It is.
    Missed,
    /// There is no goal.
    NoGoal,
    /// There is no figure.
    Missing,
}

impl Verdict {
    /// The word for tables and files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NoGoal => "",
            Self::Missing => "missing",
        }
    }
}

impl Line {
    /// Whether others are compared with it.
    pub(crate) fn is_baseline(&self) -> bool {
        self.baseline.is_empty()
    }

    /// The ratios, each to the baseline of its own round.
    pub(crate) fn ratios(&self) -> impl Iterator<Item = f64> {
        self.cells.iter().zip(&self.base_cells).filter_map(|pair| match pair {
            (Ok(number), Ok(base)) if *base > 0.0 => Some(number / base),
            _ => None,
        })
    }

    /// Median and spread of the ratios.
    pub(crate) fn ratio(&self) -> Option<Summary> {
        summary(self.ratios())
    }

    /// Median and spread of the numbers.
    pub(crate) fn value(&self) -> Option<Summary> {
        summary(self.cells.iter().filter_map(|cell| cell.as_ref().ok().copied()))
    }

    /// Median and spread of the baseline's numbers.
    pub(crate) fn base_value(&self) -> Option<Summary> {
        summary(self.base_cells.iter().filter_map(|cell| cell.as_ref().ok().copied()))
    }

    /// A goal is the most that a time may be, and the least that a rate may be.
    fn meets(&self, ratio: f64, goal: f64) -> bool {
        if self.unit == Unit::Rate { ratio >= goal } else { ratio <= goal }
    }

    /// The goal, for people.
    pub(crate) fn goal_text(&self) -> String {
        let sign = if self.unit == Unit::Rate { "≥" } else { "≤" };
        self.goal.map_or(String::new(), |goal| format!("{sign} {goal}"))
    }

    /// Whether the goal is met.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.ratio(), self.goal) {
            (Some(ratio), Some(goal)) if self.meets(ratio.median, goal) => Verdict::Met,
            (Some(_), Some(_)) => Verdict::Missed,
            (None, Some(_)) => Verdict::Missing,
            (_, None) if self.value().is_none() => Verdict::Missing,
            (_, None) => Verdict::NoGoal,
        }
    }

    /// The first thing that went wrong, and in how many rounds anything did.
    pub(crate) fn trouble(&self) -> Option<String> {
        let bad = |cells: &[Cell]| cells.iter().filter(|cell| cell.is_err()).count();
        let first = |who: &str, cells: &[Cell]| {
            let story = cells.iter().find_map(|cell| cell.as_ref().err())?;
            Some(format!("{who}{story}"))
        };
        let who = format!("{}: ", self.baseline);
        let story = first("", &self.cells).or_else(|| first(&who, &self.base_cells))?;
        let (bad, all) = (bad(&self.cells).max(bad(&self.base_cells)), self.cells.len());
        if bad < all { Some(format!("{bad} of {all} rounds: {story}")) } else { Some(story) }
    }
}

/// The lines of a table: row by row, the contenders of a row together, the baseline first.
pub(crate) fn lines(measured: &Measured) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in 0..measured.rows.len() {
        for contender in 0..measured.contenders.len() {
            lines.extend(line(measured, row, contender));
        }
    }
    lines
}

fn line(measured: &Measured, index: usize, contender: usize) -> Option<Line> {
    let row = measured.rows.get(index)?;
    let cells = |contender: usize| measured.cells.get(contender)?.get(index).cloned();
    let baseline = if contender == 0 { None } else { measured.contenders.first() };
    let goals = measured.goals.iter();
    Some(Line {
        suite: measured.title.clone(),
        placement: measured.placement.word(),
        operation: row.name.clone(),
        technique: measured.contenders.get(contender)?.clone(),
        baseline: baseline.cloned().unwrap_or_default(),
        unit: row.unit,
        x: row.x,
        goal: goals.clone().find(|goal| (goal.0, goal.1) == (index, contender)).map(|goal| goal.2),
        cells: cells(contender)?,
        base_cells: if contender == 0 { Vec::new() } else { cells(0)? },
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(cells: Vec<Cell>, base_cells: Vec<Cell>) -> Line {
        Line {
            suite: "local files".into(),
            placement: "same",
            operation: "stat".into(),
            technique: "preload".into(),
            baseline: "native".into(),
            unit: Unit::Time,
            x: None,
            goal: Some(1.10),
            cells,
            base_cells,
        }
    }

    #[test]
    fn the_ratio_is_taken_inside_a_round() {
        let line =
            example(vec![Ok(200.0), Ok(105.0), Ok(1.0)], vec![Ok(200.0), Ok(100.0), Ok(1.0)]);
        let ratio = line.ratio().unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (1.0, 1.0, 1.05));
        assert_eq!((line.verdict(), line.trouble()), (Verdict::Met, None));
    }

    #[test]
    fn missed_missing_and_half_missing() {
        let failed = || Err("no such file".to_owned());
        let line = example(vec![Ok(120.0), failed()], vec![Ok(100.0), Ok(100.0)]);
        assert_eq!(line.verdict(), Verdict::Missed);
        assert_eq!(line.trouble().unwrap(), "1 of 2 rounds: no such file");
        let line = example(vec![Ok(1.0)], vec![failed()]);
        assert_eq!(line.verdict(), Verdict::Missing);
        assert_eq!(line.trouble().unwrap(), "native: no such file");
        let line = Line { unit: Unit::Rate, ..example(vec![Ok(120.0)], vec![Ok(100.0)]) };
        assert_eq!((line.verdict(), line.goal_text().as_str()), (Verdict::Met, "≥ 1.1"));
        let line = Line { goal: None, ..example(vec![Ok(1.0)], vec![Ok(1.0)]) };
        assert_eq!(line.verdict(), Verdict::NoGoal);
    }

    #[test]
    fn the_baseline_has_lines_of_its_own() {
        let contender = |name: &'static str, number: f64| {
            crate::engine::Contender::new(name, move || Ok(vec![Ok(number), Ok(number)]))
        };
        let mut block =
            crate::engine::tests::block(vec![contender("native", 2.0), contender("slow", 6.0)]);
        block.goals = vec![(1, 1, 2.5)];
        let measured = crate::engine::run(vec![block], 2);
        let lines = lines(&measured[0]);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].is_baseline() && lines[0].ratio().is_none());
        assert_eq!(lines[0].verdict(), Verdict::NoGoal);
        assert_eq!(lines[1].ratio().unwrap().median, 3.0);
        assert_eq!((lines[1].goal, lines[3].goal), (None, Some(2.5)));
        assert_eq!(lines[3].verdict(), Verdict::Missed);
    }
}
