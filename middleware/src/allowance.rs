//! What extra calls may cost: a part of the calls that are made anyway, and a little that is saved up. Pure.

use std::sync::atomic::{AtomicI64, Ordering};

/// Units of one extra call.
const UNITS: i64 = 10_000;

/// What all calls of one upstream, or of storage, may spend together on extra calls.
#[derive(Debug)]
pub struct Allowance {
    units: AtomicI64,
    units_per_call: i64,
    units_max: i64,
}

impl Allowance {
    /// `per_call` extra calls for each call, over time; `saved_max` may be saved up, and are there at the start.
    pub fn new(per_call: f64, saved_max: i64) -> Self {
        let units_max = saved_max * UNITS;
        let units_per_call = (UNITS as f64 * per_call) as i64;
        Self { units: AtomicI64::new(units_max), units_per_call, units_max }
    }

    /// A call pays in.
    pub fn deposit(&self) {
        let _ = self.units.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |units| {
            Some((units + self.units_per_call).min(self.units_max))
        });
    }

    /// Takes one extra call, if it is there.
    pub fn withdraw(&self) -> bool {
        self.units
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |units| {
                (units >= UNITS).then(|| units - UNITS)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_full_and_each_call_pays_in_its_part_and_no_more_is_saved_up_than_may_be() {
        for (per_call, calls, saved_max) in [(0.2, 5, 20), (0.02, 50, 5)] {
            let allowance = Allowance::new(per_call, saved_max);
            let taken = || (0..1_000).filter(|_| allowance.withdraw()).count() as i64;
            assert_eq!(taken(), saved_max);
            for _ in 1..calls {
                allowance.deposit();
                assert!(!allowance.withdraw());
            }
            allowance.deposit();
            assert_eq!(taken(), 1);
            (0..10_000).for_each(|_| allowance.deposit());
            assert_eq!(taken(), saved_max);
        }
    }
}
