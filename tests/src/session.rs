//! One session: a technique, a session directory, rules; and the guests that run in it.
//!
//! Every session has a directory of its own in `PARROT_TEMP_DIR`, whose name stands in the
//! environment of every process that comes from it. At the end the agent is asked to stop, and no
//! process with that name may be left.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::dir::TempDir;
use crate::programs;
use crate::run::{self, Run, Running};

/// How long guests may take, unless a test says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long processes may take to go away at the end of a session.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long an agent may: it removes what it kept of thousands of files, on a disk that others use.
const CLEANING: Duration = Duration::from_secs(40);

/// How the guest's calls are caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Technique {
    /// Not at all.
    Native,
    /// By `libparrot.so`.
    Preload,
    /// By `parrot-trace`.
    Trace,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    technique: Technique,
    dir: TempDir,
    mounts: Vec<String>,
    env: Vec<(String, String)>,
    deadline: Duration,
    bin: PathBuf,
    user: Option<u32>,
    checked: std::cell::Cell<bool>,
}

impl Session {
    /// A session of its own.
    #[must_use]
    pub fn new(technique: Technique) -> Self {
        let dir = TempDir::new();
        for sub in ["home", "tmp", "session", "local"] {
            let _ = dir.sub(sub);
        }
        Self {
            technique,
            dir,
            mounts: Vec::new(),
            env: Vec::new(),
            deadline: DEADLINE,
            bin: programs::bin_dir(),
            user: None,
            checked: std::cell::Cell::new(false),
        }
    }

    /// Adds a rule, in the form of `-M`.
    #[must_use]
    pub fn mount(mut self, rule: &str) -> Self {
        self.mounts.push(rule.to_owned());
        self
    }

