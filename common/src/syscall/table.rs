//! The table. A row is: name (arguments) policy [libc symbols] => handler; "summary".
//!
//! From it come [`TABLE`] and the dispatch; the tracer's filter, the shim's checks of its symbols
//! and `docs/syscalls.md` are made from [`TABLE`]. New call = row + handler + test.

use super::{On, Policy, Row, Why};
use crate::errno::Errno;
use crate::files::Files;
use crate::guest::Guest;
use crate::handler::{Args, Cx};
use crate::outcome::{Outcome, Reason};

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
const fn number(nr: libc::c_long) -> usize {
    nr as usize
}

/// The numbers: libc's, and those of calls that it does not name.
#[expect(non_upper_case_globals, reason = "as libc writes them")]
mod nr {
    pub(super) use libc::*;

    pub(super) const SYS_create_module: c_long = 174;
    pub(super) const SYS_get_kernel_syms: c_long = 177;
    pub(super) const SYS_query_module: c_long = 178;
    pub(super) const SYS_io_pgetevents: c_long = 333;
    pub(super) const SYS_uretprobe: c_long = 335;
    pub(super) const SYS_uprobe: c_long = 336;
    pub(super) const SYS_cachestat: c_long = 451;
    pub(super) const SYS_map_shadow_stack: c_long = 453;
    pub(super) const SYS_futex_wake: c_long = 454;
    pub(super) const SYS_futex_wait: c_long = 455;
    pub(super) const SYS_futex_requeue: c_long = 456;
    pub(super) const SYS_statmount: c_long = 457;
    pub(super) const SYS_listmount: c_long = 458;
    pub(super) const SYS_lsm_get_self_attr: c_long = 459;
    pub(super) const SYS_lsm_set_self_attr: c_long = 460;
    pub(super) const SYS_lsm_list_modules: c_long = 461;
    pub(super) const SYS_setxattrat: c_long = 463;
    pub(super) const SYS_getxattrat: c_long = 464;
    pub(super) const SYS_listxattrat: c_long = 465;
    pub(super) const SYS_removexattrat: c_long = 466;
    pub(super) const SYS_open_tree_attr: c_long = 467;
    pub(super) const SYS_file_getattr: c_long = 468;
    pub(super) const SYS_file_setattr: c_long = 469;
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
                nr: number(nr::$nr),
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
                    nr::$nr => Some(syscalls!(@run cx, args, $policy $(, $handler)?)),
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

/// The first number that is newer than this table (Linux 6.18). Such a call is a hole when something
/// of ours is in it.
pub const NEWER: usize = 470;

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
// Why calls pass, see [`Why`].
const NONE: Policy = Policy::Pass(Why::NoObject);
const MEMORY: Policy = Policy::Pass(Why::Memory);
const OTHER: Policy = Policy::Pass(Why::Other);
const ANSWERED: Policy = Policy::Pass(Why::Answered);
const GONE: Policy = Policy::Pass(Why::Gone);

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
    sync = SYS_sync, ANSWERED, ["sync"] => sync, "Brings everything to the disk.";

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
    setxattrat = SYS_setxattrat, PATH, [] => setxattrat, "Sets an extended attribute below a directory.";
    getxattrat = SYS_getxattrat, PATH, [] => getxattrat, "Reads an extended attribute below a directory.";
    listxattrat = SYS_listxattrat, PATH, [] => listxattrat, "Lists extended attributes below a directory.";
    removexattrat = SYS_removexattrat, PATH, [] => removexattrat, "Removes an extended attribute below a directory.";

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
    msync = SYS_msync, Policy::Always, ["msync"] => msync, "Writes a shared map back: it is on the server when this returns.";

    // Programs.
    execve = SYS_execve, Policy::Always, ["execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle"] => execve, "Runs a program.";
    execveat = SYS_execveat, Policy::Always, ["execveat", "fexecve"] => execveat, "Runs a program below a directory.";

