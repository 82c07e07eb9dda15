//! The core that every technique shares: what a system call on a remote name *means*.
//!
//! A technique (`shim/`, `tracer/`) catches a call and hands it to [`handler::handle`] together
//! with three things: a [`Guest`] (the program: its memory, descriptors, working directory), a
//! [`Files`] (the session that owns everything remote) and the [`Namespace`](mountlist::Table).
//! The handler answers with an [`Outcome`], and the technique carries it out. Nothing here knows
//! how a call was caught, and nothing here knows a protocol.
//!
//! ```text
//! technique ──(number, arguments)──▶ handler::handle ──▶ resolve ──▶ Pass / Rewrite / Fail
//!                                          │
//!                                          └──▶ Files::call ──▶ session (agent) ──▶ Done(value)
//! ```
//!
//! # In whose process this runs
//!
//! In the guest's own process (shim) and in the tracer and agent. So: `no_std`, no allocation, no
//! panic, no thread-locals, no global state, and every system call raw (never through libc, whose
//! symbols the shim replaces).
#![cfg_attr(not(test), no_std)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable
)]

mod areas;
pub mod attr;
pub mod bytes;
pub mod client;
pub mod errno;
#[cfg(test)]
mod fake;
pub mod files;
pub mod guest;
pub mod handler;
pub mod lane;
pub mod message;
pub mod mountlist;
pub mod outcome;
pub mod resolve;
pub mod shadow;
pub mod sys;
pub mod syscall;

pub use attr::Attr;
pub use errno::Errno;
pub use files::{Files, Name, Op, Opened, Reply, Request, Stop};
pub use guest::{FdClass, Guest};
pub use outcome::{Outcome, Reason};
