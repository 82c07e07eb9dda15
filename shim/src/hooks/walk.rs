//! Walking trees: ftw(3), nftw(3).
//!
//! libc's own read directories past the hooks and would report an empty tree. Trees that are not
//! plain are walked here. A walk that follows links comes to each directory once, as libc's.
#![expect(unsafe_code, reason = "exported symbols; the caller's functions")]

use super::prelude::*;
use crate::text::Text;

type Simple = unsafe extern "C" fn(*const c_char, *const libc::stat, c_int) -> c_int;
type Full = unsafe extern "C" fn(*const c_char, *const libc::stat, c_int, *mut Place) -> c_int;

/// `struct FTW`
#[derive(Debug)]
#[repr(C)]
pub(super) struct Place {
    base: c_int,
    level: c_int,
}

const FTW_F: c_int = 0;
const FTW_D: c_int = 1;
const FTW_DNR: c_int = 2;
const FTW_NS: c_int = 3;
const FTW_SL: c_int = 4;
const FTW_DP: c_int = 5;
const FTW_SLN: c_int = 6;
const FTW_PHYS: c_int = 1;
const FTW_MOUNT: c_int = 2;
const FTW_CHDIR: c_int = 4;
const FTW_DEPTH: c_int = 8;
const FTW_ACTIONRETVAL: c_int = 16;
const FTW_SKIP_SUBTREE: c_int = 2;
const FTW_SKIP_SIBLINGS: c_int = 3;

hook! {
    /// ftw(3)
    fn [ftw ftw64](path: *const c_char, each: Simple, open: c_int) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) { real(path, each, open) } else {
            Walk::new(Each::Simple(each), 0).start(path)
        }
    }
    /// nftw(3)
    fn [nftw nftw64](path: *const c_char, each: Full, open: c_int, flags: c_int) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) { real(path, each, open, flags) } else {
            Walk::new(Each::Full(each), flags).start(path)
        }
    }
}

#[derive(Clone, Copy)]
enum Each {
    Simple(Simple),
    Full(Full),
}

struct Walk {
    each: Each,
    flags: c_int,
    device: u64,
    seen: Seen,
}

impl Walk {
    const fn new(each: Each, flags: c_int) -> Self {
        Self { each, flags, device: 0, seen: Seen { table: 0, room: 0, used: 0 } }
    }

    const fn has(&self, flag: c_int) -> bool {
        self.flags & flag != 0
    }

    fn start(&mut self, path: *const c_char) -> c_int {
        let mut name = Text::<4096>::new();
        let text = c::bytes(path);
        let len = text
            .iter()
            .rposition(|&b| b != b'/')
            .map_or(text.len().min(1), |at| at.wrapping_add(1));
        name.put(text.get(..len).unwrap_or_default());
        let before = if self.has(FTW_CHDIR) { self.go_above(&name) } else { Ok(-1) };
        let Ok(before) = before else { return -1 };
        let result = self.first(&mut name);
        let errno = c::errno();
        if before >= 0 {
            super::cwd::fchdir(before);
            super::descriptor::close(before);
        }
        self.seen.free();
        c::set_errno(errno);
        let skips = matches!(result, FTW_SKIP_SUBTREE | FTW_SKIP_SIBLINGS);
        if skips && self.has(FTW_ACTIONRETVAL) { 0 } else { result }
    }

