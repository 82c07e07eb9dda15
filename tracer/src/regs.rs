//! The guest's registers in the terms of a system call: number, arguments, result.
//!
//! One file per architecture below `regs/`; everything else in the tracer is independent of it.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{AUDIT_ARCH, FOREIGN_BIT, Regs};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("parrot-trace knows the registers of x86_64 only; add regs/<arch>.rs");
