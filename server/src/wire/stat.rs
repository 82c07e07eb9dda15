//! Attribute lines: 13 numbers for an object, 7 for a file system.
//!
//! ```text
//! dev ino mode nlink uid gid rdev size blksize blocks atime mtime ctime [nanoseconds of the three]
//! type bsize blocks bfree bavail files ffree
//! ```
//!
//! Stock lines carry whole seconds. The extension requests of this project's server add three
//! numbers, the nanoseconds, at the end.

use super::number;

/// Attributes of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Device on the server.
    pub dev: u64,
    /// Inode on the server.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of names.
    pub nlink: u64,
    /// The server account's idea of the owner.
    pub uid: u32,
    /// The server account's idea of the group.
    pub gid: u32,
    /// Device number of a device.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Size of a good transfer.
    pub blksize: u64,
    /// Space in units of 512 bytes.
    pub blocks: u64,
    /// Last access, seconds.
    pub atime: i64,
    /// Last change of the data, seconds.
    pub mtime: i64,
    /// Last change of the attributes, seconds.
    pub ctime: i64,
    /// Nanoseconds of `atime`; 0 when the line did not tell.
    pub atime_nsec: u32,
    /// Nanoseconds of `mtime`; 0 when the line did not tell.
    pub mtime_nsec: u32,
    /// Nanoseconds of `ctime`; 0 when the line did not tell.
    pub ctime_nsec: u32,
}

/// Reads the next number of a line, which may be printed signed or unsigned.
fn next<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<i64> {
    let word = words.next()?;
    number::parse(word).or_else(|| {
        // An unsigned value above the signed range, as some servers print inode numbers.
        std::str::from_utf8(word).ok()?.parse::<u64>().ok().map(u64::cast_signed)
    })
}

/// Keeps the low 32 bits: the fields concerned have no more, whatever a peer prints.
fn low(n: i64) -> u32 {
    u32::try_from(n & 0xffff_ffff).unwrap_or(0)
}

impl Stat {
    /// Appends the stock line: 13 numbers and a line end.
    pub fn push_line(&self, out: &mut Vec<u8>) {
        self.push_numbers(out);
        out.push(b'\n');
    }

    /// Appends the extended line: 16 numbers and a line end.
    pub fn push_line_ns(&self, out: &mut Vec<u8>) {
        self.push_numbers(out);
        for nanoseconds in [self.atime_nsec, self.mtime_nsec, self.ctime_nsec] {
            out.push(b' ');
            number::push(out, i64::from(nanoseconds));
        }
        out.push(b'\n');
    }

    fn push_numbers(&self, out: &mut Vec<u8>) {
        let fields = [
            self.dev.cast_signed(),
            self.ino.cast_signed(),
            i64::from(self.mode),
            self.nlink.cast_signed(),
            i64::from(self.uid),
            i64::from(self.gid),
            self.rdev.cast_signed(),
            self.size.cast_signed(),
            self.blksize.cast_signed(),
            self.blocks.cast_signed(),
            self.atime,
            self.mtime,
            self.ctime,
        ];
        push_spaced(&fields, out);
    }

    /// Reads a stock line (13 numbers) or an extended one (16). `None` if it is neither.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = number::words(line);
        let words = &mut words;
        let mut stat = Self {
            dev: next(words)?.cast_unsigned(),
            ino: next(words)?.cast_unsigned(),
            mode: low(next(words)?),
            nlink: next(words)?.cast_unsigned(),
            uid: low(next(words)?),
            gid: low(next(words)?),
            rdev: next(words)?.cast_unsigned(),
            size: u64::try_from(next(words)?).ok()?,
            blksize: next(words)?.cast_unsigned(),
            blocks: next(words)?.cast_unsigned(),
            atime: next(words)?,
            mtime: next(words)?,
            ctime: next(words)?,
            ..Self::default()
        };
        if let Some(nanoseconds) = next(words) {
            stat.atime_nsec = low(nanoseconds);
            stat.mtime_nsec = low(next(words)?);
            stat.ctime_nsec = low(next(words)?);
        }
        words.next().is_none().then_some(stat)
    }
}

