//! `scale`: how cost grows with the number of guests on one agent, of entries in a directory, with
//! the size of a file, with the number of mounts in the list.

use crate::andrew::forget;
use crate::engine::{Block, Cell, Contender, Layout, Row};
use crate::lab::{Comparison, Lab};
use crate::micro;
use crate::place::Placement;
use crate::server;
use crate::start::{Invocation, Starter};
use crate::suite::Technique;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the mount; no machine has it.
const MOUNT: &str = "/parrot-scale";
const PATIENCE: Duration = Duration::from_secs(600);

/// A command by size: row, size, command. In a command DIR is the directory, N the size.
type Step = (String, f64, String);

/// Which axis: the numbers in earnest, how many of them quickly, and the commands by name.
struct Axis {
    title: &'static str,
    sizes: &'static [u64],
    quick: usize,
    commands: &'static [(&'static str, &'static str)],
}

const AXES: [Axis; 3] = [
    Axis {
        title: "guests at once on one agent",
        sizes: &[1, 10, 100, 1000],
        quick: 2,
        commands: &[(
            "all of them read a file",
            "i=0; while [ $i -lt N ]; do cat DIR/guests/$((i % 10)) >/dev/null & i=$((i + 1)); done; wait",
        )],
    },
    Axis {
        title: "entries of a directory",
        sizes: &[1, 100, 10_000, 100_000, 1_000_000],
        quick: 2,
        commands: &[
            ("ls -U", "ls -U DIR/entries-N"),
            ("ls -l", "ls -l DIR/entries-N"),
            ("stat of one", "stat DIR/entries-N/0"),
        ],
    },
    Axis {
        title: "bytes of a file",
        sizes: &[1, 10_000, 1_000_000, 100_000_000, 10_000_000_000],
        quick: 3,
        commands: &[
            ("its first byte", "head -c 1 DIR/bytes-N"),
            ("its last byte", "tail -c 1 DIR/bytes-N"),
            ("100 MB of it", "head -c 100000000 DIR/bytes-N"),
        ],
    },
];

/// Mounts in the list.
const MOUNTS: [u32; 3] = [1, 10, 100];

/// Runs the comparison.
///
/// # Errors
/// The tool's own trouble.
pub(crate) fn run(lab: &mut Lab) -> anyhow::Result<Comparison> {
    make_files(lab).context("cannot make the files to work on")?;
    let notes = vec![
        "every figure is the whole command's time, in a session that has seen nothing; native: the \
         directory that the server serves; by preload the agent's start is in every figure, by trace \
         the tracer's is in none"
            .to_owned(),
        "files of 100 MB and more are holes".to_owned(),
    ];
    let mut blocks = Vec::new();
    for placement in lab.common.placements(&[Placement::Free]) {
        for axis in &AXES {
            blocks.push(block(lab, axis, placement));
        }
        blocks.push(mounts(lab, placement));
    }
    Comparison::run("scale", lab.common.rounds(5, 1), notes, blocks)
}

fn sizes(lab: &Lab, axis: &Axis) -> Vec<u64> {
    let many = if lab.common.quick { axis.quick } else { axis.sizes.len() };
    axis.sizes.iter().take(many).copied().collect()
}

fn make_files(lab: &Lab) -> std::io::Result<()> {
    let dir = lab.sandbox.path("export/scale");
    fs::create_dir_all(dir.join("guests"))?;
    for number in 0..10 {
        fs::write(dir.join(format!("guests/{number}")), vec![b'x'; 4096])?;
    }
    for axis in &AXES {
        let wanted = axis.commands.iter().any(|(name, _)| lab.common.wants(name));
        for size in sizes(lab, axis).into_iter().filter(|_| wanted) {
            match axis.title {
                "entries of a directory" => {
                    let entries = dir.join(format!("entries-{size}"));
                    fs::create_dir_all(&entries)?;
                    for number in 0..size {
                        fs::File::create(entries.join(number.to_string()))?;
                    }
                }
                "bytes of a file" => {
                    let file = fs::File::create(dir.join(format!("bytes-{size}")))?;
                    file.set_len(size)?;
                }
                _ => {}
            }
        }
    }
    lab.sandbox.seal()
}

fn number(size: u64) -> f64 {
    // Exact up to 2^53; an axis needs less.
    size.to_string().parse().unwrap_or(f64::MAX)
}

fn short(size: u64) -> String {
    match size {
        n if n >= 1_000_000_000 => format!("{}G", n / 1_000_000_000),
        n if n >= 1_000_000 => format!("{}M", n / 1_000_000),
        n if n >= 1000 => format!("{}k", n / 1000),
        n => n.to_string(),
    }
}

fn steps(lab: &Lab, axis: &Axis) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, command) in axis.commands {
        for size in sizes(lab, axis) {
            let row = format!("{name}, {}", short(size));
            if lab.common.wants(&row) {
                steps.push((row, number(size), command.replace('N', &size.to_string())));
            }
        }
    }
    steps
}

