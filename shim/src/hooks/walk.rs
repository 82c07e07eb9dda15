//! Walking trees: ftw(3), nftw(3), fts(3).
//!
//! libc's own read directories past the hooks and would report an empty tree. Trees that are not
//! plain are walked here (ftw, nftw), or refused with an error that programs show (fts).
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
const FTW_DEPTH: c_int = 8;
const FTW_ACTIONRETVAL: c_int = 16;
const FTW_SKIP_SUBTREE: c_int = 2;
const FTW_SKIP_SIBLINGS: c_int = 3;

hook! {
    /// ftw(3)
    fn [ftw ftw64](path: *const c_char, each: Simple, open: c_int) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) { real(path, each, open) } else {
            Walk { each: Each::Simple(each), flags: 0, device: 0 }.start(path)
        }
    }
    /// nftw(3). FTW_CHDIR is not done for remote trees.
    fn [nftw nftw64](path: *const c_char, each: Full, open: c_int, flags: c_int) -> c_int {
        if namespace::plain_name(AT_FDCWD, path) { real(path, each, open, flags) } else {
            Walk { each: Each::Full(each), flags, device: 0 }.start(path)
        }
    }
    /// fts_open(3): libc's walk would show remote directories as empty.
    fn [fts_open](paths: *const *const c_char, flags: c_int, order: *const c_void) -> *mut c_void {
        if crate::init::each(paths).all(|path| namespace::plain_name(AT_FDCWD, path)) {
            return real(paths, flags, order);
        }
        c::set_errno(libc::EOPNOTSUPP);
        core::ptr::null_mut()
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
}

impl Walk {
    fn start(&mut self, path: *const c_char) -> c_int {
        let mut name = Text::<4096>::new();
        let text = c::bytes(path);
        let len = text
            .iter()
            .rposition(|&b| b != b'/')
            .map_or(text.len().min(1), |at| at.wrapping_add(1));
        name.put(text.get(..len).unwrap_or_default());
        let mut attributes = memory::zeroed_stat();
        let kind = self.kind(&name, &mut attributes);
        if kind == FTW_NS {
            return -1;
        }
        self.device = attributes.st_dev;
        let result = self.visit(&mut name, 0);
        if result == FTW_SKIP_SUBTREE && self.flags & FTW_ACTIONRETVAL != 0 { 0 } else { result }
    }

    /// Looks at a name and says what it is.
    fn kind(&self, name: &Text<4096>, attributes: &mut libc::stat) -> c_int {
        let path = namespace::terminated(&[name.get()]);
        let path = path.get().as_ptr().cast();
        let physical = self.flags & FTW_PHYS != 0;
        let mut dangling = false;
        let found = if physical {
            super::stat::lstat(path, attributes)
        } else {
            let found = super::stat::stat(path, attributes);
            dangling = found != 0;
            if dangling { super::stat::lstat(path, attributes) } else { found }
        };
        if found != 0 {
            return FTW_NS;
        }
        match attributes.st_mode & libc::S_IFMT {
            libc::S_IFDIR => FTW_D,
            libc::S_IFLNK if dangling => FTW_SLN,
            libc::S_IFLNK => FTW_SL,
            _ => FTW_F,
        }
    }

    fn call(&self, name: &Text<4096>, attributes: &libc::stat, kind: c_int, level: c_int) -> c_int {
        let path = namespace::terminated(&[name.get()]);
        let base = name.get().iter().rposition(|&b| b == b'/').map_or(0, |at| at.wrapping_add(1));
        let mut place = Place { base: c_int::try_from(base).unwrap_or(0), level };
        let path = path.get().as_ptr().cast();
        match self.each {
            // SAFETY: the caller's function, called as ftw(3) says.
            Each::Simple(each) => unsafe { each(path, attributes, kind) },
            // SAFETY: the caller's function, called as nftw(3) says.
            Each::Full(each) => unsafe { each(path, attributes, kind, &mut place) },
        }
    }

    fn visit(&mut self, name: &mut Text<4096>, level: c_int) -> c_int {
        let mut attributes = memory::zeroed_stat();
        let kind = self.kind(name, &mut attributes);
        if self.flags & FTW_MOUNT != 0 && kind != FTW_NS && attributes.st_dev != self.device {
            return 0;
        }
        if kind != FTW_D {
            return self.call(name, &attributes, kind, level);
        }
        let path = namespace::terminated(&[name.get()]);
        let dir = super::dir::opendir(path.get().as_ptr().cast());
        if dir.is_null() {
            return self.call(name, &attributes, FTW_DNR, level);
        }
        let before = self.flags & FTW_DEPTH == 0;
        let mut result = if before { self.call(name, &attributes, FTW_D, level) } else { 0 };
        if result == 0 {
            result = self.children(name, dir, level);
        }
        super::dir::closedir(dir);
        if self.flags & FTW_ACTIONRETVAL != 0
            && matches!(result, FTW_SKIP_SUBTREE | FTW_SKIP_SIBLINGS)
        {
            if result == FTW_SKIP_SUBTREE {
                result = 0;
            } else if before && level == 0 {
                return 0;
            } else {
                return result;
            }
        }
        if result == 0 && !before {
            result = self.call(name, &attributes, FTW_DP, level);
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
            let fits = name.fits();
            let result = if fits { self.visit(name, level.saturating_add(1)) } else { -1 };
            name.cut(len);
            if result == FTW_SKIP_SIBLINGS && self.flags & FTW_ACTIONRETVAL != 0 {
                return 0;
            }
            if result != 0 {
                return result;
            }
        }
    }
}
