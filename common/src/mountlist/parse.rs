//! Compiling a mountlist: text in, table out, into memory that the caller gives.

use super::{
    BUILT_IN, CacheMode, ENTRY, FLAG_FULL, FLAG_LOCAL, HEADER, Locks, MAGIC, OnTransient, RuleKind,
    SCHEMES, Table, get_u32,
};
use crate::bytes::{Decimal, put, room};
use crate::sys;

/// Why a mountlist was refused, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError<'t> {
    /// The file, as it was named to [`Builder::add_text`].
    pub file: &'t [u8],
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What is wrong, for people.
    pub what: &'static str,
}

impl ParseError<'_> {
    /// Writes `FILE:LINE:COLUMN: what` into `out`, cut where it does not fit; gives the length.
    pub fn message(&self, out: &mut [u8]) -> usize {
        let mut len = 0;
        let (line, column) = (Decimal::new(self.line as u64), Decimal::new(self.column as u64));
        let what = self.what.as_bytes();
        for part in [self.file, b":", line.text(), b":", column.text(), b": ", what] {
            put(out, &mut len, part);
        }
        len
    }
}

/// The options of one rule while its line is read.
#[derive(Clone, Copy)]
struct Options {
    perm: u8,
    cache: CacheMode,
    on_transient: OnTransient,
    locks: Locks,
    ttl: u32,
    deadline: u32,
    /// Tenths of a second; 0 is not given.
    silence: u16,
}

impl Options {
    const DEFAULT: Self = Self {
        perm: 7,
        cache: CacheMode::Open,
        on_transient: OnTransient::Errno,
        locks: Locks::Session,
        ttl: u32::MAX,
        deadline: u32::MAX,
        silence: 0,
    };

    /// Reads one option word. `None`: it is none.
    fn apply(&mut self, word: &[u8]) -> Result<(), &'static str> {
        if let Some(perm) = perm_letters(word) {
            self.perm = perm;
            return Ok(());
        }
        let (key, value) = match word.iter().position(|&b| b == b'=') {
            Some(at) => {
                (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default())
            }
            None => (word, b"".as_slice()),
        };
        match (key, value) {
            (b"ro", b"") => self.perm = (self.perm & !2) | 8,
            (b"rw", b"") => self.perm |= 6,
            (b"cache", b"open") => self.cache = CacheMode::Open,
            (b"cache", b"strict") => self.cache = CacheMode::Strict,
            (b"cache", b"session") => self.cache = CacheMode::Session,
            (b"cache", _) => return Err("cache= takes open, strict or session"),
            (b"on-transient", b"errno") => self.on_transient = OnTransient::Errno,
            (b"on-transient", b"hold") => self.on_transient = OnTransient::Hold,
            (b"on-transient", b"kill") => self.on_transient = OnTransient::Kill,
            (b"on-transient", _) => return Err("on-transient= takes errno, hold or kill"),
            (b"locks", b"session") => self.locks = Locks::Session,
            (b"locks", b"refuse") => self.locks = Locks::Refuse,
            (b"locks", _) => return Err("locks= takes session or refuse"),
            (b"ttl", value) => self.ttl = milliseconds(value).ok_or("ttl= takes seconds")?,
            (b"deadline", value) => {
                self.deadline = milliseconds(value).ok_or("deadline= takes seconds")?;
            }
            (b"silence", value) => {
                let tenths = milliseconds(value).map_or(0, |ms| ms / 100);
                let tenths = u16::try_from(tenths).ok().filter(|tenths| *tenths > 0);
                self.silence = tenths.ok_or("silence= takes seconds, from 0.1 to 6553")?;
            }
            _ => {
                return Err("unknown option (known: ro, rw, letters of rwx, cache=, ttl=, \
                            deadline=, silence=, on-transient=, locks=)");
            }
        }
        Ok(())
    }
}

/// Letters of `rwx`, in either case, each at most once.
fn perm_letters(word: &[u8]) -> Option<u8> {
    if word.is_empty() || word.len() > 3 || word == b"rw" {
        return (word == b"rw").then_some(6);
    }
    let mut perm = 0;
    for byte in word {
        let bit = match byte.to_ascii_lowercase() {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            _ => return None,
        };
        if perm & bit != 0 {
            return None;
        }
        perm |= bit;
    }
    Some(perm)
}

