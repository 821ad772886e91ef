//! `[SingleFlight.*]`: only the table that `SingleFlightType` names is checked.

use std::time::Duration;

use super::super::key::{count, positive_seconds, table};
use super::super::values::{Endpoints, Secret, Setting as _, UrlText};
use super::{seconds, text, url};

/// The most attempts to get a lock.
const MAX_RETRIES: u32 = 100_000;

/// The highest database number of a Redis server.
const MAX_REDIS_DB: u32 = 1_000_000;

fn default_etcd() -> Endpoints {
    let local = "localhost:2379,localhost:22379,localhost:32379";
    Endpoints::from_text(local).expect("every text is a list of endpoints")
}

table! {
    /// The locks, one table each. Only the one that `SingleFlightType` names is used.
    pub struct SingleFlightConfig {
        tables {
            /// etcd.
            etcd: EtcdLock = "Etcd";
            /// A Redis server or cluster.
            redis: RedisLock = "Redis";
            /// Redis behind sentinels.
            redis_sentinel: RedisSentinelLock = "RedisSentinel";
            /// Google Cloud Storage.
            gcp: GcpLock = "GCP";
            /// S3.
            s3: S3Lock = "S3";
        }
    }
}

table! {
    /// `SingleFlightType = "etcd"`.
    pub struct EtcdLock {
        /// The members of the cluster, with commas between; three or more survive the loss of one.
        endpoints: Endpoints = "Endpoints", ["ATHENS_ETCD_ENDPOINTS"], default_etcd(), required();
    }
}

table! {
    /// `SingleFlightType = "redis"`.
    pub struct RedisLock {
        /// The server: host and port, or a URL with `redis://` or `rediss://`. With `Cluster` a
        /// list with commas between.
        endpoint: UrlText = "Endpoint", ["ATHENS_REDIS_ENDPOINT"],
            url("127.0.0.1:6379"), required();
        /// The password. If the URL has one too, both must be the same.
        password: Secret = "Password", ["ATHENS_REDIS_PASSWORD"], Secret::default();
        /// The server is a Redis cluster.
        cluster: bool = "Cluster", ["ATHENS_REDIS_CLUSTER"], false;
        tables {
            /// How the lock behaves.
            lock_config: LockConfig = "LockConfig";
        }
    }
}

table! {
    /// `SingleFlightType = "redis-sentinel"`.
    pub struct RedisSentinelLock {
        /// The sentinels.
        endpoints: Vec<String> = "Endpoints", ["ATHENS_REDIS_SENTINEL_ENDPOINTS"],
            vec![text("127.0.0.1:26379")], required();
        /// The name by which the sentinels know the server.
        master_name: String = "MasterName", ["ATHENS_REDIS_SENTINEL_MASTER_NAME"],
            text("redis-1"), required();
        /// The password of the sentinels. Athens's default is `sekret`, and so it is here.
        sentinel_password: Secret = "SentinelPassword", ["ATHENS_REDIS_SENTINEL_PASSWORD"],
            Secret::new("sekret");
        /// The user of the server behind the sentinels.
        redis_username: String = "RedisUsername", ["ATHENS_REDIS_USERNAME"], String::new();
        /// The password of the server behind the sentinels. It shares its variable with
        /// `SingleFlight.Redis.Password`.
        redis_password: Secret = "RedisPassword", ["ATHENS_REDIS_PASSWORD"], Secret::default();
        /// The number of the database.
        db: u32 = "DB", ["ATHENS_REDIS_SENTINEL_DB"], 0, check(count(0, MAX_REDIS_DB));
        tables {
            /// How the lock behaves.
            lock_config: LockConfig = "LockConfig";
        }
    }
}

table! {
    /// How a lock in Redis behaves; `Redis` and `RedisSentinel` share the short names of variables.
    pub struct LockConfig {
        /// The longest that a holder renews its lock, in seconds; after that it goes on without.
        ttl: Duration = "TTL", ["ATHENS_REDIS_LOCK_TTL"], seconds(900), check(positive_seconds());
        /// How long a lock service may give no sign of life before a fetch goes on without it, in
        /// seconds. A holder that is alive is waited for as long as a fetch may take.
        timeout: Duration = "Timeout", ["ATHENS_REDIS_LOCK_TIMEOUT"],
            seconds(15), check(positive_seconds());
        /// How often in a row a lock service that fails is asked again before a fetch goes on without
        /// it.
        max_retries: u32 = "MaxRetries", ["ATHENS_REDIS_LOCK_MAX_RETRIES"],
            10, check(count(1, MAX_RETRIES));
    }
}

table! {
    /// `SingleFlightType = "gcp"`, with the storage of that name only.
    pub struct GcpLock {
        /// After how many seconds without a sign of life an upload counts as failed and is
        /// unlocked.
        stale_threshold: Duration = "StaleThreshold", ["ATHENS_GCP_STALE_THRESHOLD"], seconds(120),
            check(positive_seconds());
    }
}

table! {
    /// `SingleFlightType = "s3"`, with the storages `s3` and `minio` only.
    pub struct S3Lock {
        /// The longest that a holder renews its lock, in seconds; after that it goes on without.
        ttl: Duration = "TTL", ["ATHENS_S3_LOCK_TTL"], seconds(900), check(positive_seconds());
        /// How long a lock service may give no sign of life before a fetch goes on without it, in
        /// seconds. A holder that is alive is waited for as long as a fetch may take.
        timeout: Duration = "Timeout", ["ATHENS_S3_LOCK_TIMEOUT"],
            seconds(15), check(positive_seconds());
        /// How often in a row a lock service that fails is asked again before a fetch goes on without
        /// it.
        max_retries: u32 = "MaxRetries", ["ATHENS_S3_LOCK_MAX_RETRIES"],
            10, check(count(1, MAX_RETRIES));
    }
}