    // Names that the kernel keeps: only local ones can be.
    acct = SYS_acct, PATH, ["acct"] => local_only, "Names the accounting file; EINVAL for a remote one.";
    swapon = SYS_swapon, PATH, ["swapon"] => local_only, "Names a swap file; EINVAL for a remote one.";
    swapoff = SYS_swapoff, PATH, ["swapoff"] => local_only, "Ends the use of a swap file.";
    uselib = SYS_uselib, PATH, [] => local_only, "Loads a library, the old way; EINVAL for a remote one.";
    mount = SYS_mount, PATH, ["mount"] => mount, "Mounts; EPERM on or from a remote name.";
    umount2 = SYS_umount2, PATH, ["umount2", "umount"] => umount2, "Unmounts; EINVAL on a remote name.";
    pivot_root = SYS_pivot_root, PATH, [] => pivot_root, "Changes the root mount; EPERM on a remote name.";
    move_mount = SYS_move_mount, PATH, [] => move_mount, "Moves a mount; EPERM on or from a remote name.";
    open_tree = SYS_open_tree, PATH, [] => mount_at, "Gives a mount's descriptor; EPERM for a remote name.";
    open_tree_attr = SYS_open_tree_attr, PATH, [] => mount_at, "Gives a mount's descriptor with attributes; EPERM for a remote name.";
    fspick = SYS_fspick, PATH, [] => mount_at, "Gives a mount to configure; EPERM for a remote name.";
    mount_setattr = SYS_mount_setattr, PATH, [] => mount_at, "Sets a mount's attributes; EPERM for a remote name.";
    fsconfig = SYS_fsconfig, PATH, [] => fsconfig, "Configures a mount; EPERM for a remote name in it.";
    quotactl = SYS_quotactl, PATH, [] => quotactl, "Manages quotas of a device; ENOTBLK for a remote name.";
    quotactl_fd = SYS_quotactl_fd, FD, [] => quotactl_fd, "Manages quotas by a descriptor; ENOSYS for a shadow.";
    name_to_handle_at = SYS_name_to_handle_at, PATH, [] => name_to_handle_at, "Gives a file's handle; EOPNOTSUPP for a remote name.";
    open_by_handle_at = SYS_open_by_handle_at, FD, [] => open_by_handle_at, "Opens a file by its handle; ESTALE with a shadow, which has none.";
    file_getattr = SYS_file_getattr, PATH, [] => file_attr, "Tells inode flags; EOPNOTSUPP for a remote name.";
    file_setattr = SYS_file_setattr, PATH, [] => file_attr, "Sets inode flags; EOPNOTSUPP for a remote name.";

    // Sockets that have the name of a file, and descriptors that arrive.
    bind = SYS_bind, PATH, ["bind"] => bind, "Names a socket; EPERM for a remote name.";
    connect = SYS_connect, PATH, ["connect"] => connect, "Connects to a named socket; ECONNREFUSED for a remote name, where none can be.";
    recvmmsg = SYS_recvmmsg, Policy::Always, ["recvmmsg"] => recvmmsg, "Receives messages, perhaps with descriptors.";
    pidfd_getfd = SYS_pidfd_getfd, Policy::Always, [] => pidfd_getfd, "Copies a descriptor of another process, perhaps a shadow.";

    // Watching.
    inotify_add_watch = SYS_inotify_add_watch, PATH, ["inotify_add_watch"] => inotify_add_watch, "Watches a name; ENOSPC on remote ones, so that programs poll.";
    fanotify_mark = SYS_fanotify_mark, PATH, [] => fanotify_mark, "Marks a name; ENODEV on remote ones, which cannot be watched.";

    // Refused whatever it is about.
    io_uring_setup = SYS_io_uring_setup, Policy::Refuse(Errno::ENOSYS), [], "Opens and reads without calls that could be seen: refused, programs fall back.";
    io_uring_enter = SYS_io_uring_enter, Policy::Refuse(Errno::ENOSYS), [], "As io_uring_setup.";
    io_uring_register = SYS_io_uring_register, Policy::Refuse(Errno::ENOSYS), [], "As io_uring_setup.";

