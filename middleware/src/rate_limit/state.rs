//! Who is a client, and the buckets: a bounded store below governor's algorithm (GCRA).
//!
//! A bucket is one number, the time at which it will be full again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use super::clock::SinceStart;

/// Clients that are remembered at most: some 4 MB.
pub const CLIENTS_MAX: usize = 65_536;
/// Leading bits of an IPv6 address that make a client: what one customer is given at least (RFC 6177).
pub const IPV6_CLIENT_BITS: u32 = 64;
/// How often clients whose buckets are full again are forgotten.
pub const AGED_OUT_EVERY: Duration = Duration::from_secs(1);

/// Parts of the store, each under a lock of its own. The hash that chooses one has a secret key, so that
/// nobody can aim at a part.
const SHARDS: usize = 64;
const SHARD_CLIENTS_MAX: usize = CLIENTS_MAX / SHARDS;

/// Whom requests are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(Option<IpAddr>);

impl Client {
    /// The client at this address. An IPv4 address written as IPv6 is IPv4.
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let kept = u128::MAX << (Ipv6Addr::BITS - IPV6_CLIENT_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & kept))
            }
        }))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V4(address)) => address.fmt(f),
            Some(IpAddr::V6(network)) => write!(f, "{network}/{IPV6_CLIENT_BITS}"),
            None => f.write_str("the unix socket"),
        }
    }
}

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

    /// One request in [`AGED_OUT_EVERY`] looks at all buckets, under one lock after the other; no request
    /// waits for it.
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

/// When each client's bucket will be full again.
#[derive(Debug)]
struct Store {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    clients: IntGauge,
    together: IntCounter,
}

#[derive(Debug, Default)]
struct Shard {
    full_at: HashMap<Client, Nanos>,
    /// The bucket of all clients for which there is no room.
    together_full_at: Option<Nanos>,
}

impl Store {
    fn new(clients: IntGauge, together: IntCounter) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
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
        let mut shard = self.shard(client).lock();
        if let Some(full_at) = shard.full_at.get_mut(client) {
            let (verdict, next) = decide(Some(*full_at))?;
            *full_at = next;
            return Ok(verdict);
        }
        if shard.full_at.len() < SHARD_CLIENTS_MAX {
            let (verdict, next) = decide(None)?;
            shard.full_at.insert(*client, next);
            self.clients.inc();
            return Ok(verdict);
        }
        self.together.inc();
        let (verdict, next) = decide(shard.together_full_at)?;
        shard.together_full_at = Some(next);
        Ok(verdict)
    }
}

impl ShrinkableKeyedStateStore<Client> for Store {
    fn retain_recent(&self, full_by: Nanos) {
        for shard in &self.shards {
            shard.lock().full_at.retain(|_, full_at| *full_at > full_by);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.shards {
            shard.lock().full_at.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().full_at.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
