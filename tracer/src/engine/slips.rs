//! Calls that slip past the library: where the loop tells [`Slips`](crate::slips::Slips) of them.

use super::Engine;
use crate::holes;
use crate::inject::Call;
use crate::ptrace::Entry;
use crate::slips::At;
use parrot_common::syscall::{Policy, row};
use parrot_common::{FdClass, Op, Outcome, Request};

impl Engine {
    /// Whether the library made this call: it knows what it does.
    pub(super) fn is_the_librarys(&mut self, call: &mut Call) -> bool {
        let Some(slips) = &mut self.slips else { return false };
        let Some(thread) = self.threads.get(&call.tid()) else { return false };
        let tgid = thread.process.tgid;
        call.regs()
            .is_some_and(|regs| slips.is_the_librarys(tgid, At { ip: regs.ip(), sp: regs.sp() }))
    }

    /// Notes a call that the kernel alone would not have answered right.
    pub(super) fn note_slip(&mut self, call: &mut Call, entry: Entry, outcome: Outcome) {
        if self.slips.is_none() || matches!(outcome, Outcome::Pass(_) | Outcome::Watch(_)) {
            return;
        }
        let tid = call.tid();
        let (Some(thread), Some(regs)) = (self.threads.get(&tid), call.regs()) else { return };
        let tgid = thread.process.tgid;
        let name = match entry.message {
            crate::filter::FOREIGN => format!("{} of another architecture", entry.nr),
            _ => holes::name(entry.nr),
        };
        let example = self.example(tid, entry);
        if let Some(slips) = &mut self.slips {
            slips.note(tgid, At { ip: regs.ip(), sp: regs.sp() }, name, || example);
        }
    }

    /// What a call is about: its first name, or what its first descriptor is.
    fn example(&mut self, tid: i32, entry: Entry) -> String {
        let Entry { nr, args, .. } = entry;
        if !row(nr).is_some_and(|row| matches!(row.policy, Policy::Fd(..)))
            && let Some(name) = args.iter().find_map(|&arg| crate::guest::text(tid, arg))
        {
            return name;
        }
        let fds: Vec<i32> = args.iter().filter_map(|&arg| i32::try_from(arg).ok()).collect();
        let shadow = self.look_at(tid, &fds).into_iter().find_map(|(fd, class)| match class {
            FdClass::Shadow { id, .. } => Some((fd, id)),
            FdClass::Plain => None,
        });
        let Some((fd, id)) = shadow else { return String::new() };
        let mut out = vec![0; 4096];
        let path =
            parrot_common::Files::call(&mut self.files, &Request::on(Op::PathOf, id), &mut out);
        match path {
            Ok(reply) => {
                out.truncate(reply.len);
                format!("{fd}={}", String::from_utf8_lossy(&out))
            }
            Err(_) => format!("descriptor {fd}"),
        }
    }
}
