//! Measures what Parrot costs, and what else there is: the same work by several means, in turn.
//!
//! ```text
//!   cli ─▶ a comparison (micro, techniques, …)   lab: options, programs, directory, servers
//!            │  makes blocks: rows (what is done) × contenders (who does it), at a placement
//!            ▼
//!          engine: rounds; each contender of each block once in a round, in alternating order
//!            │       a contender is a closure; most start a worker (start), this very program or
//!            │       a small one in C (agents/), that times single calls and tells lines on a pipe
//!            ▼
//!          results: ratios inside a round ─▶ report (terminal) · record (JSON) · html (plots)
//! ```
//!
//! The method is that of the trials behind the design: contenders alternate inside a round, the
//! ratio is taken to the baseline *of the same round*, and medians are taken over rounds. What is
//! compared is chosen by placement too: with everything on one CPU, with a guest and its supervisor
//! on two, and as the scheduler likes. A new comparison is one file that makes blocks, and a line
//! in `cli`.

mod agents;
mod andrew;
mod blocksize;
pub mod cli;
mod client;
mod compare;
mod crowd;
mod delay;
mod echo;
mod engine;
mod fill;
mod html;
mod interrupt;
mod lab;
mod machine;
mod measure;
mod micro;
mod ops;
mod orphans;
mod peers;
mod phases;
mod place;
mod programs;
mod protocols;
mod record;
mod report;
mod results;
mod sandbox;
mod scale;
mod server;
mod start;
mod stats;
mod suite;
mod techniques;
mod tree;
mod worker;

pub use cli::main;
