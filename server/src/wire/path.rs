//! Paths and other words: how bytes travel inside a line.
//!
//! A path is one word. Every byte that could end the word, or that the stock client escapes, is
//! sent as `%` and two hexadecimal digits; the server decodes all of them and then cleans the
//! result up lexically ([`clean`]). HTCondor's proxy speaks the same protocol with a backslash
//! before the four bytes it cares for ([`Dialect::Backslash`]).
//!
//! The target of a symbolic link is the odd one: a stock server stores it undecoded, so it is sent
//! raw, and encoded only where white space would break the line ([`LinkTarget`]).

use std::borrow::Cow;
use std::ops::Deref;

use super::number::is_space;
use super::request::{EncodeError, ParseError};
use super::{MAX_LINE, MAX_PATH};

/// How a path is escaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `%XX`, as a Chirp server wants it.
    #[default]
    Percent,
    /// A backslash before `%`, space, tab and newline, as HTCondor's proxy wants it.
    Backslash,
}

/// A path argument. On the server's side it is decoded, absolute and clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathArg<'a>(pub Cow<'a, [u8]>);

/// A word that travels as it is: attribute names, subjects, rights, names of algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a>(pub Cow<'a, [u8]>);

/// The target of a symbolic link, as the server stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTarget<'a>(pub Cow<'a, [u8]>);

macro_rules! conversions {
    ($($name:ident),*) => { $(
        impl Deref for $name<'_> {
            type Target = [u8];
            fn deref(&self) -> &[u8] {
                &self.0
            }
        }
        impl<'a> From<&'a [u8]> for $name<'a> {
            fn from(bytes: &'a [u8]) -> Self {
                Self(Cow::Borrowed(bytes))
            }
        }
        impl<'a> From<&'a str> for $name<'a> {
            fn from(text: &'a str) -> Self {
                Self(Cow::Borrowed(text.as_bytes()))
            }
        }
        impl From<Vec<u8>> for $name<'_> {
            fn from(bytes: Vec<u8>) -> Self {
                Self(Cow::Owned(bytes))
            }
        }
    )* };
}
conversions!(PathArg, Word, LinkTarget);

impl<'a> PathArg<'a> {
    /// Reads a word of a request: decodes it and cleans it up.
    ///
    /// # Errors
    /// A path that is too long, or holds a zero byte.
    pub(crate) fn parse(word: &'a [u8]) -> Result<Self, ParseError> {
        let path = match decode(word) {
            Cow::Borrowed(raw) if is_clean(raw) => Cow::Borrowed(raw),
            decoded => Cow::Owned(clean(&decoded)),
        };
        if path.contains(&0) {
            return Err(ParseError::BadArgument);
        }
        if path.len() > MAX_PATH {
            return Err(ParseError::TooLong);
        }
        Ok(Self(path))
    }

    pub(super) fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.is_empty() || self.contains(&0) {
            return Err(EncodeError::NotAWord);
        }
        if self.len() > MAX_PATH {
            return Err(EncodeError::TooLong);
        }
        match dialect {
            Dialect::Percent => encode(self, out),
            Dialect::Backslash => encode_backslash(self, out),
        }
        Ok(())
    }
}

impl<'a> Word<'a> {
    pub(super) const fn parse(word: &'a [u8]) -> Self {
        Self(Cow::Borrowed(word))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.is_empty() || self.iter().any(|b| is_space(*b) || *b == 0) {
            return Err(EncodeError::NotAWord);
        }
        out.extend_from_slice(self);
        Ok(())
    }
}

impl<'a> LinkTarget<'a> {
    pub(super) const fn parse(word: &'a [u8]) -> Self {
        Self(Cow::Borrowed(word))
    }

    pub(super) fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.is_empty() || self.contains(&0) {
            return Err(EncodeError::NotAWord);
        }
        if self.len() > MAX_LINE {
            return Err(EncodeError::TooLong);
        }
        if dialect == Dialect::Backslash {
            encode_backslash(self, out);
        } else {
            encode_spaces(self, out);
        }
        Ok(())
    }
}

/// Gives back the target that a client meant, from the bytes of a `readlink` reply.
///
/// Only escaped white space is decoded: any other `%` was raw when it was sent.
#[must_use]
pub fn decode_link_target(raw: &[u8]) -> Cow<'_, [u8]> {
    decode_if(raw, is_space)
}

/// Tells whether a byte must be escaped: all that is no printable ASCII character, and those the
/// stock client escapes.
const fn must_encode(byte: u8) -> bool {
    matches!(byte, 0..=0x20 | b'%' | b'\\' | b'<' | b'>' | b'\'' | b'"' | 0x7b..=0xff)
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

/// Appends `raw` percent-encoded.
pub fn encode(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        if must_encode(byte) { push_escape(byte, out) } else { out.push(byte) }
    }
}

