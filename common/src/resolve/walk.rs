//! Walking a name through the mount table and the local file system.
//!
//! ```text
//! name  | resolved so far, logical, absolute │ free                              |
//! rest  |                     free │ what is still to be walked, link texts in front |
//! ```

use super::Target;
use crate::bytes::put;
use crate::errno::Errno;
use crate::mountlist::{Perm, RuleKind, Table};
use crate::outcome::Reason;
use crate::sys;

/// The longest name, with room for a mount's target in front of it.
pub const MAX_NAME: usize = 8192;
/// As the kernel: more links than this in one name are a loop.
const MAX_LINKS: usize = 40;

/// The memory of one name's resolution. All-zero bytes are an empty walker.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Walker {
    /// The name as the guest gave it (PATH_MAX with its zero byte).
    input: [u8; 4096],
    input_len: usize,
    name: [u8; MAX_NAME],
    name_len: usize,
    rest: [u8; MAX_NAME],
    rest_len: usize,
    physical: [u8; MAX_NAME],
    physical_len: usize,
    /// The text differs from what the kernel would find by itself.
    changed: bool,
}

impl Walker {
    /// Where the guest's name goes.
    pub(super) fn input_space(&mut self) -> &mut [u8] {
        &mut self.input
    }

    pub(super) fn set_input(&mut self, len: usize) -> bool {
        self.input_len = len;
        self.changed = false;
        let text = self.input.get(..len).unwrap_or_default();
        self.rest_len = 0;
        let start = MAX_NAME - text.len();
        match self.rest.get_mut(start..) {
            Some(place) => {
                place.copy_from_slice(text);
                self.rest_len = len;
                true
            }
            None => false,
        }
    }

