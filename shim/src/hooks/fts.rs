//! fts(3): walks that are not plain, in full.
//!
//! libc's own reads directories past the hooks and would report remote ones as empty. Here a walk is
//! made of our `opendir`, `stat` and `lstat`; what the program sees (`FTS`, `FTSENT`) has libc's
//! layout, of which `fts_set` is a part that serves both. The working directory is never changed, as
//! with FTS_NOCHDIR: `fts_accpath` is `fts_path`.
//!
//! ```text
//! entry (malloc)   | FTSENT with its name | struct stat | path |
//! ```
#![expect(unsafe_code, reason = "exported symbols; structures of the C library's layout")]

use super::prelude::*;
use core::mem::{offset_of, size_of};
use core::ptr::null_mut;

/// `FTS`
#[derive(Debug)]
#[repr(C)]
pub(super) struct Fts {
    cur: *mut Entry,
    child: *mut Entry,
    array: *mut *mut Entry,
    dev: u64,
    path: *mut c_char,
    /// libc keeps a descriptor here.
    mark: c_int,
    path_len: c_int,
    items: c_int,
    order: Order,
    options: c_int,
}

/// `FTSENT`
#[derive(Debug)]
#[repr(C)]
pub(super) struct Entry {
    cycle: *mut Entry,
    parent: *mut Entry,
    link: *mut Entry,
    number: c_long,
    pointer: *mut c_void,
    access: *mut c_char,
    path: *mut c_char,
    errno: c_int,
    symlink: c_int,
    path_len: u16,
    name_len: u16,
    ino: u64,
    dev: u64,
    links: u64,
    level: i16,
    info: u16,
    flags: u16,
    instruction: u16,
    stat: *mut libc::stat,
    name: [c_char; 1],
}
const _: () = assert!(offset_of!(Entry, stat) == 104 && offset_of!(Entry, name) == 112);
const _: () = assert!(offset_of!(Fts, options) == 64);

type Order = Option<unsafe extern "C" fn(*const *mut Entry, *const *mut Entry) -> c_int>;

/// In the place of libc's descriptor: none has this value.
const MARK: c_int = -0x7041;

const COMFOLLOW: c_int = 0x01;
const LOGICAL: c_int = 0x02;
const NOSTAT: c_int = 0x08;
const PHYSICAL: c_int = 0x10;
const SEEDOT: c_int = 0x20;
const XDEV: c_int = 0x40;
const OPTIONS: c_int = 0xff;
/// Of the `fts_children` call: names are enough.
const NAME_ONLY: c_int = 0x100;

const D: u16 = 1;
const DC: u16 = 2;
const DEFAULT: u16 = 3;
const DNR: u16 = 4;
const DOT: u16 = 5;
const DP: u16 = 6;
const ERR: u16 = 7;
const F: u16 = 8;
const INIT: u16 = 9;
const NS: u16 = 10;
const NSOK: u16 = 11;
const SL: u16 = 12;
const SLNONE: u16 = 13;

const AGAIN: u16 = 1;
const FOLLOW: u16 = 2;
const NO_INSTRUCTION: u16 = 3;
const SKIP: u16 = 4;

hook! {
    /// fts_open(3)
    fn [fts_open fts64_open](paths: *const *const c_char, options: c_int, order: Order) -> *mut Fts {
        if crate::init::each(paths).all(|path| namespace::plain_name(AT_FDCWD, path)) {
            return real(paths, options, order);
        }
        open(paths, options, order)
    }
    /// fts_read(3)
    fn [fts_read fts64_read](walk: *mut Fts) -> *mut Entry {
        match ours(walk) {
            Some(walk) => walk.read(),
            None => real(walk),
        }
    }
    /// fts_children(3)
    fn [fts_children fts64_children](walk: *mut Fts, names: c_int) -> *mut Entry {
        match ours(walk) {
            Some(walk) => walk.children(names),
            None => real(walk, names),
        }
    }
    /// fts_close(3)
    fn [fts_close fts64_close](walk: *mut Fts) -> c_int {
        let Some(walk) = ours(walk) else { return real(walk) };
        walk.close();
        c::free(core::ptr::from_mut(walk).cast());
        0
    }
}

/// The walk behind an `FTS *`, if it is ours.
fn ours<'w>(walk: *mut Fts) -> Option<&'w mut Fts> {
    let place = walk.cast::<u8>().wrapping_add(offset_of!(Fts, mark)).cast::<c_int>();
    if walk.is_null() || c::peek(place.cast_const()) != MARK {
        return None;
    }
    // SAFETY: the mark says that `open` below made it; a program uses a walk in one thread at a time.
    Some(unsafe { &mut *walk })
}

