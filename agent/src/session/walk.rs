//! Walking a name on a server, as a kernel would: directories, links, `..`.
//!
//! The common name is clean and known: [`Core::known`] answers from the cache alone. Otherwise all
//! components of which nothing fresh is known are asked for in one batch, and the walk goes on with
//! the answers. A link that leads out of its mount ends the walk with a redirect.
//!
//! An answer beyond the first component that is no directory is thrown away: the server followed
//! links there in its own way.

use super::Core;
use super::halt::{Halt, Res};
use super::mount::{Mount, Spot, wire};
use crate::cache::{Age, Path};
use crate::error::Kind;
use parrot_common::{Attr, Errno, Name};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// As the kernel: more links than this in one name are a loop.
const MAX_LINKS: u32 = 40;

/// What shall happen with the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Followed if it is a link.
    Follow,
    /// Looked at, not followed.
    Keep,
    /// Not looked at: it is to be made or removed.
    Parent,
}

/// What the last component of a name was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Name,
    Dot,
    DotDot,
}

/// Something on a server.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) mount: Arc<Mount>,
    pub(super) path: Vec<u8>,
    /// Its attributes; `None` when it is missing or was not looked at.
    pub(super) attr: Option<Attr>,
    /// The name ended with a slash.
    pub(super) slash: bool,
    pub(super) ending: Ending,
}

/// Where a name leads.
#[derive(Debug)]
pub(super) enum Place {
    Remote(Found),
    /// A made-up directory above the servers or above a mount.
    Above(Vec<u8>),
}

impl Place {
    /// What is on a server; what cannot be done above the servers fails with `errno`.
    pub(super) fn remote(self, errno: Errno) -> Res<Found> {
        match self {
            Self::Remote(found) => Ok(found),
            Self::Above(_) => Err(errno.into()),
        }
    }
}

impl Found {
    /// The attributes of something that must exist.
    pub(super) fn existing(&self) -> Res<Attr> {
        self.attr.ok_or(Halt::Errno(Errno::ENOENT))
    }

    /// Whether this is the root of its mount.
    pub(super) fn is_root(&self) -> bool {
        self.path.len() == self.mount.root.len()
    }

    /// The directory that holds it.
    pub(super) fn parent(&self) -> &[u8] {
        parent(&self.path)
    }
}

/// The directory part of a path.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let cut = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    path.get(..cut).unwrap_or_default()
}

/// The last component of a path.
pub(super) fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

/// The paths of components below a directory, each below the one before.
fn paths_below<'p>(base: &[u8], parts: impl Iterator<Item = &'p Vec<u8>>) -> Vec<Vec<u8>> {
    let mut path = base.to_vec();
    parts
        .map(|part| {
            path.push(b'/');
            path.extend_from_slice(part);
            path.clone()
        })
        .collect()
}

/// The names that will be wanted after this one, and are not known.
fn names_after(mount: &Mount, path: &[u8]) -> Vec<Vec<u8>> {
    if mount.age == Age::Within(Duration::ZERO) {
        return Vec::new();
    }
    let mut names = mount.server.listings.lock().after(path);
    names.retain(|name| mount.server.cache.get(name, mount.age).is_none());
    names
}

/// Takes a `..`; whether the walk is still on the mount.
fn climb(mount: &Mount, path: &mut Vec<u8>, walk: &mut Walk) -> bool {
    if path.len() <= mount.root.len() {
        walk.logical = parent(&mount.logical).to_vec();
        walk.climbed = true;
        return false;
    }
    path.truncate(parent(path).len());
    walk.logical = mount.logical(path);
    true
}

