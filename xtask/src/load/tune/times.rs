//! How long fetches take: given as quantiles, or counted by a Prometheus of production.

use super::super::prometheus::Prometheus;

/// Fetches of a counted distribution, below which it tells nothing.
const MIN_FETCHES: f64 = 20.0;

/// The longest fetch within the share of all fetches, from the shortest on; a straight line between two points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Times {
    /// Shares from 0 to 1, and seconds; both only grow.
    points: Vec<(f64, f64)>,
    /// Where they are from, for the report.
    pub(super) from: String,
}

impl Times {
    /// `p50,p90,p99,longest` in seconds or milliseconds: `800ms,2s,6s,10s`.
    ///
    /// # Errors
    /// One line: what is wanted.
    pub(super) fn given(text: &str) -> Result<Self, String> {
        let wanted =
            "want four times that only grow, as 800ms,2s,6s,10s: p50, p90, p99 and the longest";
        let times: Result<Vec<f64>, String> = text
            .split(',')
            .map(|word| super::super::options::time(word).map(|time| time.as_secs_f64()))
            .collect();
        let times = times?;
        let [p50, p90, p99, longest] = times[..] else { return Err(wanted.to_owned()) };
        if !times.is_sorted() || p50 <= 0.0 {
            return Err(wanted.to_owned());
        }
        let points = vec![(0.0, p50 / 2.0), (0.5, p50), (0.9, p90), (0.99, p99), (1.0, longest)];
        Ok(Self { points, from: format!("given: p50, p90, p99, longest {text}") })
    }

    /// What the gateways of a Prometheus counted as the time of holding a lock, which is a fetch with its save.
    ///
    /// # Errors
    /// One line: it does not answer, or has counted too little.
    pub(super) fn counted(prometheus: &Prometheus, window: &str, now: f64) -> Result<Self, String> {
        let query =
            format!("sum by (le) (increase(dipylon_lock_hold_duration_seconds_bucket[{window}]))");
        let buckets = prometheus.at(&query, now)?;
        let bucket = |found: &super::super::prometheus::Found| {
            let le = found.labels.get("le")?;
            let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? };
            Some((bound, found.points.first()?.1))
        };
        let buckets: Vec<(f64, f64)> = buckets.iter().filter_map(bucket).collect();
        Self::of_buckets(buckets, format!("held locks of the last {window}, from Prometheus"))
    }

    fn of_buckets(mut buckets: Vec<(f64, f64)>, from: String) -> Result<Self, String> {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last().map_or(0.0, |(_, count)| *count);
        if all < MIN_FETCHES {
            return Err(format!(
                "Prometheus has counted {all:.0} fetches under a lock: {MIN_FETCHES} are wanted; take a longer --window"
            ));
        }
        let mut points = vec![(0.0, 0.0)];
        for (bound, count) in buckets.into_iter().filter(|(bound, _)| bound.is_finite()) {
            let (share, last) = (count / all, points.last().map_or(0.0, |(share, _)| *share));
            if share > last {
                points.push((share, bound));
            }
        }
        // What lasts longer than the last bound is taken for twice that.
        if let Some((share, bound)) = points.last().copied().filter(|(share, _)| *share < 1.0) {
            points.push((share.max(1.0), bound * 2.0));
        }
        Ok(Self { points, from })
    }

    /// The time that this share of the fetches stays below, in seconds.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let at = self.points.iter().position(|(end, _)| share <= *end);
        match at {
            Some(0) => self.points[0].1,
            Some(at) => {
                let ((from, low), (to, high)) = (self.points[at - 1], self.points[at]);
                low + (high - low) * (share - from) / (to - from)
            }
            None => self.longest(),
        }
    }

    pub(super) fn longest(&self) -> f64 {
        self.points.last().map_or(0.0, |(_, longest)| *longest)
    }

    pub(super) fn mean(&self) -> f64 {
        (0..200).map(|at| self.quantile((f64::from(at) + 0.5) / 200.0)).sum::<f64>() / 200.0
    }
}

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to just below 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_on_lines_between_what_is_given() {
        let times = Times::given("1s,2s,6s,10s").unwrap();
        assert_eq!([0.5, 0.7, 0.9, 1.0].map(|share| times.quantile(share)), [1.0, 1.5, 2.0, 10.0]);
        assert!((1.0..1.6).contains(&times.mean()), "{}", times.mean());
        assert!(Times::given("2s,1s,6s,10s").is_err());
        assert!(Times::given("1s").is_err());
    }

    #[test]
    fn buckets_of_prometheus_become_quantiles() {
        let buckets = vec![(f64::INFINITY, 100.0), (1.0, 50.0), (2.0, 90.0), (5.0, 99.0)];
        let times = Times::of_buckets(buckets, String::new()).unwrap();
        assert_eq!([0.5, 0.9].map(|share| times.quantile(share)), [1.0, 2.0]);
        assert_eq!(times.longest(), 10.0);
        assert!(Times::of_buckets(vec![(1.0, 3.0)], String::new()).is_err());
    }

    #[test]
    fn seeded_numbers_are_the_same_each_time() {
        let draw = || {
            let mut seeded = Seeded::new(7);
            (0..1000).map(|_| seeded.share()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        let mean = draw().iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