    // Processes and threads. Filters, descriptors and the working directory are inherited, as shadows need it.
    fork = SYS_fork, NONE, ["fork"], "Makes a process.";
    vfork = SYS_vfork, NONE, ["vfork"], "Makes a process that borrows the memory of its parent.";
    clone = SYS_clone, NONE, [], "Makes a process or thread; the tracer takes CLONE_UNTRACED out.";
    clone3 = SYS_clone3, NONE, [], "Makes a process or thread.";
    exit = SYS_exit, NONE, [], "Ends a thread.";
    exit_group = SYS_exit_group, NONE, ["_exit", "_Exit", "quick_exit"], "Ends the process: what it wrote is sent by the session.";
    wait4 = SYS_wait4, NONE, [], "Waits for a child.";
    waitid = SYS_waitid, NONE, [], "Waits for a child.";
    kill = SYS_kill, NONE, [], "Sends a signal.";
    tkill = SYS_tkill, NONE, [], "Sends a signal to a thread.";
    tgkill = SYS_tgkill, NONE, [], "Sends a signal to a thread of a process.";
    pidfd_send_signal = SYS_pidfd_send_signal, NONE, [], "Sends a signal by a process's descriptor.";
    process_mrelease = SYS_process_mrelease, NONE, [], "Frees the memory of a process that is being killed.";
    getpid = SYS_getpid, NONE, [], "Tells the process's number.";
    getppid = SYS_getppid, NONE, [], "Tells the parent's number.";
    gettid = SYS_gettid, NONE, [], "Tells the thread's number.";
    getpgrp = SYS_getpgrp, NONE, [], "Tells the process group.";
    getpgid = SYS_getpgid, NONE, [], "Tells a process's group.";
    setpgid = SYS_setpgid, NONE, [], "Sets a process's group.";
    getsid = SYS_getsid, NONE, [], "Tells a process's session.";
    setsid = SYS_setsid, NONE, [], "Starts a session of processes.";
    prctl = SYS_prctl, NONE, [], "Controls the process.";
    arch_prctl = SYS_arch_prctl, NONE, [], "Sets registers of the architecture.";
    personality = SYS_personality, NONE, [], "Sets the execution domain.";
    seccomp = SYS_seccomp, NONE, [], "Installs a filter: it is asked beside the tracer's, and the stricter answer holds.";
    set_tid_address = SYS_set_tid_address, NONE, [], "Names a word to clear at the thread's end.";
    set_robust_list = SYS_set_robust_list, NONE, [], "Names the list of held locks.";
    get_robust_list = SYS_get_robust_list, NONE, [], "Tells the list of held locks.";
    rseq = SYS_rseq, NONE, [], "Registers restartable sequences.";
    membarrier = SYS_membarrier, NONE, [], "Orders memory between threads.";
    restart_syscall = SYS_restart_syscall, NONE, [], "Goes on with an interrupted call.";
    uretprobe = SYS_uretprobe, NONE, [], "A probe's return, made by the kernel itself.";
    uprobe = SYS_uprobe, NONE, [], "A probe's hit, made by the kernel itself.";
    set_thread_area = SYS_set_thread_area, NONE, [], "Sets a segment of thread data.";
    get_thread_area = SYS_get_thread_area, NONE, [], "Tells a segment of thread data.";
    modify_ldt = SYS_modify_ldt, NONE, [], "Sets segments.";
    iopl = SYS_iopl, NONE, [], "Sets the right to ports.";
    ioperm = SYS_ioperm, NONE, [], "Sets rights to ports.";
    ptrace = SYS_ptrace, ANSWERED, [], "Traces a process; a process that the tracer has cannot be traced again (EPERM), and is told why.";
    kcmp = SYS_kcmp, ANSWERED, [], "Compares objects of two processes; shadows are objects like others.";
    pidfd_open = SYS_pidfd_open, ANSWERED, [], "Gives a descriptor of a process.";
    unshare = SYS_unshare, ANSWERED, [], "Gets namespaces of its own; a shadow stays what it is.";
    setns = SYS_setns, ANSWERED, [], "Joins a namespace; a shadow stays what it is.";

