//! What the process's descriptors are, and its working directory.
//!
//! One byte per descriptor number. It errs to "unknown": after a start or an exec, for a duplicate
//! or a received descriptor, after a close. An unknown descriptor is looked at once, at its first
//! use: `fstat` tells most apart from a shadow, the kernel's name for it the rest. A byte that says
//! "plain" costs a call one load. The first numbers have their bytes among the library's variables,
//! the others in memory that is mapped when one of them is used.
//!
//! libc closes descriptors that we gave it without telling us (`fclose`). So a byte that says
//! "shadow" is believed only where being wrong does no harm (data of a complete file is the
//! kernel's in any case) and checked by name where a request would go to the session.

use crate::memory::Mapped;
use crate::{borrow, namespace};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use libc::c_int;
use parrot_common::guest::FdClass;
use parrot_common::shadow::{self, Kind, ShadowId, served_mode};
use parrot_common::sys::{self, arg};
use syscalls::Sysno;

/// Numbers above are looked at each time.
const LEN: usize = 1 << 16;

const UNKNOWN: u8 = 0;
const PLAIN: u8 = 1;
const COMPLETE: u8 = 2;
const COMPLETE_WRITABLE: u8 = 3;
const SERVED: u8 = 4;
const SERVED_WRITABLE: u8 = 5;
const DIR: u8 = 6;

/// Numbers below are those that most programs live with.
const LOW: usize = 128;

static CLASS: [AtomicU8; LOW] = [const { AtomicU8::new(UNKNOWN) }; LOW];
static HIGH: Mapped<[AtomicU8; LEN]> = Mapped::new();
static ID: Mapped<[AtomicU64; LEN]> = Mapped::new();
static CWD: AtomicU8 = AtomicU8::new(UNKNOWN);
static CWD_ID: AtomicU64 = AtomicU64::new(0);
/// Whether this process ever had a shadow that can write: without one nothing needs a flush.
static WROTE: AtomicBool = AtomicBool::new(false);

/// Where a number's byte is; `None` where it says "unknown" anyway.
#[inline(always)]
fn byte(fd: c_int) -> Option<&'static AtomicU8> {
    let at = fd.cast_unsigned() as usize;
    match CLASS.get(at) {
        Some(byte) => Some(byte),
        None => HIGH.get()?.get(at),
    }
}

/// Where a number's byte shall be; `None` for those that are looked at each time.
#[inline(always)]
fn room(fd: c_int) -> Option<&'static AtomicU8> {
    let at = fd.cast_unsigned() as usize;
    match CLASS.get(at) {
        Some(byte) => Some(byte),
        None if at < LEN => HIGH.get_or_map()?.get(at),
        None => None,
    }
}

#[inline(always)]
fn load(fd: c_int) -> u8 {
    byte(fd).map_or(UNKNOWN, |byte| byte.load(Ordering::Relaxed))
}

/// Whether a descriptor is known not to be a shadow (looked at if it must be).
#[inline(always)]
pub(crate) fn plain(fd: c_int) -> bool {
    match load(fd) {
        PLAIN => true,
        UNKNOWN => class(fd) == FdClass::Plain,
        _ => false,
    }
}

/// Whether the bytes of a descriptor's file are the kernel's: plain, or a complete shadow.
#[inline(always)]
pub(crate) fn native_data(fd: c_int) -> bool {
    match load(fd) {
        PLAIN | COMPLETE | COMPLETE_WRITABLE => true,
        UNKNOWN => !matches!(class(fd), FdClass::Shadow { kind: Kind::Served | Kind::Dir, .. }),
        _ => false,
    }
}

/// Whether a descriptor is known to be plain, without looking.
#[inline(always)]
pub(crate) fn known_plain(fd: c_int) -> bool {
    load(fd) == PLAIN
}

/// Notes that a new descriptor is not ours.
#[inline(always)]
pub(crate) fn set_plain(fd: c_int) {
    let lent = borrow::is_lent();
    if let Some(class) = room(fd) {
        class.store(if lent { UNKNOWN } else { PLAIN }, Ordering::Relaxed);
    }
    if fd < 3 && !lent {
        crate::hooks::follow(fd, false);
    }
}

/// Notes that nothing is known of a descriptor (it is being closed, or came from outside).
#[inline(always)]
pub(crate) fn forget(fd: c_int) {
    if let Some(class) = byte(fd) {
        class.store(UNKNOWN, Ordering::Relaxed);
    }
}

