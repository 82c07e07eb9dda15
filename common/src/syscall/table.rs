//! The table. A row is: name (arguments) policy [libc symbols] => handler; "summary".
//!
//! From it come [`TABLE`] and the dispatch; the tracer's filter, the shim's checks of its symbols
//! and `docs/syscalls.md` are made from [`TABLE`]. New call = row + handler + test.

use super::{On, Policy, Row};
use crate::errno::Errno;
use crate::files::Files;
use crate::guest::Guest;
use crate::handler::{Args, Cx};
use crate::outcome::{Outcome, Reason};

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
const fn number(nr: libc::c_long) -> usize {
    nr as usize
}

macro_rules! syscalls {
    ($(
        $(#[$cfg:meta])*
        $name:ident = $nr:ident, $policy:expr, [$($symbol:literal),*] $(=> $handler:ident)?, $summary:literal;
    )*) => {
        /// All calls that are declared.
        pub static TABLE: &[Row] = &[$(
            $(#[$cfg])*
            Row {
                name: stringify!($name),
                nr: number(libc::$nr),
                policy: $policy,
                symbols: &[$($symbol),*],
                summary: $summary,
            },
        )*];

        /// Runs the handler of a call; `None` when the table has no row for it.
        pub(crate) fn dispatch<G: Guest, F: Files>(
            cx: &mut Cx<'_, G, F>,
            nr: usize,
            args: [usize; 6],
        ) -> Option<Outcome> {
            let number = i64::try_from(nr).ok()?;
            match number {
                $(
                    $(#[$cfg])*
                    libc::$nr => Some(syscalls!(@run cx, args, $policy $(, $handler)?)),
                )*
                _ => None,
            }
        }
    };
    (@run $cx:ident, $args:ident, $policy:expr, $handler:ident) => { $cx.$handler(Args($args)) };
    (@run $cx:ident, $args:ident, $policy:expr) => {
        match $policy {
            Policy::Refuse(errno) => Outcome::Fail(errno),
            _ => Outcome::Pass(Reason::Declared),
        }
    };
}

/// The row of a number.
#[must_use]
pub fn row(nr: usize) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.nr == nr)
}

/// A descriptor call on the first argument, any shadow.
const FD: Policy = Policy::Fd(&[0], On::Any);
/// A descriptor call on the first argument that needs the bytes.
const DATA: Policy = Policy::Fd(&[0], On::Served);
const PATH: Policy = Policy::Path;

syscalls! {
    // Opening.
    open = SYS_open, PATH, ["open", "open64", "__open_2", "__open64_2"] => open, "Opens a file.";
    creat = SYS_creat, PATH, ["creat", "creat64"] => creat, "Creates a file.";
    openat = SYS_openat, PATH, ["openat", "openat64", "__openat_2", "__openat64_2"] => openat, "Opens a file below a directory.";
    openat2 = SYS_openat2, PATH, ["openat2"] => openat2, "Opens a file with limits on its resolution.";

    // Data.
    read = SYS_read, DATA, ["read", "__read_chk"] => read, "Reads at the position.";
    write = SYS_write, DATA, ["write"] => write, "Writes at the position.";
    pread64 = SYS_pread64, DATA, ["pread", "pread64", "__pread_chk", "__pread64_chk"] => pread64, "Reads at an offset.";
    pwrite64 = SYS_pwrite64, DATA, ["pwrite", "pwrite64"] => pwrite64, "Writes at an offset.";
    readv = SYS_readv, DATA, ["readv"] => readv, "Reads into several buffers.";
    writev = SYS_writev, DATA, ["writev"] => writev, "Writes from several buffers.";
    preadv = SYS_preadv, DATA, ["preadv", "preadv64"] => preadv, "Reads at an offset into several buffers.";
    pwritev = SYS_pwritev, DATA, ["pwritev", "pwritev64"] => pwritev, "Writes at an offset from several buffers.";
    preadv2 = SYS_preadv2, DATA, ["preadv2", "preadv64v2"] => preadv2, "Reads with flags.";
    pwritev2 = SYS_pwritev2, DATA, ["pwritev2", "pwritev64v2"] => pwritev2, "Writes with flags.";
    lseek = SYS_lseek, DATA, ["lseek", "lseek64"] => lseek, "Moves the position.";
    sendfile = SYS_sendfile, Policy::Fd(&[0, 1], On::Served), ["sendfile", "sendfile64"] => sendfile, "Copies between descriptors.";
    copy_file_range = SYS_copy_file_range, Policy::Fd(&[0, 2], On::Served), ["copy_file_range"] => copy_file_range, "Copies between files.";
    splice = SYS_splice, Policy::Fd(&[0, 2], On::Served), ["splice"] => splice, "Moves between a file and a pipe.";
    truncate = SYS_truncate, PATH, ["truncate", "truncate64"] => truncate, "Sets a file's size by name.";
    ftruncate = SYS_ftruncate, DATA, ["ftruncate", "ftruncate64"] => ftruncate, "Sets a file's size.";
    fallocate = SYS_fallocate, DATA, ["fallocate", "fallocate64"] => fallocate, "Reserves space.";
    fadvise64 = SYS_fadvise64, DATA, ["posix_fadvise", "posix_fadvise64"] => advise, "Tells how a file will be used.";
    readahead = SYS_readahead, DATA, ["readahead"] => advise, "Reads ahead.";
    sync_file_range = SYS_sync_file_range, FD, ["sync_file_range"] => fsync, "Writes a range to the disk.";
    fsync = SYS_fsync, FD, ["fsync"] => fsync, "Brings a file to the disk.";
    fdatasync = SYS_fdatasync, FD, ["fdatasync"] => fsync, "Brings a file's data to the disk.";
    syncfs = SYS_syncfs, FD, ["syncfs"] => fsync, "Brings a file system to the disk.";
    sync = SYS_sync, Policy::Pass, ["sync"] => sync, "Brings everything to the disk.";

    // Attributes.
    stat = SYS_stat, PATH, ["stat", "stat64", "__xstat", "__xstat64"] => stat, "Tells the attributes of a name.";
    lstat = SYS_lstat, PATH, ["lstat", "lstat64", "__lxstat", "__lxstat64"] => lstat, "Tells the attributes of a name or link.";
    fstat = SYS_fstat, FD, ["fstat", "fstat64", "__fxstat", "__fxstat64"] => fstat, "Tells the attributes of a descriptor.";
    newfstatat = SYS_newfstatat, PATH, ["fstatat", "fstatat64", "__fxstatat", "__fxstatat64"] => newfstatat, "Tells attributes below a directory.";
    statx = SYS_statx, PATH, ["statx"] => statx, "Tells extended attributes of a name.";
    access = SYS_access, PATH, ["access"] => access, "Asks what may be done with a name.";
    faccessat = SYS_faccessat, PATH, ["faccessat"] => faccessat, "Asks below a directory.";
    faccessat2 = SYS_faccessat2, PATH, ["euidaccess", "eaccess"] => faccessat2, "Asks below a directory, with flags.";
    statfs = SYS_statfs, PATH, ["statfs", "statfs64", "statvfs", "statvfs64"] => statfs, "Tells about a file system by name.";
    fstatfs = SYS_fstatfs, FD, ["fstatfs", "fstatfs64", "fstatvfs", "fstatvfs64"] => fstatfs, "Tells about a file system.";
    chmod = SYS_chmod, PATH, ["chmod"] => chmod, "Sets permission bits by name.";
    fchmod = SYS_fchmod, FD, ["fchmod"] => fchmod, "Sets permission bits.";
    fchmodat = SYS_fchmodat, PATH, ["fchmodat"] => fchmodat, "Sets permission bits below a directory.";
    fchmodat2 = SYS_fchmodat2, PATH, ["fchmodat2"] => fchmodat2, "Sets permission bits below a directory, with flags.";
    chown = SYS_chown, PATH, ["chown"] => chown, "Sets the owner by name.";
    lchown = SYS_lchown, PATH, ["lchown"] => lchown, "Sets the owner of a name or link.";
    fchown = SYS_fchown, FD, ["fchown"] => fchown, "Sets the owner.";
    fchownat = SYS_fchownat, PATH, ["fchownat"] => fchownat, "Sets the owner below a directory.";
    utime = SYS_utime, PATH, ["utime"] => utime, "Sets times in seconds.";
    utimes = SYS_utimes, PATH, ["utimes"] => utimes, "Sets times in microseconds.";
    futimesat = SYS_futimesat, PATH, ["futimesat"] => futimesat, "Sets times below a directory.";
    utimensat = SYS_utimensat, PATH, ["utimensat", "futimens", "futimes", "lutimes"] => utimensat, "Sets times in nanoseconds.";
    getxattr = SYS_getxattr, PATH, ["getxattr"] => getxattr, "Reads an extended attribute.";
    lgetxattr = SYS_lgetxattr, PATH, ["lgetxattr"] => lgetxattr, "Reads an extended attribute of a name or link.";
    fgetxattr = SYS_fgetxattr, FD, ["fgetxattr"] => fgetxattr, "Reads an extended attribute of a descriptor.";
    setxattr = SYS_setxattr, PATH, ["setxattr"] => setxattr, "Sets an extended attribute.";
    lsetxattr = SYS_lsetxattr, PATH, ["lsetxattr"] => lsetxattr, "Sets an extended attribute of a name or link.";
    fsetxattr = SYS_fsetxattr, FD, ["fsetxattr"] => fsetxattr, "Sets an extended attribute of a descriptor.";
    listxattr = SYS_listxattr, PATH, ["listxattr"] => listxattr, "Lists extended attributes.";
    llistxattr = SYS_llistxattr, PATH, ["llistxattr"] => llistxattr, "Lists extended attributes of a name or link.";
    flistxattr = SYS_flistxattr, FD, ["flistxattr"] => flistxattr, "Lists extended attributes of a descriptor.";
    removexattr = SYS_removexattr, PATH, ["removexattr"] => removexattr, "Removes an extended attribute.";
    lremovexattr = SYS_lremovexattr, PATH, ["lremovexattr"] => lremovexattr, "Removes an extended attribute of a name or link.";
    fremovexattr = SYS_fremovexattr, FD, ["fremovexattr"] => fremovexattr, "Removes an extended attribute of a descriptor.";

    // Names.
    mkdir = SYS_mkdir, PATH, ["mkdir"] => mkdir, "Makes a directory.";
    mkdirat = SYS_mkdirat, PATH, ["mkdirat"] => mkdirat, "Makes a directory below a directory.";
    rmdir = SYS_rmdir, PATH, ["rmdir"] => rmdir, "Removes a directory.";
    unlink = SYS_unlink, PATH, ["unlink"] => unlink, "Removes a name.";
    unlinkat = SYS_unlinkat, PATH, ["unlinkat"] => unlinkat, "Removes a name below a directory.";
    rename = SYS_rename, PATH, ["rename"] => rename, "Renames.";
    renameat = SYS_renameat, PATH, ["renameat"] => renameat, "Renames below directories.";
    renameat2 = SYS_renameat2, PATH, ["renameat2"] => renameat2, "Renames, with flags.";
    link = SYS_link, PATH, ["link"] => link, "Makes a hard link.";
    linkat = SYS_linkat, PATH, ["linkat"] => linkat, "Makes a hard link below directories.";
    symlink = SYS_symlink, PATH, ["symlink"] => symlink, "Makes a symbolic link.";
    symlinkat = SYS_symlinkat, PATH, ["symlinkat"] => symlinkat, "Makes a symbolic link below a directory.";
    readlink = SYS_readlink, PATH, ["readlink", "__readlink_chk"] => readlink, "Reads a symbolic link.";
    readlinkat = SYS_readlinkat, PATH, ["readlinkat", "__readlinkat_chk"] => readlinkat, "Reads a symbolic link below a directory.";
    mknod = SYS_mknod, PATH, ["mknod", "__xmknod"] => mknod, "Makes a node.";
    mknodat = SYS_mknodat, PATH, ["mknodat", "__xmknodat", "mkfifo", "mkfifoat"] => mknodat, "Makes a node below a directory.";

    // Directories.
    getdents = SYS_getdents, FD, [] => getdents, "Lists a directory, the old form.";
    getdents64 = SYS_getdents64, FD, ["getdents64"] => getdents64, "Lists a directory.";
    chdir = SYS_chdir, PATH, ["chdir"] => chdir, "Changes the working directory.";
    fchdir = SYS_fchdir, FD, ["fchdir"] => fchdir, "Changes the working directory to a descriptor.";
    getcwd = SYS_getcwd, Policy::Always, ["getcwd", "__getcwd_chk", "getwd", "get_current_dir_name"] => getcwd, "Tells the working directory.";
    chroot = SYS_chroot, PATH, ["chroot"] => chroot, "Changes the root directory; refused on remote ones.";

    // Descriptors.
    close = SYS_close, FD, ["close"] => close, "Closes a descriptor; a flush for what was written.";
    close_range = SYS_close_range, Policy::Always, ["close_range", "closefrom"] => close_range, "Closes many descriptors.";
    dup = SYS_dup, FD, ["dup"] => dup, "Duplicates a descriptor.";
    dup2 = SYS_dup2, Policy::Fd(&[0, 1], On::Any), ["dup2"] => dup2, "Duplicates a descriptor to a number.";
    dup3 = SYS_dup3, Policy::Fd(&[0, 1], On::Any), ["dup3"] => dup2, "Duplicates a descriptor to a number, with flags.";
    fcntl = SYS_fcntl, FD, ["fcntl", "fcntl64"] => fcntl, "Controls a descriptor.";
    ioctl = SYS_ioctl, FD, ["ioctl"] => ioctl, "Controls a device; clones of shadows are refused.";
    recvmsg = SYS_recvmsg, Policy::Always, ["recvmsg"] => recvmsg, "Receives a message, perhaps with descriptors.";
    flock = SYS_flock, FD, ["flock"] => flock, "Locks a file: the kernel locks the shadow, within the session.";
    mmap = SYS_mmap, Policy::Fd(&[4], On::Any), ["mmap", "mmap64"] => mmap, "Maps a file.";

    // Programs.
    execve = SYS_execve, Policy::Always, ["execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle"] => execve, "Runs a program.";
    execveat = SYS_execveat, Policy::Always, ["execveat", "fexecve"] => execveat, "Runs a program below a directory.";

    // Names that the kernel keeps: only local ones can be.
    acct = SYS_acct, PATH, ["acct"] => local_only, "Names the accounting file.";
    swapon = SYS_swapon, PATH, ["swapon"] => local_only, "Names a swap file.";
    swapoff = SYS_swapoff, PATH, ["swapoff"] => local_only, "Ends the use of a swap file.";

    // Watching.
    inotify_add_watch = SYS_inotify_add_watch, PATH, ["inotify_add_watch"] => inotify_add_watch, "Watches a name; ENOSPC on remote ones, so that programs poll.";

    // Holes until they are handled.
    io_uring_setup = SYS_io_uring_setup, Policy::Refuse(Errno::ENOSYS), [], "Opens and reads without calls: refused, programs fall back.";
    io_uring_enter = SYS_io_uring_enter, Policy::Refuse(Errno::ENOSYS), [], "As io_uring_setup.";
    io_uring_register = SYS_io_uring_register, Policy::Refuse(Errno::ENOSYS), [], "As io_uring_setup.";
}

#[cfg(test)]
mod tests {
    use super::{On, Policy, TABLE};
    use std::fmt::Write;

    fn policy(policy: Policy) -> String {
        match policy {
            Policy::Path => "by name".into(),
            Policy::Fd(_, On::Any) => "on any shadow".into(),
            Policy::Fd(_, On::Served) => "on served shadows and directories".into(),
            Policy::Always => "always".into(),
            Policy::Pass => "passes".into(),
            Policy::Refuse(errno) => format!("refused: {errno}"),
        }
    }

    /// `docs/syscalls.md` is written from the table: `UPDATE_DOCS=1 cargo test -p parrot-common`.
    #[test]
    fn the_table_of_the_docs_is_this_one() {
        let mut text = String::from(
            "# System calls\n\nWritten from `common/src/syscall/table.rs`; do not edit. *Caught* \
             says when a call is looked at: by the\nname it carries, by a descriptor that is a \
             shadow, always, or never.\n\n| call | caught | libc symbols | what it does |\n\
             | --- | --- | --- | --- |\n",
        );
        let mut rows: Vec<_> = TABLE.iter().collect();
        rows.sort_by_key(|row| row.name);
        for row in rows {
            let symbols: Vec<_> = row.symbols.iter().map(|s| format!("`{s}`")).collect();
            let (symbols, policy) = (symbols.join(" "), policy(row.policy));
            writeln!(text, "| `{}` | {policy} | {symbols} | {} |", row.name, row.summary).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/syscalls.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(there, text, "docs/syscalls.md is stale: UPDATE_DOCS=1 cargo test");
    }

    #[test]
    fn numbers_and_symbols_are_unique_and_summaries_are_sentences() {
        let mut numbers: Vec<_> = TABLE.iter().map(|row| row.nr).collect();
        let mut symbols: Vec<_> = TABLE.iter().flat_map(|row| row.symbols).collect();
        numbers.sort_unstable();
        symbols.sort_unstable();
        assert!(numbers.is_sorted_by(|a, b| a < b), "a number stands twice");
        assert!(symbols.is_sorted_by(|a, b| a < b), "a symbol stands twice");
        for row in TABLE {
            assert!(row.summary.ends_with('.'), "{}", row.name);
            assert_eq!(syscalls::Sysno::new(row.nr).map(|s| s.name()), Some(row.name));
        }
    }
}
