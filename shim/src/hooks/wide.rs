//! Wide characters: fgetwc(3), fgetws(3), fputwc(3) and their relatives on our own streams.
//!
//! A cookie stream has no memory for wide characters, and the C library's wide functions do not
//! look before they use it. On such a stream the characters are made of bytes here; every other
//! stream is the C library's business.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use core::ptr::from_mut;
use libc::FILE;

/// `wint_t` for "no character".
const WEOF: c_uint = c_uint::MAX;
/// Where glibc's FILE keeps its wide data, and what is there when it has none.
const WIDE_AT: usize = 160;
const NO_WIDE: usize = usize::MAX;

hook! {
    /// fgetwc(3)
    fn [fgetwc getwc fgetwc_unlocked getwc_unlocked](stream: *mut FILE) -> c_uint {
        if blind(stream) { get(stream) } else { real(stream) }
    }
    /// getwchar(3)
    fn [getwchar getwchar_unlocked]() -> c_uint {
        match super::stdio::standard_input() {
            Some(stream) if blind(stream) => get(stream),
            _ => real(),
        }
    }
    /// fgetws(3)
    fn [fgetws fgetws_unlocked](to: *mut i32, room: c_int, stream: *mut FILE) -> *mut i32 {
        if blind(stream) { get_line(to, room, stream) } else { real(to, room, stream) }
    }
    /// fgetws(3), checked
    fn [__fgetws_chk __fgetws_unlocked_chk](
        to: *mut i32, size: usize, room: c_int, stream: *mut FILE
    ) -> *mut i32 {
        let fits = usize::try_from(room).is_ok_and(|room| room <= size);
        if blind(stream) && fits { get_line(to, room, stream) } else { real(to, size, room, stream) }
    }
    /// ungetwc(3)
    fn [ungetwc](wide: c_uint, stream: *mut FILE) -> c_uint {
        if !blind(stream) {
            return real(wide, stream);
        }
        let mut bytes = [0_u8; 16];
        for &byte in encode(wide, &mut bytes).unwrap_or_default().iter().rev() {
            if c::ungetc(c_int::from(byte), stream) < 0 {
                return WEOF;
            }
        }
        wide
    }
    /// fputwc(3)
    fn [fputwc putwc fputwc_unlocked putwc_unlocked](wide: i32, stream: *mut FILE) -> c_uint {
        if blind(stream) { put(wide, stream) } else { real(wide, stream) }
    }
    /// fputws(3)
    fn [fputws fputws_unlocked](text: *const i32, stream: *mut FILE) -> c_int {
        if !blind(stream) {
            return real(text, stream);
        }
        let mut at = text;
        loop {
            let wide = c::peek(at);
            if wide == 0 {
                return 1;
            }
            if put(wide, stream) == WEOF {
                return -1;
            }
            at = at.wrapping_add(1);
        }
    }
}

/// Whether a stream has no memory for wide characters.
pub(super) fn blind(stream: *mut FILE) -> bool {
    let place = stream.cast::<u8>().wrapping_add(WIDE_AT).cast::<usize>();
    !stream.is_null() && c::peek(place.cast_const()) == NO_WIDE
}

/// The next character, made of as many bytes as it takes.
fn get(stream: *mut FILE) -> c_uint {
    let mut state = [0_u64; 2];
    loop {
        let Ok(byte) = u8::try_from(c::getc(stream)) else { return WEOF };
        let mut wide = 0_i32;
        let from = core::ptr::from_ref(&byte).cast();
        match c::mbrtowc(from_mut(&mut wide), from, 1, from_mut(&mut state).cast()) {
            // Not a whole character yet.
            n if n == usize::MAX.wrapping_sub(1) => {}
            usize::MAX => return WEOF,
            _ => return wide.cast_unsigned(),
        }
    }
}

fn get_line(to: *mut i32, room: c_int, stream: *mut FILE) -> *mut i32 {
    let mut at = to;
    let mut left = room;
    while left > 1 {
        let wide = get(stream);
        if wide == WEOF {
            break;
        }
        c::poke(at, wide.cast_signed());
        at = at.wrapping_add(1);
        left = left.wrapping_sub(1);
        if wide == u32::from('\n') {
            break;
        }
    }
    if at == to || room < 1 {
        return core::ptr::null_mut();
    }
    c::poke(at, 0);
    to
}

fn put(wide: i32, stream: *mut FILE) -> c_uint {
    let mut bytes = [0_u8; 16];
    let Some(text) = encode(wide.cast_unsigned(), &mut bytes) else { return WEOF };
    for &byte in text {
        if c::putc(c_int::from(byte), stream) < 0 {
            return WEOF;
        }
    }
    wide.cast_unsigned()
}

/// The bytes of a character.
fn encode(wide: c_uint, bytes: &mut [u8; 16]) -> Option<&[u8]> {
    let mut state = [0_u64; 2];
    let len =
        c::wcrtomb(bytes.as_mut_ptr().cast(), wide.cast_signed(), from_mut(&mut state).cast());
    bytes.get(..len)
}
