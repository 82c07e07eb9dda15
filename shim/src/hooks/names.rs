//! Names: making, removing, renaming, links, and what libc builds on them.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use crate::text::Text;
use core::ffi::c_ulong;

hook! {
    /// mkdir(2)
    fn [mkdir](path: *const c_char, mode: mode_t) -> c_int {
        let args = [CWD, at(path), mode as usize, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::mkdirat, args, || real(path, mode))
    }
    /// mkdirat(2)
    fn [mkdirat](dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
        let args = [int(dir), at(path), mode as usize, 0, 0, 0];
        named(dir, path, Sysno::mkdirat, args, || real(dir, path, mode))
    }
    /// rmdir(2)
    fn [rmdir](path: *const c_char) -> c_int {
        let args = [CWD, at(path), int(libc::AT_REMOVEDIR), 0, 0, 0];
        named(AT_FDCWD, path, Sysno::unlinkat, args, || real(path))
    }
    /// unlink(2)
    fn [unlink](path: *const c_char) -> c_int {
        named(AT_FDCWD, path, Sysno::unlinkat, [CWD, at(path), 0, 0, 0, 0], || real(path))
    }
    /// unlinkat(2)
    fn [unlinkat](dir: c_int, path: *const c_char, flags: c_int) -> c_int {
        named(dir, path, Sysno::unlinkat, [int(dir), at(path), int(flags), 0, 0, 0], || {
            real(dir, path, flags)
        })
    }
    /// remove(3)
    fn [remove](path: *const c_char) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) {
            let result = real(path);
            if result == 0 || c::errno() != libc::ENOENT {
                return result;
            }
        }
        let errno = c::errno();
        if unlink(path) == 0 {
            return 0;
        }
        if c::errno() != libc::EISDIR && c::errno() != libc::EPERM {
            return -1;
        }
        c::set_errno(errno);
        rmdir(path)
    }
    /// rename(2)
    fn [rename](old: *const c_char, new: *const c_char) -> c_int {
        let args = [CWD, at(old), CWD, at(new), 0, 0];
        named_two((AT_FDCWD, old), (AT_FDCWD, new), Sysno::renameat2, args, || real(old, new))
    }
    /// renameat(2)
    fn [renameat](from: c_int, old: *const c_char, to: c_int, new: *const c_char) -> c_int {
        let args = [int(from), at(old), int(to), at(new), 0, 0];
        named_two((from, old), (to, new), Sysno::renameat2, args, || real(from, old, to, new))
    }
    /// renameat2(2)
    fn [renameat2](
        from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_uint
    ) -> c_int {
        let args = [int(from), at(old), int(to), at(new), flags as usize, 0];
        named_two((from, old), (to, new), Sysno::renameat2, args, || {
            real(from, old, to, new, flags)
        })
    }
    /// link(2)
    fn [link](old: *const c_char, new: *const c_char) -> c_int {
        let args = [CWD, at(old), CWD, at(new), 0, 0];
        named_two((AT_FDCWD, old), (AT_FDCWD, new), Sysno::linkat, args, || real(old, new))
    }
    /// linkat(2)
    fn [linkat](
        from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int
    ) -> c_int {
        let args = [int(from), at(old), int(to), at(new), int(flags), 0];
        named_two((from, old), (to, new), Sysno::linkat, args, || real(from, old, to, new, flags))
    }
    /// symlink(2)
    fn [symlink](text: *const c_char, path: *const c_char) -> c_int {
        namespace::changed();
        let args = [at(text), CWD, at(path), 0, 0, 0];
        named(AT_FDCWD, path, Sysno::symlinkat, args, || real(text, path))
    }
    /// symlinkat(2)
    fn [symlinkat](text: *const c_char, dir: c_int, path: *const c_char) -> c_int {
        namespace::changed();
        let args = [at(text), int(dir), at(path), 0, 0, 0];
        named(dir, path, Sysno::symlinkat, args, || real(text, dir, path))
    }
    /// readlink(2)
    fn [readlink](path: *const c_char, to: *mut c_char, len: usize) -> ssize_t {
        let args = [CWD, at(path), at(to), len, 0, 0];
        named(AT_FDCWD, path, Sysno::readlinkat, args, || real(path, to, len))
    }
    /// readlink(2) from fortified programs.
    fn [__readlink_chk](path: *const c_char, to: *mut c_char, len: usize, room: usize) -> ssize_t {
        let args = [CWD, at(path), at(to), len, 0, 0];
        named(AT_FDCWD, path, Sysno::readlinkat, args, || real(path, to, len, room))
    }
    /// readlinkat(2)
    fn [readlinkat](dir: c_int, path: *const c_char, to: *mut c_char, len: usize) -> ssize_t {
        let args = [int(dir), at(path), at(to), len, 0, 0];
        named(dir, path, Sysno::readlinkat, args, || real(dir, path, to, len))
    }
    /// readlinkat(2) from fortified programs.
    fn [__readlinkat_chk](
        dir: c_int, path: *const c_char, to: *mut c_char, len: usize, room: usize
    ) -> ssize_t {
        let args = [int(dir), at(path), at(to), len, 0, 0];
        named(dir, path, Sysno::readlinkat, args, || real(dir, path, to, len, room))
    }
    /// mknod(2)
    fn [mknod](path: *const c_char, mode: mode_t, device: u64) -> c_int {
        let args = [CWD, at(path), mode as usize, device as usize, 0, 0];
        named(AT_FDCWD, path, Sysno::mknodat, args, || real(path, mode, device))
    }
    /// mknodat(2)
    fn [mknodat](dir: c_int, path: *const c_char, mode: mode_t, device: u64) -> c_int {
        let args = [int(dir), at(path), mode as usize, device as usize, 0, 0];
        named(dir, path, Sysno::mknodat, args, || real(dir, path, mode, device))
    }
    /// mknod(2) of programs from before glibc 2.33.
    fn [__xmknod](version: c_int, path: *const c_char, mode: mode_t, device: *mut u64) -> c_int {
        let args = [CWD, at(path), mode as usize, c::peek(device) as usize, 0, 0];
        named(AT_FDCWD, path, Sysno::mknodat, args, || real(version, path, mode, device))
    }
    /// mknodat(2) of programs from before glibc 2.33.
    fn [__xmknodat](
        version: c_int, dir: c_int, path: *const c_char, mode: mode_t, device: *mut u64
    ) -> c_int {
        let args = [int(dir), at(path), mode as usize, c::peek(device) as usize, 0, 0];
        named(dir, path, Sysno::mknodat, args, || real(version, dir, path, mode, device))
    }
    /// mkfifo(3)
    fn [mkfifo](path: *const c_char, mode: mode_t) -> c_int {
        let args = [CWD, at(path), (mode | libc::S_IFIFO) as usize, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::mknodat, args, || real(path, mode))
    }
    /// mkfifoat(3)
    fn [mkfifoat](dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
        let args = [int(dir), at(path), (mode | libc::S_IFIFO) as usize, 0, 0, 0];
        named(dir, path, Sysno::mknodat, args, || real(dir, path, mode))
    }
    /// inotify_add_watch(2)
    fn [inotify_add_watch](fd: c_int, path: *const c_char, mask: u32) -> c_int {
        let args = [int(fd), at(path), mask as usize, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::inotify_add_watch, args, || real(fd, path, mask))
    }
    /// mount(2)
    fn [mount](
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int {
        let args = [at(source), at(target), at(kind), flags as usize, at(data), 0];
        if flags & (libc::MS_BIND | libc::MS_MOVE) != 0 {
            return named_two((AT_FDCWD, source), (AT_FDCWD, target), Sysno::mount, args, || {
                real(source, target, kind, flags, data)
            });
        }
        named(AT_FDCWD, target, Sysno::mount, args, || real(source, target, kind, flags, data))
    }
    /// umount(2)
    fn [umount](path: *const c_char) -> c_int {
        named(AT_FDCWD, path, Sysno::umount2, [at(path), 0, 0, 0, 0, 0], || real(path))
    }
    /// umount2(2)
    fn [umount2](path: *const c_char, flags: c_int) -> c_int {
        named(AT_FDCWD, path, Sysno::umount2, [at(path), int(flags), 0, 0, 0, 0], || {
            real(path, flags)
        })
    }
    /// acct(2)
    fn [acct](path: *const c_char) -> c_int {
        named(AT_FDCWD, path, Sysno::acct, [at(path), 0, 0, 0, 0, 0], || real(path))
    }
    /// realpath(3)
    fn [realpath](path: *const c_char, to: *mut c_char) -> *mut c_char {
        if !lane::open() && namespace::plain_name(AT_FDCWD, path) {
            let result = real(path, to);
            if !result.is_null() || is_missing(path) {
                return result;
            }
        }
        real_path(path, to)
    }
    /// realpath(3) from fortified programs.
    fn [__realpath_chk](path: *const c_char, to: *mut c_char, room: usize) -> *mut c_char {
        if (!lane::open() || room < PATH_MAX) && namespace::plain_name(AT_FDCWD, path) {
            let result = real(path, to, room);
            if !result.is_null() || is_missing(path) {
                return result;
            }
        }
        real_path(path, to)
    }
    /// canonicalize_file_name(3)
    fn [canonicalize_file_name](path: *const c_char) -> *mut c_char {
        realpath(path, core::ptr::null_mut())
    }
}

