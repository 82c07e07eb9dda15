//! Bringing an agent to life, and finding our programs beside this library.
//!
//! The agent must not be noticed by the program: no SIGCHLD, no child that a `wait` could see, no
//! descriptor, terminal or working directory kept. So: a raw clone without an exit signal, a
//! second one in it, a session of its own, everything closed.
#![expect(unsafe_code, reason = "raw clone and exec")]

use crate::init::{self, say};
use crate::text::Text;
use crate::{c, debug, memory, namespace};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};
use parrot_common::Errno;
use parrot_common::sys::{self, arg};
use syscalls::Sysno;

/// The arguments of clone(2) for a fork without an exit signal that no debugger follows: it would wait
/// for the agent's end.
const UNTRACED: [usize; 6] = [libc::CLONE_UNTRACED as usize, 0, 0, 0, 0, 0];
/// How long a started agent may take until it listens, milliseconds; then another one is started. Of
/// two that start one ends at once, and so does one that starts while a killed one is not quite gone.
const PATIENCE_MS: [usize; 3] = [500, 2000, 7500];

/// Whether this process has used the session.
static USED: AtomicBool = AtomicBool::new(false);
static SAID: AtomicBool = AtomicBool::new(false);

/// Notes that this process holds something of the session's.
pub(crate) fn note_use() {
    USED.store(true, Ordering::Relaxed);
}

/// Notes that it was another process which used the session.
pub(crate) fn forget_use() {
    USED.store(false, Ordering::Relaxed);
}

/// Whether this process has used the session.
pub(crate) fn used() -> bool {
    USED.load(Ordering::Relaxed)
}

/// The client's starter: returns when the agent listens.
pub(crate) fn start(session: &[u8]) -> Result<(), Errno> {
    note_use();
    let result = try_start(session);
    if let Err((errno, what)) = result
        && !SAID.swap(true, Ordering::Relaxed)
    {
        say(&[
            b"cannot start parrot-agent for ",
            session,
            b": ",
            what,
            b" (",
            errno.name().as_bytes(),
            b")",
        ]);
    }
    result.map_err(|_| Errno::EIO)
}

/// Makes sure that an agent listens: for a program that cannot start one.
pub(crate) fn ensure(session: &[u8]) -> Result<(), Errno> {
    let dir = namespace::terminated(&[session]);
    if listens(dir.get()) { Ok(()) } else { start(session) }
}

fn try_start(session: &[u8]) -> Result<(), (Errno, &'static [u8])> {
    prepare(session).map_err(|errno| (errno, b"cannot make its directory".as_slice()))?;
    let mut path = match init::value(init::AGENT) {
        Some(given) => namespace::terminated(&[given]),
        None => beside(b"parrot-agent").ok_or((Errno::ENOENT, b"no such program".as_slice()))?,
    };
    let at = path.get().as_ptr() as usize;
    memory::raw(Sysno::faccessat, [arg(libc::AT_FDCWD), at, arg(libc::X_OK), 0, 0, 0])
        .map_err(|errno| (errno, b"cannot run its program".as_slice()))?;
    if debug::on(debug::PROCESS) {
        debug::process(&[b"starts ", path.get().strip_suffix(b"\0").unwrap_or_default()]);
    }
    for patience in PATIENCE_MS {
        launch(&mut path, session).map_err(|errno| (errno, b"cannot fork".as_slice()))?;
        if comes_to_listen(session, patience) {
            return Ok(());
        }
    }
    Err((Errno::ETIMEDOUT, b"it does not answer"))
}

/// Makes the session directory with its rules, if they are not there.
pub(crate) fn prepare(session: &[u8]) -> Result<(), Errno> {
    let cut = session.iter().rposition(|&b| b == b'/').ok_or(Errno::EINVAL)?;
    let users = session.get(..cut).unwrap_or_default();
    // A program that was another user's when the name was made: it would lock that user out.
    if names_another(users, memory::raw(Sysno::geteuid, [0; 6])?) {
        return Err(Errno::EACCES);
    }
    private_dir(users)?;
    private_dir(session)?;
    let rules = namespace::terminated(&[session, b"/rules"]);
    let at = rules.get().as_ptr() as usize;
    let cwd = arg(libc::AT_FDCWD);
    if memory::raw(Sysno::faccessat, [cwd, at, 0, 0, 0, 0]).is_ok() {
        return Ok(());
    }
    let mut name = Text::<4096>::new();
    // Threads and processes may do this at the same time, each with its own file.
    let (pid, tid) = (sys::getpid().unsigned_abs(), sys::gettid().unsigned_abs());
    name.put(session).put(b"/rules.").number(u64::from(pid)).put(b".");
    name.number(u64::from(tid)).put(b"\0");
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    let fd = sys::openat(libc::AT_FDCWD, name.get(), flags, 0o600)?;
    let table = namespace::get().map_or(b"".as_slice(), |ns| ns.table.bytes());
    let wrote = memory::raw(Sysno::write, [arg(fd), table.as_ptr() as usize, table.len(), 0, 0, 0]);
    sys::close(fd);
    if wrote? != table.len() {
        return Err(Errno::ENOSPC);
    }
    memory::raw(Sysno::renameat2, [cwd, name.get().as_ptr() as usize, cwd, at, 0, 0])?;
    Ok(())
}

