//! [`AttrCache`]: what the session knows about the names of one server.
//!
//! An entry is a name's own attributes (of the link, not of its target), or that the name does not
//! exist, and when the server said so. Whoever asks says how old the answer may be. What this
//! session changes is entered or forgotten at once; an answer that was under way during such a
//! change is not entered ([`AttrCache::epoch`]).
//!
//! Whoever takes answers of any age ([`Age::Forever`]) gets the same answer ever after, even when
//! others, who want to know better, have asked anew.

use parking_lot::RwLock;
use parrot_common::Attr;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// More names than this are not kept: the cache starts anew.
const LIMIT: usize = 400_000;

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// As old as it likes, even if this session knows that it changed: whoever asks checks it.
    Any,
    /// Any age, but not from before a change that this session made.
    Forever,
    /// Younger than this, and not from before such a change.
    Within(Duration),
}

#[derive(Debug, Clone)]
struct Entry {
    attr: Option<Attr>,
    at: Instant,
    /// This session has changed it since.
    stale: bool,
    /// That of its file, when it was entered.
    version: (u64, u64),
    link: Option<Arc<[u8]>>,
    /// What those were told who take answers of any age.
    settled: OnceLock<Option<Attr>>,
}

impl Entry {
    fn seen(&self, age: Age, stale: bool) -> Option<Option<Attr>> {
        let fresh = match age {
            Age::Any => true,
            Age::Forever if stale => false,
            Age::Forever => return Some(*self.settled.get_or_init(|| self.attr)),
            Age::Within(limit) => !stale && self.at.elapsed() < limit,
        };
        fresh.then_some(self.attr)
    }

    /// Whether this is a directory to pass through: a change of its entries does not matter.
    fn is_passage(&self, age: Age) -> bool {
        let fresh = match age {
            Age::Any | Age::Forever => true,
            Age::Within(limit) => self.at.elapsed() < limit,
        };
        fresh && self.attr.is_some_and(|attr| attr.is_dir())
    }
}

/// Attributes by server path (`""` is the root).
#[derive(Debug, Default)]
pub struct AttrCache {
    entries: RwLock<Entries>,
    epoch: AtomicU64,
}

/// All entries, and versions of the files among them that have several names: what this session
/// does to a file by one name makes what is known under the others old.
#[derive(Debug, Default)]
struct Entries {
    names: HashMap<Box<[u8]>, Entry>,
    links: HashMap<(u64, u64), Version>,
    /// Counts the removals of names that nothing was known of: they could have been any file's.
    unknown: u64,
}

/// How often a file was changed, and what it was after that if it is known.
#[derive(Debug)]
struct Version {
    number: u64,
    attr: Option<Attr>,
}

/// The file that these attributes are of.
fn file_of(attr: &Attr) -> Option<(u64, u64)> {
    (!attr.is_dir()).then_some((attr.dev, attr.ino))
}

impl Entries {
    fn get(&self, path: &[u8]) -> Option<&Entry> {
        self.names.get(path)
    }

    fn seen(&self, path: &[u8], age: Age) -> Option<Option<Attr>> {
        let entry = self.names.get(path)?;
        entry.seen(age, self.is_stale(entry))
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        entry.stale
            || entry.attr.is_some_and(|attr| attr.nlink > 1 && entry.version != self.version(&attr))
    }

    /// The version of a file now.
    fn version(&self, attr: &Attr) -> (u64, u64) {
        let known = file_of(attr).and_then(|file| self.links.get(&file));
        known.map_or((0, 0), |version| (version.number, self.unknown))
    }

    fn insert(&mut self, path: &[u8], attr: Option<Attr>, keep_settled: bool) {
        if self.names.len() >= LIMIT {
            self.names.clear();
            self.links.clear();
        }
        if let Some(file) = attr.filter(|attr| attr.nlink > 1).as_ref().and_then(file_of) {
            self.links.entry(file).or_insert(Version { number: 0, attr });
        }
        let version = attr.map_or((0, 0), |attr| self.version(&attr));
        let old = self.names.remove(path);
        let mut new = Entry {
            attr,
            at: Instant::now(),
            stale: false,
            version,
            link: None,
            settled: OnceLock::new(),
        };
        if let Some(old) = old {
            // A link is never changed, only replaced.
            let same = |a: Attr, b: Attr| a.ino == b.ino && a.mtime == b.mtime && a.is_symlink();
            if keep_settled && !self.is_stale(&old) {
                new.settled = old.settled;
            }
            if old.attr.zip(attr).is_some_and(|(old, new)| same(old, new)) {
                new.link = old.link;
            }
        }
        self.names.insert(path.into(), new);
    }