/// Seconds with up to three decimals.
fn milliseconds(text: &[u8]) -> Option<u32> {
    let mut parts = text.splitn(2, |&b| b == b'.');
    let whole = parts.next()?;
    let part = parts.next().unwrap_or_default();
    if (whole.is_empty() && part.is_empty()) || part.len() > 3 {
        return None;
    }
    let mut total: u32 = 0;
    for digit in whole.iter().chain(part).copied().chain((part.len()..3).map(|_| b'0')) {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        total = total.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    (total != u32::MAX).then_some(total)
}

/// Compiles rules into a table. Entries grow from the front of the memory, strings from its end;
/// [`Builder::finish`] brings them together.
#[derive(Debug)]
pub struct Builder<'m> {
    out: &'m mut [u8],
    count: usize,
    /// Where the strings begin.
    low: usize,
    flags: u32,
}

const FULL: &str = "the mountlist is too long";

impl<'m> Builder<'m> {
    /// A builder that already holds the built-in rules. A few kilobytes of memory are enough for a
    /// hundred rules.
    pub fn new(out: &'m mut [u8]) -> Self {
        let low = out.len();
        let mut builder = Self { out, count: 0, low, flags: 0 };
        for place in BUILT_IN {
            // No memory for these: the first rule of the user's will say so.
            let _ = builder.push(place, place, RuleKind::Remote, Options::DEFAULT, false);
        }
        builder
    }

