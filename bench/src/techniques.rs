//! `techniques` and `spawn`: what catching a call costs, and what starting a process costs, by every
//! technique there is.
//!
//! Each technique is here as a *minimal agent* that catches and changes nothing (see
//! [`crate::agents`]), and as Parrot where Parrot has it. All run the same worker in C through libc
//! (`agents/worker.c`), which first makes sure that it is caught: a technique that is not at work
//! would look fast.

use crate::agents::Agents;
use crate::engine::{Block, Cell, Contender, Layout, Row, Unit};
use crate::lab::{Common, Comparison, Lab};
use crate::micro;
use crate::place::Placement;
use crate::programs::Found;
use crate::start::{Invocation, Starter};
use crate::suite::Technique;
use anyhow::Context as _;
use clap::Args;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What `techniques` may be told.
#[derive(Debug, Args)]
pub(crate) struct TechniquesArgs {
    #[command(flatten)]
    pub(crate) common: Common,

    /// A directory on a loopback NFS mount, for the row of the remote file system
    #[arg(long, value_name = "DIR")]
    pub(crate) nfs: Option<PathBuf>,
}

/// How a worker is put under a technique.
#[derive(Clone, Copy, Debug)]
enum How {
    /// As it is.
    Native,
    /// Another program: linked differently.
    Linked(&'static str),
    /// With a library of this name preloaded.
    Library(&'static str),
    /// With the library made with `redhook` preloaded.
    Redhook,
    /// Started by an agent with these arguments.
    Agent(&'static str, &'static str),
    /// On a FUSE mount of the directory.
    Fuse(&'static str),
    /// On the NFS mount that the user named.
    Nfs,
    /// By Parrot.
    Parrot(Technique),
    /// By Parrot's tracer alone, as a static program is: every name stops.
    Stops,
}

/// One technique.
struct Way {
    name: &'static str,
    how: How,
    /// Another process or thread takes part in each call: placement decides.
    supervised: bool,
}

const fn way(name: &'static str, how: How, supervised: bool) -> Way {
    Way { name, how, supervised }
}

/// The baseline first.
const WAYS: &[Way] = &[
    way("native", How::Native, true),
    way("control: native again", How::Native, true),
    way("static", How::Linked("static"), false),
    way("static, --wrap", How::Linked("wrapped"), false),
    way("preload, C", How::Library("preload"), false),
    way("preload, redhook", How::Redhook, false),
    way("preload, PARROT", How::Parrot(Technique::Preload), false),
    way("rewriting at start", How::Library("rewrite"), false),
    way("syscall user dispatch", How::Library("dispatch"), false),
    way("seccomp trap", How::Library("trap"), false),
    way("notify, continue", How::Agent("notify", "continue"), true),
    way("notify, no sync wake-up", How::Agent("notify", "continue-late"), true),
    way("notify, ADDFD, opens only", How::Agent("notify", "addfd"), true),
    way("ptrace, two stops", How::Agent("trace", "classic"), true),
    way("ptrace + seccomp", How::Agent("trace", "seccomp"), true),
    way("trace, PARROT", How::Parrot(Technique::Trace), true),
    way("trace, PARROT, no lane", How::Stops, true),
    way("FUSE, direct", How::Fuse("direct"), true),
    way("FUSE, cached", How::Fuse("cached"), true),
    way("NFS, loopback", How::Nfs, true),
];

/// What is done: row, the worker's word, what it works on.
type Op = (&'static str, &'static str, Target);

#[derive(Clone, Copy, Debug)]
enum Target {
    Nothing,
    Data,
    Scratch,
    Directory,
    Program,
}

const CALLS: &[Op] = &[
    ("getpid", "getpid", Target::Nothing),
    ("fstat", "fstat", Target::Data),
    ("stat", "stat", Target::Data),
    ("open+close", "open", Target::Data),
    ("read 1 B", "read1", Target::Data),
    ("read 8 KiB", "read8k", Target::Data),
    ("write 8 KiB", "write8k", Target::Scratch),
    (BANDWIDTH, "read1m", Target::Data),
    ("getdents 64", "getdents", Target::Directory),
    ("fork+exec", "fork", Target::Program),
];

const STARTS: &[Op] = &[
    ("fork+exec true", "fork", Target::Program),
    ("posix_spawn true", "spawn", Target::Program),
    ("sh -c 'true; true'", "shell", Target::Program),
];

/// Told in bytes a second: how fast a file is read in blocks of 1 MiB.
const BANDWIDTH: &str = "read by 1 MiB";
const BLOCK: f64 = 1_048_576.0;

/// Runs the comparison of single calls.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run(lab: &Lab, nfs: Option<&Path>) -> anyhow::Result<Comparison> {
    let notes = [
        "worker in C through libc; minimal agents catch and count, and change nothing; PARROT: the product",
        "seccomp trap: the filter survives exec and its handler does not, so nothing can be started",
        "FUSE serves the calls on the file instead of letting them pass: getpid and fork+exec are native there",
    ];
    compare(lab, "techniques", CALLS, &notes, 10, nfs)
}

/// Runs the comparison of starting processes.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run_spawn(lab: &Lab) -> anyhow::Result<Comparison> {
    let notes =
        ["worker in C; what is started comes under the technique as well, as it does for users"];
    compare(lab, "spawn", STARTS, &notes, 10, None)
}

fn compare(
    lab: &Lab,
    name: &'static str,
    ops: &[Op],
    notes: &[&str],
    rounds: u32,
    nfs: Option<&Path>,
) -> anyhow::Result<Comparison> {
    let bench = Bench::new(lab, nfs).context("cannot make the files to work on")?;
    let ops: Vec<Op> = ops.iter().filter(|op| lab.common.wants(op.0)).copied().collect();
    let placements = lab.common.placements(&[Placement::Same, Placement::Other, Placement::Free]);
    let block = |placement| bench.block(name, placement, &ops);
    let blocks = placements.into_iter().map(block).collect();
    let mut notes: Vec<String> = notes.iter().map(|&note| note.to_owned()).collect();
    notes.push(format!("batches of {} ms, the best of three", lab.common.batch_ms));
    Comparison::run(name, lab.common.rounds(rounds, 2), notes, blocks)
}

/// What the contenders are made of.
struct Bench<'a> {
    lab: &'a Lab,
    agents: Agents,
    nfs: Option<&'a Path>,
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab, nfs: Option<&'a Path>) -> std::io::Result<Self> {
        lab.sandbox.fill_local()?;
        fs::create_dir_all(lab.sandbox.path("local/dir"))?;
        fs::create_dir_all(lab.sandbox.path("mount"))?;
        for number in 0..64 {
            fs::write(lab.sandbox.path(&format!("local/dir/entry-{number}")), "")?;
        }
        Ok(Self { lab, agents: Agents::build(&lab.sandbox), nfs })
    }

    fn block(&self, title: &str, placement: Placement, ops: &[Op]) -> Block<'static> {
        let asked = |way: &&Way| way.name == "native" || self.lab.common.asks(way.name);
        // What happens in the process alone has no other core to be on.
        let placed = |way: &&Way| way.supervised || placement != Placement::Other;
        let ways = WAYS.iter().filter(asked).filter(placed);
        Block {
            title: title.to_owned(),
            placement,
            layout: Layout::Matrix,
            warm_up: false,
            rows: ops.iter().map(row).collect(),
            contenders: ways.map(|way| self.contender(way, placement, ops)).collect(),
            goals: Vec::new(),
        }
    }

    fn contender(&self, way: &Way, placement: Placement, ops: &[Op]) -> Contender<'static> {
        let made = placement
            .guest_cpu()
            .and_then(|_| Ok((self.starter(way.how)?, self.invocation(way, placement, ops)?)));
        let (starter, invocation) = match made {
            Ok(made) => made,
            Err(reason) => return Contender::missing(way.name, reason),
        };
        let label = way.name.split([':', ',']).next().unwrap_or(way.name).to_owned();
        let rates: Vec<bool> = ops.iter().map(|op| op.0 == BANDWIDTH).collect();
        Contender::new(way.name, move || {
            let cells = starter.run(&label, &invocation, placement);
            Ok(cells.into_iter().zip(&rates).map(|(cell, rate)| bandwidth(cell, *rate)).collect())
        })
    }

    fn starter(&self, how: How) -> Result<Starter, String> {
        let worker = self.agents.get(match how {
            How::Linked(name) => name,
            _ => "worker",
        })?;
        Ok(Starter { worker, ..Starter::new(self.lab) })
    }

    /// How the worker is started, and how it sees that it is caught.
    fn invocation(
        &self,
        way: &Way,
        placement: Placement,
        ops: &[Op],
    ) -> Result<Invocation, String> {
        let mut made = Invocation::default();
        let mut expect = "answer".to_owned();
        let mut files = self.lab.sandbox.path("local");
        match way.how {
            How::Native | How::Linked("static") => "nobody".clone_into(&mut expect),
            How::Linked(_) => {}
            How::Library(name) => preload(&mut made, self.agents.get(name))?,
            How::Redhook => preload(&mut made, self.lab.programs.redhook.clone())?,
            How::Agent(name, argument) => {
                made.before = vec![self.agents.get(name)?.into(), argument.into()];
            }
            How::Fuse(argument) => {
                let mount = self.lab.sandbox.path("mount");
                made.before = vec![self.agents.get("fuse")?.into(), argument.into()];
                made.before.extend([files.clone().into(), mount.clone().into()]);
                expect = format!("fs=65735546:{}", mount.display());
                files = mount;
            }
            How::Nfs => {
                files = self.nfs_files()?;
                expect = format!("fs=6969:{}", files.display());
            }
            How::Parrot(_) | How::Stops => {
                let technique = match way.how {
                    How::Parrot(technique) => technique,
                    _ => Technique::Trace,
                };
                let session = format!("way-{}-{}", technique.word(), placement.word());
                made = micro::under(self.lab, technique, &session, None)?;
                if matches!(way.how, How::Stops) {
                    made.environment.push(("PARROT_NO_LANE", "1".into()));
                }
                expect = match technique {
                    Technique::Trace => "tracer".to_owned(),
                    _ => "libparrot.so".to_owned(),
                };
            }
        }
        made.options = vec!["--expect".to_owned(), expect];
        made.ops = ops.iter().map(|op| (op.1, self.path(op.2, &files))).collect();
        Ok(made)
    }

    /// Copies the files to the NFS mount.
    fn nfs_files(&self) -> Result<PathBuf, String> {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let able = known.lines().any(|line| line.trim_start_matches("nodev").trim() == "nfs");
        let Some(dir) = self.nfs else {
            return Err(match able {
                true => "no loopback mount was named (--nfs DIR)".to_owned(),
                false => "this kernel has no NFS client".to_owned(),
            });
        };
        let told = |error| format!("cannot write to {}: {error}", dir.display());
        fs::create_dir_all(dir.join("dir")).map_err(told)?;
        for name in ["data", "scratch"] {
            fs::copy(self.lab.sandbox.path("local").join(name), dir.join(name)).map_err(told)?;
        }
        for number in 0..64 {
            fs::write(dir.join(format!("dir/entry-{number}")), "").map_err(told)?;
        }
        Ok(dir.to_path_buf())
    }

    fn path(&self, target: Target, files: &Path) -> String {
        let path = match target {
            Target::Nothing => return String::new(),
            Target::Data => files.join("data"),
            Target::Scratch => files.join("scratch"),
            Target::Directory => files.join("dir"),
            Target::Program => self.lab.programs.nothing.clone(),
        };
        path.to_string_lossy().into_owned()
    }
}

fn preload(made: &mut Invocation, library: Found) -> Result<(), String> {
    made.environment.push(("LD_PRELOAD", OsString::from(library?)));
    Ok(())
}

fn row(op: &Op) -> Row {
    let row = Row::time(op.0);
    if op.0 == BANDWIDTH { row.unit(Unit::Rate) } else { row }
}

/// From nanoseconds for a block to megabytes a second, where that is asked.
fn bandwidth(cell: Cell, rate: bool) -> Cell {
    if rate { cell.map(|ns| BLOCK / ns * 1e3) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_baseline_is_first() {
        for (index, way) in WAYS.iter().enumerate() {
            assert!(WAYS[..index].iter().all(|other| other.name != way.name), "{}", way.name);
        }
        assert!(matches!(WAYS[0].how, How::Native));
    }

    #[test]
    fn a_gigabyte_in_a_second() {
        assert_eq!(bandwidth(Ok(BLOCK), true), Ok(1000.0));
        assert_eq!(bandwidth(Ok(5.0), false), Ok(5.0));
    }
}
