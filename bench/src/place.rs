//! Placement: everything on one CPU, or as the scheduler likes.
//!
//! A supervisor on another CPU costs many times what one on the same CPU costs, so no figure means
//! anything without its placement. Children inherit the affinity of the thread that starts them;
//! a daemon that a pinned child starts is pinned too.

use clap::ValueEnum;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::process::{Child, Command};

/// Where the contender and all that serves it run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// All on one CPU
    Pinned,
    /// Where the scheduler puts them
    Free,
}

impl Placement {
    /// The word for tables and files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Free => "free",
        }
    }

    /// Starts a program there.
    ///
    /// # Errors
    /// The affinity cannot be set, or the program cannot be started.
    pub(crate) fn spawn(self, command: &mut Command) -> io::Result<Child> {
        let _restore = match self {
            Self::Pinned => Some(Pinned::new()?),
            Self::Free => None,
        };
        command.spawn()
    }
}

const SELF: Pid = Pid::from_raw(0);

/// This thread on one CPU, until dropped.
struct Pinned(CpuSet);

impl Pinned {
    fn new() -> io::Result<Self> {
        let before = sched_getaffinity(SELF)?;
        let mut one = CpuSet::new();
        // The last one: the first gets most interrupts.
        let all = (0..CpuSet::count()).rev();
        let last = all.into_iter().find(|cpu| before.is_set(*cpu).unwrap_or(false));
        one.set(last.unwrap_or(0))?;
        sched_setaffinity(SELF, &one)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was ours a moment ago.
        let _ = sched_setaffinity(SELF, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus_of_child(placement: Placement) -> usize {
        let mut command = Command::new("nproc");
        let child = placement.spawn(command.stdout(std::process::Stdio::piped())).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_pinned_child_has_one_cpu_and_we_keep_ours() {
        let before = cpus_of_child(Placement::Free);
        assert_eq!(cpus_of_child(Placement::Pinned), 1);
        assert_eq!(cpus_of_child(Placement::Free), before);
    }
}
