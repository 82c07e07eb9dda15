//! Sockets with names.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use crate::text::Text;
use libc::{sockaddr, sockaddr_un, socklen_t};

/// The path of an address, with its zero byte; empty when it has none that is a file's.
fn path_of(address: *const sockaddr, len: socklen_t) -> Text<110> {
    let mut text = Text::new();
    let room = size_of::<sockaddr_un>();
    let len = len as usize;
    let start = core::mem::offset_of!(sockaddr_un, sun_path);
    // What is no address at all, the kernel says.
    if !namespace::may_be_there(address.addr()) || len <= start || len > room {
        return text;
    }
    if c_int::from(c::peek(address.cast::<u16>())) != libc::AF_UNIX {
        return text;
    }
    for index in start..len {
        match c::peek(address.cast::<u8>().wrapping_add(index)) {
            0 => break,
            byte => text.put(&[byte]),
        };
    }
    if !text.get().is_empty() {
        text.put(b"\0");
    }
    text
}

hook! {
    /// bind(2)
    fn [bind](fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        let path = path_of(address, len);
        if path.get().is_empty() {
            return real(fd, address, len);
        }
        let args = [int(fd), at(address), len as usize, 0, 0, 0];
        named(AT_FDCWD, path.get().as_ptr().cast(), Sysno::bind, args, || real(fd, address, len))
    }
    /// connect(2)
    fn [connect](fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        let path = path_of(address, len);
        if path.get().is_empty() {
            return real(fd, address, len);
        }
        let args = [int(fd), at(address), len as usize, 0, 0, 0];
        named(AT_FDCWD, path.get().as_ptr().cast(), Sysno::connect, args, || real(fd, address, len))
    }
}
