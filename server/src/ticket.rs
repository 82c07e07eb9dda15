//! Tickets: a key of an RSA pair that logs its holder in with some of its owner's rights.
//!
//! Whoever holds the private key is `ticket:NAME`, NAME being the MD5 of the public key's text. The
//! server keeps the public key with the owner's identity, an end, and masks: `rights DIRECTORY
//! LETTERS`. The holder has, in a directory, the owner's rights there as far as the mask of the
//! nearest directory above allows them.
//!
//! - [`key`]: the keys, for server and client.
//! - `file`: the file that the server keeps of a ticket, in the form of the stock server.
//! - `store`: reading, making, changing and forgetting those files.

pub mod key;

pub(crate) mod file;
pub(crate) mod store;

pub(crate) use store::TicketStore;

/// The name of a ticket: 32 hexadecimal digits, as bytes of lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name([u8; 32]);

/// What an identity of a ticket begins with.
const METHOD: &[u8] = b"ticket:";

impl Name {
    /// The name of the ticket whose public key has this text.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        use md5::{Digest as _, Md5};
        let mut name = [0; 32];
        for (byte, digits) in Md5::digest(public_key).iter().zip(name.chunks_exact_mut(2)) {
            if let [high, low] = digits {
                (*high, *low) = (hex(byte >> 4), hex(byte & 15));
            }
        }
        Self(name)
    }

    /// Reads 32 digits of either case.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        let digits: [u8; 32] = word.try_into().ok()?;
        let hex = digits.iter().all(u8::is_ascii_hexdigit);
        hex.then(|| Self(digits.map(|digit| digit.to_ascii_lowercase())))
    }

    /// Reads an identity: `ticket:` and the digits.
    #[must_use]
    pub fn of_identity(identity: &[u8]) -> Option<Self> {
        Self::parse(identity.strip_prefix(METHOD)?)
    }

    /// The digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The identity that the holder of a ticket logs in with.
pub(crate) fn identity(name: Name) -> Vec<u8> {
    [METHOD, name.as_bytes()].concat()
}

const fn hex(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'a' + half - 10 }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = Name::of(b"abc");
        assert_eq!(name.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(Name::parse(b"900150983CD24FB0D6963F7D28E17F72"), Some(name));
        assert_eq!(Name::of_identity(b"ticket:900150983cd24fb0d6963f7d28e17f72"), Some(name));
        for wrong in ["", "900150983cd24fb0d6963f7d28e17f7", "../150983cd24fb0d6963f7d28e17f72x"] {
            assert_eq!(Name::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Name::of_identity(b"unix:ann"), None);
    }
}