/// Whether the parts of a path are plain names.
fn is_clean(path: &[u8], relative: bool) -> bool {
    let path = if relative { path } else { path.get(1..).unwrap_or_default() };
    !path.is_empty() && path.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

struct Walk {
    /// Where the walk is, as a logical name.
    logical: Vec<u8>,
    /// What is still to be walked; no empty parts and no `.`.
    rest: VecDeque<Vec<u8>>,
    slash: bool,
    ending: Ending,
    last: Last,
    /// Only the directory that holds the last name was asked for: what the name itself is, whoever
    /// asked decides.
    parent: bool,
    links: u32,
    climbed: bool,
}

impl Walk {
    fn new(path: &[u8], last: Last) -> Self {
        let ending = match path.rsplit(|&b| b == b'/').find(|part| !part.is_empty()) {
            Some(b".") => Ending::Dot,
            Some(b"..") => Ending::DotDot,
            _ => Ending::Name,
        };
        let slash = path.ends_with(b"/") || ending != Ending::Name;
        // With a slash at the end the last component must be a directory: it is looked at.
        let parent = last == Last::Parent;
        let last = if parent && slash { Last::Keep } else { last };
        let mut walk = Self {
            logical: Vec::new(),
            rest: VecDeque::new(),
            slash,
            ending,
            last,
            parent,
            links: 0,
            climbed: false,
        };
        walk.put_front(path);
        walk
    }

    fn put_front(&mut self, text: &[u8]) {
        let parts = text.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b"."));
        for part in parts.rev() {
            self.rest.push_front(part.to_vec());
        }
    }

    fn push(&mut self, part: &[u8]) {
        self.logical.push(b'/');
        self.logical.extend_from_slice(part);
    }

    /// The logical name from here on, `start` instead of what was walked.
    fn redirect(&self, start: &[u8]) -> Halt {
        let mut name = start.to_vec();
        for part in &self.rest {
            if !name.ends_with(b"/") {
                name.push(b'/');
            }
            name.extend_from_slice(part);
        }
        if name.is_empty() || (self.slash && !name.ends_with(b"/")) {
            name.push(b'/');
        }
        if name.len() > 4095 { Errno::ENAMETOOLONG.into() } else { Halt::Redirect(name) }
    }
}

impl Core {
    /// Where a name leads, if nobody need be asked.
    ///
    /// With `any_age` the answer may be old: whoever asks that checks what it says.
    pub(super) fn known(&self, name: Name<'_>, last: Last, any_age: bool) -> Option<Place> {
        let (mount, path, known_to) = if name.base == 0 {
            if !is_clean(name.path, false) {
                return None;
            }
            let Spot::In(mount, path) = self.locate(name.path).ok()? else { return None };
            let root = mount.root.len();
            (mount, path, root)
        } else {
            if !is_clean(name.path, true) {
                return None;
            }
            let (mount, dir) = self.dir(name.base).ok()?.remote()?;
            let path = [dir.as_slice(), b"/", name.path].concat();
            (mount, path, dir.len())
        };
        if mount.nested {
            return None;
        }
        let cache = &mount.server.cache;
        let age = if any_age { Age::Any } else { mount.age };
        let attr = if last == Last::Parent {
            if !cache.is_passage(known_to, parent(&path), age) {
                return None;
            }
            None
        } else {
            match cache.path(known_to, &path, age) {
                Path::Known(Some(attr)) if attr.is_symlink() && last == Last::Follow => {
                    return None;
                }
                Path::Known(attr) => attr,
                Path::Unknown => return None,
            }
        };
        Some(Place::Remote(Found { mount, path, attr, slash: false, ending: Ending::Name }))
    }

    /// Where a name leads.
    pub(super) fn walk(&self, name: Name<'_>, last: Last) -> Res<Place> {
        if let Some(place) = self.known(name, last, false) {
            self.stats.hit();
            return Ok(place);
        }
        self.stats.miss();
        if name.path.is_empty() && name.base == 0 {
            return Err(Errno::ENOENT.into());
        }
        let mut walk = Walk::new(name.path, last);
        if name.base != 0 {
            let dir = self.dir(name.base)?;
            walk.logical = dir.logical()?;
            if let Some((mount, path)) = dir.remote()
                && let Some(place) = self.walk_in(&mount, path, &mut walk)?
            {
                return Ok(place);
            }
        }
        self.walk_on(&mut walk)
    }

    fn walk_on(&self, walk: &mut Walk) -> Res<Place> {
        loop {
            match self.locate(&walk.logical)? {
                Spot::In(mount, path) => {
                    if let Some(place) = self.walk_in(&mount, path, walk)? {
                        return Ok(place);
                    }
                }
                // Whether this machine has what lies above a mount, the resolver knows.
                Spot::Out | Spot::Above if walk.climbed => {
                    return Err(walk.redirect(&walk.logical));
                }
                spot => match walk.rest.pop_front() {
                    None if matches!(spot, Spot::Above) => {
                        return Ok(Place::Above(std::mem::take(&mut walk.logical)));
                    }
                    None => return Err(walk.redirect(&walk.logical)),
                    Some(part) if part == b".." => {
                        let up = parent(&walk.logical).len();
                        walk.logical.truncate(up);
                        walk.climbed = true;
                    }
                    Some(part) => walk.push(&part),
                },
            }
        }
    }

