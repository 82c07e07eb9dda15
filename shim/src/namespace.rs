//! The namespace of this process: the compiled mountlist and the session directory; and the test
//! that most names end with: two bytes of the first component against a bit set.
//!
//! The table is known after [`start`], without looking at any file when no mountlist is named. The
//! session directory is worked out at the first call that may be ours.
#![expect(unsafe_code, reason = "values written once, read by all; the guest's strings")]

use crate::memory::Mapped;
use crate::{c, fds, init, memory, text::Text};
use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use libc::c_int;
use parrot_common::Errno;
use parrot_common::client::{MAX_SESSION, session_dir};
use parrot_common::handler::Namespace;
use parrot_common::mountlist::{BUILT_IN, RuleKind, Table};
use parrot_common::resolve::missing::{self, Look, Moment, Recent};
use parrot_common::resolve::quick_plain;
use parrot_common::sys::{self, arg};
use syscalls::Sysno;

/// A value that is written once and read by everybody after that.
struct Once<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

const EMPTY: u32 = 0;
const READY: u32 = u32::MAX;

// SAFETY: written by the one thread that moved `state` from EMPTY, read only after READY.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new() -> Self {
        Self { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(None) }
    }

    #[inline(always)]
    fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        // SAFETY: READY, so nobody writes any more.
        unsafe { &*self.value.get() }.as_ref()
    }

    /// Gets the value, making it first if nobody has. `None` when it cannot be made, or when this
    /// very thread is making it (a signal handler, or a hook called while it is made).
    fn get_or(&self, make: impl FnOnce() -> Option<T>) -> Option<&T> {
        if let Some(value) = self.get() {
            return Some(value);
        }
        let me = sys::gettid().cast_unsigned();
        loop {
            match self.state.compare_exchange(EMPTY, me, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    let value = make();
                    let state = if value.is_some() { READY } else { EMPTY };
                    // SAFETY: this thread alone, see above.
                    unsafe { *self.value.get() = value };
                    self.state.store(state, Ordering::Release);
                    return self.get();
                }
                Err(READY) => return self.get(),
                Err(owner) if owner == me => return None,
                Err(owner) => {
                    let _ = memory::raw(Sysno::sched_yield, [0; 6]);
                    // In a forked child the thread that was making it does not exist.
                    let who = [arg(sys::getpid()), owner as usize, 0, 0, 0, 0];
                    if owner != EMPTY && memory::raw(Sysno::tgkill, who).is_err() {
                        let (was, now) = (owner, EMPTY);
                        let (order, other) = (Ordering::Acquire, Ordering::Relaxed);
                        let _ = self.state.compare_exchange(was, now, order, other);
                    }
                }
            }
        }
    }
}

static TABLE: Once<Table<'static>> = Once::new();
/// The tracer's rules, for the lane.
static TRACED: Once<Table<'static>> = Once::new();
static SESSION: Once<&[u8]> = Once::new();
/// Two-byte beginnings that no component of a mount's prefix has. None until the rules are known.
static CLEAR: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
/// Relative names are judged like absolute ones (no rule maps to a local path).
static RELATIVE: AtomicBool = AtomicBool::new(false);

/// Some directory of this machine may show mounts.
static SHOWS: AtomicBool = AtomicBool::new(false);

/// Whether a directory of this machine shows mounts in its listing.
#[inline(always)]
pub(crate) fn shows_mounts(fd: c_int) -> bool {
    SHOWS.load(Ordering::Relaxed) && has_mounts(fd)
}

#[cold]
fn has_mounts(fd: c_int) -> bool {
    let mut path = [0; 4096];
    let found = fds::kernel_name(Some(fd), &mut path);
    let path = found.and_then(|len| path.get(..len)).unwrap_or_default();
    table().is_some_and(|table| parrot_common::handler::has_mounts(table, path))
}

/// Reads the environment. Ends the process when its mountlist is wrong. Without a mountlist there
/// is nothing to compile until a name looks like ours.
pub(crate) fn start(environment: *const *const c_char) {
    let named = init::read(environment);
    if init::inert() {
        start_traced();
        return;
    }
    if !named {
        know(BUILT_IN_BITS, true);
        return;
    }
    let _ = TABLE.get_or(init::table);
    if let Some(table) = TABLE.get() {
        know_rules(table);
        SHOWS.store(table.shows(), Ordering::Relaxed);
    }
}