    /// With FTW_CHDIR: goes to the directory that holds the first name; a descriptor of the one before.
    fn go_above(&self, name: &Text<4096>) -> Result<c_int, ()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let before = super::open::open(c".".as_ptr(), flags, 0);
        let above = name.get().get(..base(name)).unwrap_or_default();
        if before < 0 || (!above.is_empty() && super::cwd::chdir(terminated(above).as_ptr()) != 0) {
            return Err(());
        }
        Ok(before)
    }

    fn first(&mut self, name: &mut Text<4096>) -> c_int {
        let mut attributes = memory::zeroed_stat();
        match self.kind(name, &mut attributes) {
            None | Some(FTW_NS) => -1,
            Some(FTW_D) => {
                self.device = attributes.st_dev;
                if !self.has(FTW_PHYS) && self.seen.add(&attributes).is_none() {
                    return -1;
                }
                self.directory(name, &attributes, 0, None)
            }
            Some(kind) => self.call(name, &attributes, kind, 0),
        }
    }

    /// The name by which an object is reached: with FTW_CHDIR the directory that holds it is the
    /// working directory.
    fn access(&self, name: &Text<4096>) -> Terminated {
        let from = if self.has(FTW_CHDIR) { base(name) } else { 0 };
        match name.get().get(from..) {
            Some(text) if !text.is_empty() => terminated(text),
            _ => terminated(name.get()),
        }
    }

    /// Looks at a name and says what it is; `None` when the walk must end.
    fn kind(&self, name: &Text<4096>, attributes: &mut libc::stat) -> Option<c_int> {
        let path = self.access(name);
        let found = if self.has(FTW_PHYS) {
            super::stat::lstat(path.as_ptr(), attributes)
        } else {
            super::stat::stat(path.as_ptr(), attributes)
        };
        if found != 0 {
            if !matches!(c::errno(), libc::EACCES | libc::ENOENT) {
                return None;
            }
            let link = !self.has(FTW_PHYS)
                && super::stat::lstat(path.as_ptr(), attributes) == 0
                && attributes.st_mode & libc::S_IFMT == libc::S_IFLNK;
            return Some(if link { FTW_SLN } else { FTW_NS });
        }
        Some(match attributes.st_mode & libc::S_IFMT {
            libc::S_IFDIR => FTW_D,
            libc::S_IFLNK => FTW_SL,
            _ => FTW_F,
        })
    }

    fn call(&self, name: &Text<4096>, attributes: &libc::stat, kind: c_int, level: c_int) -> c_int {
        let path = terminated(name.get());
        let mut place = Place { base: c_int::try_from(base(name)).unwrap_or(0), level };
        match self.each {
            Each::Simple(each) => {
                // ftw(3) knows no others.
                let kind = match kind {
                    FTW_SL => FTW_F,
                    FTW_DP => FTW_D,
                    FTW_SLN => FTW_NS,
                    kind => kind,
                };
                // SAFETY: the caller's function, called as ftw(3) says.
                unsafe { each(path.as_ptr(), attributes, kind) }
            }
            // SAFETY: the caller's function, called as nftw(3) says.
            Each::Full(each) => unsafe { each(path.as_ptr(), attributes, kind, &mut place) },
        }
    }

    /// Something in a directory, whose listing is `above`.
    fn visit(&mut self, name: &mut Text<4096>, level: c_int, above: *mut libc::DIR) -> c_int {
        let mut attributes = memory::zeroed_stat();
        let Some(kind) = self.kind(name, &mut attributes) else { return -1 };
        if self.has(FTW_MOUNT) && kind != FTW_NS && attributes.st_dev != self.device {
            return 0;
        }
        if kind != FTW_D {
            return self.call(name, &attributes, kind, level);
        }
        if !self.has(FTW_PHYS) {
            match self.seen.add(&attributes) {
                Some(true) => {}
                Some(false) => return 0,
                None => return -1,
            }
        }
        self.directory(name, &attributes, level, Some(above))
    }

    fn directory(
        &mut self,
        name: &mut Text<4096>,
        attributes: &libc::stat,
        level: c_int,
        above: Option<*mut libc::DIR>,
    ) -> c_int {
        let dir = super::dir::opendir(self.access(name).as_ptr());
        if dir.is_null() {
            let unreadable = c::errno() == libc::EACCES;
            return if unreadable { self.call(name, attributes, FTW_DNR, level) } else { -1 };
        }
        let before = !self.has(FTW_DEPTH);
        let mut result = if before { self.call(name, attributes, FTW_D, level) } else { 0 };
        if result == 0 && self.has(FTW_CHDIR) {
            result = super::cwd::fchdir(super::dir::dirfd(dir));
        }
        if result == 0 {
            result = self.children(name, dir, level);
        }
        let errno = c::errno();
        super::dir::closedir(dir);
        c::set_errno(errno);
        // libc is still in the directory when it shows it for the second time.
        if result == 0 && !before {
            result = self.call(name, attributes, FTW_DP, level);
        }
        if let Some(above) = above.filter(|_| self.has(FTW_CHDIR) && result != -1) {
            super::cwd::fchdir(super::dir::dirfd(above));
        }
        result
    }

    fn children(&mut self, name: &mut Text<4096>, dir: *mut libc::DIR, level: c_int) -> c_int {
        let len = name.get().len();
        loop {
            let entry = super::dir::readdir(dir);
            if entry.is_null() {
                return 0;
            }
            // SAFETY: an entry whose name ends with a zero byte.
            let text = c::bytes(unsafe { core::ptr::addr_of!((*entry).d_name) }.cast());
            if text == b"." || text == b".." {
                continue;
            }
            if name.get() != b"/" {
                name.put(b"/");
            }
            name.put(text);
            let result = if name.fits() {
                self.visit(name, level.saturating_add(1), dir)
            } else {
                c::set_errno(libc::ENAMETOOLONG);
                -1
            };
            name.cut(len);
            match result {
                0 => {}
                FTW_SKIP_SUBTREE if self.has(FTW_ACTIONRETVAL) => {}
                FTW_SKIP_SIBLINGS if self.has(FTW_ACTIONRETVAL) => return 0,
                other => return other,
            }
        }
    }
}

