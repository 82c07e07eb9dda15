//! From a caught call to its outcome, and carrying the outcome out.
//!
//! A hook gives three things: the system call its function stands for, the arguments, and how to
//! call the real function. "Pass" calls the real function and not the kernel, so that cancellation
//! points and everything else libc does stay.

use crate::guard::{self, Parts};
use crate::memory::{self, Own};
use crate::{c, debug, fds, lane, namespace};
use core::ffi::c_char;
use libc::c_int;
use parrot_common::client::SessionClient;
use parrot_common::guest::FdClass;
use parrot_common::handler::{Cx, handle};
use parrot_common::outcome::Watch;
use parrot_common::resolve::Lookup;
use parrot_common::{Errno, Files, Outcome, Reason, Request, Stop};
use syscalls::Sysno;

/// What is left to do after a handler has decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Call the real function.
    Real,
    /// Call the real function; if it finds nothing, decide again in full.
    RealUnlessMissing,
    /// The call is over; the raw result.
    Value(isize),
    /// Call the real function and look at its result.
    Watch(Watch),
}

/// A C function's result: -1 and errno, or a value.
pub(crate) trait Returned: Copy {
    /// From a raw result; sets errno.
    fn from_raw(raw: isize) -> Self;
    /// As a raw value.
    fn value(self) -> isize;
}

macro_rules! returned {
    ($($ty:ty)*) => { $(
        impl Returned for $ty {
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless, reason = "C's own types")]
            #[inline]
            fn from_raw(raw: isize) -> Self {
                match Errno::check(raw) {
                    Ok(_) => raw as $ty,
                    Err(errno) => {
                        c::set_errno(errno.0);
                        -1
                    }
                }
            }
            #[allow(clippy::cast_possible_truncation, reason = "C's own types")]
            #[inline]
            fn value(self) -> isize {
                self as isize
            }
        }
    )* };
}
returned!(i32 i64 isize);

/// An errno that may mean: the name led somewhere that only we know.
fn missing() -> bool {
    matches!(c::errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP)
}

/// Lets the handler decide a call. Keeps errno.
#[cold]
#[inline(never)]
pub(crate) fn decide(nr: usize, args: [usize; 6], lookup: Lookup) -> Step {
    let errno = c::errno();
    let brief = nr == Sysno::read.id() as usize || nr == Sysno::pread64.id() as usize;
    let step = with_slot(brief, |parts, ns| {
        let Parts { client, good, places, scratch } = parts;
        let mut own = Own { places, good };
        let mut cx = Cx { guest: &mut own, files: client, ns, scratch, lookup };
        let outcome = handle(&mut cx, nr, args);
        if debug::on(debug::SYSCALL | debug::RESOLVE) {
            debug::call(nr, args, &outcome, cx.scratch);
        }
        match outcome {
            Outcome::Pass(Reason::PlainUnlessMissing) => Step::RealUnlessMissing,
            Outcome::Pass(_) => Step::Real,
            Outcome::Done(value) => Step::Value(value),
            Outcome::Fail(errno) => Step::Value(errno.raw()),
            Outcome::Rewrite(args) => Step::Value(rewritten(nr, args)),
            Outcome::Watch(watch) => Step::Watch(watch),
        }
    });
    c::set_errno(errno);
    step.unwrap_or(Step::Value(Errno::ENOMEM.raw())).unless_early()
}

impl Step {
    /// Before the environment is known there is nothing of ours.
    fn unless_early(self) -> Self {
        if namespace::get().is_none() { Self::Real } else { self }
    }
}

/// Makes a rewritten call, while the strings it names are still there.
fn rewritten(nr: usize, args: [usize; 6]) -> isize {
    let value = memory::raw_number(nr, args);
    let opens = [Sysno::open, Sysno::openat, Sysno::openat2, Sysno::creat];
    if value >= 0
        && opens.iter().any(|call| call.id() as usize == nr)
        && let Ok(fd) = c_int::try_from(value)
    {
        fds::forget(fd);
    }
    value
}

/// Runs code with a slot.
pub(crate) fn with_slot<R>(
    brief: bool,
    code: impl FnOnce(Parts<'_>, &parrot_common::handler::Namespace<'static>) -> R,
) -> Option<R> {
    let ns = namespace::get()?;
    let mut claim = guard::claim(brief)?;
    let parts = claim.parts()?;
    Some(code(parts, &ns))
}