/// A tracer does the work: only the lane needs to know the rules, and not where they can change what
/// a name of this machine means.
fn start_traced() {
    let Some(session) = crate::lane::rules() else {
        know(BUILT_IN_BITS, true);
        crate::lane::start();
        return;
    };
    let rules = TRACED.get_or(|| init::rules_of(session));
    if let Some(table) = rules.filter(|table| !table.full()) {
        know_rules(table);
        crate::lane::start();
    }
}

fn table() -> Option<&'static Table<'static>> {
    if let Some(table) = TABLE.get() {
        return Some(table);
    }
    if !init::done() {
        let environment = c::environment();
        if environment.is_null() {
            return None;
        }
        start(environment);
    }
    // Without a table every name and descriptor is plain.
    if init::inert() { None } else { TABLE.get_or(init::table) }
}

/// The namespace. `None` only before the environment is known.
pub(crate) fn get() -> Option<Namespace<'static>> {
    let table = table()?;
    let session = SESSION.get_or(|| {
        let errno = c::errno();
        let made = init::given_session().or_else(|| make_session(table));
        c::set_errno(errno);
        made
    })?;
    Some(Namespace { table: *table, session })
}

/// Whether a rule leads this name elsewhere.
pub(crate) fn has_rule(name: &[u8]) -> bool {
    let found = table().and_then(|table| table.lookup(name).map(|found| found.rule.kind));
    found.is_some_and(|kind| kind != RuleKind::Passthrough)
}

/// `BASE/parrot.UID/HASH` in the first directory for temporary files that can be used.
fn make_session(table: &Table<'_>) -> Option<&'static [u8]> {
    let mut base = [0; 512];
    let len = init::base(&mut base)?;
    let mut out = [0; MAX_SESSION];
    let uid = memory::raw(Sysno::geteuid, [0; 6]).ok()?;
    // Other credentials are another agent's: it reads them from its environment.
    let entry = |index| init::entry(index).map_or(b"".as_slice(), c::bytes);
    let credentials = [entry(init::AUTH), entry(init::TICKETS)];
    let (base, uid) = (base.get(..len)?, u32::try_from(uid).ok()?);
    let len = session_dir(base, uid, table.bytes(), &credentials, &mut out);
    let made = fresh(len)?;
    made.copy_from_slice(out.get(..len)?);
    Some(made)
}

/// Keeps what the rules say of beginnings and of relative names.
fn know_rules(table: &Table<'_>) {
    let mut bits = if table.full() { [u64::MAX; 16] } else { beginnings(&[]) };
    table.rules().for_each(|rule| note(&mut bits, rule.prefix));
    know(bits, !table.has_local() && !table.full());
}

/// The bits of the rules that are there without a mountlist.
const BUILT_IN_BITS: [u64; 16] = beginnings(BUILT_IN);

/// Keeps the bits of what may be a beginning of a component.
fn know(bits: [u64; 16], relative: bool) {
    for (word, bits) in CLEAR.iter().zip(bits) {
        word.store(!bits, Ordering::Relaxed);
    }
    RELATIVE.store(relative, Ordering::Relaxed);
}

/// The bits of these prefixes, and of the components that always need a look.
const fn beginnings(mut prefixes: &[&[u8]]) -> [u64; 16] {
    let mut bits = [0; 16];
    note(&mut bits, b"/proc/dev/./..");
    while let [prefix, rest @ ..] = prefixes {
        note(&mut bits, prefix);
        prefixes = rest;
    }
    bits
}

/// Sets the bits of a prefix's components.
#[expect(clippy::indexing_slicing, reason = "a hint's word is one of 16")]
const fn note(bits: &mut [u64; 16], mut text: &[u8]) {
    let mut begins = true;
    loop {
        if begins {
            let (word, bit) = match text {
                [] | [b'/', ..] => hint(0, 0),
                [first] => hint(*first, 0),
                [first, second, ..] => hint(*first, *second),
            };
            bits[word] |= bit;
        }
        let [first, rest @ ..] = text else { return };
        begins = *first == b'/';
        text = rest;
    }
}

/// Where the bit of two bytes is. The end of a component counts as 0.
#[inline(always)]
const fn hint(first: u8, second: u8) -> (usize, u64) {
    let second = if second == b'/' { 0 } else { second };
    let hash = (first as usize).wrapping_mul(37).wrapping_add(second as usize);
    ((hash >> 6) & 15, 1_u64.wrapping_shl((hash & 63) as u32))
}

/// No program has memory from here on (57 bits with five levels of page tables, and the upper half
/// is the kernel's), nor in the first page.
const USER_END: usize = 1 << 56;

/// Whether a program may have memory at an address.
#[inline(always)]
pub(crate) const fn may_be_there(address: usize) -> bool {
    address.wrapping_sub(4096) < USER_END
}

#[inline(always)]
fn hinted(first: u8, second: u8) -> bool {
    let (word, bit) = hint(first, second);
    CLEAR.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bit == 0)
}

