//! Random operation scripts for the differential tests.
//!
//! The script is text, one operation a line, made from a seed; `guests/ops.c` executes it below its
//! working directory and prints one line of result for each. The names are few, so that operations
//! meet: files that exist, directories in the way, links to both.

use std::fmt::Write as _;

/// A small generator (xorshift64*): the same seed gives the same script everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    /// One of several.
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(u64::try_from(from.len()).unwrap())).unwrap();
        from.get(index).copied().unwrap_or_default()
    }
}

const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "d/a",
    "d/b",
    "d/e",
    "d/e/a",
    "d/e/b",
    "l",
    "d/l",
    "x",
    "x/a",
    "nowhere/a",
    "a/b",
    "d/../b",
    "./a",
    "d/e/..",
    "d/",
    "a/",
];
const FLAGS: &[&str] =
    &["r", "r", "r", "w", "rw", "rwc", "rwct", "wc", "wct", "wcx", "wca", "rwca", "rd", "rn", "rt"];
const MODES: &[&str] = &["600", "700", "640", "755", "666"];
const SIZES: &[&str] = &["0", "1", "10", "4096", "70000", "300000"];
const OFFSETS: &[&str] = &["0", "1", "5", "100", "4095", "65536", "200000"];

/// A script of so many operations.
///
/// # Panics
///
/// Never: numbers are converted that fit.
#[must_use]
pub fn script(seed: u64, count: usize) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    for number in 0..count {
        let name = random.pick(NAMES);
        let other = random.pick(NAMES);
        let slot = random.below(6);
        let size = random.pick(SIZES);
        let offset = random.pick(OFFSETS);
        let line = match random.below(34) {
            0..=4 => format!("open {slot} {name} {} {}", random.pick(FLAGS), random.pick(MODES)),
            5..=6 => format!("close {slot}"),
            7..=8 => format!("read {slot} {size}"),
            9 => format!("pread {slot} {size} {offset}"),
            10..=12 => format!("write {slot} {size} {number}"),
            13 => format!("pwrite {slot} {size} {offset} {number}"),
            14 => format!("seek {slot} {offset} {}", random.pick(&["set", "end"])),
            15 => format!("ftruncate {slot} {size}"),
            16 => format!("truncate {name} {size}"),
            17..=18 => format!("stat {name}"),
            19 => format!("lstat {name}"),
            20 => format!("fstat {slot}"),
            21..=22 => format!("mkdir {name} {}", random.pick(&["700", "755"])),
            23 => format!("rmdir {name}"),
            24 => format!("unlink {name}"),
            25..=26 => format!("rename {name} {other}"),
            27 => format!("link {name} {other}"),
            28 => {
                format!("symlink {} {name}", random.pick(&["a", "d", "../b", "e/a", "l", "gone"]))
            }
            29 => format!("readlink {name}"),
            30 => format!("list {name}"),
            31 => format!("access {name} {}", random.below(8)),
            32 => format!("dup {slot} {}", random.below(6)),
            _ => format!("{} {slot}", random.pick(&["fsync", "getfl", "tell"])),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_script() {
        assert_eq!(script(7, 100), script(7, 100));
        assert_ne!(script(7, 100), script(8, 100));
        assert_eq!(script(7, 100).lines().count(), 100);
    }
}