/// Runs code with a connection to the session and a buffer.
pub(crate) fn with_session<R>(
    code: impl FnOnce(&mut SessionClient<'static>, &mut [u8]) -> R,
) -> Option<R> {
    let errno = c::errno();
    let result = with_slot(false, |parts, _| code(parts.client, &mut parts.scratch.data));
    c::set_errno(errno);
    result
}

/// A request without an answer but its success.
pub(crate) fn request(request: &Request<'_>) -> Result<(), Errno> {
    match with_session(|client, out| client.call(request, out)) {
        Some(Ok(_)) => Ok(()),
        Some(Err(Stop::Fail(errno))) => Err(errno),
        Some(Err(Stop::Redirect(_))) => Err(Errno::EXDEV),
        None => Err(Errno::ENOMEM),
    }
}

/// Decides a call and carries it out.
#[cold]
#[inline(never)]
pub(crate) fn slow<R: Returned>(nr: Sysno, args: [usize; 6], real: impl Fn() -> R) -> R {
    let nr = nr.id() as usize;
    finish(decide(nr, args, Lookup::Quick), nr, args, real)
}

/// Carries out what was decided.
pub(crate) fn finish<R: Returned>(
    step: Step,
    nr: usize,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    match step {
        Step::Real => real(),
        Step::Value(raw) => R::from_raw(raw),
        Step::Watch(watch) => {
            let result = real();
            seen(watch, result.value());
            result
        }
        Step::RealUnlessMissing => {
            let result = real();
            if result.value() == -1 && missing() { again(nr, args, result) } else { result }
        }
    }
}

/// The kernel found nothing: resolves in full. `result` is the kernel's answer, with errno set.
#[cold]
#[inline(never)]
fn again<R: Returned>(nr: usize, args: [usize; 6], result: R) -> R {
    match decide(nr, args, Lookup::Full) {
        Step::Value(raw) => R::from_raw(raw),
        // Not ours: the kernel's answer stands (errno was kept).
        Step::Real | Step::RealUnlessMissing | Step::Watch(_) => result,
    }
}

fn seen(watch: Watch, result: isize) {
    match watch {
        Watch::NewFd(class) => {
            if let Ok(fd) = c_int::try_from(result)
                && fd >= 0
            {
                fds::set(fd, class);
            }
        }
        Watch::AnyFd => {
            if let Ok(fd) = c_int::try_from(result) {
                fds::forget(fd);
            }
        }
        Watch::Received(message) => {
            if result >= 0 {
                crate::hooks::received(message);
            }
        }
    }
}

/// A call with one name. Local names take the first line and nothing else.
#[inline(always)]
pub(crate) fn named<R: Returned>(
    dirfd: c_int,
    path: *const c_char,
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    if let Some(raw) = lane::named(dirfd, path, nr, args) {
        return R::from_raw(raw);
    }
    if namespace::plain_name(dirfd, path) {
        let result = real();
        if result.value() != -1 || !missing() || namespace::certainly_missing(dirfd, path) {
            return result;
        }
        return again(nr.id() as usize, args, result);
    }
    slow(nr, args, real)
}

/// A call with two names: one that exists becomes something else, or another one.
#[inline(always)]
pub(crate) fn named_two<R: Returned>(
    first: (c_int, *const c_char),
    second: (c_int, *const c_char),
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    namespace::changed();
    if namespace::plain_name(first.0, first.1) && namespace::plain_name(second.0, second.1) {
        let result = real();
        if result.value() != -1 || !missing() {
            return result;
        }
        return again(nr.id() as usize, args, result);
    }
    slow(nr, args, real)
}

/// A call that opens a name.
#[inline(always)]
pub(crate) fn opening(
    dirfd: c_int,
    path: *const c_char,
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> c_int,
) -> c_int {
    if let Some(raw) = lane::named(dirfd, path, nr, args) {
        return c_int::from_raw(raw);
    }
    if namespace::plain_name(dirfd, path) {
        let fd = real();
        if fd >= 0 {
            fds::set_plain(fd);
            return fd;
        }
        if !missing() || namespace::certainly_missing(dirfd, path) {
            return fd;
        }
        return again(nr.id() as usize, args, fd);
    }
    slow(nr, args, || {
        let fd = real();
        if fd >= 0 {
            fds::forget(fd);
        }
        fd
    })
}

/// A call on a descriptor that any shadow wants caught.
#[inline(always)]
pub(crate) fn on_fd<R: Returned>(
    fd: c_int,
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    if fds::plain(fd) { real() } else { slow(nr, args, real) }
}

/// A call on a descriptor whose data are the kernel's unless it is a served shadow or a directory.
#[inline(always)]
pub(crate) fn on_data<R: Returned>(
    fd: c_int,
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    if fds::native_data(fd) { real() } else { slow(nr, args, real) }
}

/// A call on two descriptors' data.
#[inline(always)]
pub(crate) fn on_two<R: Returned>(
    fds: (c_int, c_int),
    nr: Sysno,
    args: [usize; 6],
    real: impl Fn() -> R,
) -> R {
    if fds::native_data(fds.0) && fds::native_data(fds.1) { real() } else { slow(nr, args, real) }
}

/// Everything that was written through a descriptor is on the server, or the error.
pub(crate) fn flush(fd: c_int) -> Result<(), Errno> {
    match fds::class(fd) {
        FdClass::Shadow { id, writable: true, .. } => {
            request(&Request::on(parrot_common::Op::Flush, id))
        }
        _ => Ok(()),
    }
}

/// Flushes every descriptor that can write.
pub(crate) fn flush_all() {
    fds::writable_shadows(|_, id| {
        let _ = request(&Request::on(parrot_common::Op::Flush, id));
    });
}
