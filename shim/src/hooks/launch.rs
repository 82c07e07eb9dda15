//! What an exec needs besides the right file: an environment in which the new program is ours too,
//! and `parrot-trace` in front of a program that cannot be preloaded.

use super::prelude::*;
use crate::text::Text;
use crate::{agent, borrow, debug, init};
use parrot_common::Errno;
use parrot_common::sys::{self, arg};

/// Pointers and strings of a changed call, in memory of its own.
#[derive(Debug)]
pub(super) struct Launch {
    /// Path, arguments, environment: as for execve(2).
    pub(super) args: [usize; 3],
    /// There is no such program on this machine.
    pub(super) missing: bool,
    at: usize,
    len: usize,
    used: usize,
}

/// What the loader would do with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Preload us, or fail.
    Usual,
    /// Not preload us: there is no loader, or it runs with rights that the caller has not.
    Alone,
    /// There is no such file.
    Missing,
}

/// Room for the strings that are added.
const STRINGS: usize = 32 << 10;

impl Launch {
    /// Prepares a call. Where there is no memory, the call is left as it is.
    pub(super) fn new(path: usize, argv: usize, envp: usize) -> Self {
        if init::inert() {
            return Self { args: [path, argv, envp], missing: false, at: 0, len: 0, used: 0 };
        }
        let count = |list: usize| init::each(core::ptr::with_exposed_provenance(list)).count();
        let pointers = count(argv).saturating_add(count(envp)).saturating_add(32);
        let len = pointers.saturating_mul(size_of::<usize>()).saturating_add(STRINGS);
        let mut launch = Self { args: [path, argv, envp], missing: false, at: 0, len, used: 0 };
        let traced = launch.program();
        launch.environment(traced);
        if debug::on(debug::PROCESS) {
            let name = c::bytes(core::ptr::with_exposed_provenance(path));
            let how: &[u8] = if traced { b" under parrot-trace" } else { b"" };
            debug::process(&[b"runs ", name, how]);
        }
        launch
    }

    /// Gives the memory back.
    pub(super) fn done(&self) {
        if self.at != 0 {
            borrow::unmap_for_exec(self.at, self.len);
        }
    }

    /// Where the next byte goes. Most programs need nothing put anywhere.
    fn end(&mut self) -> Option<usize> {
        if self.at == 0 {
            self.at = borrow::map_for_exec(self.len)?;
        }
        Some(self.at.wrapping_add(self.used))
    }

    fn put(&mut self, bytes: &[u8]) -> Option<usize> {
        let at = self.end()?;
        self.used = self.used.saturating_add(bytes.len());
        if self.used > self.len {
            return None;
        }
        for (index, &byte) in bytes.iter().enumerate() {
            c::poke(core::ptr::with_exposed_provenance_mut::<u8>(at).wrapping_add(index), byte);
        }
        Some(at)
    }

    /// A string with its zero byte.
    fn string(&mut self, parts: &[&[u8]]) -> Option<usize> {
        let at = self.end()?;
        for part in parts {
            self.put(part)?;
        }
        self.put(b"\0")?;
        Some(at)
    }

    /// Starts a list of pointers.
    fn list(&mut self) -> Option<usize> {
        self.used = self.used.wrapping_add(7) & !7;
        self.end()
    }

    fn pointer(&mut self, address: usize) -> Option<usize> {
        self.put(&address.to_ne_bytes())
    }

    /// Puts back what a program took from the environment.
    fn environment(&mut self, traced: bool) {
        let [_, _, old] = self.args;
        let old = core::ptr::with_exposed_provenance(old);
        let mut added = [0_usize; 12];
        let mut count = 0;
        let mut add = |entry: Option<usize>| {
            if let (Some(entry), Some(place)) = (entry, added.get_mut(count)) {
                *place = entry;
                count = usize::wrapping_add(count, 1);
            }
        };
        let preload = init::each(old).find(|&entry| init::sets(entry, b"LD_PRELOAD"));
        let ours = preload.is_some_and(names_us);
        let replaced = ours == traced;
        if replaced && traced {
            add(preload.and_then(|entry| self.others(entry)));
        } else if replaced {
            add(self.preload(preload));
        }
        if needs_session(old)
            && let Some(ns) = namespace::get()
            && agent::prepare(ns.session).is_ok()
        {
            add(self.string(&[b"PARROT_SESSION=", ns.session]));
        }
        for index in init::PASSED_ON {
            if let (Some(entry), Some(name)) = (init::entry(index), init::VARIABLES.get(index))
                && !init::each(old).any(|given| init::sets(given, name))
            {
                add(Some(at(entry)));
            }
        }
        let added = added.get(..count).unwrap_or_default();
        if added.is_empty() && !(replaced && traced) {
            return;
        }
        let Some(list) = self.list() else { return };
        for &entry in added {
            if self.pointer(entry).is_none() {
                return;
            }
        }
        for entry in init::each(old) {
            if replaced && Some(entry) == preload {
                continue;
            }
            if self.pointer(at(entry)).is_none() {
                return;
            }
        }
        if self.pointer(0).is_some() {
            self.args[2] = list;
        }
    }