/// An entry of a walk of ours.
fn entry<'e>(at: *mut Entry) -> Option<&'e mut Entry> {
    // SAFETY: null, or made by `Entry::make` and not freed yet; each use ends before the next one of
    // the same entry begins.
    unsafe { at.as_mut() }
}

fn open(paths: *const *const c_char, options: c_int, order: Order) -> *mut Fts {
    if options & !OPTIONS != 0 {
        c::set_errno(libc::EINVAL);
        return null_mut();
    }
    let top = Entry::make(null_mut(), b"", b"", -1);
    let first = Entry::make(null_mut(), b"", b"", 0);
    let at = c::malloc(size_of::<Fts>()).cast::<Fts>();
    if top.is_null() || first.is_null() || at.is_null() {
        for place in [top.cast(), first.cast(), at.cast::<c_void>()] {
            c::free(place);
        }
        c::set_errno(libc::ENOMEM);
        return null_mut();
    }
    let walk = Fts {
        cur: first,
        child: null_mut(),
        array: null_mut(),
        dev: 0,
        path: null_mut(),
        mark: MARK,
        path_len: 0,
        items: 0,
        order,
        options,
    };
    // SAFETY: fresh memory of the right size.
    unsafe { at.write(walk) };
    let Some(walk) = ours(at) else { return null_mut() };
    let follow = options & COMFOLLOW != 0;
    let mut list = List::default();
    for path in crate::init::each(paths) {
        let name = c::bytes(path);
        let made = if name.is_empty() { null_mut() } else { Entry::make(top, name, name, 0) };
        let Some(new) = entry(made) else {
            let errno = if name.is_empty() { libc::ENOENT } else { libc::ENOMEM };
            Entry::free_list(list.first);
            walk.close();
            c::free(at.cast());
            c::set_errno(errno);
            return null_mut();
        };
        new.info = walk.look(new, follow);
        if new.info == DOT {
            new.info = D;
        }
        list.add(new);
    }
    let list = walk.sorted(list);
    if let Some(first) = entry(first) {
        first.info = INIT;
        first.parent = top;
        first.link = list;
    }
    at
}

impl Entry {
    /// A new entry; null without memory.
    fn make(parent: *mut Self, name: &[u8], path: &[u8], level: i16) -> *mut Self {
        let stat_at = offset_of!(Self, name).wrapping_add(name.len()).wrapping_add(16) & !15;
        let path_at = stat_at.wrapping_add(size_of::<libc::stat>());
        let at = c::malloc(path_at.wrapping_add(path.len()).wrapping_add(1)).cast::<u8>();
        if at.is_null() {
            return null_mut();
        }
        let text = at.wrapping_add(path_at);
        let len = |text: &[u8]| u16::try_from(text.len()).unwrap_or(u16::MAX);
        let new = Self {
            cycle: null_mut(),
            parent,
            link: null_mut(),
            number: 0,
            pointer: null_mut(),
            access: text.cast(),
            path: text.cast(),
            errno: 0,
            symlink: -1,
            path_len: len(path),
            name_len: len(name),
            ino: 0,
            dev: 0,
            links: 0,
            level,
            info: 0,
            flags: 0,
            instruction: NO_INSTRUCTION,
            stat: at.wrapping_add(stat_at).cast(),
            name: [0],
        };
        // The padding behind the last field belongs to the name: it is written after the fields.
        // SAFETY: the memory has room for an Entry (at least 128 bytes) and the rest.
        unsafe { at.cast::<Self>().write(new) };
        c::poke(at.wrapping_add(stat_at).cast(), memory::zeroed_stat());
        for (place, bytes) in [(at.wrapping_add(offset_of!(Self, name)), name), (text, path)] {
            for (index, &byte) in bytes.iter().enumerate() {
                c::poke(place.wrapping_add(index), byte);
            }
            c::poke(place.wrapping_add(bytes.len()), 0);
        }
        at.cast()
    }

    fn free_list(first: *mut Self) {
        let mut at = first;
        while let Some(this) = entry(at) {
            let next = this.link;
            c::free(at.cast());
            at = next;
        }
    }

    fn name_text(&self) -> *mut c_char {
        let this = core::ptr::from_ref(self).expose_provenance();
        core::ptr::with_exposed_provenance_mut(this.wrapping_add(offset_of!(Self, name)))
    }

    /// A path given to `fts_open` is its last component from now on.
    fn keep_last_component(&mut self) {
        let name = c::bytes(self.name_text());
        let Some(slash) = name.iter().rposition(|&b| b == b'/') else { return };
        let from = slash.wrapping_add(1);
        if slash == 0 && name.len() == 1 {
            return;
        }
        let len = name.len().saturating_sub(from);
        let place = self.name_text().cast::<u8>();
        for index in 0..=len {
            let byte = c::peek(place.wrapping_add(from).wrapping_add(index).cast_const());
            c::poke(place.wrapping_add(index), byte);
        }
        self.name_len = u16::try_from(len).unwrap_or(u16::MAX);
    }
}

