//! Timing one operation: warm-up, then the best of a few batches.
//!
//! The best batch is what the operation costs when nothing disturbs it; what a machine does to it
//! over time is seen in the spread over rounds.

use std::io;
use std::time::{Duration, Instant};

/// Batches after the warm-up.
const BATCHES: u32 = 3;
/// Slow operations make longer batches, of up to this many.
const FEWEST: u32 = 10;
/// How long a batch may become for that.
const LONGEST: Duration = Duration::from_millis(100);

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// About how long a batch lasts.
    pub(crate) batch: Duration,
    /// Added to each operation, on purpose.
    pub(crate) slow: Duration,
    /// Does it exactly so often, and measures nothing that is worth anything: for counting.
    pub(crate) times: Option<u32>,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Nanoseconds per operation, in the best batch.
    pub(crate) ns: f64,
    /// Operations per batch.
    pub(crate) count: u32,
}

/// Measures `op`.
///
/// # Errors
/// The first error of `op`.
#[inline]
pub(crate) fn measure(plan: Plan, mut op: impl FnMut() -> io::Result<()>) -> io::Result<Timing> {
    if let Some(count) = plan.times {
        let took = batch(plan.slow, count, &mut op)?;
        return Ok(Timing { ns: took.as_secs_f64() * 1e9 / f64::from(count.max(1)), count });
    }
    let mut count = 1_u32;
    // The warm-up finds how many operations make a batch.
    let count = loop {
        let took = batch(plan.slow, count, &mut op)?;
        if took * 2 >= plan.batch {
            let each = took.as_secs_f64().max(1e-9) / f64::from(count);
            let enough = f64::from(FEWEST).min(LONGEST.as_secs_f64() / each);
            break whole((plan.batch.as_secs_f64() / each).max(enough));
        }
        count = count.saturating_mul(2);
    };
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        best = best.min(batch(plan.slow, count, &mut op)?);
    }
    Ok(Timing { ns: best.as_secs_f64() * 1e9 / f64::from(count), count })
}

/// The next whole number, at least 1.
fn whole(number: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let whole = number.clamp(1.0, 1e9).round() as u32;
    whole
}

#[inline]
fn batch(
    slow: Duration,
    count: u32,
    op: &mut impl FnMut() -> io::Result<()>,
) -> io::Result<Duration> {
    let start = Instant::now();
    if slow.is_zero() {
        for _ in 0..count {
            op()?;
        }
    } else {
        for _ in 0..count {
            op()?;
            spin(slow);
        }
    }
    Ok(start.elapsed())
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_counted() {
        let mut calls = 0_u32;
        let plan = Plan { batch: Duration::from_micros(200), slow: Duration::ZERO, times: None };
        let timing = measure(plan, || {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert!(timing.count >= 1 && calls >= BATCHES * timing.count);
        assert!(timing.ns.is_finite());
    }

    #[test]
    fn exactly_so_often() {
        let mut calls = 0_u32;
        let plan = Plan { batch: Duration::ZERO, slow: Duration::ZERO, times: Some(3) };
        let timing = measure(plan, || {
            calls += 1;
            Ok(())
        });
        assert_eq!((timing.unwrap().count, calls), (3, 3));
    }

    #[test]
    fn an_error_ends_it() {
        let plan = Plan { batch: Duration::from_millis(1), slow: Duration::ZERO, times: None };
        let mut left = 5;
        let result = measure(plan, || {
            left -= 1;
            if left == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn whole_numbers() {
        assert_eq!((whole(0.0), whole(7.4), whole(f64::INFINITY)), (1, 7, 1_000_000_000));
    }
}