    /// `LD_PRELOAD` with this library first.
    fn preload(&mut self, old: Option<*const c_char>) -> Option<usize> {
        let library = agent::library()?;
        let path = library.get().strip_suffix(b"\0")?;
        let rest = old.and_then(|old| c::bytes(old).get(b"LD_PRELOAD=".len()..));
        let between: &[u8] = if rest.is_none_or(<[u8]>::is_empty) { b"" } else { b":" };
        self.string(&[b"LD_PRELOAD=", path, between, rest.unwrap_or_default()])
    }

    /// `LD_PRELOAD` without this library: the tracer must not be caught itself, and catches by
    /// itself what its programs start. `None` when nothing is left.
    fn others(&mut self, entry: *const c_char) -> Option<usize> {
        let words = c::bytes(entry).get(b"LD_PRELOAD=".len()..).unwrap_or_default();
        let at = self.put(b"LD_PRELOAD")?;
        let mut any = false;
        for word in words.split(separates).filter(|word| !word.is_empty() && !is_us(word)) {
            self.put(if any { b":" } else { b"=" })?;
            self.put(word)?;
            any = true;
        }
        self.put(b"\0")?;
        any.then_some(at)
    }

    /// A program that cannot be preloaded runs under `parrot-trace`, on the same session.
    fn program(&mut self) -> bool {
        let [path, argv, _] = self.args;
        let name = c::bytes(core::ptr::with_exposed_provenance(path));
        let kind = kind_of(name, true);
        self.missing = kind == Kind::Missing;
        if kind != Kind::Alone {
            return false;
        }
        let Some(tracer) = agent::beside(b"parrot-trace") else { return false };
        let place = arg(AT_FDCWD);
        let file = at(tracer.get().as_ptr());
        let may = memory::raw(Sysno::faccessat, [place, file, arg(libc::X_OK), 0, 0, 0]);
        let Some(ns) = namespace::get() else { return false };
        if may.is_err() || agent::ensure(ns.session).is_err() {
            return false;
        }
        self.traced(tracer.get(), ns.session, path, argv).is_some()
    }

    /// `parrot-trace --session DIR --argv0 ARGV0 -- PATH ARGUMENTS…`
    fn traced(&mut self, tracer: &[u8], session: &[u8], path: usize, argv: usize) -> Option<()> {
        let tracer = self.put(tracer)?;
        let session = self.string(&[session])?;
        let mut given = init::each(core::ptr::with_exposed_provenance(argv));
        let argv0 = given.next().map_or(path, at);
        let words = [c"--session".as_ptr(), c"--argv0".as_ptr(), c"--".as_ptr()].map(at);
        let list = self.list()?;
        for word in [tracer, words[0], session, words[1], argv0, words[2], path] {
            self.pointer(word)?;
        }
        for word in given {
            self.pointer(at(word))?;
        }
        self.pointer(0)?;
        self.args[0] = tracer;
        self.args[1] = list;
        Some(())
    }
}

/// Whether an `LD_PRELOAD` entry names this library, under any directory.
fn names_us(entry: *const c_char) -> bool {
    let words = c::bytes(entry).get(b"LD_PRELOAD=".len()..).unwrap_or_default();
    words.split(separates).any(is_us)
}

/// What separates the words of `LD_PRELOAD`.
const fn separates(byte: &u8) -> bool {
    matches!(*byte, b':' | b' ')
}

fn is_us(word: &[u8]) -> bool {
    word.rsplit(|&b| b == b'/').next() == Some(b"libparrot.so".as_slice())
}

/// Whether the new program must be told of the session: this one uses it, or has a mountlist of
/// its own, and the environment does not say something else.
fn needs_session(environment: *const *const c_char) -> bool {
    if !agent::used() && !init::configured() {
        return false;
    }
    init::each(environment).all(|entry| {
        if init::sets(entry, b"PARROT_SESSION") {
            return false;
        }
        [init::MOUNT_FILE, init::MOUNT_STRING, init::TIMEOUT, init::AUTH, init::TICKETS].iter().all(
            |&index| {
                let name = init::VARIABLES.get(index).copied().unwrap_or_default();
                !init::sets(entry, name)
                    || init::entry(index).is_some_and(|ours| c::bytes(ours) == c::bytes(entry))
            },
        )
    })
}