    /// The name as the guest gave it.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.input.get(..self.input_len).unwrap_or_default()
    }

    pub(super) fn first_component(&self) -> &[u8] {
        self.input().split(|&b| b == b'/').find(|part| !part.is_empty()).unwrap_or_default()
    }

    /// Takes the guest's own text as the name (relative to a directory shadow).
    pub(super) fn input_as_name(&mut self) -> Result<(), Errno> {
        self.name_from_input(0)
    }

    pub(super) fn name_from_input(&mut self, start: usize) -> Result<(), Errno> {
        let text = self.input.get(start..self.input_len).ok_or(Errno::EINVAL)?;
        self.name_len = 0;
        add(&mut self.name, &mut self.name_len, text)
    }

    /// Starts from this text instead of the guest's.
    pub(super) fn set_text(&mut self, text: &[u8]) -> Result<(), Errno> {
        self.rest_len = 0;
        self.changed = true;
        self.prepend(&[text])
    }

    /// Puts text in front of what is still to be walked.
    pub(super) fn prepend(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        for part in parts.iter().rev() {
            let mut start =
                (MAX_NAME - self.rest_len).checked_sub(part.len()).ok_or(Errno::ENAMETOOLONG)?;
            add(&mut self.rest, &mut start, part)?;
            self.rest_len += part.len();
        }
        Ok(())
    }

    /// The resolved name: logical for [`Target::Remote`].
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.get(..self.name_len).unwrap_or_default()
    }

    /// The local path of [`Target::Local`], ended by a zero byte.
    #[must_use]
    pub fn physical(&self) -> &[u8] {
        self.physical.get(..self.physical_len).unwrap_or_default()
    }

    /// Walks until a remote mount or the end.
    pub(super) fn walk(&mut self, table: &Table<'_>, follow: bool) -> Result<Target, Errno> {
        self.name_len = 0;
        let mut links = 0;
        let mut opaque = false;
        let mut dots: &[u8] = b"";
        let mut perm = Perm::ALL;
        // A rule may map `/` itself.
        if let Step::Remote = self.enter(table, &mut perm)? {
            self.append_rest()?;
            return Ok(Target::Remote(0));
        }
        let trailing = self.rest.last() == Some(&b'/') && self.rest_len > 0;
        while let Some((at, len)) = self.next_component() {
            let end = at + len;
            let last = self.rest.get(end..).is_none_or(|rest| rest.iter().all(|&b| b == b'/'));
            let component = self.rest.get(at..end).unwrap_or_default();
            match component {
                b"." => {
                    dots = if last { b"/." } else { b"" };
                    self.drop_front(end);
                    continue;
                }
                b".." if !opaque => {
                    self.drop_front(end);
                    self.must_be_dir(table)?;
                    if last && self.is_below_local(table) {
                        // The kernel takes it, and refuses it where such a name cannot be changed.
                        dots = b"/..";
                    } else {
                        self.pop();
                    }
                    continue;
                }
                _ => {}
            }
            self.push_front(at, end)?;
            match self.enter(table, &mut perm)? {
                Step::Remote => {
                    self.append_rest()?;
                    return Ok(Target::Remote(0));
                }
                Step::Opaque => opaque = true,
                // Nothing of this machine is behind the name, only a deeper rule.
                Step::Through => continue,
                Step::On => {}
            }
            if opaque || (last && !follow && end == MAX_NAME) {
                continue;
            }
            // Not a link: go on. Missing: the rest is taken as it is written, since a mount may
            // still lie below a name that does not exist here.
            if let Ok(text) = self.read_link(table) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP);
                }
                self.follow_link(text)?;
            }
        }
        self.finish(table, perm, if dots.is_empty() && trailing { b"/" } else { dots })
    }

    /// The next component of the rest: start and length.
    fn next_component(&self) -> Option<(usize, usize)> {
        let from = MAX_NAME - self.rest_len;
        let rest = self.rest.get(from..)?;
        let skip = rest.iter().position(|&b| b != b'/')?;
        let text = rest.get(skip..)?;
        let len = text.iter().position(|&b| b == b'/').unwrap_or(text.len());
        Some((from + skip, len))
    }

    fn drop_front(&mut self, end: usize) {
        self.rest_len = MAX_NAME - end;
    }

    fn pop(&mut self) {
        let cut = self.name().iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.name_len = cut;
    }

    /// Moves a component from the rest to the name.
    fn push_front(&mut self, at: usize, end: usize) -> Result<(), Errno> {
        let component = self.rest.get(at..end).unwrap_or_default();
        add(&mut self.name, &mut self.name_len, b"/")?;
        add(&mut self.name, &mut self.name_len, component)?;
        self.drop_front(end);
        Ok(())
    }

    /// Everything that is left belongs to the name, as it is written.
    fn append_rest(&mut self) -> Result<(), Errno> {
        let from = MAX_NAME - self.rest_len;
        let rest = self.rest.get(from..).unwrap_or_default();
        add(&mut self.name, &mut self.name_len, rest)?;
        if self.name_len > 4095 {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(())
    }

    /// Looks at the rule that the name has reached.
    fn enter(&mut self, table: &Table<'_>, perm: &mut Perm) -> Result<Step, Errno> {
        let found = table.lookup(self.name());
        *perm = found.map_or(Perm::ALL, |found| found.rule.perm);
        let (kind, rule) = (found.map(|f| f.rule.kind), found.map(|f| f.rule.index));
        match kind {
            Some(RuleKind::Remote | RuleKind::Deny | RuleKind::Enoent)
                if self.leads_deeper(table, rule) =>
            {
                Ok(Step::Through)
            }
            Some(RuleKind::Remote) => Ok(Step::Remote),
            Some(RuleKind::Deny) => Err(Errno::EACCES),
            Some(RuleKind::Enoent) => Err(Errno::ENOENT),
            Some(RuleKind::Local) => {
                self.changed = true;
                Ok(Step::On)
            }
            Some(RuleKind::Passthrough) | None => {
                // The links of /proc are not texts: the kernel alone can follow them.
                Ok(if self.name() == b"/proc" { Step::Opaque } else { Step::On })
            }
        }
    }

    /// Whether what is left of the name, as it is written, leads into another rule below this one.
    fn leads_deeper(&mut self, table: &Table<'_>, rule: Option<usize>) -> bool {
        if self.rest_len == 0 || !table.is_ancestor(self.name()) {
            return false;
        }
        let rest = self.rest.get(MAX_NAME - self.rest_len..).unwrap_or_default();
        let name = self.name.get(..self.name_len).unwrap_or_default();
        let mut len = 0;
        let parts = [name].into_iter().chain(rest.split(|&b| b == b'/'));
        for part in parts.filter(|part| !part.is_empty() && *part != b".") {
            let slash: &[u8] = if len == 0 { b"" } else { b"/" };
            for text in [slash, part] {
                if !put(&mut self.physical, &mut len, text) {
                    return false;
                }
            }
        }
        let whole = self.physical.get(..len).unwrap_or_default();
        table.lookup(whole).map(|found| found.rule.index) != rule
    }

    /// Whether the name lies inside a mapped directory.
    fn is_below_local(&self, table: &Table<'_>) -> bool {
        let found = table.lookup(self.name());
        found.is_some_and(|found| found.rule.kind == RuleKind::Local && !found.rest.is_empty())
    }

    /// Before `..` is taken: what it starts from is a directory. (A name that does not exist here
    /// may be the way to a mount.)
    fn must_be_dir(&mut self, table: &Table<'_>) -> Result<(), Errno> {
        self.map_name(table, b"")?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        match sys::openat(libc::AT_FDCWD, self.physical(), flags, 0) {
            Ok(fd) => {
                sys::close(fd);
                Ok(())
            }
            Err(Errno::ENOTDIR) => Err(Errno::ENOTDIR),
            Err(errno) => {
                let found = table.lookup(self.name()).map(|found| found.rule.kind);
                if found == Some(RuleKind::Local) { Err(errno) } else { Ok(()) }
            }
        }
    }

    /// Whether the name is one of this machine.
    fn exists(&mut self, table: &Table<'_>) -> Result<bool, Errno> {
        self.map_name(table, b"")?;
        Ok(is_there(self.physical()))
    }

    /// Reads the link at the name, as it lies on this machine, into `physical`; gives its length.
    fn read_link(&mut self, table: &Table<'_>) -> Result<usize, Errno> {
        self.map_name(table, b"")?;
        let mut text = [0; 4096];
        let len = sys::readlinkat(libc::AT_FDCWD, self.physical(), &mut text)?;
        let text = text.get(..len).unwrap_or_default();
        add(&mut self.physical, &mut 0, text)?;
        Ok(len)
    }

    /// Goes on with the link text in `physical`.
    fn follow_link(&mut self, len: usize) -> Result<(), Errno> {
        let mut text = [0; 4096];
        add(&mut text, &mut 0, self.physical.get(..len).unwrap_or_default())?;
        let text = text.get(..len).unwrap_or_default();
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text.first() == Some(&b'/') {
            self.name_len = 0;
        } else {
            self.pop();
        }
        // What is left starts with its slash.
        self.prepend(&[text])
    }

    /// Writes the local path of the name and what ends it into `physical`, with its zero byte.
    fn map_name(&mut self, table: &Table<'_>, end: &[u8]) -> Result<(), Errno> {
        let name = self.name.get(..self.name_len).unwrap_or_default();
        let (target, rest) = match table.lookup(name) {
            Some(found) if found.rule.kind == RuleKind::Local => (found.rule.target, found.rest),
            _ => (b"".as_slice(), name),
        };
        let end = if target.is_empty() && rest.is_empty() { b"/" } else { end };
        let mut len = 0;
        for part in [target, rest, end, b"\0"] {
            add(&mut self.physical, &mut len, part)?;
        }
        self.physical_len = len;
        Ok(())
    }

    /// The end of the walk on this machine; the session's, where only mounts lie below a name that
    /// does not exist here.
    fn finish(&mut self, table: &Table<'_>, perm: Perm, end: &[u8]) -> Result<Target, Errno> {
        if table.is_ancestor(self.name()) && !self.exists(table)? {
            let name = &mut self.name;
            add(name, &mut self.name_len, end)?;
            return Ok(Target::Remote(0));
        }
        if !self.changed {
            return Ok(Target::Pass(Reason::ResolvedPlain));
        }
        self.map_name(table, end)?;
        Ok(Target::Local(perm))
    }
}

/// Whether a path of this machine (with its zero byte) is there; a link counts as itself.
pub(crate) fn is_there(path: &[u8]) -> bool {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    match sys::openat(libc::AT_FDCWD, path, flags, 0) {
        Ok(fd) => {
            sys::close(fd);
            true
        }
        Err(errno) => errno != Errno::ENOENT,
    }
}

/// Adds text at `len`.
fn add(buffer: &mut [u8], len: &mut usize, text: &[u8]) -> Result<(), Errno> {
    if put(buffer, len, text) { Ok(()) } else { Err(Errno::ENAMETOOLONG) }
}

enum Step {
    On,
    Opaque,
    Through,
    Remote,
}
