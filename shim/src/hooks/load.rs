//! dlopen(3) of a remote library: the loader reads by itself, so it gets the name of the complete
//! shadow.
//!
//! The real function looks at its caller (for the search path of a name without a slash), so a
//! call that is not ours is handed on by a jump, with the caller's own return address.
#![expect(unsafe_code, reason = "exported symbol in assembly")]

use super::prelude::*;
use crate::interpose::Real;

static REAL: Real = Real::new();

/// dlopen(3)
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(crate) extern "C" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {choose}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        choose = sym choose,
    )
}

type Function = extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// The function that takes the call.
extern "C" fn choose(path: *const c_char, _flags: c_int) -> *mut c_void {
    let name = c::bytes(path);
    if !name.contains(&b'/') || namespace::plain_name(AT_FDCWD, path) {
        return REAL.get(c"dlopen");
    }
    (remote as Function as *mut ()).cast()
}

extern "C" fn remote(path: *const c_char, flags: c_int) -> *mut c_void {
    // SAFETY: libc's function of this signature.
    let real = unsafe { core::mem::transmute::<*mut c_void, Function>(REAL.get(c"dlopen")) };
    let open = super::open::open(path, libc::O_RDONLY | libc::O_CLOEXEC, 0);
    if open < 0 {
        return real(path, flags);
    }
    if fds::plain(open) {
        // A local file under another name: by the name that the kernel has for it.
        let mut name = [0_u8; 4096];
        let found = name.split_last_mut().and_then(|(_, room)| fds::kernel_name(Some(open), room));
        super::descriptor::close(open);
        return real(if found.is_some() { name.as_ptr().cast() } else { path }, flags);
    }
    let Some(fd) = super::stdio::complete(open, libc::O_RDONLY) else { return real(path, flags) };
    let mut name = [0_u8; 4096];
    let room = name.get_mut(..4095).unwrap_or_default();
    let len = fds::kernel_name(Some(fd), room).unwrap_or(0);
    let text = name.get(..len).unwrap_or_default();
    if text.starts_with(b"/") && !text.ends_with(b" (deleted)") {
        let library = real(name.as_ptr().cast(), flags);
        super::descriptor::close(fd);
        return library;
    }
    // Without a name: by the descriptor, which stays open, since the loader knows libraries by
    // their names.
    let mut link = crate::text::Text::<32>::new();
    link.put(b"/proc/self/fd/").number(u64::from(fd.unsigned_abs())).put(b"\0");
    real(link.get().as_ptr().cast(), flags)
}
