//! Measures what Parrot costs: the same operations natively, preloaded and traced, in turn.
//!
//! ```text
//!   micro ─▶ suite (what, on which files, goals)      sandbox (files), server (Chirp on loopback)
//!     │
//!     └───▶ runner: for each round, for each case, for each contender in alternating order
//!                │  starts `parrot-bench worker …` under the contender, pinned or free
//!                ▼
//!              worker: ops (libc calls) or client (plain Chirp requests), timed by measure
//!                │  lines on a pipe
//!                ▼
//!           results ─▶ report (terminal) · record (JSON)
//! ```
//!
//! The method is that of the trials behind the design: contenders alternate inside a round, the
//! ratio is taken to the baseline *of the same round*, and medians are taken over rounds. What is
//! compared is chosen by placement too: with everything on one CPU, and as the scheduler likes.
//!
//! The worker is this very program, dynamic and calling through libc, so `LD_PRELOAD` applies.

pub mod cli;
mod client;
mod machine;
mod measure;
mod micro;
mod ops;
mod orphans;
mod place;
mod programs;
mod record;
mod report;
mod results;
mod runner;
mod sandbox;
mod server;
mod stats;
mod suite;
mod worker;

pub use cli::main;
