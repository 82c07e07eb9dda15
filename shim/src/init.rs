//! The start of the library in a process: what the environment asks for.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `PARROT_SESSION` | the session directory: its `rules` are the mountlist; wins |
//! | `PARROT_MOUNT_FILE` | a mountlist |
//! | `PARROT_MOUNT_STRING` | `/logical=/target[,option…]`, several separated by blanks |
//! | `PARROT_TEMP_DIR`, `TMPDIR` | where session directories lie |
//! | `PARROT_AGENT` | the agent's program, instead of the one beside this library |
//! | `PARROT_TIMEOUT` | seconds: the deadline of rules that have none of their own |
//! | `PARROT_CHIRP_AUTH`, `CHIRP_CLIENT_TICKETS` | login methods and files of tickets, for the agent |
//! | `PARROT_DEBUG_FLAGS` | what to trace, see `debug` |
//! | `PARROT_DEBUG_FILE` | where to, instead of the standard error |
//! | `PARROT_TRACED` | a tracer does the work: this library only keeps the `lane` |
//!
//! A mountlist or timeout that cannot be used ends the process with status 125: a program must not run in
//! another namespace than the one asked for.
#![expect(unsafe_code, reason = "the constructor and the environment's array")]

use crate::text::Text;
use crate::{agent, c, fds, memory, namespace};
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use parrot_common::client::MAX_SESSION;
use parrot_common::mountlist::{Builder, Table, set_default_deadline};
use parrot_common::sys::{self, arg};
use syscalls::Sysno;

/// Runs before the program's own constructors. glibc hands every constructor main's arguments.
extern "C" fn constructor(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    let environment = if environment.is_null() { c::environment() } else { environment };
    if !environment.is_null() {
        namespace::start(environment);
        crate::hooks::start();
    }
}

#[used]
// The section of constructors; the entry has their signature.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = constructor;

/// Runs at `exit`, after the program's own exit handlers.
extern "C" fn destructor() {
    crate::hooks::finish();
}

#[used]
// The section of destructors; the entry has their signature.
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destructor;

/// The variables that are the library's own. Kept at the start: programs change their environment.
pub(crate) const VARIABLES: [&[u8]; 12] = [
    b"PARROT_SESSION",
    b"PARROT_MOUNT_FILE",
    b"PARROT_MOUNT_STRING",
    b"PARROT_TEMP_DIR",
    b"PARROT_AGENT",
    b"TMPDIR",
    b"PARROT_TRACED",
    b"PARROT_TIMEOUT",
    b"PARROT_CHIRP_AUTH",
    b"CHIRP_CLIENT_TICKETS",
    b"PARROT_DEBUG_FLAGS",
    b"PARROT_DEBUG_FILE",
];
const SESSION: usize = 0;
pub(crate) const MOUNT_FILE: usize = 1;
pub(crate) const MOUNT_STRING: usize = 2;
pub(crate) const TEMP_DIR: usize = 3;
pub(crate) const AGENT: usize = 4;
const TMPDIR: usize = 5;
const TRACED: usize = 6;
pub(crate) const TIMEOUT: usize = 7;
pub(crate) const AUTH: usize = 8;
pub(crate) const TICKETS: usize = 9;

pub(crate) const DEBUG_FLAGS: usize = 10;
pub(crate) const DEBUG_FILE: usize = 11;
/// What a program that cleans the environment of its children does not take from them.
pub(crate) const PASSED_ON: [usize; 7] =
    [TEMP_DIR, AGENT, TIMEOUT, AUTH, TICKETS, DEBUG_FLAGS, DEBUG_FILE];

/// The entries (`NAME=value`) as the process got them, or null.
static ENTRIES: [AtomicPtr<c_char>; VARIABLES.len()] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; VARIABLES.len()];
/// Whether the namespace is not the built-in one.
static CONFIGURED: AtomicBool = AtomicBool::new(false);
/// Whether a tracer does the work.
static INERT: AtomicBool = AtomicBool::new(false);
static DONE: AtomicBool = AtomicBool::new(false);

