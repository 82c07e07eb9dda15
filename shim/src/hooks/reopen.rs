//! freopen(3), and fopen(3) with a coding (`ccs=`).
//!
//! libc opens by itself here: it is given a name of the complete file. A cookie stream of ours (see
//! `stdio`) libc does not reopen at all: it stays what it is, on the same descriptor number, behind
//! which the new file is put.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use super::stdio::{complete, flags};
use crate::text::Text;
use core::ptr::null_mut;
use libc::FILE;

hook! {
    /// freopen(3)
    fn [freopen freopen64](
        path: *const c_char, mode: *const c_char, stream: *mut FILE
    ) -> *mut FILE {
        if is_cookie(stream) {
            return reopen_cookie(path, mode, stream);
        }
        let fd = c::fileno(stream);
        c::fflush(stream);
        let _ = dispatch::flush(fd);
        fds::forget(fd);
        if path.is_null() || namespace::plain_name(AT_FDCWD, path) {
            return real(path, mode, stream);
        }
        let Some(flags) = flags(mode) else {
            c::set_errno(libc::EINVAL);
            return null_mut();
        };
        let opened = super::open::open(path, flags, 0o666);
        by_name(opened, flags, mode, |name, mode| real(name, mode, stream))
    }
}

/// Whether a mode names a coding of wide characters.
pub(super) fn has_coding(mode: *const c_char) -> bool {
    c::bytes(mode).windows(5).any(|part| part == b",ccs=")
}

/// Lets libc open a file that is open already (takes the descriptor), by a name of the complete file.
pub(super) fn by_name(
    opened: c_int,
    flags: c_int,
    mode: *const c_char,
    open: impl FnOnce(*const c_char, *const c_char) -> *mut FILE,
) -> *mut FILE {
    let Some(source) = complete(opened, flags) else { return null_mut() };
    let mut name = Text::<32>::new();
    name.put(b"/proc/self/fd/").number(u64::from(source.unsigned_abs())).put(b"\0");
    // That the file is new was settled by the first open.
    let mut kept = Text::<256>::new();
    let (letters, coding) = split(c::bytes(mode));
    for letter in letters.iter().filter(|&&letter| letter != b'x') {
        kept.put(&[*letter]);
    }
    kept.put(coding).put(b"\0");
    let stream = open(name.get().as_ptr().cast(), kept.get().as_ptr().cast());
    let errno = c::errno();
    parrot_common::sys::close(source);
    fds::forget(source);
    if !stream.is_null() {
        fds::forget(c::fileno(stream));
    }
    c::set_errno(errno);
    stream
}

/// The letters of a mode, and what begins with the comma.
fn split(mode: &[u8]) -> (&[u8], &[u8]) {
    let comma = mode.iter().position(|&b| b == b',').unwrap_or(mode.len());
    mode.split_at_checked(comma).unwrap_or_default()
}

/// Where glibc's FILE keeps its flags, its pointers into the buffer (three for reading, three for
/// writing, where the buffer begins) and the position of the file.
const FLAGS_AT: usize = 0;
const POINTERS_AT: usize = 8;
const BUFFER_AT: usize = 56;
const OFFSET_AT: usize = 144;

/// `_IO_NO_READS`, `_IO_NO_WRITES`, `_IO_IS_APPENDING`
const NO_READS: u32 = 4;
const NO_WRITES: u32 = 8;
const APPENDING: u32 = 0x1000;
/// End seen, error seen, writing: of the file before.
const STATE: u32 = 0x10 | 0x20 | 0x800;

fn place<T>(stream: *mut FILE, at: usize) -> *mut T {
    stream.cast::<u8>().wrapping_add(at).cast()
}

/// Whether a stream is a cookie stream of ours: only those have a descriptor.
fn is_cookie(stream: *mut FILE) -> bool {
    super::wide::blind(stream) && c::fileno(stream) >= 0
}

fn reopen_cookie(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE {
    let fd = c::fileno(stream);
    c::fflush(stream);
    c::__fpurge(stream);
    let Some(wanted) = flags(mode) else {
        super::descriptor::close(fd);
        c::set_errno(libc::EINVAL);
        return null_mut();
    };
    let opened = if path.is_null() {
        let mut name = Text::<32>::new();
        name.put(b"/proc/self/fd/").number(u64::from(fd.unsigned_abs())).put(b"\0");
        let same = wanted & !(libc::O_CREAT | libc::O_EXCL);
        let opened = super::open::open(name.get().as_ptr().cast(), same, 0);
        let errno = c::errno();
        super::descriptor::close(fd);
        c::set_errno(errno);
        opened
    } else {
        super::descriptor::close(fd);
        super::open::open(path, wanted, 0o666)
    };
    if opened < 0 {
        return null_mut();
    }
    if opened != fd {
        let moved = super::descriptor::dup3(opened, fd, wanted & libc::O_CLOEXEC);
        let errno = c::errno();
        super::descriptor::close(opened);
        c::set_errno(errno);
        if moved < 0 {
            return null_mut();
        }
    }
    start_anew(stream, wanted);
    super::stdio::to_end(fd, wanted);
    stream
}

/// Nothing of the file before is left in the stream.
fn start_anew(stream: *mut FILE, wanted: c_int) {
    let buffer = c::peek(place::<usize>(stream, BUFFER_AT).cast_const());
    for index in 0..6 {
        c::poke(place::<usize>(stream, POINTERS_AT).wrapping_add(index), buffer);
    }
    c::poke(place::<i64>(stream, OFFSET_AT), -1);
    let access = match wanted & libc::O_ACCMODE {
        libc::O_RDONLY => NO_WRITES,
        libc::O_WRONLY => NO_READS,
        _ => 0,
    };
    let append = if wanted & libc::O_APPEND != 0 { APPENDING } else { 0 };
    let at = place::<u32>(stream, FLAGS_AT);
    let kept = c::peek(at.cast_const()) & !(STATE | NO_READS | NO_WRITES | APPENDING);
    c::poke(at, kept | access | append);
}