/// Entries in the order they were found.
struct List {
    first: *mut Entry,
    last: *mut Entry,
    count: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { first: null_mut(), last: null_mut(), count: 0 }
    }
}

impl List {
    fn add(&mut self, new: &mut Entry) {
        let at = core::ptr::from_mut(new);
        match entry(self.last) {
            Some(last) => last.link = at,
            None => self.first = at,
        }
        self.last = at;
        self.count = self.count.wrapping_add(1);
    }
}

impl Fts {
    /// The next entry of the walk; null at its end (errno 0) or after an error.
    fn read(&mut self) -> *mut Entry {
        let Some(cur) = entry(self.cur) else { return null_mut() };
        let instruction = core::mem::replace(&mut cur.instruction, NO_INSTRUCTION);
        if instruction == AGAIN {
            cur.info = self.look(cur, false);
            return self.cur;
        }
        if instruction == FOLLOW && matches!(cur.info, SL | SLNONE) {
            cur.info = self.look(cur, true);
            return self.cur;
        }
        if cur.info == D {
            if instruction == SKIP || (self.options & XDEV != 0 && cur.dev != self.dev) {
                self.drop_children();
                cur.info = DP;
                return self.cur;
            }
            if self.options & NAME_ONLY != 0 {
                self.options &= !NAME_ONLY;
                self.drop_children();
            }
            if self.child.is_null() {
                self.child = self.build(true, false);
            }
            if self.child.is_null() {
                return self.cur;
            }
            self.cur = core::mem::replace(&mut self.child, null_mut());
            return self.visit();
        }
        self.next()
    }

    /// The entry after the current one, or the directory that holds them, for the second time.
    fn next(&mut self) -> *mut Entry {
        while let Some(done) = entry(self.cur) {
            let (next, parent) = (done.link, done.parent);
            c::free(self.cur.cast());
            self.cur = next;
            let Some(now) = entry(next) else {
                self.cur = parent;
                let Some(up) = entry(parent) else { return null_mut() };
                if up.level < 0 {
                    c::free(parent.cast());
                    self.cur = null_mut();
                    c::set_errno(0);
                    return null_mut();
                }
                up.info = if up.errno != 0 { ERR } else { DP };
                return parent;
            };
            match now.instruction {
                SKIP => continue,
                FOLLOW => {
                    now.info = self.look(now, true);
                    now.instruction = NO_INSTRUCTION;
                }
                _ => {}
            }
            return self.visit();
        }
        null_mut()
    }

    /// Shows the current entry for the first time.
    fn visit(&mut self) -> *mut Entry {
        if let Some(cur) = entry(self.cur)
            && cur.level == 0
        {
            cur.keep_last_component();
            self.dev = cur.dev;
        }
        self.cur
    }

    fn children(&mut self, names: c_int) -> *mut Entry {
        if names != 0 && names != NAME_ONLY {
            c::set_errno(libc::EINVAL);
            return null_mut();
        }
        c::set_errno(0);
        let Some(cur) = entry(self.cur) else { return null_mut() };
        match cur.info {
            INIT => return cur.link,
            D => {}
            _ => return null_mut(),
        }
        self.drop_children();
        self.options |= names;
        self.child = self.build(false, names != 0);
        self.child
    }

    fn drop_children(&mut self) {
        Entry::free_list(core::mem::replace(&mut self.child, null_mut()));
    }

    fn close(&mut self) {
        self.drop_children();
        let mut at = self.cur;
        while let Some(this) = entry(at) {
            let next =
                if this.level >= 0 && !this.link.is_null() { this.link } else { this.parent };
            c::free(at.cast());
            at = next;
        }
        self.cur = null_mut();
        c::free(self.array.cast());
        self.mark = 0;
    }

    /// What is in the current directory. `visits`: the walk goes there now, so that what is found
    /// out (nothing in it, not to be read) is noted.
    fn build(&mut self, visits: bool, names: bool) -> *mut Entry {
        let Some(cur) = entry(self.cur) else { return null_mut() };
        let dir = super::dir::opendir(cur.access);
        if dir.is_null() {
            if visits {
                cur.info = DNR;
                cur.errno = c::errno();
            }
            return null_mut();
        }
        let mut list = List::default();
        let failed = self.fill(cur, dir, names, &mut list);
        super::dir::closedir(dir);
        if let Err(errno) = failed {
            Entry::free_list(list.first);
            cur.info = ERR;
            cur.errno = errno;
            c::set_errno(errno);
            return null_mut();
        }
        if list.count == 0 {
            if visits {
                cur.info = DP;
            }
            return null_mut();
        }
        self.sorted(list)
    }