/// Whether a session or a mountlist was named.
pub(crate) fn configured() -> bool {
    CONFIGURED.load(Ordering::Relaxed)
}

/// Whether this library does nothing in this process.
pub(crate) fn inert() -> bool {
    INERT.load(Ordering::Relaxed)
}

/// What a tracer says of itself: the directory of its session, if its rules are not the built-in ones.
pub(crate) fn traced() -> Option<&'static [u8]> {
    value(TRACED)
}

/// The entry of a variable as the process got it.
pub(crate) fn entry(index: usize) -> Option<*const c_char> {
    let entry = ENTRIES.get(index)?.load(Ordering::Relaxed);
    (!entry.is_null()).then_some(entry.cast_const())
}

/// The value of a variable as the process got it; `None` when it is empty.
pub(crate) fn value(index: usize) -> Option<&'static [u8]> {
    let name = VARIABLES.get(index)?;
    let text = c::bytes(entry(index)?).get(name.len().saturating_add(1)..)?;
    (!text.is_empty()).then_some(text)
}

/// The entries of an environment.
pub(crate) fn each(environment: *const *const c_char) -> impl Iterator<Item = *const c_char> {
    let mut at = environment;
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        let entry = c::peek(at);
        at = at.wrapping_add(1);
        (!entry.is_null()).then_some(entry)
    })
}

/// Whether an entry sets a variable. Byte by byte, no further than they agree: at the start of a
/// process all its entries are asked for all our names.
pub(crate) fn sets(entry: *const c_char, name: &[u8]) -> bool {
    let mut at = entry.cast::<u8>();
    for &byte in name {
        if c::peek(at) != byte {
            return false;
        }
        at = at.wrapping_add(1);
    }
    c::peek(at) == b'='
}

/// Keeps the library's own variables, in memory that nobody else writes (programs that set their
/// title overwrite the first environment).
fn keep(environment: *const *const c_char) {
    let mut room: &'static mut [u8] = &mut [];
    for given in each(environment) {
        let first = c::peek(given.cast::<u8>());
        if !matches!(first, b'P' | b'T' | b'C') {
            continue;
        }
        let Some(index) = VARIABLES.iter().position(|name| sets(given, name)) else { continue };
        let bytes = c::bytes(given);
        let len = bytes.len().saturating_add(1);
        if room.len() < len {
            let Some(fresh) = namespace::fresh(len.max(64 << 10)) else { return };
            room = fresh;
        }
        let Some((place, rest)) = room.split_at_mut_checked(len) else { return };
        room = rest;
        if let Some(place) = place.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        if let Some(slot) = ENTRIES.get(index) {
            slot.store(place.as_mut_ptr().cast(), Ordering::Relaxed);
        }
    }
}

/// Takes what is the library's from the environment; whether that names a mountlist.
pub(crate) fn read(environment: *const *const c_char) -> bool {
    keep(environment);
    INERT.store(value(TRACED).is_some(), Ordering::Relaxed);
    let named = [SESSION, MOUNT_FILE, MOUNT_STRING].iter().any(|&index| value(index).is_some());
    CONFIGURED.store(named, Ordering::Relaxed);
    if let Some(text) = value(TIMEOUT).filter(|text| seconds(text).is_none() && !inert()) {
        refuse(&[b"PARROT_TIMEOUT takes seconds, not ", text]);
    }
    if entry(DEBUG_FLAGS).is_some()
        && !inert()
        && let Err(word) = crate::debug::start()
    {
        refuse(&[
            b"PARROT_DEBUG_FLAGS: no such flag: ",
            word,
            b" (known: syscall, resolve, remote, process, hole, all)",
        ]);
    }
    DONE.store(true, Ordering::Release);
    named
}

fn seconds(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether the environment was read.
pub(crate) fn done() -> bool {
    DONE.load(Ordering::Acquire)
}

/// The compiled mountlist that the environment asks for.
pub(crate) fn table() -> Option<Table<'static>> {
    let errno = c::errno();
    let table = match (value(SESSION), value(MOUNT_FILE), value(MOUNT_STRING)) {
        (Some(session), _, _) => session_table(session),
        (None, file, rules) => compiled(file, rules),
    };
    c::set_errno(errno);
    table
}

