//! Holes: calls that could touch a Parrot object and have no handler.
//!
//! Every call of the kernels up to 6.18 has a row in the table. A newer number has none, and always
//! stops. If one of its arguments is a descriptor or a name of ours, it is reported, and by policy
//! let through, refused or its program ended; else it passes. Calls of other architectures are holes
//! too: nobody can read their arguments, so they are refused, or fatal.

use parrot_common::syscall::row;
use std::fmt::Write as _;

/// What happens to a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnHole {
    /// Say it and let the call happen.
    Warn,
    /// Say it and fail the call with ENOSYS.
    Refuse,
    /// Say it and end the program.
    Kill,
}

/// The kernel's name of a call.
pub(crate) fn name(nr: usize) -> String {
    row(nr).map_or_else(|| format!("call {nr}"), |row| row.name.to_owned())
}

/// How many arguments are worth showing: those of the kernel's prototype, without what only memory
/// would explain.
fn shown_arguments(nr: usize) -> usize {
    match i64::try_from(nr) {
        Ok(libc::SYS_execve | libc::SYS_chdir | libc::SYS_close | libc::SYS_rmdir) => 1,
        Ok(libc::SYS_unlink | libc::SYS_chroot | libc::SYS_fsync | libc::SYS_fchdir) => 1,
        Ok(libc::SYS_stat | libc::SYS_lstat | libc::SYS_fstat | libc::SYS_access) => 2,
        Ok(libc::SYS_mkdir | libc::SYS_rename | libc::SYS_link | libc::SYS_symlink) => 2,
        Ok(libc::SYS_execveat | libc::SYS_getcwd) => 2,
        Ok(libc::SYS_open | libc::SYS_read | libc::SYS_write | libc::SYS_lseek) => 3,
        Ok(libc::SYS_faccessat | libc::SYS_unlinkat | libc::SYS_readlink) => 3,
        Ok(libc::SYS_openat | libc::SYS_newfstatat | libc::SYS_readlinkat) => 4,
        Ok(libc::SYS_pread64 | libc::SYS_pwrite64 | libc::SYS_utimensat) => 4,
        Ok(libc::SYS_statx) => 4,
        _ => 6,
    }
}

/// `AT_FDCWD` as a register holds it, sign-extended or not.
fn is_at_fdcwd(arg: usize) -> bool {
    let low = u32::try_from(arg & 0xffff_ffff).unwrap_or(0);
    low.cast_signed() == libc::AT_FDCWD
}

/// A call as a line for people: name, arguments, and the strings among them.
pub(crate) fn describe(
    nr: usize,
    args: &[usize; 6],
    text: impl Fn(usize) -> Option<String>,
) -> String {
    let mut line = name(nr);
    line.push('(');
    for (index, arg) in args.iter().enumerate().take(shown_arguments(nr)) {
        let between = if index == 0 { "" } else { ", " };
        let shown = match text(index) {
            Some(text) => format!("{between}{text:?}"),
            None if is_at_fdcwd(*arg) => format!("{between}AT_FDCWD"),
            None if *arg < 4096 => format!("{between}{arg}"),
            None if arg.wrapping_neg() < 4096 => format!("{between}-{}", arg.wrapping_neg()),
            None => format!("{between}{arg:#x}"),
        };
        let _ = line.write_str(&shown);
    }
    line.push(')');
    line
}
