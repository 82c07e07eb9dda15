//! What will catch a program's calls.

use super::{Finding, Level, Works};
use crate::elf::{Elf, Unfit};
use crate::watch;
use nix::unistd::{AccessFlags, access, getegid, geteuid};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Scripts that name scripts, as deep as the kernel goes.
const MAX_SCRIPTS: usize = 5;
/// Sections that the Go compiler leaves.
const GO: [&str; 2] = [".go.buildinfo", ".note.go.buildid"];
/// Libraries whose system calls are the C library's own.
const LIBC: [&str; 6] = ["libc.so", "ld-linux", "ld-musl", "libpthread", "librt.so", "linux-vdso"];

/// Looks at the program of a command line; what was found, and what to use.
pub(super) fn look(command: &[OsString], works: Works) -> (Vec<Finding>, String) {
    let mut findings = Vec::new();
    let Some(mut file) = command.first().and_then(|name| find(name)) else {
        let text = "not found here; if it lies on a server, run it under parrot-trace";
        return (vec![Finding::new(Level::Bad, "file", text)], String::new());
    };
    for _ in 0..MAX_SCRIPTS {
        let Some(next) = interpreter(&file) else { break };
        let text = format!("{} is a script of {}", file.display(), next.display());
        findings.push(Finding::new(Level::Good, "script", text));
        file = next;
    }
    let nature = nature(&file);
    findings.extend(nature.findings);
    let preload = nature.preload && works.preload;
    let trace = nature.trace && works.trace;
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let words = words.join(" ");
    let library =
        watch::library().map_or_else(|_| "libparrot.so".into(), |path| path.display().to_string());
    let advice = match (preload, trace) {
        (true, _) if nature.whole => format!("use: LD_PRELOAD={library} {words}\n"),
        (_, true) => format!("use: parrot-trace {words}\n"),
        (true, false) => format!(
            "use: LD_PRELOAD={library} {words}\n     (tracing does not work here: what it makes by \
             itself is not seen)\n"
        ),
        (false, false) => "nothing that works here catches its calls\n".to_owned(),
    };
    if !preload && !trace {
        findings.push(Finding::new(Level::Bad, "verdict", "its calls cannot be caught here"));
    }
    (findings, advice)
}

/// What a program file is.
#[derive(Debug)]
struct Nature {
    findings: Vec<Finding>,
    /// The library can be in it.
    preload: bool,
    /// The library sees all of its calls, as far as can be told.
    whole: bool,
    /// The tracer understands it.
    trace: bool,
}

fn nature(file: &Path) -> Nature {
    let mut nature = Nature { findings: Vec::new(), preload: true, whole: true, trace: true };
    let name = file.display();
    let Some(elf) = Elf::open(file) else {
        let text = format!("{name} is no program that the kernel runs by itself; a shell may");
        nature.findings.push(Finding::new(Level::Limited, "file", text));
        return nature;
    };
    let unfit = elf.unfit();
    if unfit == Some(Unfit::Architecture) {
        nature.preload = false;
        nature.trace = false;
        let text = format!("{name} is of another architecture: its calls are refused (ENOSYS)");
        nature.findings.push(Finding::new(Level::Bad, "architecture", text));
        return nature;
    }
    let loader = elf.interpreter();
    who_loads(file, unfit, &mut nature);
    who_calls(file, &elf, loader.as_deref(), &mut nature);
    if nature.findings.is_empty() {
        let text = format!("{name} is dynamic, by {}", loader.unwrap_or_default());
        nature.findings.push(Finding::new(Level::Good, "file", text));
    }
    nature
}

/// Whether the library can be in it.
fn who_loads(file: &Path, unfit: Option<Unfit>, nature: &mut Nature) {
    let mut limit = |what: &str, text: &str| {
        nature.preload = false;
        nature.findings.push(Finding::new(Level::Limited, what, text));
    };
    if is_privileged(file) {
        limit(
            "set-user-id",
            "the loader preloads nothing into it; under trace it runs without the privilege",
        );
    }
    match unfit {
        Some(Unfit::Static) => limit("static", "no library can be in it; trace catches its calls"),
        Some(Unfit::Musl) => limit(
            "musl",
            "its loader cannot load the library, which is made for glibc: with LD_PRELOAD it does not \
             start; trace catches its calls",
        ),
        Some(Unfit::Sanitizer) => limit(
            "sanitizer",
            "the address sanitizer ends the program when another library comes before it; trace \
             catches its calls",
        ),
        Some(Unfit::Architecture) | None => {}
    }
}