    /// This session has changed or removed what a name means. What it is `now`, if that is known,
    /// is the same under all names.
    fn touch(&mut self, path: &[u8], now: Option<Attr>, removed: bool) {
        let before = match self.names.get(path) {
            Some(entry) => entry.attr,
            None => {
                self.unknown += u64::from(removed);
                None
            }
        };
        for attr in [before, now].into_iter().flatten() {
            let file = file_of(&attr);
            let Some(version) = file.and_then(|file| self.links.get_mut(&file)) else { continue };
            let now = now.filter(|now| file_of(now) == file);
            if now.is_none() || version.attr != now {
                version.number += 1;
                version.attr = now;
            }
        }
    }
}

/// What is known of a whole path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Every directory on the way is one; the last component's attributes, or that it is missing.
    Known(Option<Attr>),
    /// Something must be asked.
    Unknown,
}

impl AttrCache {
    /// What is known of a name: `Some(None)` = it does not exist.
    #[must_use]
    pub fn get(&self, path: &[u8], age: Age) -> Option<Option<Attr>> {
        let entries = self.entries.read();
        entries.seen(path, age)
    }

    /// Whether a name and all between `root` and it are directories to pass through.
    #[must_use]
    pub fn is_passage(&self, root: usize, path: &[u8], age: Age) -> bool {
        let entries = self.entries.read();
        let ends = path.iter().enumerate().filter(|&(at, &b)| b == b'/' && at > root);
        ends.map(|(at, _)| at).chain([path.len()]).all(|end| {
            let part = path.get(..end).unwrap_or_default();
            part.len() <= root || entries.get(part).is_some_and(|entry| entry.is_passage(age))
        })
    }

    /// Looks a path up with all directories between `root` and it.
    #[must_use]
    pub fn path(&self, root: usize, path: &[u8], age: Age) -> Path {
        let entries = self.entries.read();
        let slashes = path.iter().enumerate().filter(|&(at, &b)| b == b'/' && at > root);
        for (at, _) in slashes {
            let parent = entries.get(path.get(..at).unwrap_or_default());
            if !parent.is_some_and(|entry| entry.is_passage(age)) {
                return Path::Unknown;
            }
        }
        match entries.seen(path, age) {
            // A directory that we may not look at, only pass through.
            Some(Some(attr)) if attr.ino == 0 => Path::Unknown,
            Some(attr) => Path::Known(attr),
            None => Path::Unknown,
        }
    }

    /// A number that changes with every change this session makes on the server.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Enters an answer to a question that was asked at `epoch`.
    pub fn answer(&self, path: &[u8], attr: Option<Attr>, epoch: u64) {
        let mut entries = self.entries.write();
        if self.epoch() == epoch {
            entries.insert(path, attr, true);
        }
    }

    /// Notes which version of a file the session holds: those who take any answer see this one.
    pub fn settle(&self, path: &[u8], attr: Attr) {
        if let Some(entry) = self.entries.write().names.get_mut(path).filter(|entry| !entry.stale) {
            entry.settled = Some(attr).into();
        }
    }

    /// Enters what this session did itself.
    pub fn put(&self, path: &[u8], attr: Option<Attr>) {
        let mut entries = self.entries.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        entries.touch(path, attr, attr.is_none());
        entries.insert(path, attr, false);
    }

