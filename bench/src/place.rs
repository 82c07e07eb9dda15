//! Placement: everything on one CPU, the guest and its supervisor on two, or as the scheduler likes.
//!
//! A supervisor on another CPU costs many times what one on the same CPU costs, so no figure means
//! anything without its placement. Children inherit the affinity of the thread that starts them;
//! a daemon that a pinned child starts is pinned too. For [`Placement::Other`] whatever is started
//! gets the one CPU, and the guest moves itself to [`Placement::guest_cpu`] when it begins to run.

use clap::ValueEnum;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::process::{Child, Command};

/// Where the contender and all that serves it run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// All on one CPU
    #[value(alias = "pinned")]
    Same,
    /// The guest on one CPU, what supervises it on another
    Other,
    /// Where the scheduler puts them
    Free,
}

impl Placement {
    /// The word for tables and files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other => "other",
            Self::Free => "free",
        }
    }

    /// What it means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Same => "same core: all on one CPU",
            Self::Other => "other core: the guest on one CPU, its supervisor on another",
            Self::Free => "free: as the scheduler likes",
        }
    }

    /// Starts a program there.
    ///
    /// # Errors
    /// The affinity cannot be set, or the program cannot be started.
    pub(crate) fn spawn(self, command: &mut Command) -> io::Result<Child> {
        let _restore = self.hold()?;
        command.spawn()
    }

    /// Keeps this thread there until the result is dropped.
    ///
    /// # Errors
    /// The affinity cannot be set.
    pub(crate) fn hold(self) -> io::Result<Option<Pinned>> {
        match self {
            Self::Same | Self::Other => Ok(Some(Pinned::new()?)),
            Self::Free => Ok(None),
        }
    }

    /// The CPU that the guest has to move itself to.
    ///
    /// # Errors
    /// A sentence for the table: there is only one.
    pub(crate) fn guest_cpu(self) -> Result<Option<usize>, String> {
        if self != Self::Other {
            return Ok(None);
        }
        let mine = sched_getaffinity(SELF).map_err(|error| error.to_string())?;
        let mut cpus = (0..CpuSet::count()).filter(|cpu| mine.is_set(*cpu).unwrap_or(false));
        match (cpus.next(), cpus.next()) {
            (first, Some(_)) => Ok(first),
            _ => Err("this machine has one CPU only".to_owned()),
        }
    }
}

const SELF: Pid = Pid::from_raw(0);

/// This thread on one CPU, until dropped.
#[derive(Debug)]
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    fn new() -> io::Result<Self> {
        let before = sched_getaffinity(SELF)?;
        // The last one: the first gets most interrupts.
        let all = (0..CpuSet::count()).rev();
        let last = all.into_iter().find(|cpu| before.is_set(*cpu).unwrap_or(false));
        move_to(last.unwrap_or(0))?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was ours a moment ago.
        let _ = sched_setaffinity(SELF, &self.0);
    }
}

/// Moves this thread to a CPU, for good.
///
/// # Errors
/// There is no such CPU for us.
pub(crate) fn move_to(cpu: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    Ok(sched_setaffinity(SELF, &one)?)
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
        assert_eq!(cpus_of_child(Placement::Same), 1);
        assert_eq!(cpus_of_child(Placement::Other), 1);
        assert_eq!(cpus_of_child(Placement::Free), before);
    }

    #[test]
    fn only_the_other_core_needs_another_core() {
        assert_eq!(Placement::Same.guest_cpu(), Ok(None));
        assert_eq!(Placement::Free.guest_cpu(), Ok(None));
        let many = std::thread::available_parallelism().map_or(1, usize::from) > 1;
        assert_eq!(matches!(Placement::Other.guest_cpu(), Ok(Some(_))), many);
    }
}
