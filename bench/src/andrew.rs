//! `andrew`: a developer's day on a tree of C source, after the benchmark of that name: list, scan,
//! copy, make, delete; all of it twice in one session, so that the first pass is cold and the
//! second warm.
//!
//! A round gives every contender a new session and removes what the last round left behind. The
//! place it works in is a local directory, or a server's tree seen through a mount.

use crate::engine::{Block, Cell, Contender, Layout, Row};
use crate::lab::{Common, Comparison, Lab};
use crate::micro;
use crate::peers::{self, Mount};
use crate::place::Placement;
use crate::programs::Programs;
use crate::server;
use crate::start::{Invocation, Starter};
use crate::suite::Technique;
use crate::tree;
use anyhow::Context as _;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `andrew` may be told.
#[derive(Debug, Args)]
pub(crate) struct AndrewArgs {
    #[command(flatten)]
    pub(crate) common: Common,

    /// A tree of C source with a Makefile, instead of one made for the occasion
    #[arg(long, value_name = "DIR")]
    pub(crate) tree: Option<PathBuf>,

    /// Files in the tree that is made
    #[arg(long, value_name = "N", default_value_t = FILES)]
    pub(crate) files: u64,
}

/// Files in the tree that is made.
const FILES: u64 = 300;

impl AndrewArgs {
    /// What it is told by default.
    pub(crate) fn new(common: &Common) -> Self {
        Self { common: common.clone(), tree: None, files: FILES }
    }
}

/// Where a guest sees the servers' tree. A name that no machine has.
const MOUNT: &str = "/parrot-andrew";
/// How long a phase may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// The phases of a pass: name and command; SRC and DST are put in.
const PHASES: [(&str, &str); 6] = [
    ("list", "ls -lR SRC"),
    ("scan", "grep -rc value SRC"),
    ("copy", "cp -r SRC DST"),
    ("make -j2", "make -s -C DST -j2"),
    ("make again", "make -s -C DST"),
    ("delete", "rm -rf DST"),
];

/// What `make -j2` on local files may cost.
const GOALS: [(Technique, f64); 2] = [(Technique::Preload, 1.05), (Technique::Trace, 1.6)];

const CACHES: [&str; 3] = ["open", "strict", "session"];

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run(lab: &mut Lab, args: &AndrewArgs) -> anyhow::Result<Comparison> {
    let wanted = if lab.common.quick { args.files.min(50) } else { args.files };
    let (local, export) = (lab.sandbox.path("local/tree"), lab.sandbox.path("export/tree"));
    for place in [&local, &export] {
        fs::create_dir_all(place)?;
        match &args.tree {
            Some(tree) => copy(tree, &place.join("src")),
            None => tree::write(&place.join("src"), wanted),
        }
        .context("cannot make the tree")?;
    }
    lab.sandbox.seal().context("cannot make the access lists")?;
    let files = count(&local.join("src"))?;
    let note = format!(
        "tree of {files} files; each pass: {}; cold: a session that has seen nothing, warm: the same \
         again in that session",
        PHASES.map(|(_, command)| command).join(", ")
    );
    let placements = lab.common.placements(&[Placement::Free]);
    let blocks = placements.into_iter().map(|placement| block(lab, placement)).collect();
    Comparison::run("andrew", lab.common.rounds(5, 1), vec![note], blocks)
}

/// What is run in a sequence: row and phase.
fn passes(common: &Common) -> Vec<(String, &'static str, &'static str)> {
    let rows = |pass: &'static str| {
        PHASES.iter().map(move |(name, command)| (format!("{name}, {pass}"), *name, *command))
    };
    // All of a pass is needed, whatever is shown of it.
    let all: Vec<_> = rows("cold").chain(rows("warm")).collect();
    if all.iter().any(|(row, ..)| common.wants(row)) { all } else { Vec::new() }
}

fn block(lab: &mut Lab, placement: Placement) -> Block<'static> {
    let passes = passes(&lab.common);
    let mut contenders: Vec<Contender<'static>> = Vec::new();
    let mut goals = Vec::new();
    for who in who() {
        let name = who.name();
        if !(contenders.is_empty() || lab.common.asks(&name)) {
            continue;
        }
        if let Who::Local(Some(technique)) = who {
            let goal = GOALS.iter().find(|goal| goal.0 == technique).map(|goal| goal.1);
            let row = passes.iter().position(|(row, ..)| row == "make -j2, cold");
            goals.extend(row.zip(goal).map(|(row, goal)| (row, contenders.len(), goal)));
        }
        contenders.push(match contender(lab, who, placement) {
            Ok(contender) => contender,
            Err(reason) => Contender::missing(name, reason),
        });
    }
    Block {
        title: "a developer's day".to_owned(),
        placement,
        layout: Layout::Matrix,
        warm_up: true,
        rows: passes.into_iter().map(|(row, ..)| Row::time(row)).collect(),
        contenders,
        goals,
    }
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Local files, natively or by a technique.
    Local(Option<Technique>),
    /// Local files, under a tool of [`peers::WRAPPERS`].
    Wrapped(usize),
    /// A server, by a technique, with a cache mode.
    Remote(server::Kind, Technique, &'static str),
    /// The tree mounted by `sshfs`.
    Sshfs,
    /// The tree mounted by `rclone`.
    Rclone,
    /// The stock server through the stock Parrot.
    ParrotRun,
}