    /// Adds the rules of a mountlist's text. `file` names it in errors.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn add_text<'t>(&mut self, text: &[u8], file: &'t [u8]) -> Result<(), ParseError<'t>> {
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            self.add_line(line).map_err(|(column, what)| ParseError {
                file,
                line: index + 1,
                column: column + 1,
                what,
            })?;
        }
        Ok(())
    }

    /// Adds rules in the form of the command line and of `PARROT_MOUNT_STRING`:
    /// `/logical=/target[,option…]`, several separated by blanks.
    ///
    /// # Errors
    /// The first one that is wrong; `file` names the place it came from.
    pub fn add_option<'t>(&mut self, text: &[u8], file: &'t [u8]) -> Result<(), ParseError<'t>> {
        for (column, word) in words(text) {
            self.add_pair(word).map_err(|(inside, what)| ParseError {
                file,
                line: 1,
                column: column + inside + 1,
                what,
            })?;
        }
        Ok(())
    }

    fn add_pair(&mut self, word: &[u8]) -> Result<(), (usize, &'static str)> {
        let Some(equals) = word.iter().position(|&b| b == b'=') else {
            return Err((0, "expected /logical=/target"));
        };
        let logical = word.get(..equals).unwrap_or_default();
        let mut parts = word.get(equals + 1..).unwrap_or_default().split(|&b| b == b',');
        let target = parts.next().unwrap_or_default();
        let mut options = Options::DEFAULT;
        for option in parts {
            options.apply(option).map_err(|what| (equals + 1, what))?;
        }
        self.rule(logical, 0, target, equals + 1, options)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), (usize, &'static str)> {
        let mut fields = words(line).take_while(|(_, word)| word.first() != Some(&b'#'));
        let Some((at, logical)) = fields.next() else { return Ok(()) };
        let Some((target_at, target)) = fields.next() else {
            return Err((line.trim_ascii_end().len(), "expected a target or letters of rwx"));
        };
        let mut options = Options::DEFAULT;
        for (column, words) in fields {
            for word in words.split(|&b| b == b',').filter(|word| !word.is_empty()) {
                options.apply(word).map_err(|what| (column, what))?;
            }
        }
        if let Some(perm) = perm_letters(target) {
            options.perm = perm;
            return self.rule(logical, at, b"LOCAL", target_at, options);
        }
        self.rule(logical, at, target, target_at, options)
    }

    fn rule(
        &mut self,
        logical: &[u8],
        at: usize,
        target: &[u8],
        target_at: usize,
        options: Options,
    ) -> Result<(), (usize, &'static str)> {
        if logical.first() != Some(&b'/') {
            return Err((at, "the logical name must start with /"));
        }
        let kind = match target {
            b"DENY" => RuleKind::Deny,
            b"ENOENT" => RuleKind::Enoent,
            b"LOCAL" => RuleKind::Passthrough,
            _ => return self.target(logical, at, target, target_at, options),
        };
        self.push(logical, b"", kind, options, true).map_err(|what| (at, what))
    }

    fn target(
        &mut self,
        logical: &[u8],
        at: usize,
        target: &[u8],
        target_at: usize,
        options: Options,
    ) -> Result<(), (usize, &'static str)> {
        const UNKNOWN: &str = "unknown scheme (known: chirp, local)";
        let wrong = |what| Err((target_at, what));
        if let Some(colon) = target.windows(3).position(|w| w == b"://") {
            let scheme = target.get(..colon).unwrap_or_default();
            if !SCHEMES.contains(&scheme) {
                return wrong(UNKNOWN);
            }
            // A URL: `scheme://host/path` is `/scheme/host/path`.
            let mut path = [0; 4096];
            let rest = target.get(colon + 2..).unwrap_or_default();
            let mut len = 0;
            for part in [b"/", scheme, rest] {
                if !put(&mut path, &mut len, part) {
                    return wrong("the target is too long");
                }
            }
            let path = path.get(..len).unwrap_or_default();
            return self.target(logical, at, path, target_at, options);
        }
        if target.first() != Some(&b'/') {
            return wrong("the target must start with /, or be DENY, ENOENT or LOCAL");
        }
        let mut parts = target.split(|&b| b == b'/').filter(|part| !part.is_empty());
        let remote = parts.next().is_some_and(|first| SCHEMES.contains(&first));
        if remote && parts.next().is_none() {
            return wrong("a remote target needs a host: /scheme/host[:port]/path");
        }
        let kind = if remote { RuleKind::Remote } else { RuleKind::Local };
        self.push(logical, target, kind, options, true).map_err(|what| (at, what))
    }

    /// Stores one rule.
    fn push(
        &mut self,
        logical: &[u8],
        target: &[u8],
        kind: RuleKind,
        options: Options,
        look: bool,
    ) -> Result<(), &'static str> {
        let prefix = self.store(logical)?;
        let target = self.store(target)?;
        let at = HEADER + self.count * ENTRY;
        if at + ENTRY > self.low {
            return Err(FULL);
        }
        if kind == RuleKind::Local {
            self.flags |= FLAG_LOCAL;
        }
        if look && self.hides_local(prefix) {
            self.flags |= FLAG_FULL;
        }
        let entry = room(self.out, at, ENTRY).ok_or(FULL)?;
        let numbers = [prefix.0, prefix.1, target.0, target.1];
        let [low, high] = options.silence.to_le_bytes();
        let mut bytes = numbers.iter().flat_map(|&n| low32(n).to_le_bytes()).chain([
            kind as u8,
            options.perm,
            options.cache as u8,
            options.on_transient as u8,
            options.locks as u8,
            low,
            high,
            0,
        ]);
        let times = [options.ttl, options.deadline];
        for place in entry.iter_mut().take(24) {
            *place = bytes.next().unwrap_or(0);
        }
        for (place, byte) in
            entry.iter_mut().skip(24).zip(times.iter().flat_map(|t| t.to_le_bytes()))
        {
            *place = byte;
        }
        self.count += 1;
        Ok(())
    }

    /// Whether the rule's prefix exists on this machine.
    fn hides_local(&self, prefix: (usize, usize)) -> bool {
        let name = self.out.get(prefix.0..).and_then(|rest| rest.get(..prefix.1));
        let Some(name) = name.filter(|name| !name.is_empty()) else { return true };
        let mut path = [0; 4097];
        if name.len() >= path.len() || !put(&mut path, &mut 0, name) {
            return false;
        }
        match sys::openat(
            libc::AT_FDCWD,
            &path,
            libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC,
            0,
        ) {
            Ok(fd) => {
                sys::close(fd);
                true
            }
            Err(_) => false,
        }
    }

    /// Stores a path below `low`: escapes decoded, slashes collapsed, none at the end.
    fn store(&mut self, path: &[u8]) -> Result<(usize, usize), &'static str> {
        let start = self.low.checked_sub(path.len()).ok_or(FULL)?;
        let place = room(self.out, start, path.len()).ok_or(FULL)?;
        let mut len = 0;
        let mut rest = path;
        while let Some((&first, tail)) = rest.split_first() {
            let (byte, tail) = match rest {
                [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                    (((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), tail)
                }
                _ => (first, tail),
            };
            rest = tail;
            if byte == 0 {
                return Err("a path cannot hold a zero byte");
            }
            if byte == b'/' && len > 0 && place.get(len - 1) == Some(&b'/') {
                continue;
            }
            if let Some(place) = place.get_mut(len) {
                *place = byte;
            }
            len += 1;
        }
        if len > 0 && place.get(len - 1) == Some(&b'/') {
            len -= 1;
        }
        let text = place.get(..len).unwrap_or_default();
        if text.split(|&b| b == b'/').any(|part| part == b"." || part == b"..") {
            return Err("a mountlist's paths cannot hold . or ..");
        }
        // To the end of the free part, so that nothing is wasted.
        shift_up(place, len);
        self.low = self.low.saturating_sub(len);
        Ok((self.low, len))
    }

    /// Completes the table and gives its length in the memory.
    ///
    /// # Errors
    /// The memory is too small.
    pub fn finish(self) -> Result<usize, &'static str> {
        let Self { out, count, low, flags } = self;
        let end = HEADER + count * ENTRY;
        if end > low {
            return Err(FULL);
        }
        let moved = low - end;
        let total = out.len().saturating_sub(moved);
        for at in end..total {
            let byte = out.get(at + moved).copied().unwrap_or(0);
            if let Some(place) = out.get_mut(at) {
                *place = byte;
            }
        }
        for index in 0..count {
            for off in [0, 8] {
                let at = HEADER + index * ENTRY + off;
                let Some(old) = get_u32(out, at) else { return Err(FULL) };
                let new = (old as usize).saturating_sub(moved);
                put_u32(out, at, low32(new));
            }
        }
        sort(out, count);
        out.get_mut(..8).ok_or(FULL)?.copy_from_slice(MAGIC);
        put_u32(out, 8, low32(count));
        put_u32(out, 12, flags);
        match out.get(..total).and_then(Table::from_bytes) {
            Some(_) => Ok(total),
            None => Err(FULL),
        }
    }
}

