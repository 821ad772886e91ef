//! The lock services that whole gateways run against.

use std::time::{Duration, Instant};

use dipylon_testkit::services::etcd::EtcdCluster;
use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use dipylon_testkit::services::sentinel::{MASTER, SENTINEL_PASSWORD, Sentinels};

use crate::stores::{Store, authority};
use crate::{on_etcd, on_redis};

/// What a service may take beyond a lease to remove what lapsed.
pub(crate) const LAPSED: Duration = Duration::from_secs(5);
/// What may come on top of a lease until the others have served.
const TAKE_OVER: Duration = Duration::from_secs(2);
/// The pause between two looks at what is left: of each lease in a store it is a request or two.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A lock service of a test.
pub(crate) enum Service {
    Redis(RedisServer),
    Sentinel(Sentinels),
    Etcd(EtcdCluster),
    Store(Box<Store>),
}

impl Service {
    pub(crate) async fn redis() -> Self {
        Self::Redis(RedisServer::start())
    }

    /// A server without a replica, behind one sentinel: nothing takes over when it is killed.
    pub(crate) async fn sentinel() -> Self {
        Self::Sentinel(Sentinels::start(1))
    }

    pub(crate) async fn etcd() -> Self {
        Self::Etcd(EtcdCluster::start(1))
    }

    pub(crate) async fn three_etcd() -> Self {
        Self::Etcd(EtcdCluster::start(3))
    }

    pub(crate) async fn minio() -> Self {
        Self::Store(Box::new(Store::minio().await))
    }

    pub(crate) async fn versitygw() -> Self {
        Self::Store(Box::new(Store::versitygw().await))
    }

    pub(crate) async fn gcp() -> Self {
        Self::Store(Box::new(Store::gcp().await))
    }

    pub(crate) async fn azurite() -> Self {
        Self::Store(Box::new(Store::azurite().await))
    }

    /// How long a lock of the default settings outlives its holder.
    pub(crate) fn default_lease(&self) -> Duration {
        match self {
            Self::Redis(_) | Self::Sentinel(_) | Self::Etcd(_) => Duration::from_secs(10),
            Self::Store(store) => store.default_lease(),
        }
    }

    /// Leaders that its members have elected.
    pub(crate) fn elections(&self) -> usize {
        match self {
            Self::Etcd(cluster) => cluster.elections(),
            Self::Redis(_) | Self::Sentinel(_) | Self::Store(_) => 0,
        }
    }

    /// Within what time the others have served when a holder with such a lease was killed, and so many elections were
    /// counted before: a new leader of etcd begins each lease anew.
    pub(crate) fn take_over_limit(&self, lease: Duration, elections: usize) -> Duration {
        let since = self.elections().saturating_sub(elections);
        (self.lease(lease) + TAKE_OVER) * u32::try_from(since + 1).expect("few elections")
    }

    /// How long a lock of this lease outlives its holder.
    pub(crate) fn lease(&self, lease: Duration) -> Duration {
        match self {
            Self::Store(store) => lease.max(store.shortest_lease()),
            _ => lease,
        }
    }

    /// Whether a lock that nobody gives back lies there for ever.
    pub(crate) fn locks_stay(&self) -> bool {
        matches!(self, Self::Store(store) if store.shortest_lease().is_zero())
    }

    /// Whether a release is pushed to who waits.
    pub(crate) fn pushes(&self) -> bool {
        !self.is_store()
    }

    /// Whether the locks lie in the store of the versions, and are gone with it.
    pub(crate) fn is_store(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// What the paths of a store's locks have in common.
    pub(crate) fn lock_paths(&self) -> &'static str {
        match self {
            Self::Store(store) => store.lock_paths(),
            _ => panic!("no store"),
        }
    }

    /// What a gateway is told of it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Redis(server) => vec![
                ("ATHENS_SINGLE_FLIGHT_TYPE", "redis".to_owned()),
                ("ATHENS_REDIS_ENDPOINT", server.address().to_string()),
                ("ATHENS_REDIS_PASSWORD", PASSWORD.to_owned()),
            ],
            Self::Sentinel(sentinels) => vec![
                ("ATHENS_SINGLE_FLIGHT_TYPE", "redis-sentinel".to_owned()),
                ("ATHENS_REDIS_SENTINEL_ENDPOINTS", sentinels.endpoints().join(",")),
                ("ATHENS_REDIS_SENTINEL_MASTER_NAME", MASTER.to_owned()),
                ("ATHENS_REDIS_SENTINEL_PASSWORD", SENTINEL_PASSWORD.to_owned()),
                ("ATHENS_REDIS_PASSWORD", PASSWORD.to_owned()),
            ],
            Self::Etcd(cluster) => vec![
                ("ATHENS_SINGLE_FLIGHT_TYPE", "etcd".to_owned()),
                ("ATHENS_ETCD_ENDPOINTS", cluster.endpoints()),
            ],
            Self::Store(store) => store.variables(),
        }
    }

    /// The hosts and ports at which a gateway reaches it.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Redis(server) => vec![server.address().to_string()],
            // Where that is told to be; see `Leash`.
            Self::Sentinel(sentinels) => vec![sentinels.leader().to_string()],
            Self::Etcd(cluster) => {
                let endpoints = cluster.endpoints();
                endpoints.split(',').map(|url| authority(url).to_owned()).collect()
            }
            Self::Store(store) => vec![store.address()],
        }
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        match self {
            Self::Redis(server) => server.stop(),
            Self::Sentinel(sentinels) => sentinels.kill_leader(),
            Self::Etcd(cluster) => cluster.stop(),
            Self::Store(store) => store.stop(),
        }
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Redis(server) => server.restart(),
            Self::Sentinel(_) => panic!("the server behind it stays away"),
            Self::Etcd(cluster) => cluster.restart(),
            Self::Store(store) => store.restart(),
        }
    }

    /// Kills the member of a cluster that leads.
    pub(crate) fn kill_leader(&mut self) {
        match self {
            Self::Redis(_) | Self::Store(_) => panic!("one server has no leader"),
            Self::Sentinel(sentinels) => sentinels.kill_leader(),
            Self::Etcd(cluster) => {
                cluster.kill_leader();
            }
        }
    }

    /// Keys that lie there.
    pub(crate) async fn keys(&self) -> Vec<String> {
        match self {
            Self::Redis(server) => on_redis::command(&server.url(), &["KEYS", "*"]).await,
            Self::Sentinel(sentinels) => {
                on_redis::command(&sentinels.first_url(), &["KEYS", "*"]).await
            }
            Self::Etcd(cluster) => on_etcd::keys(&cluster.running()).await,
            Self::Store(store) => store.left().await,
        }
    }

    /// Keys that lie there, and leases that are granted.
    pub(crate) async fn left(&self) -> Vec<String> {
        let mut left = self.keys().await;
        if let Self::Etcd(cluster) = self {
            left.extend(on_etcd::leases(&cluster.running()).await);
        }
        left
    }

    /// What lies there when it has had so long to be rid of it.
    pub(crate) async fn left_after(&self, patience: Duration) -> Vec<String> {
        let began = Instant::now();
        loop {
            let left = self.left().await;
            if left.is_empty() || began.elapsed() > patience {
                return left;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Keys of locks are gone, within a moment: a release is off the path of the answer.
    pub(crate) async fn assert_empty(&self) {
        for _ in 0..100 {
            if self.keys().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("left: {:?}", self.keys().await);
    }
}