    /// Enters many answers at once.
    pub fn answers<'p>(&self, answers: impl Iterator<Item = (Vec<u8>, Attr)> + 'p, epoch: u64) {
        let mut entries = self.entries.write();
        if self.epoch() == epoch {
            for (path, attr) in answers {
                entries.insert(&path, Some(attr), true);
            }
        }
    }

    /// A name's attributes have changed, but not what it is.
    pub fn expire(&self, path: &[u8]) {
        let mut entries = self.entries.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        entries.touch(path, None, false);
        if let Some(entry) = entries.names.get_mut(path) {
            entry.stale = true;
            entry.settled = OnceLock::new();
        }
    }

    /// Forgets a name.
    pub fn forget(&self, path: &[u8]) {
        let mut entries = self.entries.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        entries.names.remove(path);
    }

    /// Forgets a name and everything below it.
    pub fn forget_tree(&self, path: &[u8]) {
        let mut entries = self.entries.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        entries.touch(path, None, true);
        entries.names.retain(|name, _| {
            !name.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        });
    }

    /// The text of a link, if it was read since its attributes were.
    #[must_use]
    pub fn link(&self, path: &[u8]) -> Option<Arc<[u8]>> {
        self.entries.read().get(path)?.link.clone()
    }

    /// Keeps the text of a link as long as its attributes.
    pub fn put_link(&self, path: &[u8], text: &[u8]) {
        if let Some(entry) = self.entries.write().names.get_mut(path) {
            entry.link = Some(text.into());
        }
    }

    /// How many names are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.read().names.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(mode: u32, ino: u64) -> Attr {
        Attr { mode, ino, ..Attr::default() }
    }

    #[test]
    fn a_path_is_known_only_with_its_directories() {
        let cache = AttrCache::default();
        let file = attr(libc::S_IFREG, 5);
        cache.put(b"/a/b/f", Some(file));
        assert_eq!(cache.path(0, b"/a/b/f", Age::Any), Path::Unknown);
        cache.put(b"/a/b", Some(attr(libc::S_IFDIR, 4)));
        assert_eq!(cache.path(2, b"/a/b/f", Age::Any), Path::Known(Some(file)));
        assert_eq!(cache.path(0, b"/a/b/f", Age::Any), Path::Unknown);
        cache.put(b"/a", Some(attr(libc::S_IFDIR, 3)));
        assert_eq!(cache.path(0, b"/a/b/f", Age::Any), Path::Known(Some(file)));
        assert_eq!(cache.path(0, b"/a/b/f", Age::Within(Duration::ZERO)), Path::Unknown);
        cache.forget_tree(b"/a/b");
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn who_takes_any_answer_keeps_the_first() {
        let cache = AttrCache::default();
        let of = |size| Some(Attr { size, ..attr(libc::S_IFREG, 5) });
        cache.answer(b"/f", of(14), cache.epoch());
        assert_eq!(cache.get(b"/f", Age::Forever), Some(of(14)));
        cache.answer(b"/f", of(19), cache.epoch());
        assert_eq!(cache.get(b"/f", Age::Forever), Some(of(14)));
        assert_eq!(cache.get(b"/f", Age::Within(Duration::from_secs(60))), Some(of(19)));
        cache.expire(b"/f");
        assert_eq!(cache.get(b"/f", Age::Forever), None);
        cache.put(b"/f", of(20));
        assert_eq!(cache.get(b"/f", Age::Forever), Some(of(20)));
    }

    #[test]
    fn what_is_done_by_one_name_shows_under_the_others() {
        let cache = AttrCache::default();
        let of = |nlink| Some(Attr { nlink, ..attr(libc::S_IFREG, 5) });
        for name in [b"/a", b"/b"] {
            cache.put(name, of(2));
        }
        assert_eq!(cache.get(b"/a", Age::Forever), Some(of(2)));
        cache.put(b"/b", None);
        assert_eq!(cache.get(b"/a", Age::Forever), None);
        cache.put(b"/a", of(2));
        cache.put(b"/other", Some(attr(libc::S_IFREG, 6)));
        cache.expire(b"/other");
        assert_eq!(cache.get(b"/a", Age::Forever), Some(of(2)));
        // Nothing was known of the name that went: it could have been the file's.
        cache.put(b"/unknown", None);
        assert_eq!(cache.get(b"/a", Age::Forever), None);
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_entered() {
        let cache = AttrCache::default();
        let epoch = cache.epoch();
        cache.put(b"/f", None);
        cache.answer(b"/f", Some(attr(libc::S_IFREG, 5)), epoch);
        assert_eq!(cache.get(b"/f", Age::Forever), Some(None));
    }
}