/// Notes that nothing is known of the numbers in a range.
pub(crate) fn forget_range(first: u32, last: u32) {
    let Ok(last) = usize::try_from(last) else { return };
    let range = |len: usize| first as usize..last.saturating_add(1).min(len);
    let low = CLASS.get(range(LOW)).unwrap_or_default();
    let high = HIGH.get().and_then(|high| high.get(range(LEN))).unwrap_or_default();
    for class in low.iter().chain(high) {
        if class.load(Ordering::Relaxed) != UNKNOWN {
            class.store(UNKNOWN, Ordering::Relaxed);
        }
    }
}

/// Notes what a descriptor is.
pub(crate) fn set(fd: c_int, class: FdClass) {
    let Some(place) = room(fd) else { return };
    let (byte, id) = encode(class);
    if matches!(byte, COMPLETE_WRITABLE | SERVED_WRITABLE) {
        WROTE.store(true, Ordering::Relaxed);
    }
    if byte != PLAIN {
        crate::agent::note_use();
    }
    if borrow::is_lent() {
        return place.store(UNKNOWN, Ordering::Relaxed);
    }
    if byte != PLAIN {
        // Without memory for its number it stays unknown.
        let Some(number) = ID.get_or_map().and_then(|ids| ids.get(fd.cast_unsigned() as usize))
        else {
            return;
        };
        number.store(id, Ordering::Relaxed);
    }
    place.store(byte, Ordering::Release);
    if fd < 3 {
        crate::hooks::follow(fd, matches!(byte, SERVED | SERVED_WRITABLE));
    }
}

fn encode(class: FdClass) -> (u8, ShadowId) {
    match class {
        FdClass::Plain => (PLAIN, 0),
        FdClass::Shadow { id, kind: Kind::Complete, writable: false } => (COMPLETE, id),
        FdClass::Shadow { id, kind: Kind::Complete, writable: true } => (COMPLETE_WRITABLE, id),
        FdClass::Shadow { id, kind: Kind::Served, writable: false } => (SERVED, id),
        FdClass::Shadow { id, kind: Kind::Served, writable: true } => (SERVED_WRITABLE, id),
        FdClass::Shadow { id, kind: Kind::Dir, .. } => (DIR, id),
    }
}

/// What a descriptor is, looked up where it is not known. An answer other than "plain" is true at
/// this moment.
#[cold]
pub(crate) fn class(fd: c_int) -> FdClass {
    if fd < 0 {
        return FdClass::Plain;
    }
    match load(fd) {
        PLAIN => return FdClass::Plain,
        // Standard descriptors are replaced inside libc too (`daemon`): they are looked at.
        byte @ (SERVED | SERVED_WRITABLE) if fd > 2 => {
            let id = ID.get().and_then(|ids| ids.get(fd.cast_unsigned() as usize));
            let id = id.map_or(0, |id| id.load(Ordering::Relaxed));
            let writable = byte == SERVED_WRITABLE;
            return FdClass::Shadow { id, kind: Kind::Served, writable };
        }
        _ => {}
    }
    // A tracer does the work.
    let found = if crate::init::inert() { Some(FdClass::Plain) } else { look(fd) };
    let Some(class) = found else { return FdClass::Plain };
    set(fd, class);
    class
}

/// What a descriptor is, if it was looked at before; nothing that is known to be plain.
pub(crate) fn known(fd: c_int) -> Option<FdClass> {
    match load(fd) {
        UNKNOWN | PLAIN => None,
        _ => Some(class(fd)),
    }
}

/// Looks at a descriptor; `None` when it is not open.
fn look(fd: c_int) -> Option<FdClass> {
    let stat = stat(fd)?;
    if !may_be_shadow(&stat) {
        return Some(FdClass::Plain);
    }
    let Some(ns) = namespace::get() else { return Some(FdClass::Plain) };
    let mut link = [0; 1200];
    let len = kernel_name(Some(fd), &mut link)?;
    let link = link.get(..len).unwrap_or_default();
    let Some((id, kind)) = shadow::parse_link(link, ns.session) else {
        return Some(FdClass::Plain);
    };
    let mode = match kind {
        Kind::Served => served_mode(id),
        Kind::Complete => flags(fd).unwrap_or(0) & libc::O_ACCMODE,
        Kind::Dir => 0,
    };
    Some(FdClass::Shadow { id, kind, writable: mode != libc::O_RDONLY })
}