    // Ids and rights.
    getuid = SYS_getuid, NONE, [], "Tells the user.";
    geteuid = SYS_geteuid, NONE, [], "Tells the effective user.";
    getgid = SYS_getgid, NONE, [], "Tells the group.";
    getegid = SYS_getegid, NONE, [], "Tells the effective group.";
    setuid = SYS_setuid, NONE, [], "Sets the user.";
    setgid = SYS_setgid, NONE, [], "Sets the group.";
    setreuid = SYS_setreuid, NONE, [], "Sets real and effective user.";
    setregid = SYS_setregid, NONE, [], "Sets real and effective group.";
    setresuid = SYS_setresuid, NONE, [], "Sets all users.";
    getresuid = SYS_getresuid, NONE, [], "Tells all users.";
    setresgid = SYS_setresgid, NONE, [], "Sets all groups.";
    getresgid = SYS_getresgid, NONE, [], "Tells all groups.";
    setfsuid = SYS_setfsuid, NONE, [], "Sets the user for file access.";
    setfsgid = SYS_setfsgid, NONE, [], "Sets the group for file access.";
    getgroups = SYS_getgroups, NONE, [], "Tells the further groups.";
    setgroups = SYS_setgroups, NONE, [], "Sets the further groups.";
    capget = SYS_capget, NONE, [], "Tells capabilities.";
    capset = SYS_capset, NONE, [], "Sets capabilities.";
    umask = SYS_umask, NONE, ["umask"], "Sets the mode mask; handlers ask for it when they make files.";
    add_key = SYS_add_key, NONE, [], "Adds a key.";
    request_key = SYS_request_key, NONE, [], "Asks for a key.";
    keyctl = SYS_keyctl, NONE, [], "Manages keys.";
    landlock_create_ruleset = SYS_landlock_create_ruleset, NONE, [], "Makes an empty set of access rules.";
    landlock_restrict_self = SYS_landlock_restrict_self, NONE, [], "Restricts the process; the session's own files must stay within reach.";
    lsm_get_self_attr = SYS_lsm_get_self_attr, NONE, [], "Tells attributes of security modules.";
    lsm_set_self_attr = SYS_lsm_set_self_attr, NONE, [], "Sets attributes of security modules.";
    lsm_list_modules = SYS_lsm_list_modules, NONE, [], "Lists security modules.";
    landlock_add_rule = SYS_landlock_add_rule, ANSWERED, [], "Allows what lies below a directory; below a shadow nothing lies that the kernel knows.";

    // Signals.
    rt_sigaction = SYS_rt_sigaction, NONE, [], "Sets a signal's handler.";
    rt_sigprocmask = SYS_rt_sigprocmask, NONE, [], "Sets the signal mask.";
    rt_sigreturn = SYS_rt_sigreturn, NONE, [], "Ends a signal's handler.";
    rt_sigpending = SYS_rt_sigpending, NONE, [], "Tells pending signals.";
    rt_sigtimedwait = SYS_rt_sigtimedwait, NONE, [], "Waits for a signal.";
    rt_sigqueueinfo = SYS_rt_sigqueueinfo, NONE, [], "Sends a signal with data.";
    rt_tgsigqueueinfo = SYS_rt_tgsigqueueinfo, NONE, [], "Sends a signal with data to a thread.";
    rt_sigsuspend = SYS_rt_sigsuspend, NONE, [], "Waits for a signal with another mask.";
    sigaltstack = SYS_sigaltstack, NONE, [], "Sets the stack for handlers.";
    pause = SYS_pause, NONE, [], "Waits for a signal.";
    signalfd = SYS_signalfd, OTHER, [], "Gives a descriptor of signals.";
    signalfd4 = SYS_signalfd4, OTHER, [], "Gives a descriptor of signals.";

