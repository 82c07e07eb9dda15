//! Names that the kernel does not find, and how to be sure that they are not ours either.
//!
//! A plain name may reach a mount only through a symbolic link that leads to nothing on this
//! machine, or where a mount lies below a name that does not exist here. Both show at the *first
//! missing component*: everything in front of it the kernel has resolved by itself. So three short
//! looks replace a walk over all components:
//!
//! ```text
//! /usr/lib/gcc/12/include/x.h        the kernel: ENOENT
//!                └──────┘            exists("/usr/lib/gcc/12/include/")? no: one up
//!              └┘                    exists("/usr/lib/gcc/12/")? yes
//!                └──────┘            the first missing one: no mount's, and no link
//! ```
//!
//! Programs ask for many names in few directories, so what was found about a directory is good for
//! a moment ([`Recent`]).

use crate::errno::Errno;
use crate::mountlist::Table;
use core::sync::atomic::{AtomicU64, Ordering};

/// What is asked about a name of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Whether it leads anywhere, links followed.
    Exists,
    /// Whether it is a symbolic link.
    Link,
}

/// Nanoseconds in a tick: an entry is good in the tick in which it was made and in the next one.
const TICK: u64 = 1 << 24;
/// Bits of an entry that hold its tick, and above them the answer.
const TICK_BITS: u32 = 20;
const SLOTS: usize = 256;

/// What was found about local names in the last 17 to 34 ms.
///
/// A name that another process replaces by a link into a mount is noticed after that time; what
/// this guest does itself, at once ([`Recent::forget`]). Zero bytes are an empty one.
#[derive(Debug)]
pub struct Recent {
    /// Hash, answer, tick; 0 = nothing.
    slots: [AtomicU64; SLOTS],
    /// Part of each hash: a new one makes all entries worthless.
    generation: AtomicU64,
}

/// When a name is looked at, and what it is relative to.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Nanoseconds of any clock that does not go back.
    pub now: u64,
    /// The working directory, if the name is relative: any number that changes with it.
    pub base: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self::new()
    }
}

impl Recent {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [const { AtomicU64::new(0) }; SLOTS], generation: AtomicU64::new(0) }
    }

    /// Forgets everything: names may lead elsewhere from now on.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// What was found about a name.
    #[must_use]
    pub fn get(&self, at: Moment, name: &[u8]) -> Option<bool> {
        let (slot, hash) = self.place(at, name)?;
        let entry = slot.load(Ordering::Relaxed);
        let age = (at.now / TICK).wrapping_sub(entry) & ((1 << TICK_BITS) - 1);
        let same = entry != 0 && (entry ^ hash) >> (TICK_BITS + 1) == 0;
        (same && age <= 1).then_some(entry >> TICK_BITS & 1 == 1)
    }

    /// Notes what was found.
    pub fn put(&self, at: Moment, name: &[u8], answer: bool) {
        if let Some((slot, hash)) = self.place(at, name) {
            let tick = (at.now / TICK) & ((1 << TICK_BITS) - 1);
            let hash = hash >> (TICK_BITS + 1) << (TICK_BITS + 1);
            slot.store(hash | u64::from(answer) << TICK_BITS | tick, Ordering::Relaxed);
        }
    }

    fn place(&self, at: Moment, name: &[u8]) -> Option<(&AtomicU64, u64)> {
        let seed = self.generation.load(Ordering::Relaxed).rotate_left(32) ^ at.base;
        let hash = hash(seed, name);
        let slot = self.slots.get(usize::try_from(hash % SLOTS as u64).ok()?)?;
        Some((slot, hash))
    }
}