/// Whether a directory `…/parrot.UID` is for another user.
fn names_another(path: &[u8], uid: usize) -> bool {
    let last = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let digits = last.strip_prefix(b"parrot.").and_then(|digits| core::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).is_some_and(|named: usize| named != uid)
}

/// Makes a directory that is ours alone, or finds that it is.
fn private_dir(path: &[u8]) -> Result<(), Errno> {
    let path = namespace::terminated(&[path]);
    let at = path.get().as_ptr() as usize;
    match memory::raw(Sysno::mkdirat, [arg(libc::AT_FDCWD), at, 0o700, 0, 0, 0]) {
        Err(Errno::EEXIST) if is_own(path.get())? => Ok(()),
        Err(Errno::EEXIST) => Err(Errno::EACCES),
        other => other.map(|_| ()),
    }
}

/// Whether a path, with its zero byte, is a directory of this user's.
pub(crate) fn is_own(path: &[u8]) -> Result<bool, Errno> {
    let mut stat = memory::zeroed_stat();
    let (at, to) = (path.as_ptr() as usize, core::ptr::from_mut(&mut stat) as usize);
    let flags = arg(libc::AT_SYMLINK_NOFOLLOW);
    memory::raw(Sysno::newfstatat, [arg(libc::AT_FDCWD), at, to, flags, 0, 0])?;
    let me = memory::raw(Sysno::geteuid, [0; 6])?;
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR && stat.st_uid as usize == me)
}

/// Starts the agent as nobody's child.
fn launch(path: &mut Text<4096>, session: &[u8]) -> Result<(), Errno> {
    let session = namespace::terminated(&[session]);
    let arguments = [
        path.get().as_ptr() as usize,
        c"--session".as_ptr() as usize,
        session.get().as_ptr() as usize,
        0,
    ];
    let mut environment = [0_usize; 1024];
    let kept = init::each(c::environment()).filter(|&entry| !init::sets(entry, b"LD_PRELOAD"));
    for (place, entry) in environment.iter_mut().take(1023).zip(kept) {
        *place = entry as usize;
    }
    // No signal may run the program's handlers in the copies.
    let all = u64::MAX;
    let mut old = 0_u64;
    let (all, old) = (core::ptr::from_ref(&all) as usize, core::ptr::from_mut(&mut old) as usize);
    let _ = memory::raw(Sysno::rt_sigprocmask, [arg(libc::SIG_SETMASK), all, old, 8, 0, 0]);
    // SAFETY: a fork without an exit signal; the child makes raw system calls only.
    let child = unsafe { sys::call(Sysno::clone, UNTRACED) };
    if child == Ok(0) {
        become_agent(&arguments, &environment);
    }
    let _ = memory::raw(Sysno::rt_sigprocmask, [arg(libc::SIG_SETMASK), old, 0, 8, 0, 0]);
    let child = child?;
    let _ = memory::raw(Sysno::wait4, [child, 0, arg(libc::__WALL), 0, 0, 0]);
    Ok(())
}

/// In the first copy: makes the second and ends. In the second: becomes the agent.
fn become_agent(arguments: &[usize; 4], environment: &[usize; 1024]) -> ! {
    let _ = memory::raw(Sysno::setsid, [0; 6]);
    // SAFETY: as in `launch`.
    if unsafe { sys::call(Sysno::clone, UNTRACED) } != Ok(0) {
        end();
    }
    if memory::raw(Sysno::close_range, [0, u32::MAX as usize, 0, 0, 0, 0]).is_err() {
        for fd in 0..4096 {
            sys::close(fd);
        }
    }
    for _ in 0..3 {
        let _ = sys::openat(libc::AT_FDCWD, b"/dev/null\0", libc::O_RDWR, 0);
    }
    // struct kernel_sigaction: handler, flags, restorer, mask; all zero is SIG_DFL.
    let default = [0_u64; 4];
    let at = core::ptr::from_ref(&default) as usize;
    for signal in 1..=64 {
        let _ = memory::raw(Sysno::rt_sigaction, [signal, at, 0, 8, 0, 0]);
    }
    let none = core::ptr::from_ref(&default) as usize;
    let _ = memory::raw(Sysno::rt_sigprocmask, [arg(libc::SIG_SETMASK), none, 0, 8, 0, 0]);
    let _ = memory::raw(Sysno::chdir, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]);
    let [path, ..] = *arguments;
    let (argv, envp) = (arguments.as_ptr() as usize, environment.as_ptr() as usize);
    let _ = memory::raw(Sysno::execve, [path, argv, envp, 0, 0, 0]);
    end();
}

