//! The mountlist: rules that say where logical names lead, compiled once to a flat table.
//!
//! ```text
//! # logical   target                    options
//! /data       /chirp/host:9094/data     cache=session ro
//! /scratch    /tmp/job\040one           rwx
//! /etc/shadow DENY
//! ```
//!
//! The longest prefix at a component border wins; of equal prefixes the last. The table is plain
//! bytes: it is written to the session directory once and mapped by every guest.
//!
//! ```text
//! | magic 8 | count u32 | flags u32 | count × 32-byte entries, longest prefix first | strings |
//! entry: prefix offset, length, target offset, length (u32 each), kind, perm, cache, on_transient,
//!        locks (u8 each), silence in 0.1 s (u16, 0 = not given), 1 spare, ttl ms, deadline ms (u32, u32::MAX = not given)
//! ```

mod parse;
#[cfg(test)]
mod tests;

use crate::bytes::put;
pub use parse::{Builder, ParseError};

/// Where `/SCHEME/…` names lead without any mountlist: the prefix and the target are the same.
///
/// `local` (a directory of this machine treated as if it were remote; for tests) hides nothing that
/// exists: its host is always `-`.
pub const BUILT_IN: &[&[u8]] = &[b"/chirp", b"/local/-"];
/// The schemes that a target may name, each the first component of a built-in rule.
pub const SCHEMES: &[&[u8]] = &[b"chirp", b"local"];

pub(crate) const MAGIC: &[u8; 8] = b"PARROTM1";
pub(crate) const HEADER: usize = 16;
pub(crate) const ENTRY: usize = 32;
/// A mount hides an existing local path: every name must be resolved in full.
pub(crate) const FLAG_FULL: u32 = 1;
/// A rule maps to a local path: physical names must be mapped back.
pub(crate) const FLAG_LOCAL: u32 = 2;

/// What a rule's target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RuleKind {
    /// A remote place, `/SCHEME/HOST[:PORT]/PATH`.
    Remote = 0,
    /// Another local path.
    Local = 1,
    /// Every access fails with EACCES.
    Deny = 2,
    /// The name does not exist.
    Enoent = 3,
    /// The local path of the same name, even below a wider mount (the word `LOCAL`).
    Passthrough = 4,
}

/// What a mount allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by the letters")]
pub struct Perm {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
    /// Written as `ro`: writing fails with EROFS and not with EACCES.
    pub read_only: bool,
}

impl Perm {
    /// Everything allowed.
    pub const ALL: Self = Self { read: true, write: true, exec: true, read_only: false };
}

/// How fresh the data of a mount must be (design, principle 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CacheMode {
    /// Validated at open.
    Open = 0,
    /// Every operation reaches the server.
    Strict = 1,
    /// Fetched once per session.
    Session = 2,
}

/// What happens when the deadline of a transient failure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OnTransient {
    /// The call fails.
    Errno = 0,
    /// The call waits on.
    Hold = 1,
    /// The program is ended.
    Kill = 2,
}

/// What locks mean on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Locks {
    /// They hold within the session.
    Session = 0,
    /// They fail with ENOLCK.
    Refuse = 1,
}

/// One rule of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Its place in the table.
    pub index: usize,
    /// The logical prefix, without a slash at the end; empty for `/`.
    pub prefix: &'a [u8],
    /// The target, without a slash at the end; empty for `/` and for the words.
    pub target: &'a [u8],
    /// What the target is.
    pub kind: RuleKind,
    /// What is allowed.
    pub perm: Perm,
    /// How fresh.
    pub cache: CacheMode,
    /// After the deadline.
    pub on_transient: OnTransient,
    /// Locks.
    pub locks: Locks,
    /// How long attributes are trusted, milliseconds, if given.
    pub ttl_ms: Option<u32>,
    /// How long transient failures are retried, milliseconds, if given.
    pub deadline_ms: Option<u32>,
    /// How long a server may say nothing before its connection counts as dead, milliseconds, if
    /// given.
    pub silence_ms: Option<u32>,
}

impl Rule<'_> {
    /// Whether the rule puts something at its place that is there because the user said so.
    fn shows(&self) -> bool {
        let built_in = self.prefix == self.target && BUILT_IN.contains(&self.prefix);
        matches!(self.kind, RuleKind::Remote | RuleKind::Local)
            && !built_in
            && !self.prefix.is_empty()
    }
}

/// A rule that a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'a, 'n> {
    /// The rule.
    pub rule: Rule<'a>,
    /// What follows the prefix in the name: empty, or starting with `/`.
    pub rest: &'n [u8],
}

/// A compiled mountlist.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    bytes: &'a [u8],
    count: usize,
    flags: u32,
}

