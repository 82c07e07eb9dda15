//! What a remote library needs: the names in its dynamic section, and where they are looked for.
//!
//! The loader opens these by itself, past the hooks. A library that is loaded already is found by the
//! name it gives itself (DT_SONAME), so those that lie on a mount are loaded before the one that needs
//! them.

use crate::text::Text;
use crate::{c, init, namespace};
use core::ffi::c_char;
use libc::AT_FDCWD;

/// A mapped 64-bit ELF file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elf<'f> {
    file: &'f [u8],
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

impl<'f> Elf<'f> {
    pub(super) fn new(file: &'f [u8]) -> Option<Self> {
        let wide = file.starts_with(b"\x7fELF\x02");
        wide.then_some(Self { file })
    }

    /// A little-endian number of at most eight bytes.
    fn number(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.file.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number.wrapping_shl(8) | u64::from(byte)))
    }

    /// The program headers: type, offset in the file, address, length in the file.
    fn segments(self) -> impl Iterator<Item = [u64; 4]> + use<'f> {
        let table =
            self.number(32, 8).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let count = self.number(56, 2).unwrap_or(0) as usize;
        (0..count).map_while(move |index| {
            let at = table.checked_add(index.wrapping_mul(56))?;
            let word = |offset, len| self.number(at.checked_add(offset)?, len);
            Some([word(0, 4)?, word(8, 8)?, word(16, 8)?, word(32, 8)?])
        })
    }

    /// The entries of the dynamic section: tag and value.
    fn dynamic(self) -> impl Iterator<Item = (u64, u64)> + use<'f> {
        let found = self.segments().find(|[kind, ..]| *kind == PT_DYNAMIC);
        let [_, from, _, len] = found.unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        (0..(len as usize).wrapping_shr(4)).map_while(move |index| {
            let at = from.checked_add(index.wrapping_mul(16))?;
            let tag = self.number(at, 8)?;
            (tag != 0).then_some((tag, self.number(at.checked_add(8)?, 8)?))
        })
    }

    /// A text of the table that the dynamic section names.
    fn text(self, offset: u64) -> Option<&'f [u8]> {
        let (_, table) = self.dynamic().find(|(tag, _)| *tag == DT_STRTAB)?;
        let at = self.segments().find_map(|[kind, from, address, len]| {
            let inside = table.checked_sub(address).filter(|inside| *inside < len)?;
            (kind == PT_LOAD).then(|| from.wrapping_add(inside).wrapping_add(offset))
        })?;
        let rest = self.file.get(usize::try_from(at).ok()?..)?;
        rest.split(|&b| b == 0).next()
    }

    fn texts(self, wanted: u64) -> impl Iterator<Item = &'f [u8]> + use<'f> {
        self.dynamic()
            .filter(move |(tag, _)| *tag == wanted)
            .filter_map(move |(_, at)| self.text(at))
    }

    /// Calls `load` with the names of the libraries on mounts that this one needs, `origin` being the
    /// directory that it lies in.
    pub(super) fn each_remote(self, origin: &[u8], mut load: impl FnMut(*const c_char)) {
        for name in self.texts(DT_NEEDED).filter(|name| !name.contains(&b'/')) {
            let own = self.texts(DT_RPATH).chain(self.texts(DT_RUNPATH));
            let given = init::each(c::environment())
                .find(|&entry| init::sets(entry, b"LD_LIBRARY_PATH"))
                .and_then(|entry| c::bytes(entry).get(b"LD_LIBRARY_PATH=".len()..));
            let places = own.chain(given).flat_map(|list| list.split(|&b| b == b':' || b == b';'));
            for place in places.filter(|place| !place.is_empty()) {
                let path = candidate(place, origin, name);
                let at = path.get().as_ptr().cast::<c_char>();
                if path.fits()
                    && !namespace::plain_name(AT_FDCWD, at)
                    && super::stat::access(at, libc::R_OK) == 0
                {
                    load(at);
                    break;
                }
            }
        }
    }
}

/// `PLACE/NAME` with its zero byte, `$ORIGIN` replaced.
fn candidate(place: &[u8], origin: &[u8], name: &[u8]) -> Text<4096> {
    let mut path = Text::new();
    let variable = [b"$ORIGIN".as_slice(), b"${ORIGIN}"];
    match variable.iter().find_map(|variable| place.strip_prefix(*variable)) {
        Some(rest) => path.put(origin).put(rest),
        None => path.put(place),
    };
    path.put(b"/").put(name).put(b"\0");
    path
}
