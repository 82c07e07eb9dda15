//! Starting the first guest.
//!
//! ```text
//!   parrot-trace ── fork ──▶ child: waits
//!        │ seize              │
//!        └── "go" ───────────▶ no new privileges, filter, chdir, exec (both already traced, so
//!                              the directory and the program may be remote)
//! ```
//!
//! What goes wrong in the child comes back through a pipe that a successful exec closes.
#![expect(unsafe_code, reason = "fork, prctl and exec")]

use crate::filter::Insn;
use crate::ptrace;
use nix::sys::signal::SigSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Where execvp(3) looks without a PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Program {
    /// The names to try, in order.
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: Option<CString>,
}

/// Why a program could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was being done.
    pub(crate) stage: Stage,
    /// What the kernel said.
    pub(crate) errno: i32,
}

/// A step of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// `prctl(PR_SET_NO_NEW_PRIVS)`.
    Privileges = 1,
    /// Installing the filter.
    Filter = 2,
    /// Going to the start directory.
    Directory = 3,
    /// execve.
    Exec = 4,
    /// ptrace.
    Seize = 5,
}

/// A child that waits to be let go.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id.
    pub(crate) pid: i32,
    go: File,
    report: File,
}

impl Program {
    /// From a command line and an environment.
    ///
    /// # Errors
    /// A zero byte in a word, or no words.
    pub(crate) fn new(
        command: &[OsString],
        argv0: Option<&OsStr>,
        environment: Vec<(OsString, OsString)>,
        directory: Option<&OsStr>,
    ) -> io::Result<Self> {
        let name = command.first().ok_or(io::ErrorKind::InvalidInput)?;
        let path = environment.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value);
        let candidates = candidates(name, path.map(OsString::as_os_str))?;
        let words = argv0.unwrap_or(name).to_owned();
        let words = std::iter::once(words).chain(command.iter().skip(1).cloned());
        let arguments = words.map(|word| c_string(word.into_vec())).collect::<io::Result<_>>()?;
        let environment = environment
            .into_iter()
            .map(|(key, value)| c_string([key.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<io::Result<_>>()?;
        let directory = directory.map(|dir| c_string(dir.as_bytes().to_vec())).transpose()?;
        Ok(Self { candidates, arguments, environment, directory })
    }

    /// Forks the child. This process must have one thread only.
    ///
    /// # Errors
    /// From pipe and fork.
    pub(crate) fn fork(&self, filter: &[Insn], mask: &SigSet) -> io::Result<Child> {
        let (go_rx, go_tx) = pipe()?;
        let (report_rx, report_tx) = pipe()?;
        // SAFETY: there is one thread, so the child may do everything this process may.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop((go_tx, report_rx));
                let failure = match File::from(go_rx).read_exact(&mut [0]) {
                    Ok(()) => self.become_guest(filter, mask),
                    // The tracer gave up.
                    Err(_) => exit(125),
                };
                let _ = File::from(report_tx).write_all(&failure.bytes());
                exit(125)
            }
            pid => Ok(Child { pid, go: go_tx.into(), report: report_rx.into() }),
        }
    }