/// A quick hash of 64 bits, good in all of them.
fn hash(seed: u64, name: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut words = name.chunks_exact(8);
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(K);
    let mut hash = mix(K, seed ^ name.len() as u64);
    for word in &mut words {
        hash = mix(hash, word.try_into().map_or(0, u64::from_le_bytes));
    }
    for &byte in words.remainder() {
        hash = mix(hash, u64::from(byte) | 1 << 8);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(K);
    hash ^ hash >> 29
}

/// Whether a plain name that the kernel has not found cannot lead to a mount either. `false` = walk
/// it. `look` makes the kernel look at a part of the name; what it says is kept `at` a moment, if
/// one is given.
pub fn certainly_missing(
    table: &Table<'_>,
    recent: &Recent,
    at: Option<Moment>,
    name: &[u8],
    look: &mut impl FnMut(Look, &[u8]) -> Result<(), Errno>,
) -> bool {
    let (nearest, mut last) = split(name);
    let mut parent = nearest;
    while !parent.is_empty() {
        match at.and_then(|at| recent.get(at, parent)) {
            Some(true) => break,
            Some(false) => return true,
            None => {}
        }
        match look(Look::Exists, parent) {
            Ok(()) => {
                at.inspect(|&at| recent.put(at, parent, true));
                break;
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => (parent, last) = split(parent),
            Err(_) => return false,
        }
    }
    // The first missing component is `last`.
    if matches!(last, b"" | b"." | b"..") || table.knows_component(last) {
        return false;
    }
    let end = parent.len() + last.len();
    match look(Look::Link, name.get(..end).unwrap_or_default()) {
        // Not there, or (EINVAL) not a link.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EINVAL) => {}
        _ => return false,
    }
    // Of the directories that are not there; of the name itself another process may say more soon.
    let mut missing = nearest;
    while missing.len() > parent.len() {
        at.inspect(|&at| recent.put(at, missing, false));
        (missing, _) = split(missing);
    }
    true
}

/// What comes before the last component, with its slash, and the component.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    let end = name.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let name = name.get(..end).unwrap_or_default();
    let cut = name.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    name.split_at_checked(cut).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountlist::Builder;
    use std::collections::BTreeMap;

    /// A file system: names of directories, and of links that lead nowhere.
    struct Disk(BTreeMap<&'static str, bool>);

    impl Disk {
        fn look(&self, what: Look, name: &[u8]) -> Result<(), Errno> {
            let name = std::str::from_utf8(name).unwrap().trim_end_matches('/');
            match (what, self.0.get(name)) {
                (_, None) if name.is_empty() => Ok(()),
                (_, None) | (Look::Exists, Some(true)) => Err(Errno::ENOENT),
                (Look::Exists, Some(false)) | (Look::Link, Some(true)) => Ok(()),
                (Look::Link, Some(false)) => Err(Errno::EINVAL),
            }
        }
    }

    const AT: Moment = Moment { now: 5 * TICK, base: 0 };

    #[test]
    fn only_the_first_missing_component_matters() {
        let mut memory = vec![0; 65536];
        let mut builder = Builder::new(&mut memory);
        builder.add_text(b"/mnt/far /chirp/h/x", b"test").unwrap();
        let len = builder.finish().unwrap();
        let table = Table::from_bytes(&memory[..len]).unwrap();
        let disk = Disk(BTreeMap::from([
            ("/usr", false),
            ("/usr/..", false),
            ("/usr/lib", false),
            ("/usr/link", true),
            ("dir", false),
        ]));
        let cases = [
            ("/usr/lib/x", true, 2),
            ("/usr/lib/a/b/c", true, 4),
            ("/usr/link", false, 2),
            ("/usr/link/a/b", false, 4),
            // A mount that lies there is found by walking.
            ("/usr/../mnt", false, 1),
            ("/usr/../mnt/far", false, 2),
            ("/usr/../chirp/h", false, 2),
            ("/usr/lib/..", false, 1),
            ("x", true, 1),
            ("dir/x/", true, 2),
            ("far", false, 0),
        ];
        for (name, expected, looks) in cases {
            let mut count = 0;
            let found = certainly_missing(
                &table,
                &Recent::new(),
                Some(AT),
                name.as_bytes(),
                &mut |what, name| {
                    count += 1;
                    disk.look(what, name)
                },
            );
            assert_eq!((found, count), (expected, looks), "{name}");
        }
    }

    #[test]
    fn what_was_found_is_good_for_a_moment() {
        let mut memory = vec![0; 65536];
        let len = Builder::new(&mut memory).finish().unwrap();
        let table = Table::from_bytes(&memory[..len]).unwrap();
        let disk = Disk(BTreeMap::from([("/usr", false)]));
        let recent = Recent::new();
        let looks = |name: &str, at: Moment| {
            let mut count = 0;
            assert!(certainly_missing(
                &table,
                &recent,
                Some(at),
                name.as_bytes(),
                &mut |what, name| {
                    count += 1;
                    disk.look(what, name)
                }
            ));
            count
        };
        assert_eq!(looks("/usr/a", AT), 2);
        assert_eq!(looks("/usr/b", AT), 1);
        assert_eq!(looks("/usr/c/d/x", AT), 3 - 1 + 1);
        assert_eq!(looks("/usr/c/d/y", AT), 0);
        assert_eq!(looks("/usr/c/z/y", AT), 1);
        let next = Moment { now: AT.now + TICK, ..AT };
        assert_eq!(looks("/usr/c/d/y", next), 0);
        let later = Moment { now: AT.now + 2 * TICK, ..AT };
        assert_eq!(looks("/usr/c/d/y", later), 4);
        assert_eq!(looks("/usr/c/d/y", later), 0);
        assert_eq!(looks("/usr/c/d/y", Moment { base: 1, ..later }), 4);
        recent.forget();
        assert_eq!(looks("/usr/c/d/y", later), 4);
    }
}
