//! The resolver: from the name a guest uses to what it means.
//!
//! Most names are not ours, and for those nothing may be paid. So there are two ways:
//!
//! - [`Lookup::Quick`] compares the first component with the mount table. A name that shows no
//!   mount passes; if the kernel then finds nothing (ENOENT, ENOTDIR, ELOOP), a symbolic link or
//!   `..` may have led to a mount, and the technique asks again with
//! - [`Lookup::Full`]: the name is walked component by component, links read, `..` taken, until it
//!   reaches a mount or its end. A mount that hides an existing local path makes every lookup full.
//!
//! A remote mount ends the walk at once: what follows belongs to the session, which answers with a
//! redirect (a new name from the root) when a link leads out of the mount.

pub mod missing;
mod walk;

use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::{FdClass, Guest};
use crate::handler::Cx;
use crate::mountlist::{Perm, Table};
use crate::outcome::Reason;
use crate::shadow::{Kind, ShadowId};
pub(crate) use walk::is_there;
pub use walk::{MAX_NAME, Walker};

/// How far a name is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// By its first component.
    Quick,
    /// To its end.
    Full,
}

/// What a name means. The text lies in the [`Walker`] that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The kernel's own business, with the arguments as they are.
    Pass(Reason),
    /// A local path other than the one given; what the mount allows.
    Local(Perm),
    /// The session's: relative to this directory shadow, or absolute (0).
    Remote(ShadowId),
    /// The object behind a descriptor (`/proc/self/fd/N`, `/dev/stdin`).
    Shadow(ShadowId, Kind),
}

/// Whether an absolute path is certainly not ours as far as its text tells: no mount starts with
/// its first component, and nothing hides a local path. The first test of a technique, before
/// anything is copied.
#[must_use]
pub fn quick_plain(table: &Table<'_>, path: &[u8]) -> bool {
    if table.full() || path.first() != Some(&b'/') {
        return false;
    }
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let rest = path.get(start..).unwrap_or_default();
    let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
    let first = rest.get(..end).unwrap_or_default();
    !first.is_empty()
        && !matches!(first, b"." | b".." | b"proc" | b"dev")
        && !table.knows_first(first)
}

/// Which of the two walkers of a [`Scratch`](crate::handler::Scratch) a name uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The call's first or only name.
    First,
    /// The second name of rename and link.
    Second,
}

/// A name as a call gives it.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The directory descriptor, `AT_FDCWD` for calls without one.
    pub dirfd: i32,
    /// The guest address of the path.
    pub path: usize,
    /// Whether a symbolic link in the last component is followed.
    pub follow: bool,
}

/// Resolves a name of a call.
///
/// # Errors
/// ELOOP, ENAMETOOLONG, EACCES and ENOENT of a `DENY` or `ENOENT` rule, and what reading the
/// working directory's name may give.
pub fn resolve<G: Guest, F: Files>(
    cx: &mut Cx<'_, G, F>,
    at: At,
    slot: Slot,
) -> Result<Target, Errno> {
    let table = cx.ns.table;
    let (guest, walker) = (&mut *cx.guest, cx.scratch.walker(slot));
    let len = match guest.read_str(at.path, walker.input_space()) {
        Ok(len) => len,
        Err(_) => return Ok(Target::Pass(Reason::BadAddress)),
    };
    if !walker.set_input(len) {
        return Ok(Target::Pass(Reason::BadAddress));
    }
    if len == 0 {
        return Ok(Target::Pass(Reason::Plain));
    }
    let absolute = walker.input().first() == Some(&b'/');
    if let Some(target) = alias(cx, slot)? {
        return Ok(target);
    }
    let early = if absolute { from_root(cx, at, slot) } else { below(cx, at, slot)? };
    match early {
        Some(target) => Ok(target),
        None => cx.scratch.walker(slot).walk(&table, at.follow),
    }
}

/// An absolute name: what its first component tells; `None` when it must be walked.
fn from_root<G: Guest, F: Files>(cx: &mut Cx<'_, G, F>, at: At, slot: Slot) -> Option<Target> {
    let table = cx.ns.table;
    let walker = cx.scratch.walker(slot);
    let plain = quick_plain(&table, walker.input())
        || matches!(walker.first_component(), b"proc" | b"dev" | b"." | b"..");
    if cx.lookup == Lookup::Full || table.full() || !plain {
        return None;
    }
    passing(&table, cx.guest, at, walker).map(Target::Pass)
}