/// Moves the first `len` bytes to the end of a buffer.
fn shift_up(buffer: &mut [u8], len: usize) {
    let gap = buffer.len().saturating_sub(len);
    for at in (0..len).rev() {
        let byte = buffer.get(at).copied().unwrap_or(0);
        if let Some(place) = buffer.get_mut(at + gap) {
            *place = byte;
        }
    }
}

/// Insertion sort: longest prefix first; of equal prefixes the later rule first.
fn sort(out: &mut [u8], count: usize) {
    let len = |out: &[u8], index: usize| get_u32(out, HEADER + index * ENTRY + 4).unwrap_or(0);
    for from in 1..count {
        let mut at = from;
        while at > 0 && len(out, at - 1) <= len(out, at) {
            let start = HEADER + (at - 1) * ENTRY;
            if let Some((a, b)) =
                room(out, start, 2 * ENTRY).and_then(|pair| pair.split_at_mut_checked(ENTRY))
            {
                a.iter_mut().zip(b).for_each(|(a, b)| core::mem::swap(a, b));
            }
            at -= 1;
        }
    }
}

fn put_u32(out: &mut [u8], at: usize, value: u32) {
    let mut at = at;
    put(out, &mut at, &value.to_le_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "offsets in a table of at most 4 GiB")]
const fn low32(n: usize) -> u32 {
    n as u32
}

/// The words of a line with their columns, separated by blanks and tabs.
fn words(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
        let rest = line.get(at..)?;
        let start = at + rest.iter().position(|b| !blank(b))?;
        let word = line.get(start..)?;
        let len = word.iter().position(blank).unwrap_or(word.len());
        at = start + len;
        Some((start, word.get(..len)?))
    })
}