    /// Walks on one mount from the directory `path`; `None` when the walk goes on elsewhere (the
    /// logical name says where).
    fn walk_in(&self, mount: &Arc<Mount>, path: Vec<u8>, walk: &mut Walk) -> Res<Option<Place>> {
        let mut path = path;
        let found = |walk: &Walk, path, attr| Ok(Some(self.reached(mount, walk, path, attr)));
        loop {
            if walk.rest.front().is_some_and(|part| part == b"..") {
                walk.rest.pop_front();
                if !climb(mount, &mut path, walk) {
                    return Ok(None);
                }
                continue;
            }
            let run = self.run_length(mount, walk);
            if run == 0 && !walk.rest.is_empty() {
                // Another rule begins at the next component.
                if let Some(part) = walk.rest.pop_front() {
                    walk.logical = mount.logical(&path);
                    walk.push(&part);
                }
                return Ok(None);
            }
            let attrs = self.look(mount, &path, walk, run)?;
            if run == 0 {
                let attr = attrs.first().copied().flatten();
                return found(walk, path, attr);
            }
            for index in 0..run {
                let Some(part) = walk.rest.pop_front() else { break };
                let last = walk.rest.is_empty();
                let above = path.len();
                path.push(b'/');
                path.extend_from_slice(&part);
                if last && walk.last == Last::Parent {
                    return found(walk, path, None);
                }
                let attr = attrs.get(index).copied().flatten();
                match attr {
                    None if last => return found(walk, path, None),
                    None if self.is_above(mount, &path) => {}
                    None => return Err(Errno::ENOENT.into()),
                    Some(attr) if attr.is_dir() => {}
                    Some(attr) if attr.is_symlink() => {
                        if last && walk.last != Last::Follow && !walk.slash {
                            return found(walk, path, Some(attr));
                        }
                        walk.logical = mount.logical(path.get(..above).unwrap_or_default());
                        self.follow(mount, &path, walk)?;
                        return Ok(None);
                    }
                    Some(_) if !last || (walk.slash && !walk.parent) => {
                        return Err(Errno::ENOTDIR.into());
                    }
                    Some(_) => {}
                }
                if last {
                    return found(walk, path, attr);
                }
            }
            walk.logical = mount.logical(&path);
        }
    }

    /// The end of a walk; what is missing there may still be above another mount.
    fn reached(&self, mount: &Arc<Mount>, walk: &Walk, path: Vec<u8>, attr: Option<Attr>) -> Place {
        if attr.is_none() && self.is_above(mount, &path) {
            return Place::Above(mount.logical(&path));
        }
        let (slash, ending) = (walk.slash, walk.ending);
        Place::Remote(Found { mount: Arc::clone(mount), path, attr, slash, ending })
    }

    fn is_above(&self, mount: &Mount, path: &[u8]) -> bool {
        mount.nested && self.table.is_ancestor(&mount.logical(path))
    }

    /// How many parts from here can be walked in one go: up to `..` or another rule's place.
    fn run_length(&self, mount: &Mount, walk: &Walk) -> usize {
        let run = walk.rest.iter().take_while(|part| *part != b"..").count();
        if !mount.nested {
            return run;
        }
        let mut logical = walk.logical.clone();
        for (index, part) in walk.rest.iter().take(run).enumerate() {
            logical.push(b'/');
            logical.extend_from_slice(part);
            if self.table.lookup(&logical).is_none_or(|m| m.rule.index != mount.rule.index) {
                return index;
            }
        }
        run
    }

