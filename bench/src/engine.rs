//! Rounds: what every comparison has in common.
//!
//! A comparison makes [`Block`]s: a table of rows (what is done) by contenders (who does it), at one
//! placement. A contender is a closure that gives one cell for each row, or a sentence that says why
//! there is none. Every round runs every contender of every block once, in alternating order, so
//! that whatever the machine does to one it does to its neighbours; the first contender is the
//! baseline, and ratios are taken inside a round (see [`crate::results`]).

use crate::interrupt;
use crate::place::Placement;
use crate::report::say;
use std::fmt;
use std::time::Instant;

/// A contender that gave nothing in so many rounds is not asked again.
const TRIES: usize = 2;

/// A number, or why there is none.
pub(crate) type Cell = Result<f64, String>;

/// What a contender does in a round: a cell for each row, or one reason for all of them.
pub(crate) type Run<'a> = Box<dyn FnMut() -> Result<Vec<Cell>, String> + 'a>;

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds: less is better.
    Time,
    /// Megabytes (10^6 bytes) in a second: more is better.
    Rate,
    /// Bytes of memory: less is better.
    Memory,
    /// A plain number, such as requests for an operation.
    Number,
    /// Times a limit that physics sets: 1 is perfect.
    Factor,
}

impl Unit {
    const ALL: [Self; 5] = [Self::Time, Self::Rate, Self::Memory, Self::Number, Self::Factor];

    /// The unit with this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.word() == word)
    }

    /// The word for files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Rate => "MB/s",
            Self::Memory => "bytes",
            Self::Number => "count",
            Self::Factor => "times the limit",
        }
    }
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What is done.
    pub(crate) name: String,
    /// What its numbers mean.
    pub(crate) unit: Unit,
    /// Where it stands on the axis of a curve.
    pub(crate) x: Option<f64>,
}

impl Row {
    /// A row of times.
    pub(crate) fn time(name: impl Into<String>) -> Self {
        Self { name: name.into(), unit: Unit::Time, x: None }
    }

    /// The same with another unit.
    pub(crate) fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The same as a point of a curve.
    pub(crate) fn at(self, x: f64) -> Self {
        Self { x: Some(x), ..self }
    }
}

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    /// What it is called.
    pub(crate) name: String,
    /// What it does, or why it cannot.
    pub(crate) run: Result<Run<'a>, String>,
}

impl<'a> Contender<'a> {
    /// A contender that runs.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnMut() -> Result<Vec<Cell>, String> + 'a,
    ) -> Self {
        Self { name: name.into(), run: Ok(Box::new(run)) }
    }

    /// A contender that is not there.
    pub(crate) fn missing(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), run: Err(reason.into()) }
    }
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.run.as_ref().err();
        f.debug_struct("Contender").field("name", &self.name).field("missing", &missing).finish()
    }
}

/// How a block is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A line for each row and contender, with spread and goal.
    List,
    /// A line for each contender, a column for each row.
    Matrix,
}

/// A table to be filled.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The heading.
    pub(crate) title: String,
    /// Where everything runs.
    pub(crate) placement: Placement,
    /// How it is shown.
    pub(crate) layout: Layout,
    /// Whether a round before the first is thrown away.
    pub(crate) warm_up: bool,
    /// What is done.
    pub(crate) rows: Vec<Row>,
    /// Who does it; the first is the baseline.
    pub(crate) contenders: Vec<Contender<'a>>,
    /// The most that a ratio may be (for a rate the least), by row and contender.
    pub(crate) goals: Vec<(usize, usize, f64)>,
}

/// A table, filled.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The heading.
    pub(crate) title: String,
    /// Where everything ran.
    pub(crate) placement: Placement,
    /// How it is shown.
    pub(crate) layout: Layout,
    /// What was done.
    pub(crate) rows: Vec<Row>,
    /// Who did it; the first is the baseline.
    pub(crate) contenders: Vec<String>,
    /// By contender, then by row, then by round.
    pub(crate) cells: Vec<Vec<Vec<Cell>>>,
    /// The most that a ratio may be (for a rate the least), by row and contender.
    pub(crate) goals: Vec<(usize, usize, f64)>,
}

impl Measured {
    fn of(block: &Block<'_>) -> Self {
        Self {
            title: block.title.clone(),
            placement: block.placement,
            layout: block.layout,
            rows: block.rows.clone(),
            contenders: block.contenders.iter().map(|one| one.name.clone()).collect(),
            cells: vec![vec![Vec::new(); block.rows.len()]; block.contenders.len()],
            goals: block.goals.clone(),
        }
    }
}

