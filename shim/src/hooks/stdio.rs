//! Streams: fopen(3), fdopen(3), fclose(3).
//!
//! stdio reads and writes by calls of its own that no hook sees. On a complete shadow these are
//! right. For a served one the stream is a cookie stream (fopencookie(3)) whose functions are our
//! `read`, `write`, `lseek` and `close`; its descriptor number is put where fileno(3) looks.
//!
//! Standard streams on served descriptors that the process was started with are replaced at the
//! start: `stdin`, `stdout` and `stderr` are variables.
#![expect(unsafe_code, reason = "exported symbols; the standard streams' variables")]

use super::prelude::*;
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::FILE;
use parrot_common::guest::FdClass;
use parrot_common::shadow::Kind;

hook! {
    /// fopen(3)
    fn [fopen fopen64](path: *const c_char, mode: *const c_char) -> *mut FILE {
        if !lane::open() && namespace::plain_name(AT_FDCWD, path) {
            let stream = real(path, mode);
            if !stream.is_null() {
                fds::set_plain(c::fileno(stream));
                return stream;
            }
            if !matches!(c::errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) {
                return stream;
            }
        }
        let Some(flags) = flags(mode) else {
            c::set_errno(libc::EINVAL);
            return core::ptr::null_mut();
        };
        let fd = super::open::open(path, flags, 0o666);
        if super::reopen::has_coding(mode) {
            return super::reopen::by_name(fd, flags, mode, real);
        }
        if fd < 0 {
            return core::ptr::null_mut();
        }
        to_end(fd, flags);
        stream_of(fd, mode)
    }
    /// fdopen(3)
    fn [fdopen](fd: c_int, mode: *const c_char) -> *mut FILE {
        if served(fd) { cookie(fd, mode) } else { real(fd, mode) }
    }
    /// fclose(3): a flush for what was written, as close(2) is.
    fn [fclose](stream: *mut FILE) -> c_int {
        let fd = if stream.is_null() { -1 } else { c::fileno(stream) };
        if fd < 0 || fds::known_plain(fd) || served(fd) {
            if fd >= 0 && fds::known_plain(fd) {
                fds::forget(fd);
            }
            closed(stream);
            return real(stream);
        }
        c::fflush(stream);
        let flushed = dispatch::flush(fd);
        fds::forget(fd);
        let result = real(stream);
        match flushed {
            Err(errno) => {
                c::set_errno(errno.0);
                libc::EOF
            }
            Ok(()) => result,
        }
    }
}

/// The flags of open(2) that a mode asks for.
pub(super) fn flags(mode: *const c_char) -> Option<c_int> {
    let mode = c::bytes(mode);
    let plus = mode.contains(&b'+');
    let access = |alone| if plus { libc::O_RDWR } else { alone };
    let mut flags = match mode.first()? {
        b'r' => access(libc::O_RDONLY),
        b'w' => access(libc::O_WRONLY) | libc::O_CREAT | libc::O_TRUNC,
        b'a' => access(libc::O_WRONLY) | libc::O_CREAT | libc::O_APPEND,
        _ => return None,
    };
    let options = mode.split(|&b| b == b',').next().unwrap_or_default();
    for letter in options {
        match letter {
            b'x' => flags |= libc::O_EXCL,
            b'e' => flags |= libc::O_CLOEXEC,
            _ => {}
        }
    }
    Some(flags)
}

/// A stream that only appends begins at the end.
pub(super) fn to_end(fd: c_int, flags: c_int) {
    if flags & (libc::O_APPEND | libc::O_ACCMODE) == libc::O_APPEND | libc::O_WRONLY {
        let errno = c::errno();
        super::data::lseek(fd, 0, libc::SEEK_END);
        c::set_errno(errno);
    }
}

fn served(fd: c_int) -> bool {
    fd >= 0 && matches!(fds::class(fd), FdClass::Shadow { kind: Kind::Served, .. })
}

/// A stream on a descriptor that we have opened.
fn stream_of(fd: c_int, mode: *const c_char) -> *mut FILE {
    let stream = fdopen(fd, mode);
    if stream.is_null() {
        let errno = c::errno();
        super::descriptor::close(fd);
        c::set_errno(errno);
    }
    stream
}

/// A descriptor with all bytes instead of a served one.
pub(super) fn complete(fd: c_int, flags: c_int) -> Option<c_int> {
    use parrot_common::{Files, Op, Request};
    let FdClass::Shadow { id, kind: Kind::Served, .. } = fds::class(fd) else {
        return (fd >= 0).then_some(fd);
    };
    let writes = u64::from(flags & libc::O_ACCMODE != libc::O_RDONLY);
    let request = Request::on(Op::Complete, id).args([writes, 0, 0, 0, 0]);
    let reply = dispatch::with_session(|client, out| client.call(&request, out));
    super::descriptor::close(fd);
    match reply {
        Some(Ok(reply)) if reply.fds[0] >= 0 => Some(reply.fds[0]),
        Some(Err(parrot_common::Stop::Fail(errno))) => {
            c::set_errno(errno.0);
            None
        }
        _ => {
            c::set_errno(libc::EIO);
            None
        }
    }
}

