//! Data: reading, writing, positions, sizes, copies between descriptors, mapping.
//!
//! On plain descriptors and complete shadows all of these are the kernel's.
#![expect(unsafe_code, reason = "exported symbols")]

use super::prelude::*;
use core::sync::atomic::{AtomicBool, Ordering};
use libc::iovec;

hook! {
    /// read(2)
    fn [read](fd: c_int, to: *mut c_void, len: usize) -> ssize_t {
        on_data(fd, Sysno::read, [int(fd), at(to), len, 0, 0, 0], || real(fd, to, len))
    }
    /// read(2) from fortified programs.
    fn [__read_chk](fd: c_int, to: *mut c_void, len: usize, room: usize) -> ssize_t {
        on_data(fd, Sysno::read, [int(fd), at(to), len, 0, 0, 0], || real(fd, to, len, room))
    }
    /// write(2)
    fn [write](fd: c_int, from: *const c_void, len: usize) -> ssize_t {
        on_data(fd, Sysno::write, [int(fd), at(from), len, 0, 0, 0], || real(fd, from, len))
    }
    /// pread(2)
    fn [pread pread64](fd: c_int, to: *mut c_void, len: usize, offset: off_t) -> ssize_t {
        let args = [int(fd), at(to), len, long(offset), 0, 0];
        on_data(fd, Sysno::pread64, args, || real(fd, to, len, offset))
    }
    /// pread(2) from fortified programs.
    fn [__pread_chk __pread64_chk](
        fd: c_int, to: *mut c_void, len: usize, offset: off_t, room: usize
    ) -> ssize_t {
        let args = [int(fd), at(to), len, long(offset), 0, 0];
        on_data(fd, Sysno::pread64, args, || real(fd, to, len, offset, room))
    }
    /// pwrite(2)
    fn [pwrite pwrite64](fd: c_int, from: *const c_void, len: usize, offset: off_t) -> ssize_t {
        let args = [int(fd), at(from), len, long(offset), 0, 0];
        on_data(fd, Sysno::pwrite64, args, || real(fd, from, len, offset))
    }
    /// readv(2)
    fn [readv](fd: c_int, vec: *const iovec, count: c_int) -> ssize_t {
        let args = [int(fd), at(vec), int(count), 0, 0, 0];
        on_data(fd, Sysno::readv, args, || real(fd, vec, count))
    }
    /// writev(2)
    fn [writev](fd: c_int, vec: *const iovec, count: c_int) -> ssize_t {
        let args = [int(fd), at(vec), int(count), 0, 0, 0];
        on_data(fd, Sysno::writev, args, || real(fd, vec, count))
    }
    /// preadv(2)
    fn [preadv preadv64](fd: c_int, vec: *const iovec, count: c_int, offset: off_t) -> ssize_t {
        let args = [int(fd), at(vec), int(count), long(offset), 0, 0];
        on_data(fd, Sysno::preadv, args, || real(fd, vec, count, offset))
    }
    /// pwritev(2)
    fn [pwritev pwritev64](fd: c_int, vec: *const iovec, count: c_int, offset: off_t) -> ssize_t {
        let args = [int(fd), at(vec), int(count), long(offset), 0, 0];
        on_data(fd, Sysno::pwritev, args, || real(fd, vec, count, offset))
    }
    /// preadv2(2)
    fn [preadv2 preadv64v2](
        fd: c_int, vec: *const iovec, count: c_int, offset: off_t, flags: c_int
    ) -> ssize_t {
        let args = [int(fd), at(vec), int(count), long(offset), 0, int(flags)];
        on_data(fd, Sysno::preadv2, args, || real(fd, vec, count, offset, flags))
    }
    /// pwritev2(2)
    fn [pwritev2 pwritev64v2](
        fd: c_int, vec: *const iovec, count: c_int, offset: off_t, flags: c_int
    ) -> ssize_t {
        let args = [int(fd), at(vec), int(count), long(offset), 0, int(flags)];
        on_data(fd, Sysno::pwritev2, args, || real(fd, vec, count, offset, flags))
    }
    /// lseek(2)
    fn [lseek lseek64](fd: c_int, offset: off_t, whence: c_int) -> off_t {
        let args = [int(fd), long(offset), int(whence), 0, 0, 0];
        on_data(fd, Sysno::lseek, args, || real(fd, offset, whence))
    }
    /// ftruncate(2)
    fn [ftruncate ftruncate64](fd: c_int, len: off_t) -> c_int {
        on_fd(fd, Sysno::ftruncate, [int(fd), long(len), 0, 0, 0, 0], || real(fd, len))
    }
    /// truncate(2)
    fn [truncate truncate64](path: *const c_char, len: off_t) -> c_int {
        let args = [at(path), long(len), 0, 0, 0, 0];
        named(AT_FDCWD, path, Sysno::truncate, args, || real(path, len))
    }
    /// fallocate(2)
    fn [fallocate fallocate64](fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
        let args = [int(fd), int(mode), long(offset), long(len), 0, 0];
        on_fd(fd, Sysno::fallocate, args, || real(fd, mode, offset, len))
    }
    /// posix_fallocate(3): gives the error instead of setting it.
    fn [posix_fallocate posix_fallocate64](fd: c_int, offset: off_t, len: off_t) -> c_int {
        if fds::plain(fd) {
            return real(fd, offset, len);
        }
        let args = [int(fd), 0, long(offset), long(len), 0, 0];
        let errno = c::errno();
        let failed = slow(Sysno::fallocate, args, || {
            memory_call(Sysno::fallocate, args)
        }) != 0;
        let result = if failed { c::errno() } else { 0 };
        c::set_errno(errno);
        result
    }
    /// posix_fadvise(2): gives the error instead of setting it. Advice is never a failure here.
    fn [posix_fadvise posix_fadvise64](fd: c_int, offset: off_t, len: off_t, advice: c_int) -> c_int {
        if fds::native_data(fd) { real(fd, offset, len, advice) } else { 0 }
    }
    /// readahead(2)
    fn [readahead](fd: c_int, offset: off_t, len: usize) -> ssize_t {
        let args = [int(fd), long(offset), len, 0, 0, 0];
        on_data(fd, Sysno::readahead, args, || real(fd, offset, len))
    }
    /// fsync(2)
    fn [fsync](fd: c_int) -> c_int {
        on_fd(fd, Sysno::fsync, [int(fd), 0, 0, 0, 0, 0], || real(fd))
    }
    /// fdatasync(2)
    fn [fdatasync](fd: c_int) -> c_int {
        on_fd(fd, Sysno::fdatasync, [int(fd), 0, 0, 0, 0, 0], || real(fd))
    }
    /// syncfs(2)
    fn [syncfs](fd: c_int) -> c_int {
        on_fd(fd, Sysno::syncfs, [int(fd), 0, 0, 0, 0, 0], || real(fd))
    }
    /// sync_file_range(2)
    fn [sync_file_range](fd: c_int, offset: off_t, len: off_t, flags: c_uint) -> c_int {
        let args = [int(fd), long(offset), long(len), flags as usize, 0, 0];
        on_fd(fd, Sysno::sync_file_range, args, || real(fd, offset, len, flags))
    }
    /// sendfile(2)
    fn [sendfile sendfile64](to: c_int, from: c_int, offset: *mut off_t, len: usize) -> ssize_t {
        let args = [int(to), int(from), at(offset), len, 0, 0];
        on_two((to, from), Sysno::sendfile, args, || real(to, from, offset, len))
    }
    /// copy_file_range(2)
    fn [copy_file_range](
        from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, len: usize, flags: c_uint
    ) -> ssize_t {
        let args = [int(from), at(from_at), int(to), at(to_at), len, flags as usize];
        on_two((from, to), Sysno::copy_file_range, args, || real(from, from_at, to, to_at, len, flags))
    }
    /// splice(2)
    fn [splice](
        from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, len: usize, flags: c_uint
    ) -> ssize_t {
        let args = [int(from), at(from_at), int(to), at(to_at), len, flags as usize];
        on_two((from, to), Sysno::splice, args, || real(from, from_at, to, to_at, len, flags))
    }
    /// mmap(2)
    fn [mmap mmap64](
        near: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void {
        if flags & libc::MAP_ANONYMOUS != 0 || fds::plain(fd) {
            return real(near, len, prot, flags, fd, offset);
        }
        if flags & libc::MAP_TYPE != libc::MAP_PRIVATE && prot & libc::PROT_WRITE != 0 {
            MAPPED.store(true, Ordering::Relaxed);
        }
        let args = [at(near), len, int(prot), int(flags), int(fd), long(offset)];
        let result: isize = slow(Sysno::mmap, args, || {
            real(near, len, prot, flags, fd, offset).addr().cast_signed()
        });
        core::ptr::with_exposed_provenance_mut(result.cast_unsigned())
    }
    /// msync(2)
    fn [msync](from: *mut c_void, len: usize, flags: c_int) -> c_int {
        if !MAPPED.load(Ordering::Relaxed) {
            return real(from, len, flags);
        }
        let args = [at(from), len, int(flags), 0, 0, 0];
        slow(Sysno::msync, args, || real(from, len, flags))
    }
}

/// This process, or one that it was forked from, has mapped a descriptor of ours for writing.
static MAPPED: AtomicBool = AtomicBool::new(false);

/// A raw call in the form of a C function.
fn memory_call(nr: Sysno, args: [usize; 6]) -> c_int {
    c_int::from_raw(memory::raw_number(nr.id() as usize, args))
}
