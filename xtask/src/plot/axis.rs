//! An axis: from values to places on it, and the values that are written beside it.

/// About how many values are written beside an axis.
const TICKS: f64 = 6.0;
/// The least value of a logarithmic axis, below which there are no powers worth a line.
const MIN_LOGARITHMIC: f64 = 1e-6;

#[derive(Clone, Debug)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    /// An axis that holds all of these; from 0, if it is told so and not logarithmic.
    pub(super) fn over(
        values: impl Iterator<Item = f64>,
        from_zero: bool,
        logarithmic: bool,
    ) -> Self {
        let usable = |value: &f64| value.is_finite() && (!logarithmic || *value > 0.0);
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            from = from.min(value);
            to = to.max(value);
        }
        if from > to {
            (from, to) = if logarithmic { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if logarithmic {
            from = 10f64.powf(from.max(MIN_LOGARITHMIC).log10().floor());
            to = 10f64.powf(to.log10().ceil()).max(from * 10.0);
            return Self { from, to, logarithmic };
        }
        if from_zero {
            from = from.min(0.0);
            to += (to - from) * 0.08;
        }
        if (to - from).abs() < f64::EPSILON {
            to = from + 1.0;
        }
        Self { from, to, logarithmic }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            let value = value.max(self.from);
            (value / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// Values to write, and how they are written.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut value = self.from;
            while value <= self.to * 1.001 {
                ticks.push((value, number(value, value)));
                value *= 10.0;
            }
            return ticks;
        }
        let step = round_step((self.to - self.from) / TICKS);
        let mut count = (self.from / step).ceil();
        while count * step <= self.to + step * 1e-9 {
            ticks.push((count * step, number(count * step, step)));
            count += 1.0;
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, and no less than what is asked for.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power);
    found.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// As many digits as the step needs.
fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    // -0.0 is no value that anybody wants to read.
    format!("{:.digits$}", if value == 0.0 { 0.0 } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, word)| word).collect()
    }

    #[test]
    fn ticks_are_round_and_lie_on_the_axis() {
        let axis = Axis::over([0.0, 10.0].into_iter(), false, false);
        assert_eq!(words(&axis), ["0", "2", "4", "6", "8", "10"]);
        let axis = Axis::over([0.0, 0.02].into_iter(), false, false);
        assert_eq!(words(&axis), ["0.000", "0.005", "0.010", "0.015", "0.020"]);
        let axis = Axis::over([3.0, 250.0].into_iter(), true, true);
        assert_eq!(words(&axis), ["1", "10", "100", "1000"]);
    }

    #[test]
    fn values_lie_between_the_ends() {
        let axis = Axis::over([5.0, f64::NAN, 15.0].into_iter(), false, false);
        assert_eq!([axis.place(5.0), axis.place(10.0), axis.place(99.0)], [0.0, 0.5, 1.0]);
        let axis = Axis::over([1.0, 100.0].into_iter(), true, true);
        assert_eq!([axis.place(0.0), axis.place(10.0)], [0.0, 0.5]);
    }

    #[test]
    fn one_value_or_none_has_an_axis_too() {
        assert!(!Axis::over([7.0].into_iter(), false, false).ticks().is_empty());
        assert!(!Axis::over([].into_iter(), true, true).ticks().is_empty());
    }
}
