//! dlopen(3) of a remote library: the loader reads by itself, so it gets the name of the complete
//! shadow; what the library needs from mounts is loaded before.
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
    let plain = namespace::plain_name(AT_FDCWD, path);
    // A plain name that the kernel does not find may be a link that leads to a mount.
    if !name.contains(&b'/') || (plain && super::stat::stat_is_there(path)) {
        return REAL.get(c"dlopen");
    }
    (remote as Function as *mut ()).cast()
}

hook! {
    /// catopen(3) of a remote file by its name.
    fn [catopen](name: *const c_char, flag: c_int) -> *mut c_void {
        if !c::bytes(name).contains(&b'/') || namespace::plain_name(AT_FDCWD, name) {
            return real(name, flag);
        }
        let open = super::open::open(name, libc::O_RDONLY | libc::O_CLOEXEC, 0);
        let Some(fd) = super::stdio::complete(open, libc::O_RDONLY) else {
            // (nl_catd) -1
            return core::ptr::without_provenance_mut(usize::MAX);
        };
        let mut link = crate::text::Text::<32>::new();
        link.put(b"/proc/self/fd/").number(u64::from(fd.unsigned_abs())).put(b"\0");
        let catalog = real(link.get().as_ptr().cast(), flag);
        let errno = c::errno();
        super::descriptor::close(fd);
        c::set_errno(errno);
        catalog
    }
}

extern "C" fn remote(path: *const c_char, flags: c_int) -> *mut c_void {
    load(path, flags, 0)
}

/// A library needs others, and these others, at most so deep.
const DEEPEST: u32 = 8;

/// Loads what a library needs from mounts.
fn load_needed(fd: c_int, path: *const c_char, flags: c_int, depth: u32) {
    let Some(file) = namespace::map_descriptor(fd).filter(|_| depth < DEEPEST) else { return };
    let name = c::bytes(path);
    let cut = name.iter().rposition(|&b| b == b'/').unwrap_or(0);
    if let Some(elf) = super::needed::Elf::new(file) {
        // Its own handles, so that the program's close them no sooner.
        let flags = (flags & !libc::RTLD_NOLOAD) | libc::RTLD_LAZY;
        elf.each_remote(name.get(..cut).unwrap_or_default(), |path| {
            load(path, flags, depth.wrapping_add(1));
        });
    }
    if !file.is_empty() {
        memory::unmap(file.as_ptr().expose_provenance(), file.len());
    }
}

fn load(path: *const c_char, flags: c_int, depth: u32) -> *mut c_void {
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
    load_needed(fd, path, flags, depth);
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