/// Runs all rounds.
pub(crate) fn run(mut blocks: Vec<Block<'_>>, rounds: u32) -> Vec<Measured> {
    let started = Instant::now();
    let mut measured: Vec<Measured> = blocks.iter().map(Measured::of).collect();
    let first = u32::from(!blocks.iter().any(|block| block.warm_up));
    for round in first..=rounds {
        for (block, measured) in blocks.iter_mut().zip(&mut measured) {
            if (round == 0 && !block.warm_up) || interrupt::asked() {
                continue;
            }
            let seconds = started.elapsed().as_secs();
            let what =
                if round == 0 { "warm-up".into() } else { format!("round {round}/{rounds}") };
            say(&format!("{seconds:4} s  {what}: {}, {}", block.title, block.placement.word()));
            self::round(block, measured, round);
        }
    }
    measured
}

fn round(block: &mut Block<'_>, measured: &mut Measured, round: u32) {
    let mut order: Vec<usize> = (0..block.contenders.len()).collect();
    if round.is_multiple_of(2) {
        order.reverse();
    }
    for index in order {
        let (Some(contender), Some(kept)) =
            (block.contenders.get_mut(index), measured.cells.get_mut(index))
        else {
            continue;
        };
        let cells = ask(contender, kept, block.rows.len());
        if round > 0 {
            for (column, cell) in kept.iter_mut().zip(cells) {
                column.push(cell);
            }
        }
    }
}

/// The cells of one contender in one round, as many as there are rows.
fn ask(contender: &mut Contender<'_>, kept: &[Vec<Cell>], rows: usize) -> Vec<Cell> {
    let result = match &mut contender.run {
        Ok(_) if interrupt::asked() => Err("interrupted".to_owned()),
        Err(reason) => Err(reason.clone()),
        Ok(_) if hopeless(kept) => Err("gave nothing before and was not asked again".to_owned()),
        Ok(run) => run(),
    };
    let mut cells = result.unwrap_or_else(|reason| vec![Err(reason); rows]);
    cells.resize(rows, Err("no figure".to_owned()));
    cells
}

/// Whether there were enough rounds and not one figure.
fn hopeless(kept: &[Vec<Cell>]) -> bool {
    let mut rounds = kept.iter().map(Vec::len);
    rounds.next().is_some_and(|rounds| rounds >= TRIES) && kept.iter().flatten().all(Result::is_err)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    pub(crate) fn block<'a>(contenders: Vec<Contender<'a>>) -> Block<'a> {
        Block {
            title: "a block".into(),
            placement: Placement::Free,
            layout: Layout::Matrix,
            warm_up: true,
            rows: vec![Row::time("a"), Row::time("b")],
            contenders,
            goals: Vec::new(),
        }
    }

    #[test]
    fn contenders_alternate_and_the_warm_up_is_not_kept() {
        let order = RefCell::new(String::new());
        let contender = |name: &'static str| {
            let order = &order;
            Contender::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(vec![Ok(1.0), Ok(2.0)])
            })
        };
        let measured = run(vec![block(vec![contender("a"), contender("b")])], 3);
        assert_eq!(*order.borrow(), "baabbaab");
        assert_eq!(measured[0].cells[0], [vec![Ok(1.0); 3], vec![Ok(2.0); 3]]);
    }

    #[test]
    fn who_never_gives_anything_is_not_asked_for_ever() {
        let asked = RefCell::new(0);
        let silent = Contender::new("silent", || {
            *asked.borrow_mut() += 1;
            Err("no answer".to_owned())
        });
        let short = Contender::new("short", || Ok(vec![Ok(1.0)]));
        let measured =
            run(vec![block(vec![silent, short, Contender::missing("gone", "not installed")])], 4);
        assert_eq!(*asked.borrow(), 3);
        let cells = &measured[0].cells;
        assert_eq!(cells[0][0][0], Err("no answer".to_owned()));
        assert_eq!(cells[0][0].len(), 4);
        assert_eq!((&cells[1][0][0], &cells[1][1][0]), (&Ok(1.0), &Err("no figure".to_owned())));
        assert_eq!(cells[2][1][3], Err("not installed".to_owned()));
    }
}