/// Whether a name is not ours as far as its text tells. A name for which this is true goes to the
/// kernel at once; if the kernel finds nothing there, it is resolved in full.
#[inline(always)]
pub(crate) fn plain_name(dirfd: c_int, path: *const c_char) -> bool {
    if !may_be_there(path.addr()) {
        // The kernel says EFAULT (or takes null for the descriptor itself).
        return dirfd == libc::AT_FDCWD || fds::plain(dirfd);
    }
    // SAFETY: a string by the program's promise to libc; at most up to its zero byte.
    let at = |index: usize| unsafe { path.cast::<u8>().wrapping_add(index).read() };
    let first = at(0);
    if first == 0 {
        return if dirfd == libc::AT_FDCWD { fds::cwd_plain() } else { fds::plain(dirfd) };
    }
    let second = at(1);
    if first == b'/' {
        if second == 0 || second == b'/' {
            return plain_absolute(path);
        }
        return !hinted(second, at(2)) || plain_absolute(path);
    }
    let base = if dirfd == libc::AT_FDCWD { fds::cwd_plain() } else { fds::plain(dirfd) };
    base && (!hinted(first, second) || plain_relative(path)) && RELATIVE.load(Ordering::Relaxed)
}

/// Whether a name is certainly none of ours as far as its text tells, for the lane.
pub(crate) fn plain_for_lane(path: *const c_char) -> bool {
    if !may_be_there(path.addr()) {
        return false;
    }
    // SAFETY: a string by the program's promise to libc; at most up to its zero byte.
    let at = |index: usize| unsafe { path.cast::<u8>().wrapping_add(index).read() };
    if at(0) == b'/' {
        return !matches!(at(1), 0 | b'/') && !hinted(at(1), at(2));
    }
    // Compilers put a `./` before what is looked for here.
    let mut begin: usize = 0;
    while at(begin) == b'.' && at(begin.wrapping_add(1)) == b'/' {
        begin = begin.wrapping_add(2);
    }
    let first = at(begin);
    !matches!(first, 0 | b'/') && !hinted(first, at(begin.wrapping_add(1))) && relative_for_lane()
}

/// Whether relative names are judged by their text, for the lane.
pub(crate) fn relative_for_lane() -> bool {
    RELATIVE.load(Ordering::Relaxed)
}

#[cold]
fn plain_absolute(path: *const c_char) -> bool {
    let Some(table) = table() else { return true };
    let path = c::bytes(path);
    match path.strip_prefix(b"/dev/") {
        Some(rest) if !table.full() && !table.knows_first(b"dev") => {
            !rest.starts_with(b"fd") && !rest.starts_with(b"std") && !rest.starts_with(b".")
        }
        _ => quick_plain(table, path),
    }
}

#[cold]
fn plain_relative(path: *const c_char) -> bool {
    let Some(table) = table() else { return true };
    let first = c::bytes(path).split(|&b| b == b'/').next().unwrap_or_default();
    !table.full() && !table.knows_component(first)
}

static RECENT: Mapped<Recent> = Mapped::new();

/// Names may lead elsewhere from now on: the working directory has changed, a name was given to
/// something else, or another process may do it.
pub(crate) fn changed() {
    if let Some(recent) = RECENT.get() {
        recent.forget();
    }
}