/// Whether it makes calls that the library cannot see.
fn who_calls(file: &Path, elf: &Elf, loader: Option<&str>, nature: &mut Nature) {
    let mut limit = |what: &str, text: String| {
        nature.whole = false;
        nature.findings.push(Finding::new(Level::Limited, what, text));
    };
    if GO.iter().any(|section| elf.has_section(section)) {
        limit("Go", "its calls are instructions of its own; trace catches them".into());
    } else if loader.is_some() {
        for (file, count) in inline_calls(file, elf, loader) {
            limit(
                "instructions",
                format!(
                    "{} has {count} system call instructions; where these are about files, trace \
                     catches them (parrot-trace --holes tells)",
                    file.display()
                ),
            );
        }
    }
}

/// The files of a dynamic program that have system call instructions, the C library's left out.
fn inline_calls(file: &Path, elf: &Elf, loader: Option<&str>) -> Vec<(PathBuf, usize)> {
    let mut found = vec![(file.to_owned(), elf.inline_calls())];
    for library in libraries(file, loader.unwrap_or_default()) {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !LIBC.iter().any(|start| name.starts_with(start))
            && let Some(elf) = Elf::open(&library)
        {
            found.push((library, elf.inline_calls()));
        }
    }
    found.retain(|(_, count)| *count > 0);
    found
}

/// The libraries that the machine's own loader finds for a program.
fn libraries(file: &Path, loader: &str) -> Vec<PathBuf> {
    if !loader.starts_with("/lib") {
        return Vec::new();
    }
    let mut command = Command::new(loader);
    command.arg("--list").arg(file).env_remove("LD_PRELOAD");
    let Ok(output) = command.output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

/// Whether the file gives whoever runs it rights that he has not.
fn is_privileged(file: &Path) -> bool {
    let Ok(meta) = fs::metadata(file) else { return false };
    let user = meta.mode() & libc::S_ISUID != 0 && meta.uid() != geteuid().as_raw();
    let group = meta.mode() & libc::S_ISGID != 0
        && meta.mode() & libc::S_IXGRP != 0
        && meta.gid() != getegid().as_raw();
    user || group
}

/// The file that a name means, along `PATH`.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Path::new(name).is_file().then(|| name.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

/// The program that runs a script; behind `env`, the one that `env` will find.
fn interpreter(file: &Path) -> Option<PathBuf> {
    let head = fs::read(file).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if program.ends_with("/env") {
        let named = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
        return find(OsStr::new(named));
    }
    Some(program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_their_programs() {
        let dir = std::env::temp_dir().join(format!("parrot-doctor-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let script = dir.join("script");
        fs::write(&script, "#!/bin/sh -e\ntrue\n").unwrap();
        assert_eq!(interpreter(&script), Some("/bin/sh".into()));
        fs::write(&script, "#!/usr/bin/env -S sh -e\ntrue\n").unwrap();
        assert_eq!(interpreter(&script), find(OsStr::new("sh")));
        fs::write(&script, "plain").unwrap();
        assert_eq!(interpreter(&script), None);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_cannot_be_caught_is_said() {
        let none = Works { preload: false, trace: false };
        let (findings, advice) = look(&["sh".into()], none);
        assert!(findings.iter().any(|finding| finding.level == Level::Bad), "{findings:?}");
        assert!(advice.contains("nothing"), "{advice}");
        let both = Works { preload: true, trace: true };
        let (findings, advice) = look(&["sh".into(), "-c".into()], both);
        assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:?}");
        assert!(advice.contains("LD_PRELOAD=") && advice.ends_with("sh -c\n"), "{advice}");
    }
}
