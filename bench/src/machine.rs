//! What a figure depends on: the machine, its load, the commit, the day.
//!
//! The machine is named by its processor, never by its host name.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Facts about this run.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// How many of them this process may use.
    pub(crate) cpus: usize,
    /// The kernel's version number.
    pub(crate) kernel: String,
    /// The C library, as it names itself.
    pub(crate) libc: String,
    /// Memory, MiB.
    pub(crate) memory_mib: u64,
    /// The commit of the working directory, `+` if something is changed.
    pub(crate) commit: String,
    /// Today, `YYYY-MM-DD`, UTC.
    pub(crate) date: String,
    /// The load of the last minute, before the run.
    pub(crate) load: f64,
    /// The kind of file system that the files lie on.
    pub(crate) filesystem: String,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(dir: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.split(' ').next().and_then(|text| text.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.split(|c| !number(c)).next().unwrap_or_default().to_owned(),
            libc: libc_name(),
            memory_mib: kib.unwrap_or(0) / 1024,
            commit: commit(),
            date: date(),
            load: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            filesystem: filesystem(dir, &read("/proc/self/mounts")),
        }
    }

    /// The first line of a report.
    pub(crate) fn headline(&self) -> String {
        let Self { cpu, cpus, kernel, libc, commit, date, load, filesystem, .. } = self;
        format!(
            "{date}, commit {commit}; {cpus} × {cpu}; Linux {kernel}; {libc}; files on \
             {filesystem}; load before {load}"
        )
    }

    /// A word for file names.
    pub(crate) fn word(&self) -> String {
        let mut word = String::new();
        for c in self.cpu.chars().chain(format!(" x{}", self.cpus).chars()) {
            if c.is_ascii_alphanumeric() || c == '.' {
                word.push(c.to_ascii_lowercase());
            } else if !word.ends_with('-') {
                word.push('-');
            }
        }
        word.trim_matches('-').to_owned()
    }
}

/// The value of the first line `name: value`.
fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// The kind of the mount that holds a directory.
fn filesystem(dir: &Path, mounts: &str) -> String {
    let longest = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(mount, _)| dir.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len());
    longest.map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Name and version of the C library.
fn libc_name() -> String {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown libc".into())
}

/// What git says here.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_none_or(|changed| changed.is_empty()) { "" } else { "+" };
    format!("{commit}{mark}")
}

fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    civil(now.as_secs() / 86_400)
}

/// The date of a day since 1970-01-01, in eras of 400 years that start in March.
fn civil(day: u64) -> String {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        let dates = [0, 59, 365, 11_016, 20_778].map(civil);
        assert_eq!(dates, ["1970-01-01", "1970-03-01", "1971-01-01", "2000-02-29", "2026-11-21"]);
    }

    #[test]
    fn what_is_read_from_proc() {
        assert_eq!(field("a: 1\nmodel name\t: X 9\n", "model name"), "X 9");
        assert_eq!(field("", "model name"), "unknown");
        let mounts = "d / ext4 rw 0 0\nt /dev/shm tmpfs rw 0 0\n";
        assert_eq!(filesystem(Path::new("/dev/shm/x"), mounts), "tmpfs");
        assert_eq!(filesystem(Path::new("/dev/shmx"), mounts), "ext4");
    }

    #[test]
    fn a_word_for_file_names() {
        let machine = Machine {
            cpu: "Fast(R) CPU @ 2.80GHz".into(),
            cpus: 2,
            ..Machine::look(Path::new("/"))
        };
        assert_eq!(machine.word(), "fast-r-cpu-2.80ghz-x2");
    }
}
