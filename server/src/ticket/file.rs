//! The file of a ticket, as the stock server writes it too.
//!
//! ```text
//! subject "unix:ann"
//! ticket "-----BEGIN PUBLIC KEY-----
//! …
//! "
//! expiration "1900000000"
//! rights "/" "n"
//! rights "/data" "rl"
//! ```
//!
//! Strings may span lines and hold anything but a quotation mark.

use crate::acl::Rights;
use crate::wire::number;

/// What the server knows of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The identity of its owner.
    pub(crate) owner: Vec<u8>,
    /// The text of the public key.
    pub(crate) key: Vec<u8>,
    /// The end, in seconds since 1970.
    pub(crate) end: i64,
    /// Directories, absolute and without a `/` at the end but for the root's, and what the holder
    /// may have of the owner's rights in them and below.
    pub(crate) masks: Vec<(Vec<u8>, Rights)>,
}

/// Tells whether a string can be written between quotation marks and told in a reply.
pub(crate) fn can_be_kept(string: &[u8]) -> bool {
    !string.iter().any(|byte| *byte == b'"' || byte.is_ascii_control())
}

impl Ticket {
    /// Reads a file; `None` if it is none of a ticket, or not a whole one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (mut owner, mut key, mut end) = (None, None, None);
        let mut masks = Vec::new();
        let mut rest = text.trim_ascii_start();
        while !rest.is_empty() {
            let word = rest.iter().position(|byte| !byte.is_ascii_lowercase())?;
            let (name, after) = rest.split_at_checked(word)?;
            let (value, mut after) = quoted(after)?;
            match name {
                b"subject" => owner = Some(value.to_vec()),
                b"ticket" => key = Some(value.to_vec()),
                b"expiration" => end = Some(number::parse(value)?),
                b"rights" => {
                    let (letters, behind) = quoted(after)?;
                    masks.push((value.to_vec(), Rights::parse(letters)?));
                    after = behind;
                }
                _ => return None,
            }
            rest = after.trim_ascii_start();
        }
        Some(Self { owner: owner?, key: key?, end: end?, masks })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut out = [b"subject \"", &*self.owner, b"\"\nticket \"", &self.key].concat();
        out.extend_from_slice(b"\"\nexpiration \"");
        number::push(&mut out, self.end);
        out.extend_from_slice(b"\"\n");
        for (directory, rights) in &self.masks {
            out.extend_from_slice(b"rights \"");
            out.extend_from_slice(directory);
            out.extend_from_slice(b"\" \"");
            rights.push_letters(&mut out);
            out.extend_from_slice(b"\"\n");
        }
        out
    }

    /// What the holder may have of the owner's rights in a directory: the mask of the nearest
    /// directory that has one.
    pub(crate) fn mask(&self, directory: &[u8]) -> Rights {
        let above = self.masks.iter().filter(|(mask, _)| is_below(directory, mask));
        above.max_by_key(|(mask, _)| mask.len()).map_or(Rights::NONE, |(_, rights)| *rights)
    }

    /// Sets the mask of a directory.
    pub(crate) fn set_mask(&mut self, directory: &[u8], rights: Rights) {
        match self.masks.iter_mut().find(|(mask, _)| mask == directory) {
            Some((_, mask)) => *mask = rights,
            None => self.masks.push((directory.to_vec(), rights)),
        }
    }
}

/// Tells whether a path is a directory's or lies in it. `/data` is not above `/database`.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Reads white space and a string in quotation marks; what stands in them and what follows.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.trim_ascii_start().strip_prefix(b"\"")?;
    let close = inside.iter().position(|byte| *byte == b'"')?;
    let (value, after) = inside.split_at_checked(close)?;
    Some((value, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        let masks = [("/", "n"), ("/data", "rl"), ("/data/in", "rwl")];
        Ticket {
            owner: b"unix:ann".to_vec(),
            key: b"-----BEGIN\nkey\n-----END\n".to_vec(),
            end: 1_900_000_000,
            masks: masks.map(|(dir, r)| (dir.into(), Rights::parse(r.as_bytes()).unwrap())).into(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Ticket::parse(&ticket().text()), Some(ticket()));
        let stock = b"subject \"unix:ann\"\nticket \"-----BEGIN\nkey\n-----END\n\"\n\
            expiration \"1900000000\"\nrights \"/\" \"n\"\nrights \"/data\" \"rl\"\n\
            rights \"/data/in\" \"rwlp\"\n";
        assert_eq!(Ticket::parse(stock), Some(ticket()));
        for wrong in ["", "subject \"x\"", "subject \"x", "rights \"/\"", "what \"x\" \"y\""] {
            assert_eq!(Ticket::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_nearest_mask_counts() {
        let mut ticket = ticket();
        let mask = |ticket: &Ticket, path: &str| {
            let mut letters = Vec::new();
            ticket.mask(path.as_bytes()).push_letters(&mut letters);
            String::from_utf8(letters).unwrap()
        };
        for (path, wanted) in [
            ("/", "n"),
            ("/database", "n"),
            ("/data", "rl"),
            ("/data/out", "rl"),
            ("/data/in/deep", "rwlp"),
        ] {
            assert_eq!(mask(&ticket, path), wanted, "{path}");
        }
        ticket.set_mask(b"/data/in", Rights::NONE);
        assert_eq!(mask(&ticket, "/data/in/deep"), "n");
        ticket.masks.clear();
        assert_eq!(mask(&ticket, "/data"), "n");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "((subject|ticket|expiration|rights|x)? ?\"?[0-9a-z/]{0,3}\"?\n?){0,8}") {
            if let Some(ticket) = Ticket::parse(text.as_bytes()) {
                prop_assert_eq!(Ticket::parse(&ticket.text()), Some(ticket));
            }
        }
    }
}
