//! `blocksize`: copying a large file into remote storage and out of it, in blocks of 4 KiB to 4 MiB,
//! as in the papers' figure. The guest is `dd`, which writes as `cp` does, but with the block asked
//! for.

use crate::andrew::forget;
use crate::engine::{Block, Cell, Contender, Layout, Row, Unit};
use crate::lab::{Comparison, Lab};
use crate::micro;
use crate::peers::{self, Mount};
use crate::place::Placement;
use crate::server;
use crate::start::{Invocation, Starter};
use crate::suite::Technique;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Block sizes in KiB.
const BLOCKS: [u64; 6] = [4, 16, 64, 256, 1024, 4096];
/// How much is copied, MiB.
const SIZE: u64 = 128;
const QUICK: u64 = 8;
/// The name of the mount; no machine has it.
const MOUNT: &str = "/parrot-blocks";
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a peer may take to bring what was closed to its place; not part of any figure.
const SETTLING: Duration = Duration::from_secs(10);

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Comparison> {
    let size = lab.common.size(SIZE, QUICK) << 20;
    lab.sandbox.fill("local/copied", size).context("cannot make the file to copy")?;
    fs::create_dir_all(lab.sandbox.path("export/blocks"))?;
    lab.sandbox.seal()?;
    let note = format!(
        "{} MiB with dd; in: from a local file, until its close has returned; out: to /dev/null, in a \
         session that has not seen the file; rclone writes behind its close; by preload the agent's start is \
         in every figure",
        size >> 20
    );
    let placements = lab.common.placements(&[Placement::Free]);
    let blocks = placements.into_iter().map(|placement| block(lab, placement, size)).collect();
    Comparison::run("blocksize", lab.common.rounds(5, 1), vec![note], blocks)
}

fn block(lab: &mut Lab, placement: Placement, size: u64) -> Block<'static> {
    let steps: Vec<Step> =
        steps(lab.common.quick).into_iter().filter(|step| lab.common.wants(&step.row())).collect();
    let mut contenders: Vec<Contender<'static>> = Vec::new();
    for who in who() {
        let name = name(who);
        if !(contenders.is_empty() || lab.common.asks(&name)) {
            continue;
        }
        contenders.push(match contender(lab, who, placement, &steps, size) {
            Ok(contender) => contender,
            Err(reason) => Contender::missing(name, reason),
        });
    }
    let row = |step: &Step| Row::time(step.row()).unit(Unit::Rate).at(kib(step.block));
    Block {
        title: format!("copying {} MiB", size >> 20),
        placement,
        layout: Layout::Matrix,
        warm_up: false,
        rows: steps.iter().map(row).collect(),
        contenders,
        goals: Vec::new(),
    }
}

fn kib(block: u64) -> f64 {
    f64::from(u32::try_from(block).unwrap_or(u32::MAX))
}

/// A copy: which way, and the block in KiB.
#[derive(Clone, Copy, Debug)]
struct Step {
    into: bool,
    block: u64,
}

impl Step {
    fn row(self) -> String {
        format!("{}, {} KiB", if self.into { "copy in" } else { "copy out" }, self.block)
    }

    /// The command for a directory, as the guest sees it.
    fn command(self, local: &Path, seen: &Path) -> String {
        let (local, remote) = (local.display(), seen.join("copy"));
        let (block, remote) = (self.block, remote.display());
        match self.into {
            true => {
                format!("rm -f '{remote}'; dd if='{local}' of='{remote}' bs={block}K status=none")
            }
            false => format!("dd if='{remote}' of=/dev/null bs={block}K status=none"),
        }
    }
}