/// Native, and each technique over our server.
fn block(lab: &mut Lab, axis: &Axis, placement: Placement) -> Block<'static> {
    let steps = steps(lab, axis);
    let mut contenders: Vec<Contender<'static>> = Vec::new();
    for technique in [None, Some(Technique::Preload), Some(Technique::Trace)] {
        let name = technique.map_or("native", Technique::word);
        if technique.is_some() && !lab.common.asks(name) {
            continue;
        }
        let made = contender(lab, technique, placement, &steps, axis.title);
        contenders.push(made.unwrap_or_else(|reason| Contender::missing(name, reason)));
    }
    Block {
        title: axis.title.to_owned(),
        placement,
        layout: Layout::List,
        warm_up: false,
        rows: steps.into_iter().map(|(row, x, _)| Row::time(row).at(x)).collect(),
        contenders,
        goals: Vec::new(),
    }
}

fn contender(
    lab: &mut Lab,
    technique: Option<Technique>,
    placement: Placement,
    steps: &[Step],
    title: &str,
) -> Result<Contender<'static>, String> {
    placement.guest_cpu()?;
    let name = technique.map_or("native", Technique::word);
    let title = title.replace(' ', "-");
    let session = format!("scale-{title}-{name}-{}", placement.word());
    let mut dir = lab.sandbox.path("export/scale");
    let mut invocation = Invocation::default();
    if let Some(technique) = technique {
        let kind = server::Kind::Ours;
        let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
        let mounts = format!("{MOUNT}=/chirp/{address}/scale");
        invocation = micro::under(lab, technique, &session, Some(&mounts))?;
        dir = PathBuf::from(MOUNT);
    }
    let starter = Starter { word: "phases", patience: PATIENCE, ..Starter::new(lab) };
    let (programs, sessions) = (lab.programs.clone(), lab.sandbox.path("s").join(&session));
    let commands: Vec<String> = steps.iter().map(|step| put(&step.2, &dir)).collect();
    Ok(Contender::new(name, move || {
        let mut cells: Vec<Cell> = Vec::new();
        for command in &commands {
            invocation.ops = vec![("command", command.clone())];
            cells.extend(starter.run(name, &invocation, placement));
            forget(&programs, &sessions);
        }
        Ok(cells)
    }))
}

fn put(command: &str, dir: &Path) -> String {
    command.replace("DIR", &dir.display().to_string())
}

/// Single calls with so many mounts in the list, the one that is used at its end.
fn mounts(lab: &mut Lab, placement: Placement) -> Block<'static> {
    let ops = [("local stat", "stat"), ("local open+close", "open"), ("remote stat", "stat")];
    let mut rows = Vec::new();
    for (name, _) in ops {
        for many in MOUNTS {
            rows.push(Row::time(format!("{name}, {many} mounts")).at(f64::from(many)));
        }
    }
    let all = rows.iter().any(|row| lab.common.wants(&row.name));
    let local = lab.sandbox.path("export/scale/guests/0").to_string_lossy().into_owned();
    let native = Invocation {
        ops: ops.iter().flat_map(|(_, op)| MOUNTS.map(|_| (*op, local.clone()))).collect(),
        ..Invocation::default()
    };
    let mut contenders = vec![micro::contender(lab, "native", placement, Ok(native))];
    for technique in [Technique::Preload, Technique::Trace] {
        if !lab.common.asks(technique.word()) {
            continue;
        }
        let name = technique.word();
        contenders.push(match mounted(lab, technique, placement, &local) {
            Ok(contender) => contender,
            Err(reason) => Contender::missing(name, reason),
        });
    }
    Block {
        title: "mounts in the list".to_owned(),
        placement,
        layout: Layout::List,
        warm_up: false,
        rows: if all { rows } else { Vec::new() },
        contenders,
        goals: Vec::new(),
    }
}

fn mounted(
    lab: &mut Lab,
    technique: Technique,
    placement: Placement,
    local: &str,
) -> Result<Contender<'static>, String> {
    placement.guest_cpu()?;
    let kind = server::Kind::Ours;
    let address = lab.servers.address(kind, placement, &lab.programs, &lab.sandbox)?;
    let mut ways = Vec::new();
    for many in MOUNTS {
        let others = (1..many).map(|n| format!("/parrot-other-{n}=/chirp/{address}/scale"));
        let ours = format!("{MOUNT}=/chirp/{address}/scale,cache=session");
        let list: Vec<String> = others.chain([ours]).collect();
        let session = format!("scale-mounts-{many}-{}-{}", technique.word(), placement.word());
        let mut made = micro::under(lab, technique, &session, Some(&list.join(" ")))?;
        made.ops = vec![
            ("stat", local.to_owned()),
            ("open", local.to_owned()),
            ("stat", format!("{MOUNT}/guests/0")),
        ];
        ways.push(made);
    }
    let starter = Starter::new(lab);
    Ok(Contender::new(technique.word(), move || {
        let run = |way| starter.run(technique.word(), way, placement);
        let by_list: Vec<Vec<Cell>> = ways.iter().map(run).collect();
        // From lists of operations to operations by list.
        let cell = |op: usize| by_list.iter().filter_map(move |cells| cells.get(op).cloned());
        Ok((0..3).flat_map(cell).collect())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_an_axis() {
        assert_eq!([1, 1000, 1_000_000, 10_000_000_000].map(short), ["1", "1k", "1M", "10G"]);
        assert_eq!(number(10_000_000_000), 1e10);
        assert_eq!(put("ls DIR/entries-5", Path::new("/m")), "ls /m/entries-5");
    }
}
