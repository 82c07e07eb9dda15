//! The system calls that neither `std` nor `nix` offers for every C library.
//!
//! # Safety
//!
//! Every pointer handed to the kernel comes from a `CStr` or a slice that outlives the call, with
//! the length of that slice.
#![expect(unsafe_code, reason = "extended attributes and renameat2 have no safe wrapper")]

use parrot_common::Errno;
use std::ffi::CStr;

/// The kernel's limit for a value and for a list of names.
const XATTR_MAX: usize = 64 << 10;

/// The length in a result, or errno.
fn check(result: libc::ssize_t) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| last())
}

fn last() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// renameat2(2) relative to nothing.
pub(super) fn rename(from: &CStr, to: &CStr, flags: u32) -> Result<(), Errno> {
    let at = libc::AT_FDCWD;
    // SAFETY: both names are C strings that outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_renameat2, at, from.as_ptr(), at, to.as_ptr(), flags) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// The value of an attribute.
pub(super) fn getxattr(path: &CStr, name: &CStr, follow: bool) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0_u8; XATTR_MAX];
    let call = if follow { libc::getxattr } else { libc::lgetxattr };
    // SAFETY: C strings, and a buffer of the length given.
    let result =
        unsafe { call(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(check(result)?);
    Ok(value)
}

/// Sets an attribute.
pub(super) fn setxattr(
    path: &CStr,
    name: &CStr,
    value: &[u8],
    flags: u32,
    follow: bool,
) -> Result<(), Errno> {
    let call = if follow { libc::setxattr } else { libc::lsetxattr };
    let (data, length, flags) = (value.as_ptr().cast(), value.len(), flags.cast_signed());
    // SAFETY: C strings, and a buffer of the length given.
    let result = unsafe { call(path.as_ptr(), name.as_ptr(), data, length, flags) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// The names of all attributes, each ended by a zero byte.
pub(super) fn listxattr(path: &CStr, follow: bool) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0_u8; XATTR_MAX];
    let call = if follow { libc::listxattr } else { libc::llistxattr };
    // SAFETY: a C string, and a buffer of the length given.
    let result = unsafe { call(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(check(result)?);
    Ok(names)
}

/// Removes an attribute.
pub(super) fn removexattr(path: &CStr, name: &CStr, follow: bool) -> Result<(), Errno> {
    let call = if follow { libc::removexattr } else { libc::lremovexattr };
    // SAFETY: two C strings.
    let result = unsafe { call(path.as_ptr(), name.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(last()) }
}
