//! The lane: a way to the kernel that a tracer's filter leaves alone.
//!
//! Under `parrot-trace` most stops would be about names that are certainly none of ours. The library
//! (which otherwise does nothing there) judges them in the program itself and makes those calls from
//! one instruction at a fixed address; the filter lets calls from this address through without a
//! stop. Everything else stops as ever: calls of code that the library is not in, names that may be
//! ours, and names that the kernel did not find, which may lead to us in ways that only the tracer's
//! full resolution sees.
//!
//! ```text
//!   open("/usr/include/x.h")  ─▶ library: plain ─▶ lane ─────────────▶ kernel
//!   open("/chirp/h/x")        ─▶ library: ours? ─▶ libc ─▶ filter: stop ─▶ tracer
//!   syscall instruction elsewhere ──────────────────────▶ filter: stop ─▶ tracer
//! ```
//!
//! So nothing depends on the lane but speed: where it cannot be made, every name call stops.

/// Where the library maps the page of the lane: below 2 GiB, where neither the loader nor the
/// sanitizers put anything.
pub const PAGE: usize = 0x7a00_0000;

/// The code at its beginning: `syscall; ret`.
pub const CODE: [u8; 3] = [0x0f, 0x05, 0xc3];

/// The instruction pointer that a filter sees: behind the `syscall`.
pub const BEHIND: u32 = 0x7a00_0002;

const _: () = assert!(BEHIND as usize == PAGE + 2, "the length of the instruction");

/// The calls that are made from it. Those that change what names mean are not: the tracer must
/// hear of them.
pub const CALLS: [libc::c_long; 14] = [
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmodat,
    libc::SYS_getcwd,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
];

/// Whether a call is one of [`CALLS`].
#[must_use]
pub fn takes(nr: usize) -> bool {
    CALLS.iter().any(|&call| usize::try_from(call) == Ok(nr))
}