/// A relative name: what its directory tells; `None` when it must be walked, from the directory's
/// own name, which is then in front of it.
fn below<G: Guest, F: Files>(
    cx: &mut Cx<'_, G, F>,
    at: At,
    slot: Slot,
) -> Result<Option<Target>, Errno> {
    let table = cx.ns.table;
    let (guest, walker) = (&mut *cx.guest, cx.scratch.walker(slot));
    let class =
        if at.dirfd == libc::AT_FDCWD { guest.cwd_class() } else { guest.fd_class(at.dirfd) };
    match class {
        FdClass::Shadow { id, kind: Kind::Dir, .. } => {
            walker.input_as_name()?;
            return Ok(Some(Target::Remote(id)));
        }
        FdClass::Shadow { .. } => return Err(Errno::ENOTDIR),
        FdClass::Plain => {}
    }
    let input = walker.input();
    let hidden = table.full()
        || table.knows_component(walker.first_component())
        || (table.has_local() && input.split(|&b| b == b'/').any(|part| part == b".."));
    if cx.lookup == Lookup::Quick
        && !hidden
        && let Some(reason) = passing(&table, guest, at, walker)
    {
        return Ok(Some(Target::Pass(reason)));
    }
    // Physical, mapped back to the logical name.
    let mut base = [0; 4096];
    let len = guest.fd_path(at.dirfd, &mut base)?;
    let base = base.get(..len).unwrap_or_default();
    if base.first() != Some(&b'/') {
        return Ok(Some(Target::Pass(Reason::Plain)));
    }
    match table.reverse(base) {
        Some((prefix, rest)) => walker.prepend(&[prefix, rest, b"/"])?,
        None => walker.prepend(&[base, b"/"])?,
    }
    Ok(None)
}

/// A name that shows no mount passes, unless the technique can tell at once that the kernel will
/// not find what we might: then it is resolved in full.
fn passing<G: Guest>(table: &Table<'_>, guest: &mut G, at: At, walker: &Walker) -> Option<Reason> {
    match guest.kernel_decides(table, at.dirfd, walker.input()) {
        None => Some(Reason::PlainUnlessMissing),
        Some(true) => Some(Reason::Plain),
        Some(false) => None,
    }
}

/// Resolves a name that the session gave as a redirect.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_redirect(
    table: &Table<'_>,
    walker: &mut Walker,
    name: &[u8],
    follow: bool,
) -> Result<Target, Errno> {
    walker.set_text(name)?;
    walker.walk(table, follow)
}

/// Names by which a process reaches its own descriptors: `/dev/stdin`, `/dev/fd/N`,
/// `/proc/self/fd/N`, `/proc/PID/fd/N`, `/proc/self/cwd`. Left to the kernel they would open a
/// shadow anew, past the session.
fn alias<G: Guest, F: Files>(cx: &mut Cx<'_, G, F>, slot: Slot) -> Result<Option<Target>, Errno> {
    let (guest, walker) = (&mut *cx.guest, cx.scratch.walker(slot));
    let input = walker.input();
    if !(input.starts_with(b"/proc/") || input.starts_with(b"/dev/")) {
        return Ok(None);
    }
    let Some((object, rest)) = parse_alias(input, guest.pid()) else { return Ok(None) };
    let class = match object {
        Alias::Fd(fd) => guest.fd_class(fd),
        Alias::Cwd => guest.cwd_class(),
    };
    let FdClass::Shadow { id, kind, .. } = class else { return Ok(None) };
    if rest.is_empty() {
        // The link itself is asked for by lstat and readlink; everything else means the object.
        return Ok(Some(Target::Shadow(id, kind)));
    }
    if kind != Kind::Dir {
        return Err(Errno::ENOTDIR);
    }
    let start = input.len() - rest.len();
    walker.name_from_input(start)?;
    Ok(Some(Target::Remote(id)))
}

enum Alias {
    Fd(i32),
    Cwd,
}

/// Splits a name into the object it aliases and what follows (without the slashes between).
fn parse_alias(path: &[u8], pid: i32) -> Option<(Alias, &[u8])> {
    let fixed: [(&[u8], i32); 3] = [(b"/dev/stdin", 0), (b"/dev/stdout", 1), (b"/dev/stderr", 2)];
    for (name, fd) in fixed {
        if path == name {
            return Some((Alias::Fd(fd), &[]));
        }
    }
    let rest = match path.strip_prefix(b"/dev/fd/".as_slice()) {
        Some(rest) => rest,
        None => {
            let rest = path.strip_prefix(b"/proc/".as_slice())?;
            let (who, rest) = component(rest);
            if who != b"self" && who != b"thread-self" && number(who)? != pid {
                return None;
            }
            let (what, rest) = component(rest);
            match what {
                b"cwd" => return Some((Alias::Cwd, rest)),
                b"fd" => rest,
                _ => return None,
            }
        }
    };
    let (fd, rest) = component(rest);
    Some((Alias::Fd(number(fd)?), rest))
}

/// The first component and what follows it, slashes skipped.
fn component(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    let first = path.get(..end).unwrap_or_default();
    let rest = path.get(end..).unwrap_or_default();
    let skip = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
    (first, rest.get(skip..).unwrap_or_default())
}

pub(crate) fn number(text: &[u8]) -> Option<i32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_i32, |total, byte| {
        let digit = byte.checked_sub(b'0').filter(|d| *d < 10)?;
        total.checked_mul(10)?.checked_add(i32::from(digit))
    })
}

/// Asks the session for the logical path of a shadow, into `out`.
///
/// # Errors
/// What the session says.
pub fn shadow_path<F: Files>(files: &mut F, id: ShadowId, out: &mut [u8]) -> Result<usize, Errno> {
    match files.call(&Request::on(Op::PathOf, id), out) {
        Ok(reply) => Ok(reply.len),
        Err(crate::files::Stop::Fail(errno)) => Err(errno),
        Err(crate::files::Stop::Redirect(_)) => Err(Errno::EPROTO),
    }
}
