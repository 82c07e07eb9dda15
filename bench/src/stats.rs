//! Medians and spreads.

/// The middle of some numbers, the middle half, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The median.
    pub(crate) median: f64,
    /// The first quartile.
    pub(crate) lower: f64,
    /// The third quartile.
    pub(crate) upper: f64,
    /// The least.
    pub(crate) low: f64,
    /// The greatest.
    pub(crate) high: f64,
}

impl Summary {
    /// Half of the middle half's width, in percent of the median.
    pub(crate) fn wavers(&self) -> f64 {
        match self.median {
            0.0 => 0.0,
            median => (self.upper - self.lower) / 2.0 / median * 100.0,
        }
    }
}

/// Summarises; `None` if there are no numbers. Quartiles are interpolated between neighbours.
pub(crate) fn summary(numbers: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    // In quarters of a step, so that no fraction of an index is needed.
    let at = |quarters: usize| {
        let place = (sorted.len() - 1) * quarters;
        let (below, rest) = (*sorted.get(place / 4)?, [0.0, 0.25, 0.5, 0.75].get(place % 4)?);
        let above = sorted.get(place / 4 + 1).copied().unwrap_or(below);
        Some(below + (above - below) * rest)
    };
    Some(Summary { median: at(2)?, lower: at(1)?, upper: at(3)?, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_even_and_none() {
        let three = Summary { median: 2.0, lower: 1.5, upper: 5.5, low: 1.0, high: 9.0 };
        assert_eq!(summary([9.0, 1.0, 2.0]), Some(three));
        let four = summary([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((four.median, four.lower, four.upper), (2.5, 1.75, 3.25));
        assert_eq!(four.wavers(), 30.0);
        assert_eq!(summary([]), None);
        assert_eq!(summary([f64::NAN, 5.0]).unwrap().median, 5.0);
    }
}