    fn fill(
        &self,
        cur: &mut Entry,
        dir: *mut libc::DIR,
        names: bool,
        list: &mut List,
    ) -> Result<(), c_int> {
        let above = c::bytes(cur.path);
        let above = above.strip_suffix(b"/").unwrap_or(above);
        loop {
            c::set_errno(0);
            let found = super::dir::readdir(dir);
            if found.is_null() {
                return if c::errno() == 0 { Ok(()) } else { Err(c::errno()) };
            }
            // SAFETY: an entry whose name ends with a zero byte.
            let name = c::bytes(unsafe { core::ptr::addr_of!((*found).d_name) }.cast());
            if matches!(name, b"." | b"..") && self.options & SEEDOT == 0 {
                continue;
            }
            let path = namespace::terminated(&[above, b"/", name]);
            let path = path.get().strip_suffix(b"\0").ok_or(libc::ENAMETOOLONG)?;
            let level = cur.level.saturating_add(1);
            let made = Entry::make(core::ptr::from_mut(cur), name, path, level);
            let Some(new) = entry(made) else { return Err(libc::ENOMEM) };
            // SAFETY: as above.
            let kind = unsafe { (*found).d_type };
            let quick = self.options & (NOSTAT | PHYSICAL) == NOSTAT | PHYSICAL
                && !matches!(kind, libc::DT_DIR | libc::DT_UNKNOWN);
            new.info = if names || quick { NSOK } else { self.look(new, false) };
            list.add(new);
        }
    }

    /// What an entry is; its attributes are noted.
    fn look(&self, entry_now: &mut Entry, follow: bool) -> u16 {
        let mut stat = memory::zeroed_stat();
        let path = entry_now.access;
        let errno = c::errno();
        let follows = follow || self.options & LOGICAL != 0;
        let found = if follows {
            let found = super::stat::stat(path, &mut stat);
            let why = c::errno();
            if found != 0 && super::stat::lstat(path, &mut stat) == 0 {
                c::set_errno(errno);
                c::poke(entry_now.stat, stat);
                return SLNONE;
            }
            c::set_errno(why);
            found
        } else {
            super::stat::lstat(path, &mut stat)
        };
        if found != 0 {
            entry_now.errno = c::errno();
            c::poke(entry_now.stat, memory::zeroed_stat());
            return NS;
        }
        c::set_errno(errno);
        c::poke(entry_now.stat, stat);
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => {
                entry_now.dev = stat.st_dev;
                entry_now.ino = stat.st_ino;
                entry_now.links = stat.st_nlink;
                if matches!(c::bytes(entry_now.name_text()), b"." | b"..") {
                    return DOT;
                }
                entry_now.cycle_above()
            }
            libc::S_IFLNK => SL,
            libc::S_IFREG => F,
            _ => DEFAULT,
        }
    }

    /// A list in the program's order.
    fn sorted(&mut self, list: List) -> *mut Entry {
        let Some(order) = self.order.filter(|_| list.count > 1) else { return list.first };
        let bytes = list.count.saturating_mul(size_of::<*mut Entry>());
        let array = c::realloc(self.array.cast(), bytes).cast::<*mut Entry>();
        if array.is_null() {
            return list.first;
        }
        self.array = array;
        let mut at = list.first;
        for index in 0..list.count {
            c::poke(array.wrapping_add(index), at);
            at = entry(at).map_or(null_mut(), |this| this.link);
        }
        type Plain = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
        type Typed = unsafe extern "C" fn(*const *mut Entry, *const *mut Entry) -> c_int;
        // SAFETY: the same function; its pointers are to elements of the array.
        let order = unsafe { core::mem::transmute::<Typed, Plain>(order) };
        c::qsort(array.cast(), list.count, size_of::<*mut Entry>(), Some(order));
        let mut first = null_mut();
        for index in (0..list.count).rev() {
            let this = c::peek(array.wrapping_add(index).cast_const());
            if let Some(this) = entry(this) {
                this.link = first;
            }
            first = this;
        }
        first
    }
}

impl Entry {
    /// FTS_DC if the directory is one that holds it, else FTS_D.
    fn cycle_above(&mut self) -> u16 {
        let mut at = self.parent;
        while let Some(above) = entry(at) {
            if above.level < 0 {
                break;
            }
            if above.ino == self.ino && above.dev == self.dev {
                self.cycle = at;
                return DC;
            }
            at = above.parent;
        }
        D
    }
}