    // Memory. Files come in by mmap only.
    munmap = SYS_munmap, MEMORY, [], "Removes a map.";
    mremap = SYS_mremap, MEMORY, [], "Moves a map.";
    mprotect = SYS_mprotect, MEMORY, [], "Sets a map's protection.";
    pkey_mprotect = SYS_pkey_mprotect, MEMORY, [], "Sets a map's protection and key.";
    pkey_alloc = SYS_pkey_alloc, MEMORY, [], "Makes a protection key.";
    pkey_free = SYS_pkey_free, MEMORY, [], "Frees a protection key.";
    mincore = SYS_mincore, MEMORY, [], "Tells which pages are in memory.";
    madvise = SYS_madvise, MEMORY, [], "Tells how memory will be used.";
    process_madvise = SYS_process_madvise, MEMORY, [], "Tells how another process's memory will be used.";
    brk = SYS_brk, MEMORY, [], "Sets the end of the data segment.";
    mlock = SYS_mlock, MEMORY, [], "Keeps memory.";
    mlock2 = SYS_mlock2, MEMORY, [], "Keeps memory.";
    munlock = SYS_munlock, MEMORY, [], "Keeps memory no more.";
    mlockall = SYS_mlockall, MEMORY, [], "Keeps all memory.";
    munlockall = SYS_munlockall, MEMORY, [], "Keeps memory no more.";
    mseal = SYS_mseal, MEMORY, [], "Seals a map.";
    map_shadow_stack = SYS_map_shadow_stack, MEMORY, [], "Maps a shadow stack (of return addresses).";
    remap_file_pages = SYS_remap_file_pages, MEMORY, [], "Rearranges a map.";
    mbind = SYS_mbind, MEMORY, [], "Sets a memory policy.";
    set_mempolicy = SYS_set_mempolicy, MEMORY, [], "Sets the memory policy.";
    get_mempolicy = SYS_get_mempolicy, MEMORY, [], "Tells the memory policy.";
    set_mempolicy_home_node = SYS_set_mempolicy_home_node, MEMORY, [], "Sets the home of a memory range.";
    migrate_pages = SYS_migrate_pages, MEMORY, [], "Moves a process's pages.";
    move_pages = SYS_move_pages, MEMORY, [], "Moves pages.";
    process_vm_readv = SYS_process_vm_readv, MEMORY, [], "Reads another process's memory.";
    process_vm_writev = SYS_process_vm_writev, MEMORY, [], "Writes another process's memory.";
    shmget = SYS_shmget, MEMORY, [], "Gets shared memory.";
    shmat = SYS_shmat, MEMORY, [], "Maps shared memory.";
    shmdt = SYS_shmdt, MEMORY, [], "Removes shared memory.";
    shmctl = SYS_shmctl, MEMORY, [], "Controls shared memory.";
    memfd_create = SYS_memfd_create, OTHER, [], "Makes a file in memory.";
    memfd_secret = SYS_memfd_secret, OTHER, [], "Makes a secret file in memory.";
    userfaultfd = SYS_userfaultfd, OTHER, [], "Gives a descriptor of page faults.";

