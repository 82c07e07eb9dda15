//! A path or message put together in a fixed buffer.

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
        // In two steps, so that the compiler sees that the lengths are the same.
        match self.bytes.get_mut(self.len..).and_then(|rest| rest.get_mut(..more.len())) {
            Some(place) => {
                place.copy_from_slice(more);
                self.len = self.len.saturating_add(more.len());
            }
            None => self.fits = false,
        }
        self
    }

    /// Appends a number in decimal digits.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut rest = number;
        let mut from = digits.len();
        for (at, place) in digits.iter_mut().enumerate().rev() {
            *place = b'0'.wrapping_add((rest % 10) as u8);
            from = at;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(digits.get(from..).unwrap_or_default())
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
