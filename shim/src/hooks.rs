//! The hooks, by family, and the list of libc entries that are no system call.

mod accounts;
mod cwd;
mod data;
mod descriptor;
mod dir;
mod exec;
mod fts;
mod later;
mod launch;
mod list;
mod load;
mod meta;
mod names;
mod needed;
mod open;
mod process;
mod reopen;
mod socket;
mod spawn;
mod stat;
mod stdio;
mod temp;
mod walk;
mod wide;
mod xattr;

pub(crate) use descriptor::received;
pub(crate) use stdio::follow;

use core::ffi::c_int;

/// Entries of libc that are hooked and stand in no row of the system call table: each is written
/// in terms of calls.
pub(crate) const ENTRIES: &[&str] = &[
    // Names.
    "remove",
    "realpath",
    "__realpath_chk",
    "canonicalize_file_name",
    "lchmod",
    "pathconf",
    // Temporary names.
    "mkstemp",
    "mkstemp64",
    "mkostemp",
    "mkostemp64",
    "mkstemps",
    "mkstemps64",
    "mkostemps",
    "mkostemps64",
    "mkdtemp",
    // Directories.
    "opendir",
    "fdopendir",
    "readdir",
    "readdir64",
    "readdir_r",
    "readdir64_r",
    "closedir",
    "rewinddir",
    "seekdir",
    "telldir",
    "dirfd",
    "scandir",
    "scandir64",
    "scandirat",
    "scandirat64",
    "glob",
    "glob64",
    "ftw",
    "ftw64",
    "nftw",
    "nftw64",
    "fts_open",
    "fts64_open",
    "fts_read",
    "fts64_read",
    "fts_children",
    "fts64_children",
    "fts_close",
    "fts64_close",
    // Streams.
    "fopen",
    "fopen64",
    "freopen",
    "freopen64",
    "fdopen",
    "fclose",
    "fgetwc",
    "getwc",
    "fgetwc_unlocked",
    "getwc_unlocked",
    "getwchar",
    "getwchar_unlocked",
    "fgetws",
    "fgetws_unlocked",
    "__fgetws_chk",
    "__fgetws_unlocked_chk",
    "ungetwc",
    "fputwc",
    "putwc",
    "fputwc_unlocked",
    "putwc_unlocked",
    "fputws",
    "fputws_unlocked",
    // Descriptors.
    "posix_fallocate",
    "posix_fallocate64",
    "__fcntl64",
    "aio_read",
    "aio_read64",
    "aio_write",
    "aio_write64",
    "aio_fsync",
    "aio_fsync64",
    "lockf",
    "lockf64",
    // Processes.
    "system",
    "popen",
    "syscall",
    "posix_spawn",
    "posix_spawnp",
    "dlopen",
    "daemon",
    "forkpty",
    "login_tty",
    "pthread_cancel",
    "catopen",
    // Users and groups.
    "getpwnam",
    "getpwuid",
    "getpwnam_r",
    "getpwuid_r",
    "getpwent",
    "getpwent_r",
    "setpwent",
    "endpwent",
    "getgrnam",
    "getgrgid",
    "getgrnam_r",
    "getgrgid_r",
    "getgrent",
    "getgrent_r",
    "setgrent",
    "endgrent",
];

/// At the start of the process.
pub(crate) fn start() {
    stdio::adopt();
}

/// At the end of the process.
pub(crate) fn finish() {
    process::finish();
}

/// A descriptor or other number as a raw argument.
#[inline(always)]
pub(crate) const fn int(value: c_int) -> usize {
    (value as isize).cast_unsigned()
}

/// An offset as a raw argument.
#[inline(always)]
pub(crate) const fn long(value: i64) -> usize {
    (value as isize).cast_unsigned()
}

/// An address as a raw argument.
#[inline(always)]
pub(crate) fn at<T>(address: *const T) -> usize {
    address.expose_provenance()
}

/// The working directory as a raw argument.
pub(crate) const CWD: usize = int(libc::AT_FDCWD);

/// What every family of hooks uses.
mod prelude {
    pub(super) use super::{CWD, at, int, long};
    pub(super) use crate::dispatch::{
        self, Returned, named, named_two, on_data, on_fd, on_two, opening, slow,
    };
    pub(super) use crate::interpose::hook;
    pub(super) use crate::{c, fds, lane, memory, namespace};
    pub(super) use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
    pub(super) use libc::{AT_FDCWD, mode_t, off_t, ssize_t};
    pub(super) use syscalls::Sysno;
}