/// Where the last component of a name begins.
fn base(name: &Text<4096>) -> usize {
    name.get().iter().rposition(|&b| b == b'/').map_or(0, |at| at.wrapping_add(1))
}

/// A path with its zero byte.
struct Terminated(Text<4096>);

impl Terminated {
    fn as_ptr(&self) -> *const c_char {
        self.0.get().as_ptr().cast()
    }
}

fn terminated(text: &[u8]) -> Terminated {
    Terminated(namespace::terminated(&[text]))
}

/// The directories that a walk has come to: pairs of device and inode in a hash table.
struct Seen {
    table: usize,
    room: usize,
    used: usize,
}

impl Seen {
    /// Notes a directory; whether it is new. `None` without memory.
    fn add(&mut self, attributes: &libc::stat) -> Option<bool> {
        if self.used.saturating_mul(2) >= self.room {
            let mut grown = Self { table: 0, room: self.room.saturating_mul(4).max(256), used: 0 };
            grown.table = memory::map_zeroed(grown.bytes())?;
            for index in 0..self.room {
                let pair = c::peek(self.place(index).cast_const());
                if pair != EMPTY {
                    grown.insert(pair);
                }
            }
            self.free();
            *self = grown;
        }
        // A device number is never all ones: an all-zero pair means an empty place.
        Some(self.insert([!attributes.st_dev, attributes.st_ino]))
    }

    const fn bytes(&self) -> usize {
        self.room.saturating_mul(size_of::<[u64; 2]>())
    }

    fn place(&self, index: usize) -> *mut [u64; 2] {
        core::ptr::with_exposed_provenance_mut::<[u64; 2]>(self.table).wrapping_add(index)
    }

    fn insert(&mut self, pair: [u64; 2]) -> bool {
        let [device, ino] = pair;
        let mixed = (device ^ ino).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = mixed.wrapping_shr(20) as usize;
        loop {
            index &= self.room.wrapping_sub(1);
            let place = self.place(index);
            let there = c::peek(place.cast_const());
            if there == pair {
                return false;
            }
            if there == EMPTY {
                c::poke(place, pair);
                self.used = self.used.wrapping_add(1);
                return true;
            }
            index = index.wrapping_add(1);
        }
    }

    fn free(&mut self) {
        if self.table != 0 {
            memory::unmap(self.table, self.bytes());
        }
        *self = Self { table: 0, room: 0, used: 0 };
    }
}

const EMPTY: [u64; 2] = [0; 2];
