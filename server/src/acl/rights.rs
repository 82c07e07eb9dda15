//! Rights and their letters.

/// A set of rights, with those that `v` gives to the maker of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(u16);

/// How far the rights that `v` gives are shifted.
const RESERVED: u16 = 8;

/// The letters in the order in which they are printed.
const LETTERS: [(u8, Rights); 7] = [
    (b'r', Rights::READ),
    (b'w', Rights::WRITE),
    (b'l', Rights::LIST),
    (b'd', Rights::DELETE),
    (b'p', Rights::PUT),
    (b'a', Rights::ADMIN),
    (b'x', Rights::EXECUTE),
];

/// The letters that may stand in the brackets of `v`. There, to write does not include to put.
const RESERVABLE: [(u8, Rights); 8] = [
    (b'r', Rights::READ),
    (b'w', Rights::WRITE),
    (b'l', Rights::LIST),
    (b'd', Rights::DELETE),
    (b'p', Rights::PUT),
    (b'a', Rights::ADMIN),
    (b'x', Rights::EXECUTE),
    (b'v', Rights::RESERVE),
];

impl Rights {
    /// No right.
    pub(crate) const NONE: Self = Self(0);
    /// `r`: read files.
    pub(crate) const READ: Self = Self(1);
    /// `w`: write files.
    pub(crate) const WRITE: Self = Self(2);
    /// `l`: list the directory and ask for attributes.
    pub(crate) const LIST: Self = Self(4);
    /// `d`: delete entries.
    pub(crate) const DELETE: Self = Self(8);
    /// `p`: create files that do not exist.
    pub(crate) const PUT: Self = Self(16);
    /// `a`: change the list.
    pub(crate) const ADMIN: Self = Self(32);
    /// `x`: execute.
    pub(crate) const EXECUTE: Self = Self(64);
    /// `v`: make a directory with a list of its own.
    pub(crate) const RESERVE: Self = Self(128);
    /// `rwlda`: what the owner of a new root gets, and the maker of a reserved directory.
    pub(crate) const OWNER: Self = Self(1 | 2 | 4 | 8 | 16 | 32);

    /// Both sets together.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    pub(crate) const fn only(self, other: Self) -> Self {
        let both = Self(self.told().0 & other.told().0);
        // Nothing in common would stand for the usual rights.
        if both.0 >> RESERVED == 0 { both.without(Self::RESERVE) } else { both }
    }

    /// The same set, with the rights that `v` gives if it does not say.
    const fn told(self) -> Self {
        if self.has(Self::RESERVE) { Self(self.0 | self.reserved().0 << RESERVED) } else { self }
    }

    /// What the other set does not have.
    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Tells whether all of `other` is here.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The rights that the maker of a directory gets by `v`: `rwlda` if it does not say. The right to write includes the right to
    /// put as soon as they are in a list.
    pub(crate) const fn reserved(self) -> Self {
        match self.0 >> RESERVED {
            0 => Self::OWNER,
            told => Self(told),
        }
    }

    /// Reads letters; `n`, `.` and `-` stand for nothing. `None` if a letter is no right.
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        let mut all = Self::NONE;
        let mut rest = word;
        while let [letter, tail @ ..] = rest {
            rest = tail;
            match letter {
                b'n' | b'.' | b'-' => {}
                b'v' => {
                    let (reserved, after) = reserve(tail)?;
                    all.0 |= Self::RESERVE.0 | reserved.0 << RESERVED;
                    rest = after;
                }
                _ => all = all.with(one(*letter)?),
            }
        }
        Some(all)
    }

    /// Appends the letters, `n` for none.
    pub(crate) fn push_letters(self, out: &mut Vec<u8>) {
        if self == Self::NONE {
            out.push(b'n');
        }
        self.push_plain(out);
        if self.has(Self::RESERVE) {
            let reserved = Self(self.0 >> RESERVED);
            out.extend_from_slice(b"v(");
            // In this place alone the stock server puts `v` before the last two.
            reserved.without(Self::ADMIN.with(Self::EXECUTE)).push_plain(out);
            if reserved.has(Self::RESERVE) {
                out.push(b'v');
            }
            reserved.only(Self::ADMIN.with(Self::EXECUTE)).push_plain(out);
            out.push(b')');
        }
    }

    fn push_plain(self, out: &mut Vec<u8>) {
        out.extend(LETTERS.iter().filter(|(_, right)| self.has(*right)).map(|(letter, _)| *letter));
    }
}

/// One letter; the right to write includes the right to put.
fn one(letter: u8) -> Option<Rights> {
    let (_, right) = LETTERS.iter().find(|(known, _)| *known == letter)?;
    Some(if *right == Rights::WRITE { right.with(Rights::PUT) } else { *right })
}

/// Reads what follows a `v`: letters in brackets, or nothing.
fn reserve(rest: &[u8]) -> Option<(Rights, &[u8])> {
    let [b'(', inside @ ..] = rest else { return Some((Rights::NONE, rest)) };
    let close = inside.iter().position(|byte| *byte == b')')?;
    let (letters, after) = inside.split_at_checked(close)?;
    let mut all = Rights::NONE;
    for letter in letters {
        let (_, right) = RESERVABLE.iter().find(|(known, _)| known == letter)?;
        all = all.with(*right);
    }
    Some((all, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_printed_in_the_stock_order() {
        for (given, printed) in [
            ("rwlda", "rwldpa"),
            ("n", "n"),
            (".", "n"),
            ("v", "v()"),
            ("xv(rlv)l", "lxv(rlv)"),
            ("v()", "v()"),
            ("v(axvw)", "v(wvax)"),
        ] {
            let mut out = Vec::new();
            let rights = Rights::parse(given.as_bytes()).unwrap();
            rights.push_letters(&mut out);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), printed);
            assert_eq!(Rights::parse(&out), Some(rights));
        }
        let parse = |letters: &str| Rights::parse(letters.as_bytes()).unwrap();
        assert_eq!(parse("v").reserved(), parse("rwlda"), "as good as told");
        assert_eq!(parse("rv").only(parse("lv(rl)")).reserved(), parse("rl"));
        assert_eq!(parse("rv(r)").only(parse("rv(l)")), parse("r"), "nothing in common");
        for wrong in ["z", "v(r", "v(z)", "r)"] {
            assert_eq!(Rights::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
