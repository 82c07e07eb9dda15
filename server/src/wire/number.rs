//! Decimal numbers, the only numbers on the wire: signed, at most 64 bits.

/// Appends `n` in decimal.
pub fn push(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0_u8; 20];
    let mut rest = n.unsigned_abs();
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        used += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends `n` in decimal and a line end: a complete status line.
pub fn push_line(out: &mut Vec<u8>, n: i64) {
    push(out, n);
    out.push(b'\n');
}

/// Reads a whole word as a number: an optional sign, then digits, nothing else.
///
/// Returns `None` for anything else, overflow included.
#[must_use]
pub fn parse(word: &[u8]) -> Option<i64> {
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

/// Splits a line into its words: runs of anything but white space.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty())
}

/// Tells whether a byte separates words.
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::{parse, push};
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_no_number() {
        for word in [&b""[..], b"-", b"+", b"1x", b"0x10", b" 1", b"9223372036854775808"] {
            assert_eq!(parse(word), None, "{}", String::from_utf8_lossy(word));
        }
        assert_eq!(parse(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse(b"+007"), Some(7));
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_read_back(n in any::<i64>()) {
            let mut out = Vec::new();
            push(&mut out, n);
            prop_assert_eq!(String::from_utf8(out.clone()).unwrap(), n.to_string());
            prop_assert_eq!(parse(&out), Some(n));
        }
    }
}