/// Appends `raw`, of which only white space is encoded: for replies that stock clients do not
/// decode, where the white space would break the line.
pub fn encode_spaces(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        if is_space(byte) { push_escape(byte, out) } else { out.push(byte) }
    }
}

/// Appends `raw` with the backslashes of HTCondor's proxy.
pub fn encode_backslash(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        if matches!(byte, b'%' | b' ' | b'\t' | b'\n') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Decodes every `%XX`; a `%` without two hexadecimal digits stands for itself.
#[must_use]
pub fn decode(word: &[u8]) -> Cow<'_, [u8]> {
    decode_if(word, |_| true)
}

fn decode_if(word: &[u8], wanted: impl Fn(u8) -> bool) -> Cow<'_, [u8]> {
    if !word.contains(&b'%') {
        return Cow::Borrowed(word);
    }
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) if wanted(high << 4 | low) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => *first,
        };
        out.push(byte);
    }
    Cow::Owned(out)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes the backslashes of HTCondor's proxy.
#[must_use]
pub fn decode_backslash(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, bytes.clone().next()) {
            (b'\\', Some(&escaped)) => {
                out.push(escaped);
                bytes.next();
            }
            _ => out.push(byte),
        }
    }
    out
}

/// Cleans a decoded path up lexically: absolute, no `//`, no `.`, no `..`, no `/` at the end.
/// `..` above the root is the root.
#[must_use]
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Tells whether [`clean`] would change nothing.
fn is_clean(path: &[u8]) -> bool {
    match path {
        b"/" => true,
        [b'/', rest @ ..] => {
            rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(raw, &mut out);
        out
    }

    #[test]
    fn encodes_as_a_correct_client() {
        assert_eq!(encoded("/café\n\tx".as_bytes()), b"/caf%C3%A9%0A%09x");
        assert_eq!(encoded(b"a b%c~"), b"a%20b%25c%7E");
        assert_eq!(encoded(b"/plain-name_1.txt"), b"/plain-name_1.txt");
    }

    #[test]
    fn decodes_either_case_and_leaves_stray_percents() {
        assert_eq!(&*decode(b"%2fa%2Fb"), b"/a/b");
        assert_eq!(&*decode(b"100%"), b"100%");
        assert_eq!(&*decode(b"%4"), b"%4");
        assert_eq!(&*decode(b"%zz%41"), b"%zzA");
    }

    #[test]
    fn nothing_climbs_above_the_root() {
        for (given, wanted) in [
            ("", "/"),
            ("a", "/a"),
            ("/a/..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("//a/./b//c/", "/a/b/c"),
            ("/a/b/../../../c", "/c"),
            ("/..a/...", "/..a/..."),
        ] {
            assert_eq!(clean(given.as_bytes()), wanted.as_bytes(), "{given}");
        }
    }

    #[test]
    fn a_link_target_is_raw_unless_white_space_forces_it() {
        let sent = |target: &str| {
            let mut out = Vec::new();
            LinkTarget::from(target).encode(Dialect::Percent, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(sent("../é<'100%"), "../é<'100%");
        assert_eq!(sent("a b\tc\nd"), "a%20b%09c%0Ad");
        assert_eq!(&*decode_link_target(b"a%20b%09c%0ad%41%"), b"a b\tc\nd%41%");
    }

    #[test]
    fn the_backslash_flavour() {
        let mut out = Vec::new();
        encode_backslash(b"/a b%c\n", &mut out);
        assert_eq!(out, b"/a\\ b\\%c\\\n");
        assert_eq!(decode_backslash(&out), b"/a b%c\n");
    }

    #[test]
    fn zero_bytes_and_overlong_paths_are_refused() {
        assert_eq!(PathArg::parse(b"/a%00b"), Err(ParseError::BadArgument));
        let long = vec![b'a'; MAX_PATH];
        assert_eq!(PathArg::parse(&long), Err(ParseError::TooLong));
        assert_eq!(PathArg::parse(&long[1..]).unwrap().len(), MAX_PATH);
    }

    proptest! {
        #[test]
        fn any_name_survives(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let word = encoded(&raw);
            prop_assert!(word.iter().all(|b| (0x21..0x7b).contains(b)));
            prop_assert_eq!(&*decode(&word), &raw[..]);
            let mut escaped = Vec::new();
            encode_backslash(&raw, &mut escaped);
            if !raw.contains(&b'\\') {
                prop_assert_eq!(decode_backslash(&escaped), raw);
            }
        }

        #[test]
        fn a_cleaned_path_is_clean(raw in "[a./%]{0,40}") {
            let path = clean(raw.as_bytes());
            prop_assert!(is_clean(&path), "{:?}", path);
            prop_assert_eq!(clean(&path), path);
        }

        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(path) = PathArg::parse(&raw) {
                prop_assert!(is_clean(&path));
            }
        }
    }
}
