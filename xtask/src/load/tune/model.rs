//! The model: the same trials as the measurement's, played with seeded numbers. It knows how a holder renews, when a
//! lock lapses, when who waits looks again, and nothing of this machine but what a fetch costs beside its own time.
//! So it says what a cluster does that is larger than this machine.

use super::super::options::Lock;
use super::outcome::{Outcome, quantile};
use super::times::{Seeded, Times};
use super::values::Values;
use super::{KILLS, RELEASES};

/// Rounds of each trial.
const ROUNDS: u32 = 2_000;
/// The longest between two looks of who waits (`PollMillis`), in seconds; up to a quarter shorter.
const POLL: f64 = 0.25;
/// A question to a lock service that says nothing is given up after so many seconds.
const QUESTION: f64 = 2.0;
/// No less is recommended, in seconds: what fails for want of time costs more than the slot it would have held, and the
/// slowest fetch is never in what was seen.
const LEAST_STASH: u32 = 120;
const LEAST_STORAGE: u32 = 60;
/// etcd looks for lapsed leases twice a second, and lets each stand for about that long.
const ETCD_LAPSE: f64 = 1.0;

/// What is played.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    pub(super) lock: Lock,
    pub(super) gateways: u32,
    pub(super) times: &'a Times,
    /// Seconds of a fetch beside what upstream takes: two small files, verification, the save.
    pub(super) overhead: f64,
    /// The longest pause of a gateway that is no death, in seconds.
    pub(super) pause: f64,
    /// How long the lock service is silent, in seconds.
    pub(super) silence: f64,
    /// Versions of a burst, and how long each takes.
    pub(super) burst: (u32, f64),
    /// Upstream's time for the version under whose fetch a holder dies, in seconds.
    pub(super) fetch_of_kill: f64,
    pub(super) seed: u64,
}

