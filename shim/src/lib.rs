//! `libparrot.so`: the guest's calls, caught at libc's entry points.
//!
//! ```text
//! program ─▶ hook (hooks/…) ─▶ not ours? ──────────────▶ the real libc function
//!                  │ maybe                                  ▲
//!                  ▼                                        │ Pass, Watch
//!            dispatch::decide ─▶ common's handler ─▶ Outcome┴▶ Done, Fail, Rewrite
//! ```
//!
//! # Rules of this library
//!
//! Its code runs in somebody else's process, in every thread, in signal handlers, in forked
//! children, before constructors. So:
//!
//! - no panic, no unwrap, no indexing that can fail, no printing (but for the two messages that
//!   the design names), no exit (but for a mountlist that is wrong);
//! - original functions or raw system calls only, never an interposed name;
//! - the guest's errno, signal mask and descriptors stay as they are;
//! - nothing is allocated; memory of a call comes from mapped slots (`guard`), and what is large is
//!   mapped when it is used (`memory::Mapped`): every process pays for the variables at its start;
//! - while a child of vfork has the memory nothing is noted in it (`borrow`);
//! - a local name or descriptor takes no lock and makes no further system call.
//!
//! # Safety
//!
//! Hooks are `extern "C"` functions that get the program's pointers. They hand them on to the
//! real function or to the handlers, which read them through `memory`; where a hook must look
//! at memory itself it does what libc would do. The functions of `c` that take pointers are
//! declared safe for that reason: the promise is the calling program's, as it is libc's.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

mod agent;
mod borrow;
mod c;
mod debug;
mod dispatch;
mod fds;
mod guard;
mod hooks;
mod init;
mod interpose;
mod lane;
mod memory;
mod namespace;
mod text;

/// Nothing here panics; a panic that the compiler keeps for a check it cannot see through ends the
/// process at once.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    c::trap()
}
