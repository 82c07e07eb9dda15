//! A path or message put together in a fixed buffer.

use parrot_common::bytes;

/// Text of at most `N` bytes; what does not fit makes it unusable instead of wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    fits: bool,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0, fits: true }
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, more: &[u8]) -> &mut Self {
        self.fits &= bytes::put(&mut self.bytes, &mut self.len, more);
        self
    }

    /// Appends a number in decimal digits.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.put(bytes::Decimal::new(number).text())
    }

    /// The text so far; nothing when something did not fit.
    pub(crate) fn get(&self) -> &[u8] {
        if self.fits { self.bytes.get(..self.len).unwrap_or_default() } else { &[] }
    }

    /// Whether everything fitted.
    pub(crate) const fn fits(&self) -> bool {
        self.fits
    }

    /// Cuts the text back to a length.
    pub(crate) fn cut(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}
