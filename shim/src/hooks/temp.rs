//! Temporary names: mkstemp(3) and its family, for templates that are not plain.
#![expect(unsafe_code, reason = "exported symbols; the program's template is changed in place")]

use super::prelude::*;

/// The letters that replace the six X.
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

hook! {
    /// mkstemp(3)
    fn [mkstemp mkstemp64](template: *mut c_char) -> c_int {
        file(template, 0, 0, || real(template))
    }
    /// mkostemp(3)
    fn [mkostemp mkostemp64](template: *mut c_char, flags: c_int) -> c_int {
        file(template, 0, flags, || real(template, flags))
    }
    /// mkstemps(3)
    fn [mkstemps mkstemps64](template: *mut c_char, suffix: c_int) -> c_int {
        file(template, suffix, 0, || real(template, suffix))
    }
    /// mkostemps(3)
    fn [mkostemps mkostemps64](template: *mut c_char, suffix: c_int, flags: c_int) -> c_int {
        file(template, suffix, flags, || real(template, suffix, flags))
    }
    /// mkdtemp(3)
    fn [mkdtemp](template: *mut c_char) -> *mut c_char {
        if namespace::plain_name(AT_FDCWD, template) {
            let made = real(template);
            if !made.is_null() || c::errno() != libc::ENOENT {
                return made;
            }
            restore(template, 0);
        }
        let made = names(template, 0, || super::names::mkdir(template, 0o700));
        if made < 0 { core::ptr::null_mut() } else { template }
    }
}

fn file(template: *mut c_char, suffix: c_int, flags: c_int, real: impl Fn() -> c_int) -> c_int {
    if namespace::plain_name(AT_FDCWD, template) {
        let fd = real();
        if fd >= 0 {
            fds::set_plain(fd);
            return fd;
        }
        if c::errno() != libc::ENOENT {
            return fd;
        }
        restore(template, suffix);
    }
    let flags = (flags & !libc::O_ACCMODE) | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    names(template, suffix, || super::open::open(template, flags, 0o600))
}

/// The six bytes before the suffix.
fn place<'a>(template: *mut c_char, suffix: c_int) -> Option<&'a mut [u8]> {
    let len = c::bytes(template).len();
    let end = len.checked_sub(usize::try_from(suffix).ok()?)?;
    let start = end.checked_sub(6)?;
    let at = template.cast::<u8>().wrapping_add(start);
    // SAFETY: inside the program's template, which it gave to be changed.
    Some(unsafe { core::slice::from_raw_parts_mut(at, 6) })
}

fn restore(template: *mut c_char, suffix: c_int) {
    if let Some(place) = place(template, suffix) {
        place.copy_from_slice(b"XXXXXX");
    }
}

/// Tries names until one is new.
fn names(template: *mut c_char, suffix: c_int, make: impl Fn() -> c_int) -> c_int {
    let place = match place(template, suffix) {
        Some(place) if place == b"XXXXXX" => place,
        _ => {
            c::set_errno(libc::EINVAL);
            return -1;
        }
    };
    let errno = c::errno();
    for _ in 0..1000 {
        let mut random = [0_u8; 8];
        let _ = memory::raw(Sysno::getrandom, [at(random.as_mut_ptr()), 8, 0, 0, 0, 0]);
        for (place, byte) in place.iter_mut().zip(random) {
            *place = LETTERS.get(usize::from(byte) % 62).copied().unwrap_or(b'x');
        }
        let made = make();
        if made >= 0 {
            c::set_errno(errno);
            return made;
        }
        if c::errno() != libc::EEXIST {
            return made;
        }
    }
    -1
}
