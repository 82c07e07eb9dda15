//! The seccomp filters, generated from the table of calls.
//!
//! The *base* filter is installed once before the guest's exec and decides by the call's number
//! (tested first, so that the kernel caches the answer for calls that never stop):
//!
//! ```text
//! foreign architecture, x32      stop (answered ENOSYS, reported)
//! Path, Always, unknown number   stop, unless made from the lane (see `parrot_common::lane`)
//! Refuse                         errno
//! Fd, Pass, harmless calls       go
//! what the tracer itself needs   stop (see `own_action`)
//! newfstatat, statx              go if AT_EMPTY_PATH is given (glibc's fstat) with a descriptor,
//!                                else stop
//! ```
//!
//! A *descriptor* filter stops the `Fd` calls whose descriptor argument is one number. One is added
//! when a shadow first appears under that number; filters are inherited and never leave, which is
//! why the number is tested. The *catch-all* stops every `Fd` call, for guests with many.

use crate::regs::{AUDIT_ARCH, FOREIGN_BIT};
use parrot_common::lane;
use parrot_common::syscall::{On, Policy, Row};

/// One BPF instruction, as `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

impl Insn {
    /// As the kernel reads it.
    pub(crate) fn bytes(self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }
}

/// The filter's message for a call of another architecture.
pub(crate) const FOREIGN: u32 = 1;

const RET_TRACE: u32 = 0x7ff0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const LD_ABS: u16 = 0x20;
const JMP_JA: u16 = 0x05;
const JMP_JEQ: u16 = 0x15;
const JMP_JGE: u16 = 0x35;
const JMP_JSET: u16 = 0x45;
const RET: u16 = 0x06;
/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
/// The instruction pointer: its low half, then (here, little-endian) the high one.
const IP: u32 = 8;
const ARGS: u32 = 16;
/// clone(2) flags with which the child would leave the tracer or its view of the file system.
const CLONE_WATCHED: u32 = libc::CLONE_UNTRACED.cast_unsigned()
    | libc::CLONE_NEWNS.cast_unsigned()
    | libc::CLONE_NEWUSER.cast_unsigned();

/// What a filter does with one number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Go,
    Stop,
    /// Stop unless made from the lane.
    StopOffLane,
    Refuse(u32),
    /// Stop unless the argument has any of the bits and the first one is a descriptor, or (if
    /// wanted) unless made from the lane.
    StopUnless(u8, u32, bool),
    /// Stop if the argument has any of the bits.
    StopIf(u8, u32),
    /// Stop if any of the arguments is the number.
    StopFd(Vec<u8>, u32),
    /// Stop if argument 0 is the number and the other has any of the bits.
    StopFdIf(u32, u8, u32),
}

/// Which descriptor calls a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Those that concern every shadow ([`On::Any`]).
    Attributes,
    /// Also those that concern data ([`On::Served`]).
    Data,
}

/// The argument of a name call that may hold `AT_EMPTY_PATH`, for the calls that libc uses as
/// fstat(2).
pub(crate) fn empty_path_flags(nr: usize) -> Option<u8> {
    match i64::try_from(nr) {
        Ok(libc::SYS_newfstatat) => Some(3),
        Ok(libc::SYS_statx) => Some(2),
        _ => None,
    }
}

/// What the tracer must see for itself: how guests would leave it or its view of files, and whether
/// somebody asks about what it did to a thread.
fn own_action(nr: usize) -> Option<Action> {
    match i64::try_from(nr) {
        Ok(libc::SYS_clone) => Some(Action::StopIf(0, CLONE_WATCHED)),
        Ok(
            libc::SYS_unshare
            | libc::SYS_setns
            | libc::SYS_sched_setaffinity
            | libc::SYS_sched_getaffinity
            | libc::SYS_ptrace,
        ) => Some(Action::Stop),
        _ => None,
    }
}

/// What a base filter stops besides what it must, and what it need not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct More {
    /// Refused calls, so that they can be reported.
    pub(crate) refused: bool,
    /// Calls on every descriptor.
    pub(crate) descriptors: bool,
    /// Listing any directory: mounts show in those that they lie in.
    pub(crate) listings: bool,
    /// Nothing that carries a name and is made from the lane.
    pub(crate) lane: bool,
}

/// The base filter.
pub(crate) fn base(table: &[Row], more: More) -> Vec<Insn> {
    let actions = actions(table, |row| match row.policy {
        _ if more.listings && i64::try_from(row.nr) == Ok(libc::SYS_getdents64) => Action::Stop,
        _ if let Some(action) = own_action(row.nr) => action,
        Policy::Path
            if let Some(arg) = empty_path_flags(row.nr)
                && !more.descriptors =>
        {
            Action::StopUnless(arg, libc::AT_EMPTY_PATH.unsigned_abs(), more.lane)
        }
        Policy::Path | Policy::Always if more.lane && lane::takes(row.nr) => Action::StopOffLane,
        Policy::Path | Policy::Always => Action::Stop,
        Policy::Fd(..) if more.descriptors => Action::Stop,
        Policy::Refuse(_) if more.refused => Action::Stop,
        Policy::Refuse(errno) => Action::Refuse(errno.0.unsigned_abs()),
        Policy::Fd(..) | Policy::Pass(_) => Action::Go,
    });
    let mut code = vec![
        load(ARCH),
        jump(JMP_JEQ, AUDIT_ARCH, 1, 0),
        ret(RET_TRACE | FOREIGN),
        load(NR),
        jump(JMP_JGE, FOREIGN_BIT, 0, 3),
        // The number -1 is no call at all: the kernel says ENOSYS.
        jump(JMP_JEQ, u32::MAX, 0, 1),
        ret(RET_ALLOW),
        ret(RET_TRACE | FOREIGN),
    ];
    code.extend(tree(&ranges(&actions, &Action::Stop)));
    code
}