/// Room that a caller's buffer has.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Whether libc's failure stands. Compilers ask for the real names of many files that are not there.
fn is_missing(path: *const c_char) -> bool {
    c::errno() != libc::ENOENT || path.is_null() || namespace::certainly_missing(AT_FDCWD, path)
}

/// realpath(3), by the calls above: every component is looked at, links are followed, up to 40.
fn real_path(path: *const c_char, to: *mut c_char) -> *mut c_char {
    if path.is_null() {
        return failed(libc::EINVAL);
    }
    let errno = c::errno();
    let mut done = Text::<4096>::new();
    let mut rest = Text::<8192>::new();
    let given = c::bytes(path);
    if given.is_empty() {
        return failed(libc::ENOENT);
    }
    if given.first() != Some(&b'/') {
        let mut cwd = [0; 4096];
        let place = cwd.as_mut_ptr();
        if super::cwd::getcwd(place.cast(), cwd.len()).is_null() {
            return core::ptr::null_mut();
        }
        let text = c::bytes(place.cast());
        if text != b"/" {
            done.put(text);
        }
    }
    rest.put(given);
    if let Err(errno) = walk(&mut done, &mut rest) {
        // As glibc's: how far it came, for whoever gave a buffer.
        let told = matches!(errno, libc::ENOENT | libc::EACCES);
        if told && !to.is_null() && done.get().len() < PATH_MAX {
            give(done.get(), to);
        }
        return failed(errno);
    }
    if done.get().is_empty() {
        done.put(b"/");
    }
    c::set_errno(errno);
    give(done.get(), to)
}