    /// Filter, directory, exec; returns if one fails. No allocation that matters: one thread.
    pub(crate) fn become_guest(&self, filter: &[Insn], mask: &SigSet) -> Failure {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
        // SAFETY: no pointers.
        if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) } != 0 {
            return Failure { stage: Stage::Privileges, errno: errno() };
        }
        let program = FilterProgram {
            len: u16::try_from(filter.len()).unwrap_or(u16::MAX),
            filter: filter.as_ptr(),
        };
        let mode = u64::from(libc::SECCOMP_MODE_FILTER);
        // SAFETY: the program describes `filter`, which outlives the call.
        if unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } != 0 {
            return Failure { stage: Stage::Filter, errno: errno() };
        }
        crate::signals::restore(mask);
        self.become_program()
    }

    /// Directory and exec, without a filter; returns if one fails.
    pub(crate) fn become_program(&self) -> Failure {
        if let Some(dir) = &self.directory {
            // SAFETY: a C string.
            if unsafe { libc::chdir(dir.as_ptr()) } != 0 {
                let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
                return Failure { stage: Stage::Directory, errno };
            }
        }
        Failure { stage: Stage::Exec, errno: self.exec() }
    }

    /// Tries the candidates as execvp(3) does; the error if none could be run.
    fn exec(&self) -> i32 {
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        let mut answer = libc::ENOENT;
        for path in &self.candidates {
            // SAFETY: arrays of C strings that end with a null.
            unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => answer = libc::EACCES,
                Some(libc::ENOEXEC) => return self.exec_script(path, &environment),
                other => return other.unwrap_or(libc::EIO),
            }
        }
        answer
    }

    /// A script without `#!`: the shell runs it.
    fn exec_script(&self, path: &CStr, environment: &[*const libc::c_char]) -> i32 {
        let mut arguments = vec![c"sh".as_ptr(), path.as_ptr()];
        arguments.extend(pointers(&self.arguments).into_iter().skip(1));
        // SAFETY: arrays of C strings that end with a null.
        unsafe { libc::execve(c"/bin/sh".as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOEXEC)
    }
}

/// `struct sock_fprog`.
#[repr(C)]
struct FilterProgram {
    len: u16,
    filter: *const Insn,
}

impl Child {
    /// Takes the child under control and lets it go on.
    ///
    /// # Errors
    /// When ptrace is refused. The child ends then.
    pub(crate) fn seize(&mut self) -> io::Result<()> {
        ptrace::seize(self.pid)?;
        self.go.write_all(&[1])
    }

    /// What went wrong before the program ran; to be asked when the guest has ended.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        let mut bytes = [0; 5];
        self.report.read_exact(&mut bytes).ok()?;
        Failure::from_bytes(bytes)
    }
}

impl Failure {
    const fn bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [self.stage as u8, a, b, c, d]
    }

    fn from_bytes([stage, a, b, c, d]: [u8; 5]) -> Option<Self> {
        let stages =
            [Stage::Privileges, Stage::Filter, Stage::Directory, Stage::Exec, Stage::Seize];
        let stage = stages.into_iter().find(|known| *known as u8 == stage)?;
        Some(Self { stage, errno: i32::from_ne_bytes([a, b, c, d]) })
    }
}

/// The names that execvp(3) would try.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    let name = name.as_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return Ok(vec![c_string(name.to_vec())?]);
    }
    let path = path.map_or(DEFAULT_PATH, OsStr::as_bytes);
    let in_dir = |dir: &[u8]| match dir {
        b"" => c_string(name.to_vec()),
        _ => c_string([dir, b"/", name].concat()),
    };
    path.split(|&b| b == b':').map(in_dir).collect()
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// A pipe whose ends close at exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let [read, write] = fds;
    // SAFETY: just made for us.
    let read = unsafe { OwnedFd::from_raw_fd(read) };
    // SAFETY: just made for us.
    let write = unsafe { OwnedFd::from_raw_fd(write) };
    debug_assert!(read.as_raw_fd() != write.as_raw_fd(), "two ends");
    Ok((read, write))
}

/// Ends this process without running anything else.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: no pointers.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_as_execvp_does() {
        let find = |name: &str, path: Option<&str>| {
            let found = candidates(OsStr::new(name), path.map(OsStr::new)).unwrap();
            found.iter().map(|c| c.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(find("/bin/x", Some("/a")), ["/bin/x"]);
        assert_eq!(find("x", Some("/a::/b")), ["/a/x", "x", "/b/x"]);
        assert_eq!(find("x", None), ["/bin/x", "/usr/bin/x"]);
    }

    #[test]
    fn failures_travel() {
        let failure = Failure { stage: Stage::Exec, errno: libc::ENOENT };
        assert_eq!(Failure::from_bytes(failure.bytes()), Some(failure));
        assert_eq!(Failure::from_bytes([9, 0, 0, 0, 0]), None);
    }
}
