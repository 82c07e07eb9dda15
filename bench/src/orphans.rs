//! Ending the daemons that a run leaves behind, and no others.
//!
//! Agents are nobody's children on purpose. This process makes itself the one that inherits them
//! (a "child subreaper"), so that it can end exactly those that its own workers started.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// How long a daemon may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Inherits the daemons from now on and ends them when dropped.
#[derive(Debug)]
pub(crate) struct Orphans(());

impl Orphans {
    /// Makes this process the one that inherits.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn inherit() -> nix::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self(()))
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        end_orphans();
    }
}

/// Ends all children, each by its own number. The servers have been ended before.
fn end_orphans() {
    let started = Instant::now();
    let mut signal = Signal::SIGTERM;
    loop {
        let left = children();
        if left.is_empty() || started.elapsed() > 2 * PATIENCE {
            return;
        }
        for pid in left {
            let waited = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            if waited == Ok(WaitStatus::StillAlive) {
                // It may have ended between the two calls, but is not reaped: the number is its own.
                let _ = kill(pid, signal);
            }
        }
        if started.elapsed() > PATIENCE {
            signal = Signal::SIGKILL;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    i32::try_from(std::process::id()).map(children_of).unwrap_or_default()
}

/// The children of a process.
pub(crate) fn children_of(parent: i32) -> Vec<Pid> {
    let parent = parent.to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // `pid (name) state parent …`; the name may hold anything but is the last in brackets.
            let rest = stat.rsplit(')').next().unwrap_or_default();
            rest.split_whitespace().nth(1) == Some(&parent)
        })
        .map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_are_found() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        assert!(children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }
}