fn end() -> ! {
    loop {
        let _ = memory::raw(Sysno::exit_group, [0; 6]);
    }
}

/// Waits until somebody listens in the session directory, so many milliseconds.
fn comes_to_listen(session: &[u8], patience: usize) -> bool {
    let dir = namespace::terminated(&[session]);
    let mut waited = 0;
    let mut pause: usize = 1;
    while waited < patience {
        if listens(dir.get()) {
            return true;
        }
        // struct timespec.
        let time = [0_i64, i64::try_from(pause).unwrap_or(1).wrapping_mul(1_000_000)];
        let at = core::ptr::from_ref(&time) as usize;
        // Nothing to poll but the time; signals end the pause and are handled.
        let _ = memory::raw(Sysno::ppoll, [0, 0, at, 0, 8, 0]);
        waited = waited.saturating_add(pause);
        pause = pause.saturating_mul(2).min(50);
    }
    false
}

fn listens(dir: &[u8]) -> bool {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let Ok(dir) = sys::openat(libc::AT_FDCWD, dir, flags, 0) else { return false };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    let fd = memory::raw(Sysno::socket, [arg(libc::AF_UNIX), arg(kind), 0, 0, 0, 0]);
    let mut yes = false;
    if let Ok(fd) = fd {
        let mut address = Text::<64>::new();
        let family = u16::try_from(libc::AF_UNIX).unwrap_or(1).to_ne_bytes();
        address.put(&family).put(b"/proc/self/fd/").number(u64::from(dir.unsigned_abs()));
        let bytes = address.put(b"/sock\0").get();
        let at = bytes.as_ptr() as usize;
        yes = memory::raw(Sysno::connect, [fd, at, bytes.len(), 0, 0, 0]).is_ok();
        let _ = memory::raw(Sysno::close, [fd, 0, 0, 0, 0, 0]);
    }
    sys::close(dir);
    yes
}

/// The path of this library as it is mapped, with its zero byte.
pub(crate) fn library() -> Option<Text<4096>> {
    // SAFETY: integers and pointers, all of which may be zero.
    let mut info = unsafe { core::mem::zeroed::<libc::Dl_info>() };
    let here = (library as fn() -> Option<Text<4096>>) as *const ();
    if c::dladdr(here.cast(), &mut info) == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own string, valid while the library is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes();
    if name.starts_with(b"/") {
        return Some(namespace::terminated(&[name]));
    }
    // Preloaded by a relative name: the kernel knows the whole one.
    mapped_name(here as usize)
}

/// The file that is mapped at an address, by `/proc/self/map_files` or `maps`.
fn mapped_name(address: usize) -> Option<Text<4096>> {
    let fd = sys::openat(libc::AT_FDCWD, b"/proc/self/maps\0", libc::O_RDONLY | libc::O_CLOEXEC, 0)
        .ok()?;
    let buffer = namespace::fresh(256 << 10)?;
    let mut used = 0;
    while let Some(rest) = buffer.get_mut(used..) {
        let args = [arg(fd), rest.as_mut_ptr() as usize, rest.len(), 0, 0, 0];
        match memory::raw(Sysno::read, args) {
            Ok(n) if n > 0 => used = used.saturating_add(n),
            _ => break,
        }
    }
    sys::close(fd);
    let found = find_map(buffer.get(..used)?, address).map(|name| namespace::terminated(&[name]));
    memory::unmap(buffer.as_ptr() as usize, buffer.len());
    found
}

fn find_map(maps: &[u8], address: usize) -> Option<&[u8]> {
    maps.split(|&b| b == b'\n').find_map(|line| {
        let range = line.split(|&b| b == b' ').next()?;
        let mut ends = range.split(|&b| b == b'-').map(hex);
        let (from, to) = (ends.next()??, ends.next()??);
        let slash = line.iter().position(|&b| b == b'/')?;
        ((from..to).contains(&address)).then(|| line.get(slash..))?
    })
}

fn hex(text: &[u8]) -> Option<usize> {
    core::str::from_utf8(text).ok().and_then(|text| usize::from_str_radix(text, 16).ok())
}

/// The path of a program of ours beside this library, with its zero byte.
pub(crate) fn beside(program: &[u8]) -> Option<Text<4096>> {
    let library = library()?;
    let path = library.get();
    let cut = path.iter().rposition(|&b| b == b'/')?.saturating_add(1);
    let made = namespace::terminated(&[path.get(..cut)?, program]);
    made.fits().then_some(made)
}
