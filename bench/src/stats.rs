//! Medians and spreads.

/// The middle of some numbers, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The median.
    pub(crate) median: f64,
    /// The least.
    pub(crate) low: f64,
    /// The greatest.
    pub(crate) high: f64,
}

/// Summarises; `None` if there are no numbers.
pub(crate) fn summary(numbers: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(Summary { median: f64::midpoint(lower, upper), low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_even_and_none() {
        let three = Summary { median: 2.0, low: 1.0, high: 9.0 };
        assert_eq!(summary([9.0, 1.0, 2.0]), Some(three));
        assert_eq!(summary([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(summary([]), None);
        assert_eq!(summary([f64::NAN, 5.0]).unwrap().median, 5.0);
    }
}
