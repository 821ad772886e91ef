//! Of many numbers those that say most.

/// Half of all lie between the outer two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter of all is less.
    pub low: f64,
    /// As many are less as are more.
    pub median: f64,
    /// A quarter of all is more.
    pub high: f64,
}

impl Quartiles {
    /// Of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = numbers.into_iter().collect();
        assert!(!all.is_empty(), "nothing was measured");
        all.sort_by(f64::total_cmp);
        let at = |quarters: usize| all[(all.len() - 1) * quarters / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }

    /// All three multiplied.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let Self { low, median, high } = self;
        Self { low: low * factor, median: median * factor, high: high * factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_lies_between() {
        let all = Quartiles::of([9.0, 1.0, 3.0, 5.0, 7.0]);
        assert_eq!(all, Quartiles { low: 3.0, median: 5.0, high: 7.0 });
        assert_eq!(Quartiles::of([2.0]).times(2.0), Quartiles { low: 4.0, median: 4.0, high: 4.0 });
    }
}
