//! The minimal agents: small programs in C (`bench/agents`), compiled when a comparison needs them.
//!
//! They travel inside this program as text and are compiled in the run's directory, because one of
//! them is a way of linking, and because the machine that measures need not be the one that built.

use crate::programs::{Found, in_path};
use crate::sandbox::Sandbox;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        /// Every source with its name.
        const SOURCES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../agents/", $name)))),*];
    };
}

sources!(
    "calls.h",
    "dispatch.c",
    "fuse.c",
    "notify.c",
    "preload.c",
    "rewrite.c",
    "signals.h",
    "symbols.h",
    "trace.c",
    "trap.c",
    "worker.c",
    "wrap.c",
);

/// What `wrap.c` stands in for; the names of `symbols.h`.
const WRAPPED: &[&str] = &[
    "getpid",
    "read",
    "write",
    "pread",
    "pwrite",
    "open",
    "openat",
    "stat",
    "lstat",
    "fstat",
    "lseek",
    "getdents64",
    "access",
    "chdir",
    "close",
];

/// The agents, compiled or not.
#[derive(Clone, Debug)]
pub(crate) struct Agents {
    built: Vec<(&'static str, Found)>,
}

impl Agents {
    /// Compiles all of them. What cannot be compiled is told when it is asked for.
    pub(crate) fn build(sandbox: &Sandbox) -> Self {
        let dir = sandbox.path("agents");
        let written = fs::create_dir_all(&dir).and_then(|()| {
            SOURCES.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))
        });
        let shared = ["-fPIC", "-shared"].as_slice();
        let wraps: Vec<String> = WRAPPED.iter().map(|name| format!("-Wl,--wrap={name}")).collect();
        let mut linked = vec!["-static", "wrap.c"];
        linked.extend(wraps.iter().map(String::as_str));
        let programs: [(&str, &str, &[&str]); 10] = [
            ("worker", "worker.c", &[]),
            ("static", "worker.c", &["-static"]),
            ("wrapped", "worker.c", &linked),
            ("preload", "preload.c", shared),
            ("rewrite", "rewrite.c", shared),
            ("dispatch", "dispatch.c", shared),
            ("trap", "trap.c", shared),
            ("trace", "trace.c", &[]),
            ("notify", "notify.c", &["-pthread"]),
            ("fuse", "fuse.c", &["-pthread"]),
        ];
        let build = |(name, source, options): (&'static str, &str, &[&str])| {
            let found = written
                .as_ref()
                .map_err(|error| format!("agents cannot be written: {error}"))
                .and_then(|()| compile(&dir, name, source, options));
            (name, found)
        };
        Self { built: programs.into_iter().map(build).collect() }
    }

    /// The program or library of a name.
    pub(crate) fn get(&self, name: &str) -> Found {
        let found = self.built.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| Err(format!("no agent {name}")), |(_, found)| found.clone())
    }
}

fn compile(dir: &Path, name: &str, source: &str, options: &[&str]) -> Found {
    if !cfg!(target_arch = "x86_64") {
        return Err("the minimal agents are written for x86-64".to_owned());
    }
    let compiler = in_path("cc")?;
    let out = dir.join(format!("agent-{name}"));
    let mut command = Command::new(compiler);
    command.current_dir(dir).args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&out).arg(source);
    command.args(options).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cc cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(out);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("error")).unwrap_or("it does not compile");
    Err(format!("{source}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapped_names_are_those_of_the_header() {
        let (_, header) = SOURCES.iter().find(|(name, _)| *name == "symbols.h").unwrap();
        let hooks = header.lines().filter_map(|line| line.trim().strip_prefix("HOOK("));
        let mut names: Vec<_> = hooks.map(|rest| rest.split(',').next().unwrap()).collect();
        names.push("close");
        assert_eq!(names, WRAPPED);
    }

    #[test]
    fn all_compile_where_there_is_a_compiler() {
        let sandbox = Sandbox::new(None).unwrap();
        let agents = Agents::build(&sandbox);
        let missing = in_path("cc").is_err();
        for (name, found) in &agents.built {
            assert!(missing || found.is_ok(), "{name}: {found:?}");
        }
        assert!(agents.get("nothing").is_err());
    }
}