/// Where glibc's FILE keeps its descriptor, and what a cookie stream has there.
const FILENO_AT: usize = 112;
const NO_FILENO: c_int = -2;

/// A stream whose data go through our own calls. The cookie is the descriptor's number.
fn cookie(fd: c_int, mode: *const c_char) -> *mut FILE {
    let functions = c::Cookie {
        read: Some(cookie_read),
        write: Some(cookie_write),
        seek: Some(cookie_seek),
        close: Some(cookie_close),
    };
    let number = core::ptr::without_provenance_mut(fd.cast_unsigned() as usize);
    let stream = c::fopencookie(number, mode, functions);
    if !stream.is_null() {
        let place = stream.cast::<u8>().wrapping_add(FILENO_AT).cast::<c_int>();
        // Only where it is as this C library has it: else the stream has no number.
        if c::peek(place) == NO_FILENO {
            c::poke(place, fd);
        }
    }
    stream
}

fn number(cookie: *mut c_void) -> c_int {
    c_int::try_from(cookie.addr()).unwrap_or(-1)
}

extern "C" fn cookie_read(cookie: *mut c_void, to: *mut c_char, len: usize) -> isize {
    super::data::read(number(cookie), to.cast(), len)
}

extern "C" fn cookie_write(cookie: *mut c_void, from: *const c_char, len: usize) -> isize {
    let mut done: usize = 0;
    while done < len {
        let rest = from.wrapping_add(done).cast();
        let wrote = super::data::write(number(cookie), rest, len.saturating_sub(done));
        match usize::try_from(wrote) {
            Ok(wrote) if wrote > 0 => done = done.saturating_add(wrote),
            // A cookie's write reports failure by 0.
            _ => break,
        }
    }
    done.cast_signed()
}

extern "C" fn cookie_seek(cookie: *mut c_void, offset: *mut i64, whence: c_int) -> c_int {
    let at = super::data::lseek(number(cookie), c::peek(offset), whence);
    if at < 0 {
        return -1;
    }
    c::poke(offset, at);
    0
}

extern "C" fn cookie_close(cookie: *mut c_void) -> c_int {
    super::descriptor::close(number(cookie))
}

/// The standard streams as libc made them, and ours while their descriptors are served.
static ORIGINAL: [AtomicPtr<FILE>; 3] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 3];
static OURS: [AtomicPtr<FILE>; 3] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 3];

/// Looks at the standard descriptors that the process was started with.
pub(super) fn adopt() {
    for fd in 0..3 {
        let _ = fds::class(fd);
    }
}

/// The variable of a standard stream: libc's, or the program's copy of it.
fn variable(fd: c_int) -> Option<*mut *mut FILE> {
    let name = [c"stdin", c"stdout", c"stderr"];
    let name = name.get(usize::try_from(fd).ok()?)?;
    let found = c::dlsym(libc::RTLD_DEFAULT, name.as_ptr()).cast::<*mut FILE>();
    (!found.is_null()).then_some(found)
}

/// The stream that `stdin` is now.
pub(super) fn standard_input() -> Option<*mut FILE> {
    variable(0).map(|place| c::peek(place))
}

/// Before a served file becomes a standard descriptor: what the stream holds belongs to the file
/// before.
pub(super) fn before_replacing(fd: c_int) {
    // What a child of vfork has in its streams is its parent's.
    if !crate::borrow::is_lent()
        && let (0..=2, Some(variable)) = (fd, variable(fd))
    {
        c::fflush(c::peek(variable));
    }
}

/// A standard descriptor has become a served file, or something else again: the variable of its
/// stream follows. Programs that change descriptors under their streams (shells) go on to use the
/// variable; one that keeps a copy of its value gets errors, not wrong data.
pub(crate) fn follow(fd: c_int, served: bool) {
    let at = fd.cast_unsigned() as usize;
    let (Some(original), Some(ours)) = (ORIGINAL.get(at), OURS.get(at)) else { return };
    let mine = ours.load(Ordering::Relaxed);
    if served != mine.is_null() {
        return;
    }
    let errno = c::errno();
    let Some(variable) = variable(fd) else { return };
    if served {
        let mode = if fd == 0 { c"r" } else { c"w" };
        let stream = cookie(fd, mode.as_ptr());
        if !stream.is_null() {
            if fd == 2 {
                // SAFETY: the new stream; standard error is not buffered.
                unsafe { libc::setbuf(stream, core::ptr::null_mut()) };
            }
            original.store(c::peek(variable), Ordering::Relaxed);
            ours.store(stream, Ordering::Relaxed);
            c::poke(variable, stream);
        }
    } else {
        c::fflush(mine);
        ours.store(core::ptr::null_mut(), Ordering::Relaxed);
        if c::peek(variable) == mine {
            c::poke(variable, original.load(Ordering::Relaxed));
        }
        // The stream itself stays: closing it would close the descriptor.
    }
    c::set_errno(errno);
}

/// A stream is being closed: it is no standard stream of ours any more.
fn closed(stream: *mut FILE) {
    for ours in &OURS {
        let none = core::ptr::null_mut();
        let _ = ours.compare_exchange(stream, none, Ordering::Relaxed, Ordering::Relaxed);
    }
}