/// Figures of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// The system's number for the kind of file system.
    pub kind: i64,
    /// Block size.
    pub bsize: i64,
    /// All blocks.
    pub blocks: i64,
    /// Free blocks.
    pub bfree: i64,
    /// Free blocks for ordinary users.
    pub bavail: i64,
    /// All inodes.
    pub files: i64,
    /// Free inodes.
    pub ffree: i64,
}

impl StatFs {
    /// Appends the line: 7 numbers and a line end.
    pub fn push_line(&self, out: &mut Vec<u8>) {
        let fields =
            [self.kind, self.bsize, self.blocks, self.bfree, self.bavail, self.files, self.ffree];
        push_spaced(&fields, out);
        out.push(b'\n');
    }

    /// Reads a line of 7 numbers. `None` if it is none.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = number::words(line);
        let words = &mut words;
        let stat = Self {
            kind: next(words)?,
            bsize: next(words)?,
            blocks: next(words)?,
            bfree: next(words)?,
            bavail: next(words)?,
            files: next(words)?,
            ffree: next(words)?,
        };
        words.next().is_none().then_some(stat)
    }
}

fn push_spaced(fields: &[i64], out: &mut Vec<u8>) {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        number::push(out, *field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_of_the_numbers() {
        let stat = Stat::parse(b"-1 2 33188 4 5 6 7 8 9 10 11 12 13").unwrap();
        assert_eq!((stat.dev, stat.ino, stat.mode, stat.nlink), (u64::MAX, 2, 0o100_644, 4));
        assert_eq!((stat.uid, stat.gid, stat.rdev, stat.size), (5, 6, 7, 8));
        assert_eq!((stat.blksize, stat.blocks), (9, 10));
        assert_eq!((stat.atime, stat.mtime, stat.ctime), (11, 12, 13));
        let fs = StatFs::parse(b"1 2 3 4 5 6 7").unwrap();
        assert_eq!((fs.kind, fs.bsize, fs.blocks, fs.bfree), (1, 2, 3, 4));
        assert_eq!((fs.bavail, fs.files, fs.ffree), (5, 6, 7));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "1 2 3",
            "1 2 3 4 5 6 7 8 9 10 11 12 x",
            "1 2 3 4 5 6 7 -8 9 10 11 12 13",
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14",
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
        ] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(StatFs::parse(b"1 2 3 4 5 6"), None);
        assert_eq!(StatFs::parse(b"1 2 3 4 5 6 7 8"), None);
    }

    #[test]
    fn large_inode_numbers_may_be_unsigned() {
        let line = b"1 18446744073709551615 3 4 5 6 7 8 9 10 11 12 13";
        assert_eq!(Stat::parse(line).unwrap().ino, u64::MAX);
    }

    prop_compose! {
        fn any_stat()(
            wide in any::<[u64; 5]>(), narrow in any::<[u32; 3]>(), size in 0..=i64::MAX,
            times in any::<[i64; 3]>(), nanoseconds in proptest::array::uniform3(0..1_000_000_000_u32),
        ) -> Stat {
            let [dev, ino, nlink, rdev, blksize] = wide;
            let [mode, uid, gid] = narrow;
            let [atime, mtime, ctime] = times;
            let [atime_nsec, mtime_nsec, ctime_nsec] = nanoseconds;
            Stat {
                dev, ino, mode, nlink, uid, gid, rdev, size: size.cast_unsigned(), blksize,
                blocks: 1, atime, mtime, ctime, atime_nsec, mtime_nsec, ctime_nsec,
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_read_back(stat in any_stat()) {
            let mut line = Vec::new();
            stat.push_line_ns(&mut line);
            prop_assert_eq!(Stat::parse(&line), Some(stat));
            line.clear();
            stat.push_line(&mut line);
            let whole = Stat { atime_nsec: 0, mtime_nsec: 0, ctime_nsec: 0, ..stat };
            prop_assert_eq!(Stat::parse(&line), Some(whole));
        }

        #[test]
        fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&line);
            let _ = StatFs::parse(&line);
        }
    }
}
