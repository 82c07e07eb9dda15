//! How a descriptor is known to be ours: the name of a shadow.
//!
//! A shadow is the real kernel file that stands for a remote file inside the guest. Its identity
//! is a number that a session never uses twice, and it travels in the *name* the kernel shows for
//! the descriptor (`readlink /proc/PID/fd/N`), which survives dup, fork, exec and SCM_RIGHTS:
//!
//! ```text
//! complete   SESSION/c/ID            or SESSION/c/ID (deleted)
//! program    SESSION/x/ID/BASENAME   a second link to the same inode, for exec and /proc/self/exe
//! directory  SESSION/d/ID (deleted), or /dev/shm/parrot:TAG:ID (deleted)
//! served     /memfd:parrot:TAG:ID (deleted)
//! ```
//!
//! `SESSION` is the session's private directory, `TAG` the last component of its name, `ID` 16
//! lower-case hex digits.

/// A session-wide number of a shadow, never 0, never used twice.
///
/// The two lowest bits of a *served* shadow's number are the guest's access mode (`O_RDONLY`,
/// `O_WRONLY`, `O_RDWR`): the kernel's own descriptor is always write-only, so that a data call
/// which nobody caught fails, and the mode must travel with the descriptor. One remote file has up
/// to three served shadows, whose numbers differ in these bits only. All other numbers have zero
/// there.
pub type ShadowId = u64;

/// The access mode that a served shadow's number carries.
#[must_use]
pub const fn served_mode(id: ShadowId) -> i32 {
    (id & 3) as i32
}

/// What kind of object a shadow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// All bytes are in the shadow: data calls are the kernel's own.
    Complete = 1,
    /// Bytes come when asked: data calls are answered by the handler, and fail when nobody does.
    Served = 2,
    /// A remote directory (or an `O_PATH` descriptor of one).
    Dir = 3,
}

impl Kind {
    /// The kind of a number from a message.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            1 => Some(Self::Complete),
            2 => Some(Self::Served),
            3 => Some(Self::Dir),
            _ => None,
        }
    }
}

/// What the names of directory shadows in memory begin with; `TAG:ID` comes then.
pub const SHM_DIR: &[u8] = b"/dev/shm/parrot:";

/// Reads a link text of `/proc/PID/fd/N`, `cwd` or `exe`. `session` is the session directory
/// (absolute, no slash at the end).
#[must_use]
pub fn parse_link(link: &[u8], session: &[u8]) -> Option<(ShadowId, Kind)> {
    if let Some(rest) = link.strip_prefix(b"/memfd:parrot:") {
        let rest = rest.strip_prefix(tag(session))?.strip_prefix(b":")?;
        return Some((parse_id(rest.get(..16)?)?, Kind::Served));
    }
    if let Some(rest) = link.strip_prefix(SHM_DIR) {
        let rest = rest.strip_prefix(tag(session))?.strip_prefix(b":")?;
        return Some((parse_id(rest.get(..16)?)?, Kind::Dir));
    }
    let rest = link.strip_prefix(session)?;
    let kind = match rest.get(..3)? {
        b"/c/" | b"/x/" => Kind::Complete,
        b"/d/" => Kind::Dir,
        _ => return None,
    };
    Some((parse_id(rest.get(3..19)?)?, kind))
}

/// The last component of the session directory's name.
#[must_use]
pub fn tag(session: &[u8]) -> &[u8] {
    match session.iter().rposition(|&b| b == b'/') {
        Some(at) => session.get(at + 1..).unwrap_or_default(),
        None => session,
    }
}

/// Writes an id as its 16 hex digits.
#[must_use]
pub fn format_id(id: ShadowId) -> [u8; 16] {
    let mut text = [0; 16];
    for (place, shift) in text.iter_mut().zip((0..16).rev()) {
        let digit = (id >> (shift * 4)) & 15;
        let digit = digit as u8;
        *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    }
    text
}

fn parse_id(text: &[u8]) -> Option<ShadowId> {
    let mut id = 0;
    for &byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        id = (id << 4) | u64::from(digit);
    }
    (id != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_texts_are_read_back() {
        let session = b"/tmp/parrot.0/abc";
        let id = format_id(0x1234_5678_9abc_def0);
        let text = |before: &str, after: &str| [before.as_bytes(), &id, after.as_bytes()].concat();
        let known = [
            (text("/tmp/parrot.0/abc/c/", ""), Kind::Complete),
            (text("/tmp/parrot.0/abc/c/", " (deleted)"), Kind::Complete),
            (text("/tmp/parrot.0/abc/x/", "/ls"), Kind::Complete),
            (text("/tmp/parrot.0/abc/d/", " (deleted)"), Kind::Dir),
            (text("/dev/shm/parrot:abc:", " (deleted)"), Kind::Dir),
            (text("/memfd:parrot:abc:", " (deleted)"), Kind::Served),
        ];
        for (link, kind) in known {
            assert_eq!(parse_link(&link, session), Some((0x1234_5678_9abc_def0, kind)));
        }
        let foreign: [&[u8]; 7] = [
            b"/etc/passwd",
            b"/tmp/parrot.0/abc/c/1",
            b"/tmp/parrot.0/abd/c/123456789abcdef0",
            b"/dev/shm/parrot:abd:123456789abcdef0 (deleted)",
            b"/memfd:parrot:abd:123456789abcdef0 (deleted)",
            b"/tmp/parrot.0/abc/c/0000000000000000",
            b"socket:[1]",
        ];
        for link in foreign {
            assert_eq!(parse_link(link, session), None);
        }
    }
}