/// Cheap signs: a shadow is a regular file that nobody else may use or that has no name, or a
/// directory that was removed.
fn may_be_shadow(stat: &libc::stat) -> bool {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => stat.st_nlink == 0 || stat.st_mode & 0o077 == 0,
        libc::S_IFDIR => stat.st_nlink == 0,
        _ => false,
    }
}

/// `fstat`, raw.
pub(crate) fn stat(fd: c_int) -> Option<libc::stat> {
    let mut stat = crate::memory::zeroed_stat();
    let at = core::ptr::from_mut(&mut stat) as usize;
    crate::memory::raw(Sysno::fstat, [arg(fd), at, 0, 0, 0, 0]).ok()?;
    Some(stat)
}

/// `F_GETFL`, raw.
pub(crate) fn flags(fd: c_int) -> Option<c_int> {
    let args = [arg(fd), arg(libc::F_GETFL), 0, 0, 0, 0];
    c_int::try_from(crate::memory::raw(Sysno::fcntl, args).ok()?).ok()
}

/// The kernel's name of a descriptor, or of the working directory.
pub(crate) fn kernel_name(fd: Option<c_int>, out: &mut [u8]) -> Option<usize> {
    let mut path = crate::text::Text::<40>::new();
    match fd {
        Some(fd) => path.put(b"/proc/self/fd/").number(u64::from(fd.unsigned_abs())).put(b"\0"),
        None => path.put(b"/proc/self/cwd\0"),
    };
    sys::readlinkat(libc::AT_FDCWD, path.get(), out).ok()
}

/// Whether the working directory is known to be an ordinary one.
#[inline(always)]
pub(crate) fn cwd_plain() -> bool {
    match CWD.load(Ordering::Relaxed) {
        PLAIN => true,
        UNKNOWN => cwd() == FdClass::Plain,
        _ => false,
    }
}

/// What the working directory is.
pub(crate) fn cwd() -> FdClass {
    match CWD.load(Ordering::Relaxed) {
        PLAIN => return FdClass::Plain,
        DIR => {
            let id = CWD_ID.load(Ordering::Relaxed);
            return FdClass::Shadow { id, kind: Kind::Dir, writable: false };
        }
        _ => {}
    }
    let class = look_cwd();
    set_cwd(class);
    class
}

fn look_cwd() -> FdClass {
    if crate::init::inert() {
        return FdClass::Plain;
    }
    let mut link = [0; 1200];
    let Some(len) = kernel_name(None, &mut link) else { return FdClass::Plain };
    let link = link.get(..len).unwrap_or_default();
    // Shadows of directories are removed, and the kernel says so in their names.
    if !link.ends_with(b" (deleted)") {
        return FdClass::Plain;
    }
    let Some(ns) = namespace::get() else { return FdClass::Plain };
    match shadow::parse_link(link, ns.session) {
        Some((id, kind)) => FdClass::Shadow { id, kind, writable: false },
        None => FdClass::Plain,
    }
}

/// Notes what the working directory is.
pub(crate) fn set_cwd(class: FdClass) {
    let (byte, id) = encode(class);
    if byte != PLAIN {
        crate::agent::note_use();
    }
    if borrow::is_lent() {
        return CWD.store(UNKNOWN, Ordering::Relaxed);
    }
    CWD_ID.store(id, Ordering::Relaxed);
    CWD.store(byte, Ordering::Release);
}

/// Notes that the working directory may be anything.
pub(crate) fn forget_cwd() {
    namespace::changed();
    CWD.store(UNKNOWN, Ordering::Relaxed);
}

/// Calls `each` with every descriptor that is a shadow which can write. Standard descriptors that
/// came from outside are looked at.
pub(crate) fn writable_shadows(mut each: impl FnMut(c_int, ShadowId)) {
    for fd in 0..3 {
        if load(fd) == UNKNOWN {
            let _ = class(fd);
        }
    }
    if !WROTE.load(Ordering::Relaxed) {
        return;
    }
    let high = HIGH.get().map_or([].as_slice(), |high| high).get(LOW..).unwrap_or_default();
    for (fd, class_now) in CLASS.iter().chain(high).enumerate() {
        if !matches!(class_now.load(Ordering::Relaxed), COMPLETE_WRITABLE | SERVED_WRITABLE) {
            continue;
        }
        let Ok(fd) = c_int::try_from(fd) else { return };
        if let FdClass::Shadow { id, writable: true, .. } = class(fd) {
            each(fd, id);
        }
    }
}