/// Whether a plain name that the kernel did not find cannot lead to a mount either. Keeps errno.
#[cold]
#[inline(never)]
pub(crate) fn certainly_missing(dirfd: c_int, path: *const c_char) -> bool {
    let errno = c::errno();
    let Some(table) = table() else { return true };
    let absolute = c::peek(path.cast::<u8>()) == b'/';
    if errno == libc::ELOOP || table.full() || (!absolute && table.has_local()) {
        return false;
    }
    let missing = is_missing(table, dirfd, path, &memory::raw);
    c::set_errno(errno);
    missing
}

/// As [`certainly_missing`], for the lane and its rules, by calls from it.
#[cold]
#[inline(never)]
pub(crate) fn certainly_missing_by_lane(dirfd: c_int, path: *const c_char, errno: c_int) -> bool {
    let absolute = c::peek(path.cast::<u8>()) == b'/';
    if errno == libc::ELOOP || (!absolute && !crate::lane::is_a_place(dirfd)) {
        return false;
    }
    // Rules of a session are there since the lane was opened.
    let rules = TRACED.get_or(init::built_in);
    let from_lane = |nr: Sysno, args| Errno::check(crate::lane::call(nr.id() as usize, args));
    rules.is_some_and(|table| is_missing(table, dirfd, path, &from_lane))
}

/// Asks the kernel whether a missing name can lead to a mount.
fn is_missing(
    table: &Table<'_>,
    dirfd: c_int,
    path: *const c_char,
    ask: &dyn Fn(Sysno, [usize; 6]) -> Result<usize, Errno>,
) -> bool {
    let name = c::bytes(path);
    // What a descriptor's directory is, is not known.
    let known = name.first() == Some(&b'/') || dirfd == libc::AT_FDCWD;
    let at = known.then(|| Moment { now: c::clock(), base: 0 });
    let Some(recent) = RECENT.get_or_map() else { return false };
    missing::certainly_missing(table, recent, at, name, &mut |what, part| {
        let copy;
        let part = if part.len() == name.len() {
            path.expose_provenance()
        } else {
            copy = terminated(&[part]);
            copy.get().as_ptr().expose_provenance()
        };
        match what {
            Look::Exists => ask(Sysno::faccessat, [arg(dirfd), part, 0, 0, 0, 0]),
            Look::Link => {
                let mut text = [0_u8; 8];
                let (to, room) = (text.as_mut_ptr().expose_provenance(), text.len());
                ask(Sysno::readlinkat, [arg(dirfd), part, to, room, 0, 0])
            }
        }
        .map(|_| ())
    })
}

/// Opens a file, maps it for reading and closes it; `None` when any of that fails. An empty file
/// gives an empty slice.
pub(crate) fn map_file(path: &[u8]) -> Option<&'static [u8]> {
    let fd = sys::openat(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC, 0).ok()?;
    let bytes = map_descriptor(fd);
    sys::close(fd);
    bytes
}

/// Maps a whole file for reading; the mapping is the caller's.
pub(crate) fn map_descriptor(fd: c_int) -> Option<&'static [u8]> {
    let len = usize::try_from(fds::stat(fd)?.st_size).ok()?;
    if len == 0 {
        return Some(&[]);
    }
    let (prot, flags) = (arg(libc::PROT_READ), arg(libc::MAP_PRIVATE));
    let at = memory::raw(Sysno::mmap, [0, len, prot, flags, arg(fd), 0]).ok()?;
    // SAFETY: a private mapping of that length, never unmapped.
    Some(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at), len) })
}

/// Fresh memory that stays.
pub(crate) fn fresh(len: usize) -> Option<&'static mut [u8]> {
    let at = memory::map_zeroed(len)?;
    // SAFETY: a new private mapping of that length, never unmapped, given out once.
    Some(unsafe {
        core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at), len)
    })
}

/// Ends a path with a zero byte, for a raw call.
pub(crate) fn terminated(parts: &[&[u8]]) -> Text<4096> {
    let mut text = Text::new();
    for part in parts {
        text.put(part);
    }
    text.put(b"\0");
    text
}

/// Whether getcwd(2) of the kernel is the right answer.
pub(crate) fn cwd_is_kernels() -> bool {
    fds::cwd_plain() && RELATIVE.load(Ordering::Relaxed)
}
