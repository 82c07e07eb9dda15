//! `--holes`: the run in which the library and the tracer work side by side, on this process's
//! session. See [`crate::slips`] for what is told.

use crate::cli::Options;
use crate::engine::Engine;
use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use parrot_agent::serve;
use parrot_agent::session::Session;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the session may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// The session ends with the run, not by itself.
const FOREVER: Duration = Duration::from_secs(u64::MAX / 4);

/// The library beside this program.
///
/// # Errors
/// There is none.
pub(crate) fn library() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own place")?;
    let library = own.parent().unwrap_or(Path::new("/")).join("libparrot.so");
    if !library.exists() {
        bail!("{} is missing; it belongs beside parrot-trace", library.display());
    }
    Ok(library)
}

/// Serves the session to the library, from a thread of this process.
///
/// # Errors
/// The session's directory cannot be used.
pub(crate) fn serve(session: &Session) -> Result<()> {
    let dir = session.dir().to_owned();
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let none = SignalFd::with_flags(&SigSet::empty(), flags).context("signalfd")?;
    let served = session.clone();
    std::thread::spawn(move || serve::serve(&served, &none, FOREVER));
    let until = Instant::now() + PATIENCE;
    while !dir.join("sock").exists() {
        if Instant::now() > until {
            return Err(anyhow!("the session does not listen"));
        }
        // There is no event for a name that appears.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Tells what slipped past the library.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn report(options: &Options, engine: &Engine) -> Result<()> {
    let (Some(format), Some(slips)) = (options.holes, engine.slips()) else { return Ok(()) };
    let text = slips.report(format);
    match &options.holes_file {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string()),
        None => std::io::stderr().write_all(text.as_bytes()).context("stderr"),
    }
}