/// Looks at a program, or at the interpreter of a script.
fn kind_of(name: &[u8], scripts: bool) -> Kind {
    let path = namespace::terminated(&[name]);
    let fd = match sys::openat(AT_FDCWD, path.get(), libc::O_RDONLY | libc::O_CLOEXEC, 0) {
        Ok(fd) => fd,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Kind::Missing,
        Err(_) => return Kind::Usual,
    };
    let mut head = [0_u8; 1024];
    let read = memory::raw(Sysno::pread64, [arg(fd), at(head.as_mut_ptr()), head.len(), 0, 0, 0]);
    let stat = fds::stat(fd);
    let head = head.get(..read.unwrap_or(0)).unwrap_or_default();
    let alone = match stat {
        Some(stat) if head.starts_with(b"\x7fELF") => privileged(&stat) || has_no_loader(fd, head),
        _ => false,
    };
    sys::close(fd);
    if scripts && let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&b| b == b'\n').next().unwrap_or_default();
        let mut words = line.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty());
        return match words.next().map(|interpreter| kind_of(interpreter, false)) {
            Some(Kind::Alone) => Kind::Alone,
            _ => Kind::Usual,
        };
    }
    if alone { Kind::Alone } else { Kind::Usual }
}

fn privileged(stat: &libc::stat) -> bool {
    let id = |nr| memory::raw(nr, [0; 6]).unwrap_or(0);
    (stat.st_mode & libc::S_ISUID != 0 && stat.st_uid as usize != id(Sysno::geteuid))
        || (stat.st_mode & libc::S_ISGID != 0
            && stat.st_mode & libc::S_IXGRP != 0
            && stat.st_gid as usize != id(Sysno::getegid))
}

/// Whether a 64-bit ELF program names no loader, or one that cannot load us. Others are not ours to
/// judge.
fn has_no_loader(fd: c_int, head: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| head.get(at..at.saturating_add(2)).and_then(|b| b.try_into().ok());
    let word = |at: usize| head.get(at..at.saturating_add(8)).and_then(|b| b.try_into().ok());
    let (Some(kind), Some(size), Some(count), Some(offset)) =
        (half(16), half(54), half(56), word(32))
    else {
        return false;
    };
    let [kind, size, count] = [kind, size, count].map(u16::from_le_bytes);
    if head.get(4) != Some(&2) || !matches!(kind, 2 | 3) || size != 56 {
        return false;
    }
    let offset = u64::from_le_bytes(offset);
    for index in 0..u64::from(count) {
        let mut header = [0_u8; 4];
        let from = offset.wrapping_add(index.wrapping_mul(56)) as usize;
        let args = [arg(fd), at(header.as_mut_ptr()), 4, from, 0, 0];
        let inside =
            head.get(from..from.saturating_add(4)).and_then(|b| <[u8; 4]>::try_from(b).ok());
        match inside {
            Some(bytes) => header = bytes,
            None if memory::raw(Sysno::pread64, args) == Ok(4) => {}
            None => return false,
        }
        if u32::from_le_bytes(header) == PT_INTERP {
            return is_musls(fd, head, from);
        }
    }
    true
}

/// Whether a loader is musl's, which cannot load a library made for glibc: the program would not
/// start. `header` is the place of the segment's header in the file.
fn is_musls(fd: c_int, head: &[u8], header: usize) -> bool {
    // Elf64_Phdr: p_offset at 8.
    let offset = part::<8>(fd, head, header.saturating_add(8)).map(u64::from_le_bytes);
    let Some(name) = offset.and_then(|offset| part::<64>(fd, head, offset as usize)) else {
        return false;
    };
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    name.windows(b"ld-musl".len()).any(|word| word == b"ld-musl")
}

/// Some bytes of a file whose head was read already; zeros behind its end.
fn part<const N: usize>(fd: c_int, head: &[u8], from: usize) -> Option<[u8; N]> {
    if let Some(inside) = head.get(from..).and_then(|rest| rest.first_chunk::<N>()) {
        return Some(*inside);
    }
    let mut bytes = [0; N];
    let args = [arg(fd), at(bytes.as_mut_ptr()), N, from, 0, 0];
    memory::raw(Sysno::pread64, args).ok()?;
    Some(bytes)
}

/// The candidates of a name without a slash along `PATH`.
pub(super) fn search(name: &[u8], mut found: impl FnMut(*const c_char) -> bool) {
    let path = init::each(c::environment())
        .find(|&entry| init::sets(entry, b"PATH"))
        .map_or(b"/bin:/usr/bin".as_slice(), |entry| {
            c::bytes(entry).get(b"PATH=".len()..).unwrap_or_default()
        });
    for dir in path.split(|&b| b == b':') {
        let mut full = Text::<4096>::new();
        if !dir.is_empty() {
            full.put(dir).put(b"/");
        }
        full.put(name).put(b"\0");
        if full.fits() && found(full.get().as_ptr().cast()) {
            return;
        }
    }
}
