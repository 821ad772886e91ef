//! The buckets as all calls share them: by the clock, under locks, and counted.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use super::clock::SinceStart;
use super::state::{Client, Counted, Shard};
use crate::telemetry::{IntCounter, IntGauge};

/// Clients that are remembered at most: some 4 MB.
pub const CLIENTS_MAX: usize = 65_536;
/// How often clients whose buckets are full again are forgotten.
pub const AGED_OUT_EVERY: Duration = Duration::from_secs(1);

/// Parts of the store, each under a lock of its own. The hash that chooses one has a secret key, so that
/// nobody can aim at a part.
const SHARDS: usize = 64;
/// Clients remembered in one part.
const SHARD_CLIENTS_MAX: usize = CLIENTS_MAX / SHARDS;

/// The bucket of every client.
#[derive(Debug)]
pub(super) struct Buckets {
    limiter: RateLimiter<Client, Store, SinceStart, NoOpMiddleware<Duration>>,
    aged_out: Mutex<Duration>,
    clients: IntGauge,
}

impl Buckets {
    /// All full. `clients` is kept at their number, `together` counts requests without a bucket of
    /// their client's own.
    pub(super) fn new(quota: Quota, clients: IntGauge, together: IntCounter) -> Self {
        let store = Store::new(clients.clone(), together);
        let limiter = RateLimiter::new(quota, store, SinceStart::new());
        Self { limiter, aged_out: Mutex::default(), clients }
    }

    /// Takes one request from the client's bucket; where it is empty, says how long until there is one.
    pub(super) fn take(&self, client: Client) -> Result<(), Duration> {
        let now = self.limiter.clock().now();
        self.age_out(now);
        self.limiter.check_key(&client).map_err(|until| until.wait_time_from(now))
    }

    /// One request in [`AGED_OUT_EVERY`] looks at all buckets, under one lock after the other: it takes that
    /// time, and who comes meanwhile waits for one shard at most.
    fn age_out(&self, now: Duration) {
        let Some(mut last) = self.aged_out.try_lock() else { return };
        if Duration::from(now.duration_since(*last)) < AGED_OUT_EVERY {
            return;
        }
        *last = now;
        drop(last);
        self.limiter.retain_recent();
        self.clients.set(i64::try_from(self.limiter.len()).unwrap_or(i64::MAX));
    }
}

/// When each client's bucket will be full again: a bounded store below governor's algorithm.
#[derive(Debug)]
struct Store {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    clients: IntGauge,
    together: IntCounter,
}

impl Store {
    fn new(clients: IntGauge, together: IntCounter) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(SHARD_CLIENTS_MAX))).collect();
        Self { shards, hasher: RandomState::new(), clients, together }
    }

    fn shard(&self, client: &Client) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(client);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

impl StateStore for Store {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (verdict, counted) = self.shard(client).lock().decide(client, decide);
        match counted {
            Counted::New if verdict.is_ok() => self.clients.inc(),
            Counted::Together => self.together.inc(),
            Counted::Known | Counted::New => {}
        }
        verdict
    }
}

impl ShrinkableKeyedStateStore<Client> for Store {
    fn retain_recent(&self, full_by: Nanos) {
        for shard in &self.shards {
            shard.lock().forget_full(full_by);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.shards {
            shard.lock().shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().clients()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