    /// The attributes of the next `run` components below `base` (of `base` itself if 0), up to the
    /// first one that is no directory. What is not known is asked for in one batch, and with it what
    /// will be wanted next in the order of a listing.
    fn look(&self, mount: &Mount, base: &[u8], walk: &Walk, run: usize) -> Res<Vec<Option<Attr>>> {
        let cache = &mount.server.cache;
        let skip_last = walk.last == Last::Parent && run == walk.rest.len() && run > 0;
        let paths = paths_below(base, walk.rest.iter().take(run - usize::from(skip_last)));
        let paths = if run == 0 { vec![base.to_vec()] } else { paths };
        let mut known = Vec::with_capacity(paths.len());
        let mut unknown = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let last = index + 1 == paths.len() && !skip_last;
            let passage = !last && cache.is_passage(base.len(), path, mount.age);
            let entry = cache.get(path, if passage { Age::Any } else { mount.age });
            let entry = entry.filter(|e| !(last && e.is_some_and(|attr| attr.ino == 0)));
            if entry.is_none() {
                unknown.push(wire(path));
            }
            known.push(entry);
            if entry.is_some_and(|attr| attr.is_none_or(|attr| !attr.is_dir())) {
                break;
            }
        }
        if unknown.is_empty() {
            return Ok(known.into_iter().map(Option::flatten).collect());
        }
        let own = unknown.len();
        let to_the_end = known.len() == paths.len() && known.last().is_some_and(Option::is_none);
        let ahead = match paths.last().filter(|_| to_the_end && !skip_last && run > 0) {
            Some(path) => names_after(mount, path),
            None => Vec::new(),
        };
        unknown.extend(ahead.iter().map(|path| wire(path)));
        let epoch = cache.epoch();
        let mut answers = match unknown.as_slice() {
            [one] => vec![mount.driver.stat(one, false)],
            many => mount.driver.stat_many(many),
        };
        if !ahead.is_empty() {
            let more = ahead.into_iter().zip(answers.drain(own.min(answers.len())..));
            cache.answers(more.filter_map(|(path, attr)| Some((path, attr.ok()?))), epoch);
        }
        let mut answers = answers.into_iter();
        let mut attrs = Vec::with_capacity(known.len());
        let count = known.len();
        for (index, (path, entry)) in paths.iter().zip(known).enumerate() {
            let attr = match entry {
                Some(attr) => attr,
                None => {
                    let Some(answer) = answers.next() else { break };
                    let attr = self.answered(mount, answer, index + 1 == count && !skip_last)?;
                    cache.answer(path, attr, epoch);
                    attr
                }
            };
            attrs.push(attr);
            if attr.is_none_or(|attr| !attr.is_dir()) {
                break;
            }
        }
        Ok(attrs)
    }

    /// What one answer to `stat` says of a component.
    fn answered(
        &self,
        mount: &Mount,
        answer: crate::error::Result<Attr>,
        last: bool,
    ) -> Res<Option<Attr>> {
        let error = match answer {
            Ok(attr) => {
                mount.server.answered.store(true, Ordering::Relaxed);
                return Ok(Some(attr));
            }
            Err(error) => error,
        };
        match error.kind() {
            Kind::Remote(Errno::ENOENT) => Ok(None),
            // A directory that we may pass through but not look at.
            Kind::Remote(Errno::EACCES | Errno::EPERM) if !last => {
                Ok(Some(Attr { mode: libc::S_IFDIR | 0o111, ..Attr::default() }))
            }
            _ => Err(error.into()),
        }
    }

    /// Puts the text of the link at `path` in front of the rest of the walk.
    fn follow(&self, mount: &Mount, path: &[u8], walk: &mut Walk) -> Res<()> {
        walk.links += 1;
        if walk.links > MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let text = self.link_text(mount, path)?;
        if text.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if walk.rest.is_empty() && text.ends_with(b"/") {
            walk.slash = true;
        }
        if text.first() == Some(&b'/') {
            return Err(walk.redirect(&text));
        }
        walk.put_front(&text);
        Ok(())
    }

    /// The text of a link.
    pub(super) fn link_text(&self, mount: &Mount, path: &[u8]) -> Res<Arc<[u8]>> {
        let cache = &mount.server.cache;
        if cache.get(path, mount.age).is_some()
            && let Some(text) = cache.link(path)
        {
            return Ok(text);
        }
        let text = mount.driver.readlink(wire(path))?;
        cache.put_link(path, &text);
        Ok(text.into())
    }
}