fn failed(errno: c_int) -> *mut c_char {
    c::set_errno(errno);
    core::ptr::null_mut()
}

fn walk(done: &mut Text<4096>, rest: &mut Text<8192>) -> Result<(), c_int> {
    let mut links = 0;
    loop {
        let text = rest.get();
        let Some(start) = text.iter().position(|&b| b != b'/') else { return Ok(()) };
        let tail = text.get(start..).unwrap_or_default();
        let len = tail.iter().position(|&b| b == b'/').unwrap_or(tail.len());
        let (part, tail) = tail.split_at_checked(len).unwrap_or_default();
        if part == b".." {
            let cut = done.get().iter().rposition(|&b| b == b'/').unwrap_or(0);
            done.cut(cut);
        }
        if part == b"." || part == b".." {
            *rest = copied(&[tail])?;
            continue;
        }
        let before = done.get().len();
        done.put(b"/").put(part);
        let name: Text<4096> = copied(&[done.get(), b"\0"])?;
        let mut link = [0_u8; 4096];
        let found = readlink(name.get().as_ptr().cast(), link.as_mut_ptr().cast(), link.len());
        if found < 0 {
            if c::errno() != libc::EINVAL {
                return Err(c::errno());
            }
            // A name behind it tells whether it is a directory; these do not.
            let next = tail.iter().position(|&b| b != b'/').and_then(|at| tail.get(at));
            if !tail.is_empty() && next.is_none_or(|&b| b == b'.') {
                is_dir(name.get())?;
            }
            *rest = copied(&[tail])?;
            continue;
        }
        links = i32::wrapping_add(links, 1);
        if links > 40 {
            return Err(libc::ELOOP);
        }
        let target = link.get(..found.cast_unsigned()).unwrap_or_default();
        done.cut(if target.first() == Some(&b'/') { 0 } else { before });
        *rest = copied(&[target, tail])?;
    }
}

/// ENOTDIR when a name that is followed by more is no directory.
fn is_dir(name: &[u8]) -> Result<(), c_int> {
    let mut attributes = memory::zeroed_stat();
    if super::stat::lstat(name.as_ptr().cast(), &mut attributes) != 0 {
        return Err(c::errno());
    }
    let dir = attributes.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if dir { Ok(()) } else { Err(libc::ENOTDIR) }
}

fn copied<const N: usize>(parts: &[&[u8]]) -> Result<Text<N>, c_int> {
    let mut text = Text::new();
    for part in parts {
        text.put(part);
    }
    if text.fits() { Ok(text) } else { Err(libc::ENAMETOOLONG) }
}

/// Copies a text to the caller's buffer, or to a new one.
pub(super) fn give(text: &[u8], to: *mut c_char) -> *mut c_char {
    let len = text.len().wrapping_add(1);
    let to = if to.is_null() { c::malloc(len).cast() } else { to };
    if to.is_null() {
        return failed(libc::ENOMEM);
    }
    // SAFETY: new memory of that length, or the caller's buffer, which holds PATH_MAX bytes (or
    // as many as the caller said, who has compared).
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), text.len()) };
    c::poke(to.wrapping_add(text.len()), 0);
    to
}