/// The filter for one descriptor number, or (without one) the catch-all.
pub(crate) fn descriptor(table: &[Row], fd: Option<u32>, level: Level) -> Vec<Insn> {
    let actions = actions(table, |row| match (row.policy, fd) {
        (Policy::Fd(_, On::Served), _) if level == Level::Attributes => Action::Go,
        (Policy::Fd(args, _), Some(fd)) => Action::StopFd(args.to_vec(), fd),
        (Policy::Fd(..), None) => Action::Stop,
        (Policy::Path, _) => match (empty_path_flags(row.nr), fd) {
            (None, _) => Action::Go,
            (Some(arg), None) => Action::StopIf(arg, libc::AT_EMPTY_PATH.unsigned_abs()),
            (Some(arg), Some(fd)) => Action::StopFdIf(fd, arg, libc::AT_EMPTY_PATH.unsigned_abs()),
        },
        _ => Action::Go,
    });
    let mut code = vec![load(ARCH), jump(JMP_JEQ, AUDIT_ARCH, 1, 0), ret(RET_ALLOW), load(NR)];
    code.extend(tree(&ranges(&actions, &Action::Go)));
    code
}

fn actions(table: &[Row], action: impl Fn(&Row) -> Action) -> Vec<(u32, Action)> {
    let mut actions: Vec<_> =
        table.iter().filter_map(|row| Some((u32::try_from(row.nr).ok()?, action(row)))).collect();
    actions.sort_by_key(|(nr, _)| *nr);
    actions.dedup_by_key(|(nr, _)| *nr);
    actions
}

/// Turns single numbers into ranges (first number, action) that cover all numbers.
fn ranges(actions: &[(u32, Action)], unknown: &Action) -> Vec<(u32, Action)> {
    let mut ranges: Vec<(u32, Action)> = Vec::new();
    let mut push = |start: u32, action: &Action| {
        if ranges.last().is_none_or(|(_, last)| last != action) {
            ranges.push((start, action.clone()));
        }
    };
    let mut next = 0;
    for (nr, action) in actions {
        if *nr > next {
            push(next, unknown);
        }
        push(*nr, action);
        next = nr + 1;
    }
    push(next, unknown);
    ranges
}

/// A binary search over the ranges, with the number in the accumulator.
fn tree(ranges: &[(u32, Action)]) -> Vec<Insn> {
    match ranges {
        [] => vec![ret(RET_ALLOW)],
        [(_, action)] => leaf(action),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let middle = high.first().map_or(0, |(start, _)| *start);
            let (low, high) = (tree(low), tree(high));
            let mut code = match u8::try_from(low.len()) {
                Ok(len) => vec![jump(JMP_JGE, middle, len, 0)],
                Err(_) => {
                    let far = u32::try_from(low.len()).unwrap_or(u32::MAX);
                    vec![jump(JMP_JGE, middle, 0, 1), Insn { code: JMP_JA, jt: 0, jf: 0, k: far }]
                }
            };
            code.extend(low);
            code.extend(high);
            code
        }
    }
}

fn leaf(action: &Action) -> Vec<Insn> {
    match action {
        Action::Go => vec![ret(RET_ALLOW)],
        Action::Stop => vec![ret(RET_TRACE)],
        Action::Refuse(errno) => vec![ret(RET_ERRNO | errno)],
        Action::StopOffLane => off_lane(),
        Action::StopUnless(arg, bits, lane) => {
            // With AT_FDCWD it is the working directory that is meant.
            let cwd = libc::AT_FDCWD.cast_unsigned();
            let mut code = vec![
                load_arg(*arg),
                jump(JMP_JSET, *bits, 0, 3),
                load_arg(0),
                jump(JMP_JEQ, cwd, 1, 0),
                ret(RET_ALLOW),
            ];
            code.extend(if *lane { off_lane() } else { vec![ret(RET_TRACE)] });
            code
        }
        Action::StopIf(arg, bits) => {
            vec![load_arg(*arg), jump(JMP_JSET, *bits, 0, 1), ret(RET_TRACE), ret(RET_ALLOW)]
        }
        Action::StopFd(args, fd) => {
            let mut code = Vec::new();
            for arg in args {
                code.extend([load_arg(*arg), jump(JMP_JEQ, *fd, 0, 1), ret(RET_TRACE)]);
            }
            code.push(ret(RET_ALLOW));
            code
        }
        Action::StopFdIf(fd, arg, bits) => vec![
            load_arg(*arg),
            jump(JMP_JSET, *bits, 0, 3),
            load_arg(0),
            jump(JMP_JEQ, *fd, 0, 1),
            ret(RET_TRACE),
            ret(RET_ALLOW),
        ],
    }
}

/// Stop unless the call is made from the lane.
fn off_lane() -> Vec<Insn> {
    vec![
        load(IP),
        jump(JMP_JEQ, lane::BEHIND, 0, 2),
        load(IP + 4),
        jump(JMP_JEQ, 0, 1, 0),
        ret(RET_TRACE),
        ret(RET_ALLOW),
    ]
}

const fn load(offset: u32) -> Insn {
    Insn { code: LD_ABS, jt: 0, jf: 0, k: offset }
}

/// The low half of an argument: descriptors and flags are ints.
fn load_arg(arg: u8) -> Insn {
    load(ARGS + 8 * u32::from(arg) + if cfg!(target_endian = "big") { 4 } else { 0 })
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

const fn ret(k: u32) -> Insn {
    Insn { code: RET, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests;
