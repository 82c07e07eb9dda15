//! Shell patterns over paths, as `search` uses them: `fnmatch` with `FNM_PATHNAME`.
//!
//! `*`, `?` and `[…]` match within a component only; a leading period is a character as any other.
//! The work is bounded by the product of both lengths, whatever the pattern.

/// One element of a pattern.
enum Element<'p> {
    /// Any run of bytes.
    Star,
    /// Any byte.
    Any,
    /// One of the bytes between the brackets, or none of them.
    Set { inside: &'p [u8], negated: bool },
    /// This byte.
    Byte(u8),
}

/// Tells whether a pattern matches a path as a whole.
pub(crate) fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let mut patterns = pattern.split(|byte| *byte == b'/');
    let mut components = path.split(|byte| *byte == b'/');
    loop {
        match (patterns.next(), components.next()) {
            (None, None) => return true,
            (Some(pattern), Some(component)) if one(pattern, component) => {}
            _ => return false,
        }
    }
}

/// Tells whether a pattern may match something below a directory, given its path.
pub(crate) fn may_match_below(pattern: &[u8], dir: &[u8]) -> bool {
    let mut patterns = pattern.split(|byte| *byte == b'/');
    let mut components = dir.split(|byte| *byte == b'/');
    loop {
        match (patterns.next(), components.next()) {
            (Some(_), None) => return true,
            (Some(pattern), Some(component)) if one(pattern, component) => {}
            _ => return false,
        }
    }
}

/// Matches one component. Only the last star is ever tried again: what an earlier one could take
/// more, the last one can take as well.
fn one(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let stepped = match element(pattern) {
            Some((Element::Star, after)) => {
                retry = Some((after, text));
                pattern = after;
                continue;
            }
            Some((element, after)) => text
                .split_first()
                .filter(|(byte, _)| accepts(&element, **byte))
                .map(|(_, rest)| (after, rest)),
            None if text.is_empty() => return true,
            None => None,
        };
        match (stepped, retry) {
            (Some(next), _) => (pattern, text) = next,
            // The star takes one byte more.
            (None, Some((after, [_, rest @ ..]))) => {
                retry = Some((after, rest));
                (pattern, text) = (after, rest);
            }
            (None, _) => return false,
        }
    }
}

/// Takes the first element off a pattern.
fn element(pattern: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (first, rest) = pattern.split_first()?;
    Some(match first {
        b'*' => (Element::Star, rest),
        b'?' => (Element::Any, rest),
        b'[' => set(rest).unwrap_or((Element::Byte(b'['), rest)),
        b'\\' => match rest.split_first() {
            Some((escaped, rest)) => (Element::Byte(*escaped), rest),
            None => (Element::Byte(b'\\'), rest),
        },
        byte => (Element::Byte(*byte), rest),
    })
}

/// Reads what follows a `[`. `None` if there is no end: then it is a byte like others.
fn set(rest: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (negated, rest) = match rest {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    // A bracket that closes at once stands for itself.
    let end = rest.iter().skip(1).position(|byte| *byte == b']')? + 1;
    Some((Element::Set { inside: rest.get(..end)?, negated }, rest.get(end + 1..)?))
}

fn accepts(element: &Element<'_>, byte: u8) -> bool {
    match element {
        Element::Star | Element::Any => true,
        Element::Byte(wanted) => *wanted == byte,
        Element::Set { inside, negated } => {
            let mut rest = *inside;
            let mut found = false;
            loop {
                match rest {
                    [low, b'-', high, after @ ..] => {
                        found |= (*low..=*high).contains(&byte);
                        rest = after;
                    }
                    [single, after @ ..] => {
                        found |= *single == byte;
                        rest = after;
                    }
                    [] => return found != *negated,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shell_patterns() {
        for (pattern, path, wanted) in [
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", true),
            ("*.txt", "/a.txt", false),
            ("/*.txt", "/a.txt", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("?", "/", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a-cx]", "b", true),
            ("[a-cx]", "x", true),
            ("[!a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn directories_that_lead_to_a_match() {
        for (pattern, dir, wanted) in [
            ("/a/*.txt", "", true),
            ("/a/*.txt", "/a", true),
            ("/a/*.txt", "/b", false),
            ("/a/*.txt", "/a/x.txt", false),
            ("/*/c", "/b", true),
        ] {
            assert_eq!(may_match_below(pattern.as_bytes(), dir.as_bytes()), wanted, "{dir}");
        }
    }

    proptest! {
        /// Against a matcher that is slow and obvious.
        #[test]
        fn as_the_obvious_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn obvious(pattern: &[u8], text: &[u8]) -> bool {
                match pattern {
                    [] => text.is_empty(),
                    [b'*', rest @ ..] => (0..=text.len()).any(|n| obvious(rest, &text[n..])),
                    [b'?', rest @ ..] => !text.is_empty() && obvious(rest, &text[1..]),
                    [byte, rest @ ..] => text.first() == Some(byte) && obvious(rest, &text[1..]),
                }
            }
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), obvious(pattern, text));
        }
    }
}
