//! Making new inputs from known ones: bytes flipped, cut, doubled, joined; numbers at the edges.

/// Numbers that break things.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "9",
    "255",
    "1023",
    "1024",
    "65536",
    "16777216",
    "16777217",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999",
    "00000000000000000001",
    "0x10",
    "+5",
    "",
];

/// Bytes that mean something somewhere.
const BYTES: &[u8] = b"\n\r\t \0\x04%/\\.*:=,#\"'-+0129azAZ\x7f\x80\xc3\xff";

/// The longest input.
const MAX: usize = 8192;

/// A source of inputs, the same for the same seed.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
    known: Vec<Vec<u8>>,
}

impl Mutator {
    /// From some inputs, of which there must be one at least.
    #[must_use]
    pub fn new(seed: u64, known: Vec<Vec<u8>>) -> Self {
        // Never zero, whatever the seed.
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, known }
    }

    /// A number below a limit (xorshift64*); 0 for a limit of 0.
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        usize::try_from(number).unwrap_or(0).checked_rem(limit).unwrap_or(0)
    }

    fn known(&mut self) -> Vec<u8> {
        let index = self.below(self.known.len());
        self.known.get(index).cloned().unwrap_or_default()
    }

    /// A new input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.known();
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input.truncate(MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        match self.below(9) {
            0 => {
                let bit = 1 << self.below(8);
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= bit;
                }
            }
            1 | 2 => {
                let index = self.below(BYTES.len());
                let byte = BYTES.get(index).copied().unwrap_or(0);
                match input.get_mut(from) {
                    Some(place) if index.is_multiple_of(2) => *place = byte,
                    _ => input.insert(from, byte),
                }
            }
            3 => drop(input.drain(from..to)),
            4 => {
                let part = input.get(from..to).unwrap_or_default().to_vec();
                let times = 1 + self.below(if part.len() < 8 { 300 } else { 3 });
                drop(input.splice(from..from, part.repeat(times)));
            }
            5 => {
                let other = self.known();
                let (start, end) = self.range(other.len());
                let part = other.get(start..end).unwrap_or_default().to_vec();
                drop(input.splice(from..to, part));
            }
            6 | 7 => self.number(input, from),
            _ => {
                let other = self.known();
                input.extend_from_slice(&other);
            }
        }
    }

    /// Replaces the number behind a place.
    fn number(&mut self, input: &mut Vec<u8>, from: usize) {
        let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let rest = input.get(from..).unwrap_or_default();
        let start = from + rest.iter().position(digit).unwrap_or(rest.len());
        let rest = input.get(start..).unwrap_or_default();
        let end = start + rest.iter().position(|byte| !digit(byte)).unwrap_or(rest.len());
        let index = self.below(NUMBERS.len());
        let number = NUMBERS.get(index).copied().unwrap_or_default();
        drop(input.splice(start..end, number.bytes()));
    }

    /// A part of something of some length.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        // Mostly short.
        let most = if self.below(4) == 0 { length } else { 12 };
        (from, (from + self.below(most + 1)).min(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let known = vec![b"pread 0 10 5\n".to_vec(), b"stat /a\n".to_vec()];
        let all = |seed| {
            let mut mutator = Mutator::new(seed, known.clone());
            (0..100).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let mut different = all(7);
        different.sort();
        different.dedup();
        assert!(different.len() > 80, "{}", different.len());
    }
}
