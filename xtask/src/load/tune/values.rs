//! The values that are swept: one row of the sweep is one set of them.

use super::super::options::Lock;
use super::times::Times;

/// Values of the configuration, in seconds but for the last two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Values {
    pub(super) lease: u32,
    pub(super) renewal: u32,
    pub(super) ttl: u32,
    pub(super) timeout: u32,
    pub(super) retries: u32,
    pub(super) stash: u32,
    pub(super) storage: u32,
    pub(super) workers: u32,
}

/// What is tried with a row; each takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Versions are released one after the other, with the fetch times that are given.
    Releases,
    /// The holder of a lock is killed.
    Kills,
    /// The holder of a lock stands still for the longest pause that is no death.
    Pauses,
    /// The lock service swallows everything for a while, as a version is released.
    Silence,
    /// Many versions are wanted at once.
    Burst,
}

const ALL_TRIALS: &[Trial] =
    &[Trial::Releases, Trial::Kills, Trial::Pauses, Trial::Silence, Trial::Burst];

/// A row of the sweep.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) values: Values,
    pub(super) trials: &'static [Trial],
}

impl Values {
    /// Athens's defaults (900 s, 15 s, 10), and ours for what Athens does not have.
    pub(super) const DEFAULTS: Self = Self {
        lease: 10,
        renewal: 3,
        ttl: 900,
        timeout: 15,
        retries: 10,
        stash: 600,
        storage: 300,
        workers: 30,
    };

    /// Variables of a gateway.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("DIPYLON_LOCK_LEASE", self.lease),
            ("DIPYLON_LOCK_RENEWAL", self.renewal),
            ("ATHENS_REDIS_LOCK_TTL", self.ttl),
            ("ATHENS_REDIS_LOCK_TIMEOUT", self.timeout),
            ("ATHENS_REDIS_LOCK_MAX_RETRIES", self.retries),
            ("ATHENS_S3_LOCK_TTL", self.ttl),
            ("ATHENS_S3_LOCK_TIMEOUT", self.timeout),
            ("ATHENS_S3_LOCK_MAX_RETRIES", self.retries),
            ("ATHENS_STASH_TIMEOUT", self.stash),
            ("ATHENS_TIMEOUT", self.storage),
            ("ATHENS_PROTOCOL_WORKERS", self.workers),
            ("ATHENS_GOGET_WORKERS", self.workers),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    }

    /// The configuration to paste.
    pub(super) fn configuration(&self, lock: Lock) -> String {
        let table = match lock {
            Lock::Redis => Some("SingleFlight.Redis.LockConfig"),
            Lock::Sentinel => Some("SingleFlight.RedisSentinel.LockConfig"),
            Lock::S3 => Some("SingleFlight.S3"),
            Lock::Etcd | Lock::Memory => None,
        };
        let mut text = format!(
            "ProtocolWorkers = {}\nGoGetWorkers = {}\nStashTimeout = {}\nTimeout = {}\n",
            self.workers, self.workers, self.stash, self.storage
        );
        if let Some(table) = table {
            text += &format!(
                "\n[{table}]\nTTL = {}\nTimeout = {}\nMaxRetries = {}\n",
                self.ttl, self.timeout, self.retries
            );
        }
        text + &format!("\n[Dipylon.Lock]\nLease = {}\nRenewal = {}\n", self.lease, self.renewal)
    }

    /// As a cell of a table.
    pub(super) fn cell(&self) -> String {
        format!(
            "{}/{} s, TTL {}, timeout {}, retries {}, stash {}, storage {}, workers {}",
            self.lease,
            self.renewal,
            self.ttl,
            self.timeout,
            self.retries,
            self.stash,
            self.storage,
            self.workers
        )
    }
}

/// The rows that are measured: the defaults, what is recommended, and each value once where it shows.
/// A row that a kind of lock has no key for is left out.
pub(super) fn rows(recommended: Values, times: &Times, lock: Lock) -> Vec<Row> {
    let row = |name, why, values, trials| Row { name, why, values, trials };
    let median = (times.quantile(0.5).ceil() as u32).max(1);
    let all = vec![
        row("Athens's defaults", "900 s, 15 s, 10, and our Lease", Values::DEFAULTS, ALL_TRIALS),
        row("recommended", "what the model chose", recommended, ALL_TRIALS),
        row(
            "short lease",
            "a pause loses the lock",
            Values { lease: 2, renewal: 1, ..recommended },
            &[Trial::Kills, Trial::Pauses],
        ),
        row(
            "long lease",
            "a death is waited for",
            Values { lease: 20, renewal: 5, ..recommended },
            &[Trial::Kills, Trial::Pauses],
        ),
        row(
            "short TTL",
            "fetches outlive their lock",
            Values { lease: 2, renewal: 1, ttl: 1, ..recommended },
            &[Trial::Releases],
        ),
        row(
            "short timeout",
            "a silent lock service is given up soon",
            Values { timeout: 1, retries: 1, ..recommended },
            &[Trial::Silence],
        ),
        row(
            "short stash timeout",
            "slow fetches are given up",
            Values { stash: median, ..recommended },
            &[Trial::Releases],
        ),
        row("few workers", "misses queue", Values { workers: 2, ..recommended }, &[Trial::Burst]),
    ];
    let known = |row: &Row| match lock {
        // Athens has no keys for locks in etcd.
        Lock::Etcd => !matches!(row.name, "short TTL" | "short timeout"),
        // Where the lock lies in the store, a silent service is a silent store, and nothing can be kept at all.
        Lock::S3 => row.name != "short timeout",
        Lock::Memory | Lock::Redis | Lock::Sentinel => true,
    };
    all.into_iter().filter(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_names_the_lock_that_is_used() {
        let text = |lock| Values::DEFAULTS.configuration(lock);
        assert!(text(Lock::Redis).contains("[SingleFlight.Redis.LockConfig]\nTTL = 900\n"));
        assert!(text(Lock::S3).contains("[SingleFlight.S3]\nTTL = 900\n"));
        assert!(!text(Lock::Etcd).contains("TTL"));
        assert!(text(Lock::Etcd).contains("[Dipylon.Lock]\nLease = 10\nRenewal = 3\n"));
    }

    #[test]
    fn the_renewal_of_every_row_is_at_most_half_of_its_lease() {
        let times = Times::given("1s,2s,3s,4s").unwrap();
        for row in rows(Values::DEFAULTS, &times, Lock::Redis) {
            assert!(row.values.renewal * 2 <= row.values.lease, "{}", row.name);
        }
        assert_eq!(rows(Values::DEFAULTS, &times, Lock::Etcd).len(), 6);
    }
}