    // Time and scheduling.
    time = SYS_time, NONE, [], "Tells the time.";
    gettimeofday = SYS_gettimeofday, NONE, [], "Tells the time.";
    settimeofday = SYS_settimeofday, NONE, [], "Sets the time.";
    adjtimex = SYS_adjtimex, NONE, [], "Tunes the clock.";
    clock_adjtime = SYS_clock_adjtime, NONE, [], "Tunes a clock.";
    clock_gettime = SYS_clock_gettime, NONE, [], "Tells a clock's time.";
    clock_settime = SYS_clock_settime, NONE, [], "Sets a clock.";
    clock_getres = SYS_clock_getres, NONE, [], "Tells a clock's resolution.";
    clock_nanosleep = SYS_clock_nanosleep, NONE, [], "Sleeps.";
    nanosleep = SYS_nanosleep, NONE, [], "Sleeps.";
    alarm = SYS_alarm, NONE, [], "Sets an alarm.";
    getitimer = SYS_getitimer, NONE, [], "Tells a timer.";
    setitimer = SYS_setitimer, NONE, [], "Sets a timer.";
    timer_create = SYS_timer_create, NONE, [], "Makes a timer.";
    timer_settime = SYS_timer_settime, NONE, [], "Sets a timer.";
    timer_gettime = SYS_timer_gettime, NONE, [], "Tells a timer.";
    timer_getoverrun = SYS_timer_getoverrun, NONE, [], "Tells how often a timer ran over.";
    timer_delete = SYS_timer_delete, NONE, [], "Removes a timer.";
    times = SYS_times, NONE, [], "Tells process times.";
    getrusage = SYS_getrusage, NONE, [], "Tells the use of resources.";
    sched_yield = SYS_sched_yield, NONE, [], "Gives way.";
    sched_setparam = SYS_sched_setparam, NONE, [], "Sets scheduling.";
    sched_getparam = SYS_sched_getparam, NONE, [], "Tells scheduling.";
    sched_setscheduler = SYS_sched_setscheduler, NONE, [], "Sets scheduling.";
    sched_getscheduler = SYS_sched_getscheduler, NONE, [], "Tells scheduling.";
    sched_setattr = SYS_sched_setattr, NONE, [], "Sets scheduling.";
    sched_getattr = SYS_sched_getattr, NONE, [], "Tells scheduling.";
    sched_get_priority_max = SYS_sched_get_priority_max, NONE, [], "Tells the highest priority.";
    sched_get_priority_min = SYS_sched_get_priority_min, NONE, [], "Tells the lowest priority.";
    sched_rr_get_interval = SYS_sched_rr_get_interval, NONE, [], "Tells the time slice.";
    sched_setaffinity = SYS_sched_setaffinity, NONE, [], "Sets the processors; the tracer lets the thread go where it likes.";
    sched_getaffinity = SYS_sched_getaffinity, NONE, [], "Tells the processors; the tracer shows the thread's own.";
    getpriority = SYS_getpriority, NONE, [], "Tells a priority.";
    setpriority = SYS_setpriority, NONE, [], "Sets a priority.";
    ioprio_get = SYS_ioprio_get, NONE, [], "Tells the priority of input and output.";
    ioprio_set = SYS_ioprio_set, NONE, [], "Sets the priority of input and output.";
    getcpu = SYS_getcpu, NONE, [], "Tells the processor.";
    futex = SYS_futex, NONE, [], "Waits for a word of memory.";
    futex_waitv = SYS_futex_waitv, NONE, [], "Waits for several words of memory.";
    futex_wake = SYS_futex_wake, NONE, [], "Wakes who waits for a word.";
    futex_wait = SYS_futex_wait, NONE, [], "Waits for a word.";
    futex_requeue = SYS_futex_requeue, NONE, [], "Moves who waits for a word.";
    timerfd_create = SYS_timerfd_create, OTHER, [], "Gives a descriptor of a timer.";
    timerfd_settime = SYS_timerfd_settime, OTHER, [], "Sets a timer.";
    timerfd_gettime = SYS_timerfd_gettime, OTHER, [], "Tells a timer.";