/// First all copies in, then all out.
fn steps(quick: bool) -> Vec<Step> {
    let blocks = BLOCKS.iter().filter(|block| !quick || **block != 16);
    let into = |into: bool| blocks.clone().map(move |&block| Step { into, block });
    into(true).chain(into(false)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Native,
    Remote(server::Kind, Technique, &'static str),
    ParrotRun,
    Sshfs,
    Rclone,
}

fn who() -> Vec<Who> {
    let mut all = vec![Who::Native];
    for kind in server::Kind::ALL {
        for technique in [Technique::Preload, Technique::Trace] {
            all.extend(["open", "strict"].map(|cache| Who::Remote(kind, technique, cache)));
        }
    }
    all.extend([Who::ParrotRun, Who::Sshfs, Who::Rclone]);
    all
}

fn name(who: Who) -> String {
    match who {
        Who::Native => "native".to_owned(),
        Who::Remote(kind, technique, cache) => {
            format!("{}, {}, cache={cache}", technique.word(), kind.word())
        }
        Who::ParrotRun => "parrot_run, chirp_server".to_owned(),
        Who::Sshfs => "sshfs, sftp-server".to_owned(),
        Who::Rclone => "rclone mount, webdav".to_owned(),
    }
}

fn contender(
    lab: &mut Lab,
    who: Who,
    placement: Placement,
    steps: &[Step],
    size: u64,
) -> Result<Contender<'static>, String> {
    placement.guest_cpu()?;
    let name = name(who);
    let session = format!("blocks-{}-{}", placement.word(), name.replace([',', ' ', '='], "-"));
    let export = lab.sandbox.path("export/blocks");
    let mut invocation = Invocation::default();
    let (mut seen, mut mount) = (export.clone(), None);
    match who {
        Who::Native => {}
        Who::Remote(kind, technique, cache) => {
            let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
            let mounts = format!("{MOUNT}=/chirp/{address}/blocks,cache={cache}");
            invocation = micro::under(lab, technique, &session, Some(&mounts))?;
            seen = PathBuf::from(MOUNT);
        }
        Who::ParrotRun => {
            invocation.before = peers::wrapper("parrot_run", &["--"])?;
            let kind = server::Kind::Stock;
            let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
            seen = PathBuf::from(format!("/chirp/{address}/blocks"));
        }
        Who::Sshfs | Who::Rclone => {
            let made = match who {
                Who::Sshfs => Mount::sshfs(&export, &lab.sandbox)?,
                _ => Mount::rclone(&export, &lab.sandbox)?,
            };
            seen.clone_from(&made.place);
            mount = Some(made);
        }
    }
    let local = lab.sandbox.path("local/copied");
    let starter = Starter { word: "phases", patience: PATIENCE, ..Starter::new(lab) };
    let (programs, sessions) = (lab.programs.clone(), lab.sandbox.path("s").join(&session));
    let (steps, copied) = (steps.to_vec(), export.join("copy"));
    Ok(Contender::new(name.clone(), move || {
        let _mounted = &mount;
        let mut cells = Vec::new();
        for step in &steps {
            // A session for each step, so that nothing is known from the one before.
            invocation.ops = vec![("copy", step.command(&local, &seen))];
            let ran = starter.run(&name, &invocation, placement);
            forget(&programs, &sessions);
            cells.extend(ran.into_iter().map(|cell| rate(cell, &copied, size)));
        }
        let _ = fs::remove_file(&copied);
        Ok(cells)
    }))
}

/// Megabytes a second; an error if the copy is not all there.
fn rate(cell: Cell, copied: &Path, size: u64) -> Cell {
    let ns = cell?;
    // Some peers write behind a close; that they do write is what is looked at here.
    let started = Instant::now();
    let there = || fs::metadata(copied).is_ok_and(|known| known.len() == size);
    while !there() && started.elapsed() < SETTLING {
        std::thread::sleep(Duration::from_millis(50));
    }
    match fs::metadata(copied) {
        Ok(known) if known.len() == size => {
            let mib = f64::from(u32::try_from(size >> 20).unwrap_or(u32::MAX));
            Ok(mib * 1_048_576.0 / ns * 1e3)
        }
        Ok(known) => Err(format!("the copy has {} bytes of {size}", known.len())),
        Err(error) => Err(format!("there is no copy: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_steps_are_unique() {
        let names: Vec<String> = who().into_iter().map(name).collect();
        let rows: Vec<String> = steps(false).into_iter().map(Step::row).collect();
        assert_eq!(rows.len(), 2 * BLOCKS.len());
        for all in [&names, &rows] {
            for (index, one) in all.iter().enumerate() {
                assert!(!all[..index].contains(one), "{one}");
            }
        }
    }

    #[test]
    fn half_a_copy_is_no_copy() {
        let here = std::env::current_exe().unwrap();
        assert!(rate(Ok(1e9), &here, 1 << 20).unwrap_err().contains("bytes of 1048576"));
        assert!(rate(Err("no".into()), &here, 1).is_err());
    }
}
