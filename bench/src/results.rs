//! From cells to lines: ratios inside a round, medians over rounds, verdicts.

use crate::runner::{Case, Cell};
use crate::stats::{Summary, summary};
use crate::suite::{Row, Technique};

/// One operation of one technique at one placement.
#[derive(Debug)]
pub(crate) struct Line {
    /// The suite's heading.
    pub(crate) suite: &'static str,
    /// The placement's word.
    pub(crate) placement: &'static str,
    /// The operation.
    pub(crate) operation: &'static str,
    /// The technique's word.
    pub(crate) technique: &'static str,
    /// What it is compared with.
    pub(crate) baseline: &'static str,
    /// The most that the ratio may be.
    pub(crate) goal: Option<f64>,
    /// Nanoseconds, by round.
    pub(crate) cells: Vec<Cell>,
    /// The baseline's nanoseconds, by round.
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
    /// The ratios, each to the baseline of its own round.
    pub(crate) fn ratios(&self) -> impl Iterator<Item = f64> {
        self.cells.iter().zip(&self.base_cells).filter_map(|pair| match pair {
            (Ok(ns), Ok(base)) if *base > 0.0 => Some(ns / base),
            _ => None,
        })
    }

    /// Median and spread of the ratios.
    pub(crate) fn ratio(&self) -> Option<Summary> {
        summary(self.ratios())
    }

    /// Median and spread of the times.
    pub(crate) fn time(&self) -> Option<Summary> {
        summary(self.cells.iter().filter_map(|cell| cell.as_ref().ok().copied()))
    }

    /// Median and spread of the baseline's times.
    pub(crate) fn base_time(&self) -> Option<Summary> {
        summary(self.base_cells.iter().filter_map(|cell| cell.as_ref().ok().copied()))
    }

    /// Whether the goal is met.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.ratio(), self.goal) {
            (None, _) => Verdict::Missing,
            (Some(_), None) => Verdict::NoGoal,
            (Some(ratio), Some(goal)) if ratio.median <= goal => Verdict::Met,
            (Some(_), Some(_)) => Verdict::Missed,
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

/// The lines of all cases: row by row, the techniques of a row together.
pub(crate) fn lines(cases: &[Case]) -> Vec<Line> {
    cases.iter().flat_map(case_lines).collect()
}

fn case_lines(case: &Case) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, row) in case.rows.iter().enumerate() {
        for (contender, cells) in case.contenders.iter().zip(&case.cells) {
            if let (Some(technique), Some(cells)) = (contender.technique, cells.get(index)) {
                let base = case.cells.first().and_then(|all| all.get(index));
                lines.push(line(case, row, technique, cells, base.map_or(&[], Vec::as_slice)));
            }
        }
    }
    lines
}

fn line(case: &Case, row: &Row, technique: Technique, cells: &[Cell], base: &[Cell]) -> Line {
    Line {
        suite: case.suite.title,
        placement: case.placement.word(),
        operation: row.name,
        technique: technique.word(),
        baseline: case.suite.baseline.word(),
        goal: row.goal(technique),
        cells: cells.to_vec(),
        base_cells: base.to_vec(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(cells: Vec<Cell>, base_cells: Vec<Cell>) -> Line {
        Line {
            suite: "local files",
            placement: "pinned",
            operation: "stat",
            technique: "preload",
            baseline: "native",
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
        let line = Line { goal: None, ..example(vec![Ok(1.0)], vec![Ok(1.0)]) };
        assert_eq!(line.verdict(), Verdict::NoGoal);
    }
}