    // Waiting for descriptors. A shadow is a regular file to the kernel, and always ready as one.
    poll = SYS_poll, ANSWERED, [], "Waits for descriptors.";
    ppoll = SYS_ppoll, ANSWERED, [], "Waits for descriptors.";
    select = SYS_select, ANSWERED, [], "Waits for descriptors.";
    pselect6 = SYS_pselect6, ANSWERED, [], "Waits for descriptors.";
    epoll_ctl = SYS_epoll_ctl, ANSWERED, [], "Adds a descriptor to a set; EPERM for a shadow, as for every regular file.";
    cachestat = SYS_cachestat, ANSWERED, [], "Tells how much of a file is in memory: of a shadow, what this machine has.";
    epoll_create = SYS_epoll_create, OTHER, [], "Makes a set of descriptors.";
    epoll_create1 = SYS_epoll_create1, OTHER, [], "Makes a set of descriptors.";
    epoll_wait = SYS_epoll_wait, OTHER, [], "Waits for a set.";
    epoll_pwait = SYS_epoll_pwait, OTHER, [], "Waits for a set.";
    epoll_pwait2 = SYS_epoll_pwait2, OTHER, [], "Waits for a set.";
    eventfd = SYS_eventfd, OTHER, [], "Gives a counter's descriptor.";
    eventfd2 = SYS_eventfd2, OTHER, [], "Gives a counter's descriptor.";
    inotify_init = SYS_inotify_init, OTHER, [], "Gives a descriptor of watches.";
    inotify_init1 = SYS_inotify_init1, OTHER, [], "Gives a descriptor of watches.";
    inotify_rm_watch = SYS_inotify_rm_watch, OTHER, [], "Removes a watch.";
    fanotify_init = SYS_fanotify_init, OTHER, [], "Gives a descriptor of marks.";

    // Pipes and sockets. A descriptor in a message is the shadow itself.
    pipe = SYS_pipe, OTHER, [], "Makes a pipe.";
    pipe2 = SYS_pipe2, OTHER, [], "Makes a pipe.";
    socket = SYS_socket, OTHER, [], "Makes a socket.";
    socketpair = SYS_socketpair, OTHER, [], "Makes two sockets.";
    accept = SYS_accept, OTHER, [], "Accepts a connection.";
    accept4 = SYS_accept4, OTHER, [], "Accepts a connection.";
    listen = SYS_listen, OTHER, [], "Listens for connections.";
    shutdown = SYS_shutdown, OTHER, [], "Ends a connection.";
    getsockname = SYS_getsockname, OTHER, [], "Tells a socket's name.";
    getpeername = SYS_getpeername, OTHER, [], "Tells the other end's name.";
    setsockopt = SYS_setsockopt, OTHER, [], "Sets an option.";
    getsockopt = SYS_getsockopt, OTHER, [], "Tells an option.";
    sendto = SYS_sendto, OTHER, [], "Sends; a name in the address is looked up by the kernel alone.";
    recvfrom = SYS_recvfrom, OTHER, [], "Receives.";
    sendmsg = SYS_sendmsg, ANSWERED, [], "Sends a message; descriptors of shadows travel as they are.";
    sendmmsg = SYS_sendmmsg, ANSWERED, [], "Sends messages; descriptors of shadows travel as they are.";
    tee = SYS_tee, ANSWERED, ["tee"], "Copies between pipes; EINVAL or EBADF for a shadow, as for every file.";
    vmsplice = SYS_vmsplice, ANSWERED, ["vmsplice"], "Moves memory into a pipe; EBADF for a shadow, as for every file.";

    // Input and output in the background. A served shadow fails with EBADF.
    io_submit = SYS_io_submit, ANSWERED, [], "Starts operations; on a complete shadow they are right, on a served one they fail with EBADF.";
    io_setup = SYS_io_setup, NONE, [], "Makes a queue.";
    io_destroy = SYS_io_destroy, NONE, [], "Removes a queue.";
    io_getevents = SYS_io_getevents, NONE, [], "Tells finished operations.";
    io_pgetevents = SYS_io_pgetevents, NONE, [], "Tells finished operations.";
    io_cancel = SYS_io_cancel, NONE, [], "Takes an operation back.";

    // Queues between processes: their names are none of files.
    semget = SYS_semget, NONE, [], "Gets semaphores.";
    semop = SYS_semop, NONE, [], "Uses semaphores.";
    semtimedop = SYS_semtimedop, NONE, [], "Uses semaphores.";
    semctl = SYS_semctl, NONE, [], "Controls semaphores.";
    msgget = SYS_msgget, NONE, [], "Gets a message queue.";
    msgsnd = SYS_msgsnd, NONE, [], "Sends a message.";
    msgrcv = SYS_msgrcv, NONE, [], "Receives a message.";
    msgctl = SYS_msgctl, NONE, [], "Controls a message queue.";
    mq_open = SYS_mq_open, NONE, [], "Opens a message queue.";
    mq_unlink = SYS_mq_unlink, NONE, [], "Removes a message queue.";
    mq_timedsend = SYS_mq_timedsend, NONE, [], "Sends a message.";
    mq_timedreceive = SYS_mq_timedreceive, NONE, [], "Receives a message.";
    mq_notify = SYS_mq_notify, NONE, [], "Asks to be told of messages.";
    mq_getsetattr = SYS_mq_getsetattr, NONE, [], "Tells and sets a queue's attributes.";

