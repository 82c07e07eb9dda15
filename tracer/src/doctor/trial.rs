//! Both techniques, tried.

use super::{Finding, Level, Works};
use crate::refused::Surroundings;
use crate::watch;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What the trial's file says.
const TEXT: &str = "parrot\n";

/// Runs both on a directory that is mounted as if it were remote, below the session's base.
pub(super) fn both(base: &Path) -> (Works, Vec<Finding>) {
    let dir = base.join(format!("parrot-doctor.{}", std::process::id()));
    let made = fs::create_dir(&dir)
        .and_then(|()| fs::create_dir(dir.join("s")))
        .and_then(|()| fs::write(dir.join("file"), TEXT));
    if let Err(error) = made {
        let text = format!("{}: {error}; name another one with PARROT_TEMP_DIR", base.display());
        let none = Works { preload: false, trace: false };
        return (none, vec![Finding::new(Level::Bad, "session directory", text)]);
    }
    let (preload, trace) = (preload(&dir), trace(&dir));
    let works = Works { preload: preload.is_ok(), trace: trace.is_ok() };
    // Without one of them the other may do; without both nothing does.
    let level = if works.preload || works.trace { Level::Limited } else { Level::Bad };
    let finding = |what, good: &str, result: Result<(), String>| match result {
        Ok(()) => Finding::new(Level::Good, what, good),
        Err(text) => Finding::new(level, what, text),
    };
    let _ = fs::remove_dir_all(&dir);
    let findings = vec![
        finding("preload", "a program read a mounted file, answered by parrot-agent", preload),
        finding("trace", "a program read a mounted file, by ptrace and seccomp", trace),
    ];
    (works, findings)
}

fn preload(dir: &Path) -> Result<(), String> {
    let library = watch::library().map_err(|error| error.to_string())?;
    let mut command = Command::new("cat");
    command.env("LD_PRELOAD", library).env("PARROT_MOUNT_STRING", mount(dir));
    let result = judge(&reads(command, dir));
    // The trial's own agent: it need not wait until it is idle.
    let users = fs::read_dir(dir.join("s")).into_iter().flatten().flatten();
    for user in users {
        for session in fs::read_dir(user.path()).into_iter().flatten().flatten() {
            stop(&session.path());
        }
    }
    result
}

fn stop(session: &Path) {
    let agent =
        watch::library().ok().and_then(|library| Some(library.parent()?.join("parrot-agent")));
    if let Some(agent) = agent {
        let _ = Command::new(agent).arg("--stop").arg(session).stderr(Stdio::null()).status();
    }
}

fn trace(dir: &Path) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.arg("-M").arg(mount(dir)).args(["--", "cat"]);
    command.env_remove("LD_PRELOAD").env_remove("PARROT_MOUNT_STRING");
    judge(&reads(command, dir)).map_err(|text| {
        // Its own message says why; where there is none, the surroundings may.
        match Surroundings::look().reason() {
            Some(reason) if !text.contains(&reason) => format!("{text}; {reason}"),
            _ => text,
        }
    })
}

fn mount(dir: &Path) -> String {
    format!("/parrot-doctor=/local/-{}", dir.display())
}

fn reads(mut command: Command, dir: &Path) -> std::io::Result<Output> {
    command.arg("/parrot-doctor/file").stdin(Stdio::null());
    command.env("PARROT_TEMP_DIR", dir.join("s"));
    for name in ["PARROT_SESSION", "PARROT_TRACED", "PARROT_MOUNT_FILE"] {
        command.env_remove(name);
    }
    command.output()
}

fn judge(output: &std::io::Result<Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() && output.stdout == TEXT.as_bytes() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let text = text.trim().replace('\n', " ");
            Err(if text.is_empty() { format!("ended with {}", output.status) } else { text })
        }
        Err(error) => Err(format!("cannot run cat: {error}")),
    }
}
