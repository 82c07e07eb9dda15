//! Small work on byte buffers, written so that the compiler sees that nothing can go wrong: code
//! of a guest's process links no panic machinery.

/// `len` bytes at `at`, if the buffer has them.
pub fn room(buffer: &mut [u8], at: usize, len: usize) -> Option<&mut [u8]> {
    buffer.get_mut(at..).and_then(|rest| rest.get_mut(..len))
}

/// Writes text at `len` and moves it on; whether there was room.
pub fn put(buffer: &mut [u8], len: &mut usize, text: &[u8]) -> bool {
    let Some(place) = room(buffer, *len, text.len()) else { return false };
    for (place, &byte) in place.iter_mut().zip(text) {
        *place = byte;
    }
    *len += text.len();
    true
}

/// A number in decimal.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; 20],
    used: usize,
}

impl Decimal {
    /// The digits of a number.
    #[must_use]
    pub fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut used = 0;
        for place in digits.iter_mut().rev() {
            let digit = (number % 10) as u8;
            *place = b'0' + digit;
            used += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self { digits, used }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.digits.get(self.digits.len().saturating_sub(self.used)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_room() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            assert_eq!(Decimal::new(number).text(), number.to_string().as_bytes());
        }
        let (mut buffer, mut len) = ([0; 4], 0);
        assert!(put(&mut buffer, &mut len, b"abc") && !put(&mut buffer, &mut len, b"de"));
        assert_eq!((&buffer[..len], room(&mut [0; 3], 2, 2)), (b"abc".as_slice(), None));
    }
}