/// Everybody; the baseline first.
fn who() -> Vec<Who> {
    let mut all = vec![
        Who::Local(None),
        Who::Local(Some(Technique::Control)),
        Who::Local(Some(Technique::Preload)),
        Who::Local(Some(Technique::Trace)),
    ];
    all.extend((0..peers::WRAPPERS.len()).map(Who::Wrapped));
    for kind in server::Kind::ALL {
        for technique in [Technique::Preload, Technique::Trace] {
            all.extend(CACHES.map(|cache| Who::Remote(kind, technique, cache)));
        }
    }
    all.extend([Who::ParrotRun, Who::Sshfs, Who::Rclone]);
    all
}

impl Who {
    fn name(self) -> String {
        match self {
            Self::Local(None) => "native".to_owned(),
            Self::Local(Some(technique)) => format!("{}, local", technique.word()),
            Self::Wrapped(index) => {
                let name = peers::WRAPPERS.get(index).map_or("", |wrapper| wrapper.0);
                format!("{name}, local")
            }
            Self::Remote(kind, technique, cache) => {
                format!("{}, {}, cache={cache}", technique.word(), kind.word())
            }
            Self::Sshfs => "sshfs, sftp-server".to_owned(),
            Self::Rclone => "rclone mount, webdav".to_owned(),
            Self::ParrotRun => "parrot_run, chirp_server".to_owned(),
        }
    }
}

fn contender(lab: &mut Lab, who: Who, placement: Placement) -> Result<Contender<'static>, String> {
    placement.guest_cpu()?;
    let (name, session) = (who.name(), format!("andrew-{}", placement.word()));
    let session = format!("{session}-{}", name.replace([',', ' ', '='], "-"));
    let local = lab.sandbox.path("local/tree");
    let export = lab.sandbox.path("export/tree");
    let mut invocation = Invocation::default();
    let (mut real, mut seen, mut mount) = (local.clone(), local, None);
    match who {
        Who::Local(None | Some(Technique::Control)) => {}
        Who::Local(Some(technique)) => {
            invocation = micro::under(lab, technique, &session, None)?;
        }
        Who::Wrapped(index) => {
            let (name, arguments) = peers::WRAPPERS.get(index).ok_or("no such tool")?;
            invocation.before = peers::wrapper(name, arguments)?;
        }
        Who::Remote(kind, technique, cache) => {
            let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
            let mounts = format!("{MOUNT}=/chirp/{address}/,cache={cache}");
            invocation = micro::under(lab, technique, &session, Some(&mounts))?;
            (real, seen) = (export, PathBuf::from(MOUNT).join("tree"));
        }
        Who::ParrotRun => {
            let kind = server::Kind::Stock;
            invocation.before = peers::wrapper("parrot_run", &["--"])?;
            let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
            (real, seen) = (export, PathBuf::from(format!("/chirp/{address}/tree")));
        }
        Who::Sshfs | Who::Rclone => {
            let made = match who {
                Who::Sshfs => Mount::sshfs(&export, &lab.sandbox)?,
                _ => Mount::rclone(&export, &lab.sandbox)?,
            };
            (real, seen) = (export, made.place.clone());
            mount = Some(made);
        }
    }
    let work = format!("work-{}", session.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let phases = passes(&lab.common);
    let put = |command: &str| {
        let path = |name: &str| format!("'{}'", seen.join(name).display());
        command.replace("SRC", &path("src")).replace("DST", &path(&work))
    };
    invocation.ops = phases.iter().map(|(_, name, command)| (*name, put(command))).collect();
    let starter = Starter { word: "phases", patience: PATIENCE, ..Starter::new(lab) };
    let (programs, sessions) = (lab.programs.clone(), lab.sandbox.path("s").join(&session));
    let left = real.join(&work);
    Ok(Contender::new(name.clone(), move || {
        // The mount stays as long as its contender.
        let _mounted = &mount;
        remove(&left)?;
        let cells = starter.run(&name, &invocation, placement);
        forget(&programs, &sessions);
        gone(&left, cells)
    }))
}

/// The deletion must have reached the disk, else no time of this round means anything.
fn gone(left: &Path, cells: Vec<Cell>) -> Result<Vec<Cell>, String> {
    if cells.iter().all(Result::is_ok) && left.exists() {
        return Err("rm said that the tree is gone, and it is not".to_owned());
    }
    Ok(cells)
}

/// Removes what a round that failed left behind.
fn remove(left: &Path) -> Result<(), String> {
    match fs::remove_dir_all(left) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("what the last round left cannot be removed: {error}"))
        }
        _ => Ok(()),
    }
}

/// Ends the agents of a directory of sessions, and the sessions with them.
pub(crate) fn forget(programs: &Programs, sessions: &Path) {
    let Ok(agent) = &programs.agent else { return };
    let mut command = Command::new(agent);
    command.arg("--list").env("PARROT_TEMP_DIR", sessions).stderr(Stdio::null());
    let Ok(output) = command.output() else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((dir, "running")) = line.split_once(' ') else { continue };
        let mut command = Command::new(agent);
        command.arg("--stop").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        // One that does not end now is ended with the run.
        let _ = command.status();
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp").arg("-rL").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("cp: {status}"))) }
}

fn count(dir: &Path) -> std::io::Result<u64> {
    fs::read_dir(dir)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        Ok(sum + if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_name_of_his_own() {
        let names: Vec<String> = who().into_iter().map(Who::name).collect();
        assert_eq!(names.first().map(String::as_str), Some("native"));
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
        }
    }

    #[test]
    fn a_tree_that_stays_is_a_failure() {
        let here = Path::new("/");
        assert!(gone(here, vec![Ok(1.0)]).is_err());
        assert!(gone(Path::new("/nonexistent"), vec![Ok(1.0)]).is_ok());
    }
}