/// The rules of a session.
pub(crate) fn rules_of(session: &[u8]) -> Option<Table<'static>> {
    let path = namespace::terminated(&[session, b"/rules"]);
    namespace::map_file(path.get()).and_then(Table::from_bytes)
}

fn session_table(session: &[u8]) -> Option<Table<'static>> {
    let table = rules_of(session);
    if table.is_none() {
        refuse(&[b"cannot read the rules of session ", session]);
    }
    table
}

/// The rules that are there without a mountlist.
pub(crate) fn built_in() -> Option<Table<'static>> {
    compiled(None, None)
}

fn compiled(file: Option<&[u8]>, rules: Option<&[u8]>) -> Option<Table<'static>> {
    let text = match file {
        None => &[],
        Some(name) => match namespace::map_file(namespace::terminated(&[name]).get()) {
            Some(text) => text,
            None => refuse(&[name, b": cannot read this mountlist"]),
        },
    };
    let len = rules.map_or(0, <[u8]>::len).saturating_add(text.len());
    let out = namespace::fresh(len.saturating_mul(16).saturating_add(16 << 10))?;
    let mut builder = Builder::new(out);
    let mut message = [0; 1024];
    let result = builder
        .add_text(text, file.unwrap_or_default())
        .and_then(|()| builder.add_option(rules.unwrap_or_default(), b"PARROT_MOUNT_STRING"));
    if let Err(error) = result {
        let len = error.message(&mut message);
        refuse(&[message.get(..len).unwrap_or_default()]);
    }
    let used = match builder.finish() {
        Ok(used) => used,
        Err(what) => refuse(&[what.as_bytes()]),
    };
    if let Some(seconds) = value(TIMEOUT).and_then(seconds) {
        set_default_deadline(out.get_mut(..used)?, seconds);
    }
    Table::from_bytes(out.get(..used)?)
}

/// The session directory that the environment names.
pub(crate) fn given_session() -> Option<&'static [u8]> {
    value(SESSION).filter(|session| session.len() <= MAX_SESSION)
}

/// The first directory for temporary files that can be used, by the name that the kernel gives it.
pub(crate) fn base(out: &mut [u8]) -> Option<usize> {
    let given = [value(TEMP_DIR), value(TMPDIR)];
    let fixed: [&'static [u8]; 3] = [b"/tmp", b"/var/tmp", b"/dev/shm"];
    given.into_iter().flatten().chain(fixed).find_map(|base| usable(base, out))
}

fn usable(base: &[u8], out: &mut [u8]) -> Option<usize> {
    let path = namespace::terminated(&[base]);
    let at = path.get().as_ptr() as usize;
    let mode = arg(libc::W_OK | libc::X_OK);
    memory::raw(Sysno::faccessat, [arg(libc::AT_FDCWD), at, mode, 0, 0, 0]).ok()?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let fd = sys::openat(libc::AT_FDCWD, path.get(), flags, 0).ok()?;
    let len = fds::kernel_name(Some(fd), out);
    sys::close(fd);
    // Where somebody else has taken our place, there is none for us.
    let mut place = Text::<1024>::new();
    let uid = memory::raw(Sysno::geteuid, [0; 6]).ok()?;
    place.put(out.get(..len?)?).put(b"/parrot.").number(uid as u64).put(b"\0");
    if agent::is_own(place.get()) == Ok(false) { None } else { len }
}

/// Writes `parrot: …` and a newline to the standard error.
pub(crate) fn say(parts: &[&[u8]]) {
    let mut text = Text::<2048>::new();
    text.put(b"parrot: ");
    for part in parts {
        text.put(part);
    }
    let bytes = text.put(b"\n").get();
    let _ = memory::raw(Sysno::write, [2, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]);
}

/// Says why the program cannot run, and ends it.
fn refuse(parts: &[&[u8]]) -> ! {
    say(parts);
    loop {
        let _ = memory::raw(Sysno::exit_group, [125, 0, 0, 0, 0, 0]);
    }
}
