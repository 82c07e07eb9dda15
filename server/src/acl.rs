//! Access control lists: who may do what in a directory.
//!
//! A directory's list is the file `.__acl` in it, lines of `subject rights`. It governs the files
//! in the directory and the directory itself. A directory without the file has the list of the
//! nearest parent that has one (see [`store`]), so an existing tree is usable at once.
//!
//! - [`rights`]: the letters.
//! - [`store`]: finding, caching and changing lists.

pub(crate) mod rights;
pub(crate) mod store;

pub(crate) use rights::Rights;
pub(crate) use store::AclStore;

use crate::group::{self, Groups};
use crate::wire::number::words;

/// The name of the file that holds a directory's list.
pub(crate) const ACL_FILE: &str = ".__acl";

/// Names that begin like this belong to the server: never listed, never changed by clients.
pub(crate) const HIDDEN_PREFIX: &[u8] = b".__";

/// A list, in the order of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<(Vec<u8>, Rights)>,
}

impl Acl {
    /// A list of one entry.
    pub(crate) fn of(subject: &[u8], rights: Rights) -> Self {
        Self { entries: vec![(subject.to_vec(), rights)] }
    }

    /// Reads a list. Lines that are no entry give nobody any right, and are dropped.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let entry = |line| {
            let mut words = words(line);
            let (subject, rights) = (words.next()?, words.next()?);
            Some((subject.to_vec(), Rights::parse(rights)?))
        };
        Self { entries: text.split(|byte| *byte == b'\n').filter_map(entry).collect() }
    }

    /// Appends the list as lines, as the file and `getacl` have them.
    pub(crate) fn push_lines(&self, out: &mut Vec<u8>) {
        for (subject, rights) in &self.entries {
            out.extend_from_slice(subject);
            out.push(b' ');
            rights.push_letters(out);
            out.push(b'\n');
        }
    }

    /// The rights of all entries that match a subject, together.
    pub(crate) fn rights_of(&self, subject: &[u8]) -> Rights {
        let matching = self.entries.iter().filter(|(pattern, _)| matches(pattern, subject));
        matching.fold(Rights::NONE, |all, (_, rights)| all.with(*rights))
    }

    /// The rights of all entries that match a subject, or name a group that it is a member of.
    pub(crate) fn rights_with(&self, subject: &[u8], groups: &Groups) -> Rights {
        let own = self.rights_of(subject);
        let of_groups = self.entries.iter().filter(|(entry, _)| entry.starts_with(group::PREFIX));
        // A group is asked only if it could make a difference.
        of_groups.fold(own, |all, (entry, rights)| {
            if all.has(*rights) || !groups.has(entry, subject) { all } else { all.with(*rights) }
        })
    }

    /// Sets the rights of one entry; no rights remove it.
    pub(crate) fn set(&mut self, subject: &[u8], rights: Rights) {
        let place = self.entries.iter().position(|(entry, _)| entry == subject);
        match (place, rights == Rights::NONE) {
            (Some(i), true) => drop(self.entries.remove(i)),
            (Some(i), false) => {
                if let Some(entry) = self.entries.get_mut(i) {
                    entry.1 = rights;
                }
            }
            (None, true) => {}
            (None, false) => self.entries.push((subject.to_vec(), rights)),
        }
    }

    /// All entries: subjects and their rights.
    pub(crate) fn entries(&self) -> &[(Vec<u8>, Rights)] {
        &self.entries
    }

    /// The subject of the first entry.
    pub(crate) fn first_subject(&self) -> Option<&[u8]> {
        self.entries.first().map(|(subject, _)| subject.as_slice())
    }
}

/// Matches a subject whole, or with one `*` that stands for any run of characters.
fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern == subject,
        Some(star) => {
            let (head, tail) = pattern.split_at_checked(star).unwrap_or((pattern, b"*"));
            let tail = tail.get(1..).unwrap_or_default();
            subject.len() >= head.len() + tail.len()
                && subject.starts_with(head)
                && subject.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rights_of_all_matching_entries_are_added() {
        let acl = Acl::parse(b"unix:* rl\nunix:ann w\nbad\n\nhostname:*.edu n\nunix:bob zz\n");
        assert_eq!(acl.rights_of(b"unix:ann"), Rights::parse(b"rlw").unwrap());
        assert_eq!(acl.rights_of(b"unix:bob"), Rights::parse(b"rl").unwrap());
        assert_eq!(acl.rights_of(b"hostname:x.edu"), Rights::NONE);
        assert_eq!(acl.rights_of(b"address:1.2.3.4"), Rights::NONE);
    }

    #[test]
    fn one_star_matches_any_run() {
        for (pattern, subject, wanted) in [
            ("unix:ann", "unix:ann", true),
            ("unix:ann", "unix:anna", false),
            ("*", "", true),
            ("host:*.nd.edu", "host:a.nd.edu", true),
            ("host:*.nd.edu", "host:.nd.ed", false),
            ("ab*ba", "aba", false),
            ("a**b", "axb", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), subject.as_bytes()), wanted, "{pattern}");
        }
    }

    #[test]
    fn entries_are_set_and_removed() {
        let mut acl = Acl::of(b"unix:ann", Rights::OWNER);
        acl.set(b"unix:bob", Rights::READ);
        acl.set(b"unix:ann", Rights::LIST);
        let mut text = Vec::new();
        acl.push_lines(&mut text);
        assert_eq!(text, b"unix:ann l\nunix:bob r\n");
        assert_eq!(Acl::parse(&text), acl);
        acl.set(b"unix:ann", Rights::NONE);
        acl.set(b"unix:nobody", Rights::NONE);
        assert_eq!(acl, Acl::of(b"unix:bob", Rights::READ));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let acl = Acl::parse(&text);
            let mut again = Vec::new();
            acl.push_lines(&mut again);
            prop_assert_eq!(Acl::parse(&again), acl);
        }
    }
}
