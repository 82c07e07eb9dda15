//! The letters of `open`: `r` read, `w` write, `c` create, `t` truncate, `a` append, `x` exclusive,
//! `s` synchronous, in any order.

use libc::c_int;

use super::request::ParseError;

/// What `open` may do, as the `O_` flags of the system.
///
/// Holds the access mode and those of `O_CREAT`, `O_TRUNC`, `O_APPEND`, `O_EXCL`, `O_SYNC` that
/// are set; other flags have no letter and are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(c_int);

/// Letters and the flags they stand for, without the access mode.
const LETTERS: [(u8, c_int); 5] = [
    (b'c', libc::O_CREAT),
    (b't', libc::O_TRUNC),
    (b'a', libc::O_APPEND),
    (b'x', libc::O_EXCL),
    (b's', libc::O_SYNC),
];

impl OpenFlags {
    /// Keeps those of the system's flags that the protocol can carry.
    #[must_use]
    pub fn from_libc(flags: c_int) -> Self {
        let mut kept = flags & libc::O_ACCMODE;
        if kept == libc::O_ACCMODE {
            kept = libc::O_RDWR;
        }
        for (_, flag) in LETTERS {
            // O_SYNC is more than one bit, and O_DSYNC, one of them, is carried as O_SYNC too.
            if flags & flag != 0 {
                kept |= flag;
            }
        }
        Self(kept)
    }

    /// The flags as the system's `open` wants them.
    #[must_use]
    pub const fn to_libc(self) -> c_int {
        self.0
    }

    /// Tells whether the file will be read.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.0 & libc::O_ACCMODE != libc::O_WRONLY
    }

    /// Tells whether the file or its name may change: write access, create, truncate or append.
    #[must_use]
    pub const fn changes(self) -> bool {
        self.0 & libc::O_ACCMODE != libc::O_RDONLY
            || self.0 & (libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) != 0
    }

    /// Tells whether a flag, such as `O_CREAT`, is set.
    #[must_use]
    pub const fn has(self, flag: c_int) -> bool {
        self.0 & flag == flag
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.0 & libc::O_ACCMODE {
            libc::O_WRONLY => b"w",
            libc::O_RDONLY => b"r",
            _ => b"rw",
        });
        out.extend(LETTERS.iter().filter(|(_, flag)| self.has(*flag)).map(|(letter, _)| *letter));
    }

    pub(super) fn parse(word: &[u8]) -> Result<Self, ParseError> {
        let mut flags = match (word.contains(&b'r'), word.contains(&b'w')) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            _ => libc::O_RDONLY,
        };
        for byte in word {
            match LETTERS.iter().find(|(letter, _)| letter == byte) {
                Some((_, flag)) => flags |= flag,
                None if matches!(byte, b'r' | b'w') => {}
                None => return Err(ParseError::BadArgument),
            }
        }
        Ok(Self(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_flags_agree() {
        let access = [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR];
        for mask in 0..1 << LETTERS.len() {
            let set = LETTERS.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0);
            let flags = set.fold(0, |all, (_, (_, flag))| all | flag);
            for mode in access {
                let flags = OpenFlags::from_libc(flags | mode);
                let mut word = Vec::new();
                flags.encode(&mut word);
                assert_eq!(OpenFlags::parse(&word), Ok(flags));
            }
        }
    }

    #[test]
    fn odd_words() {
        assert_eq!(OpenFlags::parse(b"c").unwrap().to_libc(), libc::O_CREAT);
        assert_eq!(OpenFlags::parse(b"rz"), Err(ParseError::BadArgument));
        assert!(OpenFlags::parse(b"rt").unwrap().changes());
        assert!(!OpenFlags::parse(b"rs").unwrap().changes());
        assert!(!OpenFlags::parse(b"w").unwrap().reads());
        let cloexec = OpenFlags::from_libc(libc::O_RDWR | libc::O_CLOEXEC | libc::O_DIRECTORY);
        assert_eq!(cloexec.to_libc(), libc::O_RDWR);
    }
}