impl World<'_> {
    /// What comes of these values.
    pub(super) fn play(&self, values: &Values) -> Outcome {
        let mut seeded = Seeded::new(self.seed);
        let mut outcome = Outcome::default();
        let mut waits = self.releases(values, &mut seeded, &mut outcome);
        let mut recovery: Vec<f64> =
            (0..ROUNDS).map(|_| self.recovery(values, &mut seeded)).collect();
        // As many deaths beside the releases as are measured; a dead gateway's clients do not wait.
        let deaths = ROUNDS * KILLS * (self.gateways - 1) / RELEASES;
        waits.extend(recovery.iter().cycle().take(deaths as usize));
        outcome.wait_p99_with_deaths = quantile(&waits, 0.99);
        recovery.sort_by(f64::total_cmp);
        outcome.recovery = recovery;
        let lost = (0..ROUNDS).filter(|_| self.is_lost(values, &mut seeded)).count();
        outcome.takeovers = Some(lost as f64 / f64::from(ROUNDS));
        if self.lock != Lock::S3 {
            self.silent(values, &mut outcome);
        }
        let (versions, seconds) = self.burst;
        let of_each = versions.div_ceil(self.gateways).div_ceil(values.workers);
        outcome.burst = Some(f64::from(of_each) * (seconds + self.overhead));
        outcome
    }

    /// Answers what each gateway's clients waited.
    fn releases(&self, values: &Values, seeded: &mut Seeded, outcome: &mut Outcome) -> Vec<f64> {
        let (mut duplicates, mut failed, mut waits) = (0.0, 0.0, Vec::new());
        for _ in 0..ROUNDS {
            let fetch = self.times.quantile(seeded.share()) + self.overhead;
            if fetch > f64::from(values.stash) {
                // Each gateway tries for itself, and gives up like the first.
                failed += 1.0;
                duplicates += f64::from(self.gateways - 1);
                waits.push(f64::from(values.stash));
                continue;
            }
            // The holder gives its lock up at TTL and goes on; the next takes it, and so on, until the first is done.
            let ttl = f64::from(values.ttl);
            let more = (fetch / ttl).ceil() - 1.0;
            let takers = more.clamp(0.0, f64::from(self.gateways - 1));
            duplicates += takers;
            for gateway in 0..self.gateways {
                let taken = f64::from(gateway);
                // Who fetches for itself streams its own fetch, who waits sees the first one's save.
                let wait =
                    if taken <= takers { taken * ttl + fetch } else { fetch + self.wake(seeded) };
                waits.push(wait);
            }
        }
        let rounds = f64::from(ROUNDS);
        outcome.duplicates = Some(duplicates / rounds);
        outcome.failed = Some(failed / rounds);
        outcome.wait_p50 = quantile(&waits, 0.5);
        outcome.wait_p99 = quantile(&waits, 0.99);
        waits
    }

    /// How long after a save the others see it: Redis and etcd push it, a store is looked at.
    fn wake(&self, seeded: &mut Seeded) -> f64 {
        match self.lock {
            Lock::S3 => self.look(seeded),
            _ => 0.01,
        }
    }

    /// Until who waits looks the next time.
    fn look(&self, seeded: &mut Seeded) -> f64 {
        seeded.share() * POLL * (1.0 - 0.25 * seeded.share())
    }

    /// Seconds from a holder's death, at any moment between two renewals, until the others are served.
    fn recovery(&self, values: &Values, seeded: &mut Seeded) -> f64 {
        let (lease, renewal) = (f64::from(values.lease), f64::from(values.renewal));
        let since_renewal = seeded.share() * renewal;
        let lapse = match self.lock {
            // Who waits counts the lease from when it saw the last renewal.
            Lock::S3 => lease + self.look(seeded),
            Lock::Etcd => lease + seeded.share() * ETCD_LAPSE,
            _ => lease,
        };
        let look = match self.lock {
            Lock::Etcd => 0.01,
            _ => self.look(seeded),
        };
        (lapse - since_renewal).max(0.0) + look + self.fetch_of_kill + self.overhead
    }

    /// Whether a pause at any moment between two renewals loses the lock.
    fn is_lost(&self, values: &Values, seeded: &mut Seeded) -> bool {
        let since_renewal = seeded.share() * f64::from(values.renewal);
        since_renewal + self.pause > f64::from(values.lease)
    }

    /// The first miss waits until the service speaks, or until it is given up.
    fn silent(&self, values: &Values, outcome: &mut Outcome) {
        let patience = f64::from(values.timeout).min(f64::from(values.retries) * QUESTION);
        let waited = self.silence.min(patience);
        let duplicates = if self.silence > patience { f64::from(self.gateways - 1) } else { 0.0 };
        outcome.silent_duplicates = Some(duplicates);
        outcome.silent_wait = Some(waited + self.times.quantile(0.5) + self.overhead);
    }

    /// The values that are best in the model, with the reason for each.
    pub(super) fn recommend(
        &self,
        misses_per_second: f64,
    ) -> (Values, Vec<(&'static str, u32, String)>) {
        let mut best: Option<(f64, Values)> = None;
        for renewal in [1, 2, 3, 5] {
            for lease in (2 * renewal)..=30 {
                let values = Values { lease, renewal, ..Values::DEFAULTS };
                let mut seeded = Seeded::new(self.seed);
                // A second beyond the longest pause: the service's answer, and clocks.
                let with_margin = World { pause: self.pause + 1.0, ..self.clone() };
                if (0..ROUNDS).any(|_| with_margin.is_lost(&values, &mut seeded)) {
                    continue;
                }
                let recovery: Vec<f64> =
                    (0..ROUNDS).map(|_| self.recovery(&values, &mut seeded)).collect();
                let worst = quantile(&recovery, 0.99).unwrap_or(f64::INFINITY);
                if best.is_none_or(|(least, _)| worst < least) {
                    best = Some((worst, values));
                }
            }
        }
        let chosen = best.map_or(Values::DEFAULTS, |(_, values)| values);
        let longest = self.times.longest();
        let stash = round_up(4.0 * longest, 30).max(LEAST_STASH);
        let timeout = (self.silence.ceil() as u32 + 2).min(Values::DEFAULTS.timeout);
        let in_hand = misses_per_second * (self.times.mean() + self.overhead);
        let workers = round_up(3.0 * in_hand, 10).max(Values::DEFAULTS.workers);
        // Athens has no keys for locks in etcd: there both are as they are.
        let (ttl, timeout) = match self.lock {
            Lock::Etcd => (Values::DEFAULTS.ttl, Values::DEFAULTS.timeout),
            _ => (stash + chosen.lease, timeout),
        };
        let values = Values {
            ttl,
            timeout,
            retries: Values::DEFAULTS.retries,
            stash,
            storage: round_up(2.0 * longest, 30).clamp(LEAST_STORAGE, Values::DEFAULTS.storage),
            workers,
            ..chosen
        };
        let reasons = self.reasons(&values, misses_per_second);
        (values, reasons)
    }

    fn reasons(&self, values: &Values, misses: f64) -> Vec<(&'static str, u32, String)> {
        let longest = self.times.longest();
        vec![
            (
                "Lease",
                values.lease,
                format!(
                    "the shortest with which a pause of {:.1} s, and a second more, loses no lock; who waits \
                    for a dead \
                     holder waits that long",
                    self.pause
                ),
            ),
            (
                "Renewal",
                values.renewal,
                "the time since the last one is what a pause has less".to_owned(),
            ),
            ("TTL", values.ttl, "StashTimeout and a lease: no fetch outlives its lock".to_owned()),
            (
                "Timeout",
                values.timeout,
                format!(
                    "a lock service that is silent for {:.0} s is waited for; beyond it a duplicate costs \
                    less than a wait",
                    self.silence
                ),
            ),
            (
                "MaxRetries",
                values.retries,
                "refusals are answered at once: Athens's own is enough".to_owned(),
            ),
            (
                "StashTimeout",
                values.stash,
                format!(
                    "four times the longest fetch ({longest:.1} s), and no less than {LEAST_STASH} s"
                ),
            ),
            (
                "Timeout (storage)",
                values.storage,
                format!("twice the longest fetch, and no less than {LEAST_STORAGE} s"),
            ),
            (
                "ProtocolWorkers, GoGetWorkers",
                values.workers,
                format!(
                    "three times the {:.1} misses that {misses} a second of {:.1} s keep in hand, and no \
                    fewer than Athens's",
                    misses * (self.times.mean() + self.overhead),
                    self.times.mean()
                ),
            ),
        ]
    }
}

