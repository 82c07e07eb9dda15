//! The lane (`parrot_common::lane`) from the tracer's side: the library in the environment of the
//! first program, and out of that of programs which it would disturb.
//!
//! Every dynamic program inherits `LD_PRELOAD`. Where the library cannot be loaded, or would be
//! noticed, the words that name it are blanked in the new program's memory at its exec, before its
//! first instruction. Such a program stops for every name.

use crate::cli::Options;
use crate::elf::Elf;
use crate::log::{self, Flag};
use crate::memory;
use crate::ptrace::Stopped;
use crate::watch;
use nix::unistd::geteuid;
use parrot_common::mountlist::{RuleKind, Table};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// More entries than any environment has.
const MAX_ENTRIES: usize = 1 << 16;
const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// The library that keeps the lane, if this run has one: everything is seen by the tracer alone when
/// each call is to be told or counted, where rules change what names of this machine mean, and where
/// the library's own name leads elsewhere.
pub(crate) fn library(options: &Options, table: &Table<'_>) -> Option<PathBuf> {
    let all = options.no_lane || options.syscall_table || options.stats_file.is_some();
    let told = [Flag::Syscall, Flag::Resolve, Flag::Hole].into_iter().any(log::on);
    if all || told || table.full() {
        return None;
    }
    let library = watch::library().ok()?;
    let found = table.lookup(library.as_os_str().as_bytes());
    let elsewhere = found.is_some_and(|found| found.rule.kind != RuleKind::Passthrough);
    (!elsewhere).then_some(library)
}

/// A value of `LD_PRELOAD` with the library in front.
pub(crate) fn preload(library: &Path, others: &OsStr) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if !others.is_empty() {
        value.push(":");
        value.push(others);
    }
    value
}

/// `LD_PRELOAD` without our own library.
pub(crate) fn without_libparrot(value: &OsStr) -> OsString {
    let kept: Vec<&[u8]> = value
        .as_bytes()
        .split(|&b| b == b' ' || b == b':')
        .filter(|path| {
            let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
            !name.is_empty() && name != b"libparrot.so"
        })
        .collect();
    OsString::from_vec(kept.join(&b':'))
}

/// Which program files take the library: device, inode and time of change of those that were
/// looked at.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    takes: HashMap<(u64, u64, i64, i64), bool>,
}

impl Lane {
    /// A process has become another program. `exe` are the program file's attributes, `foreign`
    /// whether the process sees other files than the tracer does.
    pub(crate) fn after_exec(&mut self, stopped: &Stopped, exe: &Metadata, foreign: bool) {
        let tid = stopped.tid();
        let key = (exe.dev(), exe.ino(), exe.ctime(), exe.ctime_nsec());
        let takes = *self.takes.entry(key).or_insert_with(|| takes_library(tid));
        if (!takes || foreign || is_somebody_else(tid))
            && let Ok(regs) = stopped.regs()
        {
            blank(tid, regs.sp());
        }
    }
}

/// Whether a process may not be able to read the tracer's files.
fn is_somebody_else(tid: i32) -> bool {
    let user = geteuid().as_raw();
    fs::metadata(format!("/proc/{tid}")).is_ok_and(|meta| meta.uid() != user)
}

/// Whether the program of a process can have the library in it.
fn takes_library(tid: i32) -> bool {
    Elf::open(Path::new(&format!("/proc/{tid}/exe"))).is_some_and(|elf| elf.unfit().is_none())
}

/// Takes the library's name out of the environment of a program that has not begun.
///
/// ```text
/// stack pointer ─▶ argc, arguments …, 0, environment …, 0
/// ```
fn blank(tid: i32, sp: usize) {
    let Some(argc) = memory::read_u64(tid, sp).and_then(|n| usize::try_from(n).ok()) else {
        return;
    };
    let first = argc.saturating_mul(8).saturating_add(sp + 16);
    for index in 0..MAX_ENTRIES {
        let entry = memory::read_u64(tid, first + index * 8).and_then(|n| usize::try_from(n).ok());
        let Some(entry) = entry.filter(|&entry| entry != 0) else { return };
        let mut start = [0; PRELOAD.len()];
        if memory::read(tid, entry, &mut start) != Ok(PRELOAD.len()) || start != *PRELOAD {
            continue;
        }
        let Some(text) = memory::read_text(tid, entry) else { return };
        let value = text.get(PRELOAD.len()..).unwrap_or_default();
        let mut kept = without_libparrot(OsStr::from_bytes(value)).into_vec();
        if kept.len() < value.len() {
            kept.push(0);
            let _ = memory::write(tid, entry + PRELOAD.len(), &kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_library_is_taken_out() {
        let cases = [
            ("/x/libparrot.so", ""),
            ("/x/libparrot.so:/y/other.so", "/y/other.so"),
            ("a.so /x/libparrot.so b.so", "a.so:b.so"),
        ];
        for (before, after) in cases {
            assert_eq!(without_libparrot(OsStr::new(before)), OsStr::new(after));
        }
    }

    #[test]
    fn a_new_programs_environment_is_changed_in_place() {
        let me = std::process::id().cast_signed();
        let texts = [
            &b"PATH=/bin\0"[..],
            b"LD_PRELOAD=/a/libparrot.so:/b/c.so\0",
            b"LD_PRELOADED=/a/libparrot.so\0",
        ];
        let mut texts = texts.map(<[u8]>::to_vec);
        let [path, preload, other] = texts.each_mut().map(|text| text.as_mut_ptr() as u64);
        // argc, argv[0], null, the environment, null.
        let stack = [1, path, 0, path, preload, other, 0];
        blank(me, stack.as_ptr() as usize);
        assert!(texts[1].starts_with(b"LD_PRELOAD=/b/c.so\0"));
        assert_eq!(texts[2], b"LD_PRELOADED=/a/libparrot.so\0");
    }
}