    /// Lets guests, and their agents, run as this user; only root can. The programs are copied: the
    /// user may not see where they were built.
    ///
    /// # Panics
    ///
    /// When a program is missing.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.bin = self.dir.sub("bin");
        for name in ["libparrot.so", "parrot-agent", "parrot-trace", "parrot-chirpd"] {
            std::fs::copy(programs::program(name), self.bin.join(name)).unwrap();
        }
        for name in ["home", "tmp", "session", "local"] {
            chown(self.dir.path().join(name), Some(id), Some(id)).unwrap();
        }
        self.user = Some(id);
        self
    }

    /// Sets a variable for every guest.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives guests another time to end.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The technique.
    #[must_use]
    pub fn technique(&self) -> Technique {
        self.technique
    }

    /// A plain local directory of this session: `$L`.
    #[must_use]
    pub fn local(&self) -> PathBuf {
        self.dir.path().join("local")
    }

    /// The directory in `PARROT_TEMP_DIR`.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.dir.path().join("session")
    }

    /// The directories of this session's agents: `parrot.UID/KEY`, one for each set of rules. In
    /// `TMPDIR` when they had to go there.
    #[must_use]
    pub fn agents(&self) -> Vec<PathBuf> {
        let below = |dir: &Path| {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let mut users = below(&self.directory());
        users.extend(below(&self.dir.path().join("tmp")));
        users.retain(|dir| {
            dir.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"parrot."))
        });
        users.iter().flat_map(|users| below(users)).collect()
    }

    /// The environment that every guest starts with, and nothing else.
    #[must_use]
    pub fn clean(&self, program: &Path) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new(program);
        command.env_clear().current_dir(dir);
        command.env("PATH", programs::PATH).env("HOME", dir.join("home"));
        command.env("TMPDIR", dir.join("tmp")).env("L", dir.join("local"));
        command.envs([("LANG", "C"), ("LC_ALL", "C"), ("TZ", "UTC"), ("USER", "tester")]);
        command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A Tester");
            command.env(format!("GIT_{who}_EMAIL"), "tester@example.org");
            command.env(format!("GIT_{who}_DATE"), "2020-02-02T02:02:02Z");
        }
        command.env("PARROT_TEMP_DIR", dir.join("session")).env("PARROT_TIMEOUT", "20");
        // A run of all tests may want no hole to pass: `PARROT_ON_HOLE=kill`.
        if let Some(policy) = std::env::var_os("PARROT_ON_HOLE") {
            command.env("PARROT_ON_HOLE", policy);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(id) = self.user {
            command.uid(id).gid(id);
        }
        command
    }

    /// A command line wrapped so that the technique sees it.
    ///
    /// # Panics
    ///
    /// When a product is missing.
    #[must_use]
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Command {
        let (first, rest) = words.split_first().unwrap();
        let mut command = match self.technique {
            Technique::Native => self.clean(Path::new(first)),
            Technique::Preload => {
                let mut command = self.clean(Path::new(first));
                command.env("LD_PRELOAD", self.program("libparrot.so"));
                if !self.mounts.is_empty() {
                    command.env("PARROT_MOUNT_STRING", self.mounts.join("\n"));
                }
                command
            }
            Technique::Trace => {
                let mut command = self.clean(&self.program("parrot-trace"));
                for rule in &self.mounts {
                    command.args(["-M", rule]);
                }
                command.arg("--").arg(first);
                command
            }
        };
        command.args(rest);
        command
    }

    /// A built program, as guests of this session see it.
    fn program(&self, name: &str) -> PathBuf {
        let _ = programs::program(name);
        self.bin.join(name)
    }

    /// Runs a command line.
    #[must_use]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Run {
        self.start(words).finish(self.deadline)
    }

    /// Starts a command line.
    #[must_use]
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Running {
        self.checked.set(false);
        run::start(&mut self.command(words), &[])
    }

    /// Runs a prepared command (see [`command`](Self::command)).
    #[must_use]
    pub fn run_command(&self, command: &mut Command) -> Run {
        self.checked.set(false);
        run::run(command, self.deadline)
    }

    /// Runs a script by bash.
    #[must_use]
    pub fn bash(&self, script: &str) -> Run {
        self.run(&["bash", "-c", script])
    }

    /// Stops the agent and makes sure that no process of the session is left.
    ///
    /// # Panics
    ///
    /// When one is left.
    #[track_caller]
    pub fn finish(&self) {
        let left = self.end();
        assert!(left.is_empty(), "processes are left over:\n{}", left.join("\n"));
    }

    /// Stops what is left; returns what should not have been there.
    fn end(&self) -> Vec<String> {
        if self.checked.replace(true) {
            return Vec::new();
        }
        let agent = self.bin.join("parrot-agent");
        for dir in self.agents().into_iter().filter(|_| agent.exists()) {
            let mut stop = self.clean(&agent);
            stop.arg("--stop").arg(dir);
            let _ = run::run(&mut stop, CLEANING);
        }
        let start = Instant::now();
        loop {
            let left = self.processes();
            let agent = left.iter().any(|(_, line)| line.contains("parrot-agent"));
            let patience = if agent { CLEANING } else { GOODBYE };
            if left.is_empty() || start.elapsed() >= patience {
                for (pid, _) in &left {
                    let _ = kill(*pid, Signal::SIGKILL);
                }
                return left.into_iter().map(|(pid, text)| format!("  {pid} {text}")).collect();
            }
            // Processes that are not our children give no other sign of their end.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The processes that have this session's directory in their environment or arguments.
    #[must_use]
    pub fn processes(&self) -> Vec<(Pid, String)> {
        let needle = self.dir.path().display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            if u32::try_from(pid) == Ok(std::process::id()) {
                continue;
            }
            let text = |name: &str| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let line = text("cmdline");
            if line.contains(&needle) || text("environ").contains(&needle) {
                found.push((Pid::from_raw(pid), line));
            }
        }
        found
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let left = self.end();
        if !left.is_empty() {
            let text = format!("processes are left over:\n{}", left.join("\n"));
            if std::thread::panicking() {
                eprintln!("{text}");
            } else {
                panic!("{text}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_left_over() {
        let session = Session::new(Technique::Native);
        let _ = session.bash("setsid sleep 1000 >/dev/null 2>&1 </dev/null & exit 0").code(0);
        let left = session.end();
        assert!(left.iter().any(|line| line.contains("sleep 1000")), "{left:?}");
        // Killed is not yet gone.
        let until = Instant::now() + GOODBYE;
        while !session.processes().is_empty() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(session.processes().is_empty());
    }

    #[test]
    fn environment_is_clean() {
        let session = Session::new(Technique::Native);
        let run = session.bash("echo ${CARGO_MANIFEST_DIR-none} $TZ; ls $L; test -d $HOME").code(0);
        assert_eq!(run.out(), "none UTC\n");
    }
}
