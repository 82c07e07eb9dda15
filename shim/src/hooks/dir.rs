//! Listing directories: opendir(3), readdir(3) and what belongs to them.
//!
//! libc's own `DIR` reads by a system call that nobody could catch here, so a remote directory has
//! a [`Listing`] of ours behind the program's `DIR *`. Its first word is one that no `DIR` of
//! libc's begins with (there it is the descriptor), which is how the two are told apart.
#![expect(unsafe_code, reason = "exported symbols; memory behind the program's DIR pointers")]

use super::prelude::*;
use parrot_common::guest::FdClass;
use parrot_common::shadow::Kind;

/// No descriptor has this number (the kernel's limit is 2^30).
const MARK: u32 = 0x7041_5252;
/// Bytes of entries that are asked for at once.
const ROOM: usize = 32 << 10;

/// An open remote directory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Listing {
    mark: u32,
    fd: c_int,
    /// libc's own of the same descriptor, if this is a directory of this machine in which mounts show.
    libcs: *mut Dir,
    /// What of `entries` is filled, and what of that was given out.
    filled: usize,
    given: usize,
    /// The position after the entry that was given out last.
    position: i64,
    entries: [u64; ROOM / 8],
}

type Dir = libc::DIR;
type Dirent = libc::dirent;

hook! {
    /// opendir(3)
    fn [opendir](path: *const c_char) -> *mut Dir {
        if !lane::open() && namespace::plain_name(AT_FDCWD, path) {
            let dir = real(path);
            if !dir.is_null() && namespace::shows_mounts(c::peek(dir.cast::<c_int>())) {
                return shared(dir);
            }
            if !dir.is_null() || !matches!(c::errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) {
                return dir;
            }
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let fd = super::open::open(path, flags, 0);
        if fd < 0 {
            return core::ptr::null_mut();
        }
        let dir = fdopendir(fd);
        if dir.is_null() {
            let errno = c::errno();
            super::descriptor::close(fd);
            c::set_errno(errno);
        }
        dir
    }
    /// fdopendir(3)
    fn [fdopendir](fd: c_int) -> *mut Dir {
        if !matches!(fds::class(fd), FdClass::Shadow { kind: Kind::Dir, .. }) {
            let dir = real(fd);
            return if dir.is_null() || !namespace::shows_mounts(fd) { dir } else { shared(dir) };
        }
        match Listing::make(fd) {
            Some(listing) => core::ptr::from_mut(listing).cast(),
            None => core::ptr::null_mut(),
        }
    }
    /// readdir(3)
    fn [readdir readdir64](dir: *mut Dir) -> *mut Dirent {
        match ours(dir) {
            Some(listing) => listing.next(),
            None => real(dir),
        }
    }
    /// readdir_r(3)
    fn [readdir_r readdir64_r](dir: *mut Dir, to: *mut Dirent, result: *mut *mut Dirent) -> c_int {
        let Some(listing) = ours(dir) else { return real(dir, to, result) };
        let before = c::errno();
        c::set_errno(0);
        let entry = listing.next();
        let errno = c::errno();
        c::set_errno(before);
        if entry.is_null() {
            c::poke(result, core::ptr::null_mut());
            return errno;
        }
        // SAFETY: an entry of the listing; the caller's has room for any.
        let length = usize::from(unsafe { (*entry).d_reclen }).min(size_of::<Dirent>());
        // SAFETY: as above.
        unsafe { core::ptr::copy_nonoverlapping(entry.cast::<u8>(), to.cast(), length) };
        c::poke(result, to);
        0
    }
    /// closedir(3)
    fn [closedir](dir: *mut Dir) -> c_int {
        let Some(listing) = ours(dir) else {
            if !dir.is_null() {
                fds::forget(c::peek(dir.cast::<c_int>()));
            }
            return real(dir);
        };
        let (fd, libcs) = (listing.fd, listing.libcs);
        listing.mark = 0;
        c::free(dir.cast());
        if !libcs.is_null() {
            fds::forget(fd);
            return real(libcs);
        }
        super::descriptor::close(fd)
    }
    /// rewinddir(3)
    fn [rewinddir](dir: *mut Dir) -> () {
        match ours(dir) {
            Some(listing) => listing.seek(0),
            None => real(dir),
        }
    }
    /// seekdir(3)
    fn [seekdir](dir: *mut Dir, position: c_long) -> () {
        match ours(dir) {
            Some(listing) => listing.seek(position),
            None => real(dir, position),
        }
    }
    /// telldir(3)
    fn [telldir](dir: *mut Dir) -> c_long {
        match ours(dir) {
            Some(listing) => listing.position,
            None => real(dir),
        }
    }
    /// dirfd(3)
    fn [dirfd](dir: *mut Dir) -> c_int {
        match ours(dir) {
            Some(listing) => listing.fd,
            None => real(dir),
        }
    }
    /// getdents64(2)
    fn [getdents64](fd: c_int, to: *mut c_void, len: usize) -> ssize_t {
        let args = [int(fd), at(to), len, 0, 0, 0];
        if fds::plain(fd) && namespace::shows_mounts(fd) {
            return slow(Sysno::getdents64, args, || real(fd, to, len));
        }
        on_fd(fd, Sysno::getdents64, args, || real(fd, to, len))
    }
}

/// The listing behind a `DIR *`, if it is ours.
fn ours<'a>(dir: *mut Dir) -> Option<&'a mut Listing> {
    if dir.is_null() || c::peek(dir.cast::<u32>()) != MARK {
        return None;
    }
    // SAFETY: the mark says that `fdopendir` above made it; the program uses a DIR in one thread
    // at a time.
    Some(unsafe { &mut *dir.cast::<Listing>() })
}

/// A listing of a directory of this machine that libc has opened, and that shows mounts.
fn shared(dir: *mut Dir) -> *mut Dir {
    match Listing::make(c::peek(dir.cast::<c_int>())) {
        Some(listing) => {
            listing.libcs = dir;
            core::ptr::from_mut(listing).cast()
        }
        None => dir,
    }
}

impl Listing {
    fn make<'a>(fd: c_int) -> Option<&'a mut Self> {
        let at = c::malloc(size_of::<Self>()).cast::<Self>();
        if at.is_null() {
            return None;
        }
        // SAFETY: new memory of the right size; every byte pattern of these fields is a value.
        unsafe { at.cast::<u8>().write_bytes(0, core::mem::offset_of!(Self, entries)) };
        // SAFETY: as above; the entries are read only as far as they were filled.
        let listing = unsafe { &mut *at };
        listing.mark = MARK;
        listing.fd = fd;
        Some(listing)
    }

    fn rewound(&mut self, position: i64) {
        self.filled = 0;
        self.given = 0;
        self.position = position;
    }

    fn seek(&mut self, position: i64) {
        let errno = c::errno();
        super::data::lseek(self.fd, position, libc::SEEK_SET);
        c::set_errno(errno);
        self.rewound(position);
    }

    /// The next entry; null at the end (errno untouched) or after an error.
    fn next(&mut self) -> *mut Dirent {
        if self.given >= self.filled {
            let got = getdents64(self.fd, self.entries.as_mut_ptr().cast(), ROOM);
            self.given = 0;
            self.filled = usize::try_from(got).unwrap_or(0);
            if self.filled == 0 {
                return core::ptr::null_mut();
            }
        }
        let entry = self.entries.as_mut_ptr().cast::<u8>().wrapping_add(self.given);
        let entry = entry.cast::<Dirent>();
        // SAFETY: inside the filled part; linux_dirent64 and libc's dirent agree on 64 bits.
        let length = unsafe { (*entry).d_reclen };
        // SAFETY: as above.
        let position = unsafe { (*entry).d_off };
        if length == 0 {
            self.given = self.filled;
            return core::ptr::null_mut();
        }
        self.given = self.given.saturating_add(usize::from(length));
        self.position = position;
        entry
    }
}