impl<'a> Table<'a> {
    /// A table from its bytes; `None` when they are no table.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(..8)? != MAGIC {
            return None;
        }
        let count = get_u32(bytes, 8)? as usize;
        let flags = get_u32(bytes, 12)?;
        let table = Self { bytes, count, flags };
        if bytes.len() < HEADER + count * ENTRY || table.rules().count() != count {
            return None;
        }
        Some(table)
    }

    /// The table's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether every name must be resolved in full, because a mount hides something local.
    #[must_use]
    pub const fn full(&self) -> bool {
        self.flags & FLAG_FULL != 0
    }

    /// Whether a rule maps to a local path.
    #[must_use]
    pub const fn has_local(&self) -> bool {
        self.flags & FLAG_LOCAL != 0
    }

    /// All rules, longest prefix first.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        let table = *self;
        (0..self.count).map_while(move |index| table.rule(index))
    }

    /// The rule of this index.
    #[must_use]
    pub fn rule(&self, index: usize) -> Option<Rule<'a>> {
        if index >= self.count {
            return None;
        }
        let at = HEADER + index * ENTRY;
        let text = |off: usize| -> Option<&'a [u8]> {
            let start = get_u32(self.bytes, at + off)? as usize;
            let len = get_u32(self.bytes, at + off + 4)? as usize;
            self.bytes.get(start..start.checked_add(len)?)
        };
        let byte = |off: usize| self.bytes.get(at + off).copied();
        let time = |off: usize| get_u32(self.bytes, at + off).filter(|&ms| ms != u32::MAX);
        let perm = byte(17)?;
        Some(Rule {
            index,
            prefix: text(0)?,
            target: text(8)?,
            kind: match byte(16)? {
                0 => RuleKind::Remote,
                1 => RuleKind::Local,
                2 => RuleKind::Deny,
                3 => RuleKind::Enoent,
                4 => RuleKind::Passthrough,
                _ => return None,
            },
            perm: Perm {
                read: perm & 4 != 0,
                write: perm & 2 != 0,
                exec: perm & 1 != 0,
                read_only: perm & 8 != 0,
            },
            cache: match byte(18)? {
                1 => CacheMode::Strict,
                2 => CacheMode::Session,
                _ => CacheMode::Open,
            },
            on_transient: match byte(19)? {
                1 => OnTransient::Hold,
                2 => OnTransient::Kill,
                _ => OnTransient::Errno,
            },
            locks: if byte(20)? == 1 { Locks::Refuse } else { Locks::Session },
            ttl_ms: time(24),
            deadline_ms: time(28),
            silence_ms: match u16::from_le_bytes([byte(21)?, byte(22)?]) {
                0 => None,
                tenths => Some(u32::from(tenths) * 100),
            },
        })
    }

    /// The rule with the longest prefix of an absolute logical name (`/a/b`, no `//`, `.`, `..`).
    #[must_use]
    pub fn lookup<'n>(&self, name: &'n [u8]) -> Option<Match<'a, 'n>> {
        self.rules().find_map(|rule| {
            let rest = strip(name, rule.prefix)?;
            Some(Match { rule, rest })
        })
    }

    /// Whether a name (absolute, as for [`Table::lookup`]) is a proper ancestor of a rule's prefix.
    #[must_use]
    pub fn is_ancestor(&self, name: &[u8]) -> bool {
        let name = if name == b"/" { b"".as_slice() } else { name };
        self.rules().any(|rule| strip(rule.prefix, name).is_some_and(|rest| !rest.is_empty()))
    }

    /// The names that rules give to a directory (absolute, as for [`Table::lookup`]): the next component
    /// of each prefix below it, once. Rules that hide (`DENY`, `ENOENT`, `LOCAL`) and the built-in ones
    /// give none.
    pub fn names_below(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let table = *self;
        let next = move |rule: Rule<'a>| {
            let name = if name == b"/" { b"".as_slice() } else { name };
            let below = strip(rule.prefix, name)?.get(1..)?;
            below.split(|&b| b == b'/').next().filter(|_| rule.shows())
        };
        table.rules().filter_map(move |rule| {
            let found = next(rule)?;
            let earlier = table.rules().take(rule.index).any(|other| next(other) == Some(found));
            (!earlier).then_some(found)
        })
    }

    /// Whether any rule gives a name to a directory.
    #[must_use]
    pub fn shows(&self) -> bool {
        self.rules().any(|rule| rule.shows())
    }

    /// Whether a path component is a component of some rule's prefix.
    #[must_use]
    pub fn knows_component(&self, component: &[u8]) -> bool {
        self.rules().any(|rule| rule.prefix.split(|&b| b == b'/').any(|part| part == component))
    }

    /// Whether a path component is the first component of some rule's prefix.
    #[must_use]
    pub fn knows_first(&self, component: &[u8]) -> bool {
        self.rules().any(|rule| {
            let prefix = rule.prefix.get(1..).unwrap_or_default();
            prefix.starts_with(component)
                && matches!(prefix.get(component.len()), None | Some(b'/'))
        })
    }

    /// Maps a physical name back: the logical prefix and the rest, when a rule's local target holds
    /// it.
    #[must_use]
    pub fn reverse<'n>(&self, physical: &'n [u8]) -> Option<(&'a [u8], &'n [u8])> {
        self.rules()
            .filter(|rule| rule.kind == RuleKind::Local)
            .filter_map(|rule| Some((rule, strip(physical, rule.target)?)))
            .max_by_key(|(rule, _)| rule.target.len())
            .map(|(rule, rest)| (rule.prefix, rest))
    }
}

/// Gives every rule of a compiled table that has no deadline of its own this one, in seconds.
pub fn set_default_deadline(table: &mut [u8], seconds: u64) {
    let Some(count) = Table::from_bytes(table).map(|table| table.count) else { return };
    // The largest value means "not given".
    let value = u32::try_from(seconds.saturating_mul(1000)).unwrap_or(u32::MAX).min(u32::MAX - 1);
    for index in 0..count {
        let mut at = HEADER + index * ENTRY + 28;
        if get_u32(table, at) == Some(u32::MAX) {
            put(table, &mut at, &value.to_le_bytes());
        }
    }
}

/// What follows `prefix` in `name`, if `prefix` ends at a component border.
fn strip<'n>(name: &'n [u8], prefix: &[u8]) -> Option<&'n [u8]> {
    let rest = name.strip_prefix(prefix)?;
    if rest == b"/" {
        return Some(b"");
    }
    (rest.is_empty() || rest.first() == Some(&b'/')).then_some(rest)
}

/// A little-endian number in a table.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}
