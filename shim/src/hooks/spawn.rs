//! posix_spawn(3): libc's own runs calls in a child that shares our memory and sees no hook.
//!
//! When the program and all file actions are plain, libc's own function does it, with the
//! environment (and the program) that a preloaded child needs. Otherwise the child is forked, the
//! attributes and actions carried out by our own calls, and the failure told through a pipe.
#![expect(unsafe_code, reason = "exported symbols")]

use super::launch::{Launch, search};
use super::prelude::*;
use libc::pid_t;
use parrot_common::sys::arg;

type Vector = *const *const c_char;

/// `posix_spawn_file_actions_t` of glibc.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Actions {
    allocated: c_int,
    used: c_int,
    list: *const Action,
}

/// One action of glibc's list: a tag and a union, here in the form that `open` has.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Action {
    kind: c_int,
    padding: c_int,
    fd: c_int,
    /// Of a dup2.
    new_fd: c_int,
    /// Of an open.
    path: usize,
    flags: c_int,
    mode: mode_t,
}
const _: () = assert!(size_of::<Action>() == 32 && core::mem::offset_of!(Action, path) == 16);

impl Action {
    /// The path of a chdir lies where the descriptor numbers are.
    fn dir(&self) -> *const c_char {
        c::peek(core::ptr::from_ref(&self.fd).cast::<*const c_char>())
    }
}

const CLOSE: c_int = 0;
const DUP2: c_int = 1;
const OPEN: c_int = 2;
const CHDIR: c_int = 3;
const FCHDIR: c_int = 4;
const CLOSE_FROM: c_int = 5;
const SET_PGRP: c_int = 6;

hook! {
    /// posix_spawn(3)
    fn [posix_spawn](
        pid: *mut pid_t, path: *const c_char, actions: *const Actions, attr: *const c_void,
        argv: Vector, envp: Vector
    ) -> c_int {
        spawn(path, actions, attr, argv, envp, pid, |path, argv, envp| {
            real(pid, path, actions, attr, argv, envp)
        })
    }
    /// posix_spawnp(3)
    fn [posix_spawnp](
        pid: *mut pid_t, name: *const c_char, actions: *const Actions, attr: *const c_void,
        argv: Vector, envp: Vector
    ) -> c_int {
        let text = c::bytes(name);
        if text.is_empty() || text.contains(&b'/') {
            return spawn(name, actions, attr, argv, envp, pid, |path, argv, envp| {
                real(pid, path, actions, attr, argv, envp)
            });
        }
        let before = c::errno();
        let mut result = libc::ENOENT;
        search(text, |path| {
            if super::stat::access(path, libc::X_OK) != 0 {
                if c::errno() == libc::EACCES {
                    result = libc::EACCES;
                }
                return false;
            }
            let one = spawn(path, actions, attr, argv, envp, pid, |path, argv, envp| {
                real(pid, path, actions, attr, argv, envp)
            });
            if one == libc::EACCES || one == libc::ENOENT || one == libc::ENOTDIR {
                result = one;
                return false;
            }
            result = one;
            true
        });
        c::set_errno(before);
        result
    }
}

fn each(actions: *const Actions) -> impl Iterator<Item = Action> {
    let list = (!actions.is_null()).then(|| c::peek(actions));
    let count = list.map_or(0, |list| usize::try_from(list.used).unwrap_or(0));
    let first = list.map_or(core::ptr::null(), |list| list.list);
    (0..count).map(move |index| c::peek(first.wrapping_add(index)))
}

/// Whether libc may do it by itself.
fn all_plain(path: *const c_char, actions: *const Actions) -> bool {
    fds::cwd_plain()
        && namespace::plain_name(AT_FDCWD, path)
        && each(actions).all(|action| match action.kind {
            OPEN => {
                namespace::plain_name(AT_FDCWD, core::ptr::with_exposed_provenance(action.path))
            }
            CHDIR => namespace::plain_name(AT_FDCWD, action.dir()),
            FCHDIR => fds::plain(action.fd),
            _ => true,
        })
}

fn spawn(
    path: *const c_char,
    actions: *const Actions,
    attr: *const c_void,
    argv: Vector,
    envp: Vector,
    pid: *mut pid_t,
    real: impl Fn(*const c_char, Vector, Vector) -> c_int,
) -> c_int {
    let errno = c::errno();
    namespace::changed();
    let envp = if envp.is_null() { c::environment() } else { envp };
    let prepared = all_plain(path, actions).then(|| Launch::new(at(path), at(argv), at(envp)));
    let result = match prepared {
        Some(prepared) if !prepared.missing => {
            let [path, argv, envp] = prepared.args;
            let pointer = |address| core::ptr::with_exposed_provenance(address);
            let path = core::ptr::with_exposed_provenance(path);
            let result = real(path, pointer(argv), pointer(envp));
            prepared.done();
            result
        }
        missing => {
            missing.inspect(Launch::done);
            forked(path, actions, attr, argv, envp, pid)
        }
    };
    c::set_errno(errno);
    result
}

