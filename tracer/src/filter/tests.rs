//! Runs the filters in a small interpreter and compares with the table.

use super::*;
use parrot_common::syscall::TABLE;

/// What the kernel would answer to a call from an ordinary place.
fn run(code: &[Insn], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    run_at(code, arch, nr, args, 0x7fff_0000_1000)
}

/// What the kernel would answer to a call from this address.
fn run_at(code: &[Insn], arch: u32, nr: u32, args: [u64; 6], ip: u64) -> u32 {
    let mut acc = 0_u32;
    let mut at = 0;
    loop {
        let insn = code[at];
        at += 1;
        let taken = match insn.code {
            LD_ABS => {
                acc = match insn.k {
                    NR => nr,
                    ARCH => arch,
                    IP => u32::try_from(ip & 0xffff_ffff).unwrap(),
                    k if k == IP + 4 => u32::try_from(ip >> 32).unwrap(),
                    k => {
                        let arg = args[((k - ARGS) / 8) as usize];
                        let half = if (k - ARGS).is_multiple_of(8) { arg } else { arg >> 32 };
                        u32::try_from(half & 0xffff_ffff).unwrap()
                    }
                };
                continue;
            }
            JMP_JA => {
                at += insn.k as usize;
                continue;
            }
            RET => return insn.k,
            JMP_JEQ => acc == insn.k,
            JMP_JGE => acc >= insn.k,
            JMP_JSET => acc & insn.k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if taken { insn.jt } else { insn.jf });
    }
}

#[test]
fn base_follows_the_policy_of_every_row() {
    let code = base(TABLE, More::default());
    assert!(code.len() < 4096, "{} instructions", code.len());
    for row in TABLE {
        let nr = u32::try_from(row.nr).unwrap();
        let got = run(&code, AUDIT_ARCH, nr, [0; 6]);
        let want = match row.policy {
            _ if own_action(row.nr) == Some(Action::Stop) => RET_TRACE,
            Policy::Path | Policy::Always => RET_TRACE,
            Policy::Fd(..) | Policy::Pass(_) => RET_ALLOW,
            Policy::Refuse(errno) => RET_ERRNO | errno.0.unsigned_abs(),
        };
        assert_eq!(got, want, "{}", row.name);
    }
}

#[test]
fn only_the_calls_of_the_lane_pass_from_there_and_only_when_it_is_open() {
    let open = base(TABLE, More { lane: true, ..More::default() });
    let closed = base(TABLE, More::default());
    let behind = u64::from(lane::BEHIND);
    for row in TABLE {
        let nr = u32::try_from(row.nr).unwrap();
        let there = run_at(&open, AUDIT_ARCH, nr, [0; 6], behind);
        let elsewhere = run(&closed, AUDIT_ARCH, nr, [0; 6]);
        let want = if lane::takes(row.nr) { RET_ALLOW } else { elsewhere };
        assert_eq!(there, want, "{}", row.name);
        for other in [behind + 1, behind - 2, behind | 1 << 32, 0] {
            assert_eq!(run_at(&open, AUDIT_ARCH, nr, [0; 6], other), elsewhere, "{}", row.name);
        }
        assert_eq!(run_at(&closed, AUDIT_ARCH, nr, [0; 6], behind), elsewhere, "{}", row.name);
    }
}

#[test]
fn unknown_and_foreign_calls_stop() {
    let code = base(TABLE, More::default());
    assert_eq!(run(&code, AUDIT_ARCH, 9999, [0; 6]), RET_TRACE);
    let newer = u32::try_from(parrot_common::syscall::NEWER).unwrap();
    assert_eq!(run(&code, AUDIT_ARCH, newer, [0; 6]), RET_TRACE);
    assert_eq!(run(&code, 0x4000_0003, 5, [0; 6]), RET_TRACE | FOREIGN);
    assert_eq!(run(&code, AUDIT_ARCH, FOREIGN_BIT | 2, [0; 6]), RET_TRACE | FOREIGN);
    assert_eq!(run(&code, AUDIT_ARCH, u32::MAX, [0; 6]), RET_ALLOW);
}

#[test]
fn fstat_in_disguise_does_not_stop() {
    let code = base(TABLE, More::default());
    let nr = u32::try_from(libc::SYS_newfstatat).unwrap();
    let flags = |flags: i32| [3, 0, 0, u64::from(flags.unsigned_abs()), 0, 0];
    assert_eq!(run(&code, AUDIT_ARCH, nr, flags(libc::AT_EMPTY_PATH)), RET_ALLOW);
    assert_eq!(run(&code, AUDIT_ARCH, nr, flags(libc::AT_SYMLINK_NOFOLLOW)), RET_TRACE);
    let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
    let cwd = [cwd, 0, 0, u64::from(libc::AT_EMPTY_PATH.unsigned_abs()), 0, 0];
    assert_eq!(run(&code, AUDIT_ARCH, nr, cwd), RET_TRACE);
    let armed = descriptor(TABLE, Some(3), Level::Attributes);
    assert_eq!(run(&armed, AUDIT_ARCH, nr, flags(libc::AT_EMPTY_PATH)), RET_TRACE);
    assert_eq!(run(&armed, AUDIT_ARCH, nr, flags(0)), RET_ALLOW);
}

#[test]
fn descriptor_filters_test_the_number() {
    for level in [Level::Attributes, Level::Data] {
        let one = descriptor(TABLE, Some(7), level);
        let all = descriptor(TABLE, None, level);
        for row in TABLE {
            let nr = u32::try_from(row.nr).unwrap();
            let Policy::Fd(args, on) = row.policy else {
                assert_eq!(
                    run(&one, AUDIT_ARCH, nr, [7; 6]) == RET_TRACE,
                    empty_path_flags(row.nr).is_some() && 7 & libc::AT_EMPTY_PATH != 0,
                    "{}",
                    row.name
                );
                continue;
            };
            let caught = on == On::Any || level == Level::Data;
            for &arg in args {
                let mut values = [3; 6];
                values[usize::from(arg)] = 7;
                assert_eq!(run(&one, AUDIT_ARCH, nr, values) == RET_TRACE, caught, "{}", row.name);
            }
            assert_eq!(run(&one, AUDIT_ARCH, nr, [3; 6]), RET_ALLOW, "{}", row.name);
            assert_eq!(run(&all, AUDIT_ARCH, nr, [3; 6]) == RET_TRACE, caught, "{}", row.name);
        }
    }
}
