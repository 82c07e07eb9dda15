//! `parrot-trace`: runs a program with remote storage as ordinary files.
//!
//! The technique that catches calls by ptrace and seccomp. It catches every call of every program,
//! static ones included, at the price of one stop for a call that carries a name; calls on
//! descriptors of local files do not stop at all. What a call means is decided by the handlers in
//! `parrot-common`; this crate only catches calls and carries outcomes out.
//!
//! | module | holds |
//! | --- | --- |
//! | `ptrace`, `regs`, `memory` | a stopped thread: its state, registers, memory |
//! | `inject` | one caught call, and calls made in the guest instead |
//! | `filter`, `holes` | which calls stop |
//! | `guest`, `give` | the handlers' view of a stopped thread; descriptors for it |
//! | `engine`, `worker` | the loop, and threads that may wait for a remote |
//! | `process`, `follow`, `stats` | tables, the loop's processor, counters |
//! | `lane` | the library in the guest, which spares it stops |
//! | `launch`, `attach`, `signals` | the first guest's start; joining a running session; signals |
//! | `run`, `cli`, `rules`, `place` | one run: options, mountlist, the session's directory |
//! | `slips`, `elf` | `--holes`: what slips past the library; looking into program files |
//! | `doctor` | `--doctor`: what works on this machine, what catches a program |
//! | `log`, `refused` | messages |

mod attach;
mod backend;
mod cli;
mod doctor;
mod elf;
mod engine;
mod filter;
mod follow;
mod give;
mod guest;
mod holes;
mod inject;
mod lane;
mod launch;
mod log;
mod memory;
mod os;
mod place;
mod process;
mod ptrace;
mod refused;
mod regs;
mod rules;
mod run;
mod signals;
mod slips;
mod stats;
mod watch;
mod worker;

use clap::Parser as _;
use std::process::ExitCode;

/// parrot-trace itself failed.
pub(crate) const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let options = match cli::Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { OWN_FAILURE } else { 0 });
        }
    };
    match run::run(&options) {
        Ok(code) => code,
        Err(error) => {
            log::tell(&format!("{error:#}"));
            ExitCode::from(OWN_FAILURE)
        }
    }
}
