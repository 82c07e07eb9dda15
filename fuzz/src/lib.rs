//! Targets that must not panic, hang or forget others, whatever bytes they get; and the mutation of
//! known inputs into new ones.
//!
//! A target fails when anything panics in this process, in whatever thread: a hook counts panics.

pub mod mutate;
pub mod target;

use mutate::Mutator;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use target::Target;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics from now on; they are told on standard error as usual.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, SeqCst);
            usual(info);
        }));
    });
}

/// Runs one input; whether it was borne.
#[must_use]
pub fn try_input(target: &Target, input: &[u8]) -> bool {
    watch();
    let before = PANICS.load(SeqCst);
    let result = std::panic::catch_unwind(|| (target.run)(input));
    result.is_ok() && PANICS.load(SeqCst) == before
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many inputs: the same ones each time.
    Count(u64),
    /// After so long.
    Time(Duration),
}

/// Mutates the seeds of a target.
///
/// # Errors
/// An input that was not borne, and how many were before it.
pub fn run(target: &Target, seed: u64, until: Until) -> Result<u64, (Vec<u8>, u64)> {
    let seeds = (target.seeds)();
    for (number, input) in (0..).zip(&seeds) {
        if !try_input(target, input) {
            return Err((input.clone(), number));
        }
    }
    let mut mutator = Mutator::new(seed, seeds);
    let begin = Instant::now();
    let mut count = 0;
    loop {
        let over = match until {
            Until::Count(most) => count >= most,
            Until::Time(time) => begin.elapsed() >= time,
        };
        if over {
            return Ok(count);
        }
        let input = mutator.next_input();
        if !try_input(target, &input) {
            return Err((input, count));
        }
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of the gate: a fixed number of inputs, from a fixed seed.
    fn some(name: &str, count: u64) {
        let target = target::find(name).unwrap();
        if let Err((input, number)) = run(target, 1, Until::Count(count)) {
            panic!("{name}: input {number} is not borne: {}", input.escape_ascii());
        }
    }

    #[test]
    fn requests() {
        some("request", 60_000);
    }

    #[test]
    fn the_server() {
        some("server", 400);
    }

    #[test]
    fn replies() {
        some("reply", 400);
    }

    #[test]
    fn mountlists() {
        some("mountlist", 15_000);
    }

    #[test]
    fn messages() {
        some("message", 800);
    }

    /// The net has no hole: a panic in any thread is seen.
    #[test]
    fn a_panic_is_found() {
        let seeds = || vec![b"calm".to_vec()];
        let angry = |input: &[u8]| {
            if input.contains(&b'!') {
                // The thread's end is not asked for: as in a server.
                let _ = std::thread::spawn(|| panic!("found, as it should be")).join();
            }
        };
        let target = Target { name: "angry", run: angry, seeds };
        assert!(run(&target, 1, Until::Count(100_000)).is_err());
    }
}