/// fork and exec; the errno that a spawn returns.
fn forked(
    path: *const c_char,
    actions: *const Actions,
    attr: *const c_void,
    argv: Vector,
    envp: Vector,
    pid: *mut pid_t,
) -> c_int {
    let mut ends = [-1_i32; 2];
    let cloexec = arg(libc::O_CLOEXEC);
    if let Err(errno) = memory::raw(Sysno::pipe2, [at(ends.as_mut_ptr()), cloexec, 0, 0, 0, 0]) {
        return errno.0;
    }
    let [from, to] = ends;
    // The pipe must not be in the way of the actions.
    let high = memory::raw(Sysno::fcntl, [arg(to), arg(libc::F_DUPFD_CLOEXEC), 900, 0, 0, 0]);
    let to = match high.ok().and_then(|high| c_int::try_from(high).ok()) {
        Some(high) => {
            parrot_common::sys::close(to);
            high
        }
        None => to,
    };
    let child = super::process::fork();
    if child == 0 {
        let failed = in_child(path, actions, attr, argv, envp);
        let _ = memory::raw(Sysno::write, [arg(to), at(&raw const failed), 4, 0, 0, 0]);
        loop {
            let _ = memory::raw(Sysno::exit_group, [127, 0, 0, 0, 0, 0]);
        }
    }
    let fork_errno = c::errno();
    parrot_common::sys::close(to);
    let mut failed: c_int = 0;
    if child > 0 {
        let place = at(&raw mut failed);
        while memory::raw(Sysno::read, [arg(from), place, 4, 0, 0, 0])
            == Err(parrot_common::Errno::EINTR)
        {}
        if failed != 0 {
            let _ = memory::raw(Sysno::wait4, [arg(child), 0, 0, 0, 0, 0]);
        } else if !pid.is_null() {
            c::poke(pid, child);
        }
    } else {
        failed = fork_errno;
    }
    parrot_common::sys::close(from);
    failed
}

/// Carries out attributes and actions, and runs the program; the errno of what failed.
fn in_child(
    path: *const c_char,
    actions: *const Actions,
    attr: *const c_void,
    argv: Vector,
    envp: Vector,
) -> c_int {
    if !attr.is_null()
        && let Err(errno) = attributes(attr)
    {
        return errno.0;
    }
    for action in each(actions) {
        if carry_out(&action) < 0 {
            return c::errno();
        }
    }
    super::exec::execve(path, argv, envp);
    c::errno()
}

fn carry_out(action: &Action) -> c_int {
    match action.kind {
        CLOSE => {
            super::descriptor::close(action.fd);
            0
        }
        DUP2 if action.fd == action.new_fd => {
            // Not closed at exec then.
            let flags = super::descriptor::fcntl(action.fd, libc::F_GETFD, 0);
            let kept = (flags & !libc::FD_CLOEXEC).unsigned_abs() as usize;
            super::descriptor::fcntl(action.fd, libc::F_SETFD, kept)
        }
        DUP2 => super::descriptor::dup2(action.fd, action.new_fd),
        OPEN => {
            let path = core::ptr::with_exposed_provenance(action.path);
            super::descriptor::close(action.fd);
            let fd = super::open::open(path, action.flags, action.mode);
            if fd < 0 || fd == action.fd {
                return fd;
            }
            let result = super::descriptor::dup2(fd, action.fd);
            super::descriptor::close(fd);
            result
        }
        CHDIR => super::cwd::chdir(action.dir()),
        FCHDIR => super::cwd::fchdir(action.fd),
        CLOSE_FROM => {
            let first = action.fd.unsigned_abs() as usize;
            let _ = memory::raw(Sysno::close_range, [first, 899, 0, 0, 0, 0]);
            0
        }
        SET_PGRP => {
            let own = memory::raw(Sysno::getpgid, [0; 6]).unwrap_or(0);
            let group = c_int::try_from(own).unwrap_or(0);
            let place = at(&raw const group);
            let request = libc::TIOCSPGRP as usize;
            match memory::raw(Sysno::ioctl, [int(action.fd), request, place, 0, 0, 0]) {
                Ok(_) => 0,
                Err(errno) => c_int::from_raw(errno.raw()),
            }
        }
        _ => c_int::from_raw(parrot_common::Errno::EINVAL.raw()),
    }
}

/// The attributes, in glibc's order: signals, session, group, ids, mask last.
fn attributes(attr: *const c_void) -> Result<(), parrot_common::Errno> {
    let mut flags: i16 = 0;
    c::posix_spawnattr_getflags(attr, &mut flags);
    let has = |flag: c_int| c_int::from(flags) & flag != 0;
    let mut set = empty_set();
    if has(libc::POSIX_SPAWN_SETSIGDEF) {
        c::posix_spawnattr_getsigdefault(attr, &mut set);
        let bits = c::peek((&raw const set).cast::<u64>());
        let default = [0_u64; 4];
        for signal in 1..=64_usize {
            if bits.wrapping_shr(signal.wrapping_sub(1) as u32) & 1 != 0 {
                let _ =
                    memory::raw(Sysno::rt_sigaction, [signal, at(default.as_ptr()), 0, 8, 0, 0]);
            }
        }
    }
    if has(c_int::from(libc::POSIX_SPAWN_SETSID)) {
        memory::raw(Sysno::setsid, [0; 6])?;
    }
    if has(libc::POSIX_SPAWN_SETPGROUP) {
        let mut group = 0;
        c::posix_spawnattr_getpgroup(attr, &mut group);
        memory::raw(Sysno::setpgid, [0, int(group), 0, 0, 0, 0])?;
    }
    if has(libc::POSIX_SPAWN_RESETIDS) {
        let gid = memory::raw(Sysno::getgid, [0; 6])?;
        memory::raw(Sysno::setresgid, [usize::MAX, gid, usize::MAX, 0, 0, 0])?;
        let uid = memory::raw(Sysno::getuid, [0; 6])?;
        memory::raw(Sysno::setresuid, [usize::MAX, uid, usize::MAX, 0, 0, 0])?;
    }
    if has(libc::POSIX_SPAWN_SETSIGMASK) {
        c::posix_spawnattr_getsigmask(attr, &mut set);
        let how = arg(libc::SIG_SETMASK);
        memory::raw(Sysno::rt_sigprocmask, [how, at(&raw const set), 0, 8, 0, 0])?;
    }
    Ok(())
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: integers only.
    unsafe { core::mem::zeroed() }
}
