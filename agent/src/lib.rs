//! The session: everything that is remote, behind one interface.
//!
//! ```text
//! guest ─▶ handlers ─▶ Files ─▶ Session ─▶ layer (retry) ─▶ driver ─▶ server
//!                                  │
//!                                  └─ shadows: the kernel files that stand for remote ones
//! ```
//!
//! [`session::Session`] owns the connections, the open remote files, the caches and the shadows.
//! It is used in two places: in `parrot-agent`, behind a socket ([`serve`]), and in
//! `parrot-trace`, directly.
//!
//! # In whose process this runs
//!
//! In the agent's or the tracer's, never in a guest's.

pub mod cache;
pub mod driver;
pub mod error;
pub mod layer;
pub mod serve;
pub mod session;
pub mod shadow;
pub mod start;

pub use session::{InlineFiles, Session, SessionConfig, SessionFiles, Who};