    // The machine.
    uname = SYS_uname, NONE, [], "Names the machine.";
    sysinfo = SYS_sysinfo, NONE, [], "Describes the machine.";
    syslog = SYS_syslog, NONE, [], "Reads the kernel's messages.";
    getrandom = SYS_getrandom, NONE, [], "Gives random bytes.";
    getrlimit = SYS_getrlimit, NONE, [], "Tells a limit.";
    setrlimit = SYS_setrlimit, NONE, [], "Sets a limit.";
    prlimit64 = SYS_prlimit64, NONE, [], "Tells and sets a limit.";
    sethostname = SYS_sethostname, NONE, [], "Names the machine.";
    setdomainname = SYS_setdomainname, NONE, [], "Names the machine's domain.";
    reboot = SYS_reboot, NONE, [], "Restarts the machine.";
    vhangup = SYS_vhangup, NONE, [], "Hangs up the terminal.";
    sysfs = SYS_sysfs, NONE, [], "Lists file system types.";
    ustat = SYS_ustat, NONE, [], "Tells about a device by number.";
    statmount = SYS_statmount, NONE, [], "Describes a mount of the kernel's by number.";
    listmount = SYS_listmount, NONE, [], "Lists mounts of the kernel's by number.";
    fsopen = SYS_fsopen, NONE, [], "Starts a mount by its type.";
    fsmount = SYS_fsmount, NONE, [], "Makes a mount of what fsconfig described.";
    perf_event_open = SYS_perf_event_open, NONE, [], "Measures.";
    bpf = SYS_bpf, NONE, [], "Loads and uses kernel programs; its names lie in a file system of their own.";
    init_module = SYS_init_module, NONE, [], "Loads a module from memory.";
    delete_module = SYS_delete_module, NONE, [], "Removes a module.";
    kexec_load = SYS_kexec_load, NONE, [], "Loads another kernel from memory.";
    finit_module = SYS_finit_module, ANSWERED, [], "Loads a module from a file: whole from a complete shadow, EBADF from a served one.";
    kexec_file_load = SYS_kexec_file_load, ANSWERED, [], "Loads another kernel from files: whole from complete shadows, EBADF from served ones.";

    // What the kernel has no more, or never had.
    create_module = SYS_create_module, GONE, [], "Made a module.";
    get_kernel_syms = SYS_get_kernel_syms, GONE, [], "Listed kernel symbols.";
    query_module = SYS_query_module, GONE, [], "Asked about modules.";
    _sysctl = SYS__sysctl, GONE, [], "Set kernel parameters.";
    nfsservctl = SYS_nfsservctl, GONE, [], "Controlled the file server.";
    lookup_dcookie = SYS_lookup_dcookie, GONE, [], "Named a profiled file.";
    getpmsg = SYS_getpmsg, GONE, [], "Never made.";
    putpmsg = SYS_putpmsg, GONE, [], "Never made.";
    afs_syscall = SYS_afs_syscall, GONE, [], "Never made.";
    tuxcall = SYS_tuxcall, GONE, [], "Never made.";
    security = SYS_security, GONE, [], "Never made.";
    vserver = SYS_vserver, GONE, [], "Never made.";
    epoll_ctl_old = SYS_epoll_ctl_old, GONE, [], "Never made.";
    epoll_wait_old = SYS_epoll_wait_old, GONE, [], "Never made.";
}

#[cfg(test)]
mod tests;
