//! Ctrl-C and SIGTERM end a run as its own end would: servers, mounts and files are cleaned away.
//!
//! # Safety
//! The handler does nothing but store to an atomic.
#![expect(unsafe_code, reason = "a signal handler is installed")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn ask(_: i32) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on the signals only ask.
///
/// # Errors
/// The system refuses.
pub(crate) fn listen() -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(ask), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler is async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Whether somebody wants this to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
