//! Why ptrace or seccomp was refused, said so that somebody can do something about it.

use crate::launch::{Failure, Stage};
use std::fs;

const INSTEAD: &str =
    "Without ptrace, dynamic programs can use Parrot by  LD_PRELOAD=libparrot.so PROGRAM";

/// The message for a refused ptrace.
pub(crate) fn ptrace(errno: i32) -> String {
    let why = if errno == libc::ENOSYS {
        "this kernel or container has no ptrace".to_owned()
    } else {
        reason(&Surroundings::look())
    };
    let error = std::io::Error::from_raw_os_error(errno);
    format!("cannot trace the program ({error}): {why}.\n{INSTEAD}")
}

/// Whether this process is a guest of another parrot-trace.
pub(crate) fn nested() -> bool {
    let Some(tracer) = Surroundings::look().tracer else { return false };
    let name = fs::read_to_string(format!("/proc/{tracer}/comm")).unwrap_or_default();
    name.trim() == "parrot-trace"
}

/// What the kernel tells about this process and its machine.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// `/proc/sys/kernel/yama/ptrace_scope`.
    pub(crate) yama: Option<u32>,
    /// This process runs under a seccomp filter.
    pub(crate) filtered: bool,
    /// Somebody traces this process.
    pub(crate) tracer: Option<u32>,
}

impl Surroundings {
    /// What there is to know.
    pub(crate) fn look() -> Self {
        let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(name))?;
            text.trim().parse::<u32>().ok()
        };
        Self {
            yama: yama.trim().parse().ok(),
            filtered: field("Seccomp:").is_some_and(|mode| mode != 0),
            tracer: field("TracerPid:").filter(|&pid| pid != 0),
        }
    }
}

impl Surroundings {
    /// What in them forbids ptrace, if something is known to.
    pub(crate) fn reason(&self) -> Option<String> {
        Some(match self {
            Self { yama: Some(3), .. } => {
                "the administrator has switched ptrace off (kernel.yama.ptrace_scope=3)".to_owned()
            }
            Self { yama: Some(2), .. } => {
                "only an administrator may trace here (kernel.yama.ptrace_scope=2)".to_owned()
            }
            Self { tracer: Some(pid), .. } => format!(
                "this process is itself traced by process {pid} (strace, gdb, or another \
                 parrot-trace), and its children are too; start parrot-trace outside of it"
            ),
            Self { filtered: true, .. } => {
                "a seccomp filter of the container forbids it; with Docker or Podman give the container \
                 --cap-add=SYS_PTRACE or --security-opt seccomp=unconfined"
                    .to_owned()
            }
            Self { .. } => return None,
        })
    }
}

fn reason(around: &Surroundings) -> String {
    around.reason().unwrap_or_else(|| "the kernel or a security module forbids it".to_owned())
}

/// The message for a program that could not be started.
pub(crate) fn start(failure: Failure, program: &str, directory: &str) -> String {
    let error = std::io::Error::from_raw_os_error(failure.errno);
    match failure.stage {
        Stage::Exec => format!("{program}: {error}"),
        Stage::Directory => format!("cannot start in {directory}: {error}"),
        Stage::Seize => ptrace(failure.errno),
        Stage::Privileges | Stage::Filter => format!(
            "cannot install the system call filter ({error}): this kernel or container does not allow \
             seccomp filters.\n{INSTEAD}"
        ),
    }
}

/// The exit status for it, as env(1) has it.
pub(crate) const fn status(failure: Failure) -> u8 {
    match (failure.stage, failure.errno) {
        (Stage::Exec, libc::ENOENT) => 127,
        (Stage::Exec, _) => 126,
        _ => crate::OWN_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_fits_the_surroundings() {
        let around = Surroundings { yama: Some(3), ..Surroundings::default() };
        assert!(reason(&around).contains("ptrace_scope=3"));
        let around = Surroundings { filtered: true, yama: Some(1), tracer: None };
        assert!(reason(&around).contains("SYS_PTRACE"));
        let around = Surroundings { tracer: Some(7), ..Surroundings::default() };
        assert!(reason(&around).contains("process 7"));
    }

    #[test]
    fn statuses_are_those_of_env() {
        let exec = |errno| status(Failure { stage: Stage::Exec, errno });
        assert_eq!((exec(libc::ENOENT), exec(libc::EACCES)), (127, 126));
        assert_eq!(status(Failure { stage: Stage::Filter, errno: libc::EPERM }), 125);
    }
}
