//! The conformance harness: one test body, run natively and under every technique on every place.
//!
//! ```text
//! case!(name, |guest| …)
//!    │
//!    ├─ name::native                          the script twice in plain directories: is it stable?
//!    ├─ name::preload_{mapped,local,ours,debian}
//!    └─ name::trace_{mapped,local,ours,debian}
//!
//! Guest::same(script):   plain directory ──native──▶ output, status, tree ─┐
//!                        place ──technique──▶ output, status, tree ────────┴─ must be equal
//! ```
//!
//! A *place* is where `$R` lies: a plain directory, a local directory under another name
//! (`-M /mnt-…=DIR`), the `local` driver, our Chirp server, Debian's Chirp server. A *technique* is
//! how the guest's calls are caught. Each test has a session directory of its own, so agents do not
//! mix, and ends with a look for processes that were left over.
//!
//! The programs under test come from `PARROT_BIN_DIR`, or else from `target/release`; one that is
//! missing fails the test (`scripts/build` makes them all).
//!
//! # In whose process this runs
//!
//! In the test's own. It speaks to the products by command lines only and links none of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test harness fails by panicking, and tells why on stderr"
)]

pub mod cases;
pub mod compile;
pub mod conformance;
pub mod dir;
pub mod fake;
pub mod guest;
pub mod place;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod run;
pub mod server;
pub mod session;
pub mod tree;

pub use guest::Guest;
pub use place::{Place, PlaceKind};
pub use run::{End, Run};
pub use session::{Session, Technique};
