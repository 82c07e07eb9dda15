//! What the machine, the container and the user's limits allow.

use super::{Finding, Level};
use crate::refused::Surroundings;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs;
use std::path::Path;

/// A session that serves many files wants this much room, bytes.
const ROOM: u64 = 256 << 20;
/// Descriptors that a session should be allowed.
const DESCRIPTORS: u64 = 4096;

pub(super) fn look(base: &Path) -> Vec<Finding> {
    let around = Surroundings::look();
    let mut all = vec![scope(&around), seccomp(&around)];
    all.push(namespaces());
    all.push(directory(base));
    all.push(memory());
    all.push(descriptors());
    all.push(Finding::new(Level::Good, "kernel", kernel()));
    all
}

/// Who may trace whom; whether it works at all was tried.
fn scope(around: &Surroundings) -> Finding {
    let text = match (around.yama, around.tracer) {
        (_, Some(pid)) => {
            return Finding::new(
                Level::Limited,
                "ptrace scope",
                format!("process {pid} traces this one; what runs here cannot be traced again"),
            );
        }
        (None, _) => "no Yama: a user may trace all processes of his own",
        (Some(0), _) => "Yama 0: a user may trace all processes of his own",
        (Some(1), _) => "Yama 1: a process may trace its descendants, which is enough",
        (Some(2), _) => "Yama 2: only an administrator may trace",
        (Some(_), _) => "Yama 3: nobody may trace",
    };
    let level =
        if around.yama.is_some_and(|scope| scope > 1) { Level::Limited } else { Level::Good };
    Finding::new(level, "ptrace scope", text)
}

fn seccomp(around: &Surroundings) -> Finding {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let container =
        ["/.dockerenv", "/run/.containerenv"].iter().any(|name| Path::new(name).exists());
    let place = if container { "in a container, " } else { "" };
    let filtered = if around.filtered { "under a filter already" } else { "no filter yet" };
    if actions.split_whitespace().any(|action| action == "trace") {
        Finding::new(Level::Good, "seccomp", format!("{place}{filtered}"))
    } else {
        let text =
            format!("{place}{filtered}; this kernel does not say that filters can stop calls");
        Finding::new(Level::Limited, "seccomp", text)
    }
}

/// Parrot needs none; programs that make them keep working, and are told of here.
fn namespaces() -> Finding {
    let most = read("/proc/sys/user/max_user_namespaces");
    let allowed = read("/proc/sys/kernel/unprivileged_userns_clone") != "0";
    let text = if allowed && most != "0" && !most.is_empty() { "allowed" } else { "not allowed" };
    Finding::new(Level::Good, "user namespaces", format!("{text}; Parrot needs none"))
}

fn directory(base: &Path) -> Finding {
    let what = "session directory";
    let Ok(found) = statvfs(base) else {
        return Finding::new(Level::Bad, what, format!("{} cannot be looked at", base.display()));
    };
    let free = found.blocks_available() * found.fragment_size();
    let name = base.display();
    if found.flags().contains(FsFlags::ST_NOEXEC) {
        let text = format!(
            "{name} is mounted noexec: programs that lie on a server cannot be run; name another \
             directory with PARROT_TEMP_DIR or parrot-trace --tempdir"
        );
        return Finding::new(Level::Limited, what, text);
    }
    let text = format!("{name}, {} MB free, programs can be run from it", free >> 20);
    Finding::new(if free < ROOM { Level::Limited } else { Level::Good }, what, text)
}

/// Where the shadows of directories are made; a disk does as well.
fn memory() -> Finding {
    let text = match statvfs("/dev/shm") {
        Ok(found) => {
            let size = found.blocks() * found.fragment_size();
            format!("{} MB", size >> 20)
        }
        Err(_) => "none: the session directory is used instead".to_owned(),
    };
    Finding::new(Level::Good, "/dev/shm", text)
}

fn descriptors() -> Finding {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let level = if hard < DESCRIPTORS { Level::Limited } else { Level::Good };
    Finding::new(level, "descriptors", format!("{soft} for programs, {hard} for the session"))
}

fn kernel() -> String {
    format!("Linux {} on {}", read("/proc/sys/kernel/osrelease"), std::env::consts::ARCH)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