/// To a multiple of `step`.
fn round_up(value: f64, step: u32) -> u32 {
    ((value / f64::from(step)).ceil() as u32).max(1) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(times: &Times) -> World<'_> {
        World {
            lock: Lock::Redis,
            gateways: 3,
            times,
            overhead: 0.1,
            pause: 2.0,
            silence: 6.0,
            burst: (24, 0.5),
            fetch_of_kill: 1.0,
            seed: 1,
        }
    }

    fn times() -> Times {
        Times::given("300ms,800ms,2s,3s").unwrap()
    }

    #[test]
    fn the_same_seed_foretells_the_same() {
        let times = times();
        let play = || world(&times).play(&Values::DEFAULTS);
        assert_eq!(play(), play());
    }

    #[test]
    fn a_dead_holder_is_waited_for_by_its_lease_and_no_longer() {
        let times = times();
        let outcome = world(&times).play(&Values::DEFAULTS);
        let worst = outcome.worst_recovery().unwrap();
        assert!((8.0..11.4).contains(&worst), "{worst}");
        assert_eq!(outcome.duplicates, Some(0.0));
        assert_eq!(outcome.takeovers, Some(0.0));
        assert_eq!(outcome.silent_duplicates, Some(0.0));
    }

    #[test]
    fn a_lease_that_is_too_short_is_lost_in_a_pause_and_a_short_ttl_in_a_fetch() {
        let times = times();
        let short = Values { lease: 2, renewal: 1, ttl: 1, ..Values::DEFAULTS };
        let outcome = world(&times).play(&short);
        assert!(outcome.takeovers.unwrap() > 0.9);
        assert!(outcome.duplicates.unwrap() > 0.0);
        let hasty = Values { timeout: 1, ..Values::DEFAULTS };
        assert_eq!(world(&times).play(&hasty).silent_duplicates, Some(2.0));
    }

    #[test]
    fn what_is_recommended_recovers_sooner_and_loses_nothing() {
        let times = times();
        let world = world(&times);
        let (values, reasons) = world.recommend(2.0);
        assert!(values.lease < Values::DEFAULTS.lease && values.renewal * 2 <= values.lease);
        let (ours, theirs) = (world.play(&values), world.play(&Values::DEFAULTS));
        assert!(ours.worst_recovery() < theirs.worst_recovery());
        assert_eq!(
            (ours.takeovers, ours.duplicates, ours.failed),
            (Some(0.0), Some(0.0), Some(0.0))
        );
        assert_eq!(reasons.len(), 8);
    }
}
