//! Locks across replicas: the adapters behind [`Lock`].
//!
//! One module per `SingleFlightType`; `memory` needs none, because one process is all there is. Every
//! one of them passes the lock suite of the testkit against the real service. Opening one connects to
//! nothing: a gateway starts, and works, without its lock service. `docs/single-flight.md` says what
//! each promises.

#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp", feature = "azureblob"))]
pub mod stores;
#[cfg(any(feature = "etcd", feature = "redis"))]
mod verdicts;
#[cfg(any(
    feature = "redis",
    feature = "s3",
    feature = "minio",
    feature = "gcp",
    feature = "azureblob"
))]
mod wakers;

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::Error;
use dipylon_middleware::lock::LockLimits;
use dipylon_middleware::ports::Lock;

#[cfg(any(feature = "s3", feature = "minio"))]
use crate::config::StorageType;
use crate::config::{Config, LockConfig, SingleFlightType};
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp", feature = "azureblob"))]
use crate::storage;
use crate::storage::Variables;
#[cfg(any(feature = "gcp", feature = "azureblob"))]
use crate::storage::object::Access;

/// The key `TTL` of a kind that does not have it: Athens's default, as of the two below.
const TTL: Duration = Duration::from_secs(900);
/// The key `Timeout` of a kind that does not have it.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The key `MaxRetries` of a kind that does not have it.
const MAX_RETRIES: u32 = 10;

/// Opens what `SingleFlightType` names; `None` where no lock is needed, or where this build has none
/// of that kind. Must be called within a runtime. `variables` is the process's environment, which a lock
/// in the store needs as the store does.
///
/// # Errors
/// `Unsupported` for settings that can never work, and what the store's own settings are refused with; one
/// line says which and why.
#[cfg_attr(
    not(any(feature = "s3", feature = "minio", feature = "gcp", feature = "azureblob")),
    expect(unused_variables)
)]
pub async fn open(
    config: &Config,
    variables: Variables<'_>,
) -> Result<Option<Arc<dyn Lock>>, Error> {
    let kind = config.single_flight_type;
    #[cfg(any(feature = "etcd", feature = "redis"))]
    let lease = config.dipylon.lock.lease;
    Ok(match kind {
        SingleFlightType::Memory => None,
        #[cfg(feature = "etcd")]
        SingleFlightType::Etcd => {
            let members = etcd::Members::of(&config.single_flight.etcd)?;
            Some(Arc::new(etcd::EtcdLock::open(members, lease)))
        }
        #[cfg(feature = "redis")]
        SingleFlightType::Redis => {
            let servers = redis::Servers::of(&config.single_flight.redis)?;
            Some(Arc::new(redis::RedisLock::open(kind.as_str(), servers, lease)))
        }
        #[cfg(feature = "redis")]
        SingleFlightType::RedisSentinel => {
            let servers = redis::Servers::behind_sentinels(&config.single_flight.redis_sentinel)?;
            Some(Arc::new(redis::RedisLock::open(kind.as_str(), servers, lease)))
        }
        #[cfg(feature = "gcp")]
        SingleFlightType::Gcp => {
            let access = gcp_access(config, variables)?;
            let stale = config.single_flight.gcp.stale_threshold;
            let terms =
                stores::Terms { lease: limits(config).lease, foreign: stale, longest: stale };
            Some(Arc::new(stores::ObjectLock::gcp(access, terms)))
        }
        #[cfg(feature = "azureblob")]
        SingleFlightType::AzureBlob => {
            let access = azure_access(config, variables)?;
            Some(Arc::new(stores::AzureLock::open(access, limits(config).lease)))
        }
        #[cfg(feature = "s3")]
        SingleFlightType::S3 if config.storage_type == StorageType::S3 => {
            let access = storage::s3::access(&config.storage.s3, variables).await?;
            Some(Arc::new(stores::ObjectLock::s3(access, s3_terms(config))))
        }
        #[cfg(feature = "minio")]
        SingleFlightType::S3 if config.storage_type == StorageType::Minio => {
            let access = storage::minio::access(&config.storage.minio, variables)?;
            Some(Arc::new(stores::ObjectLock::s3(access, s3_terms(config))))
        }
        #[allow(unreachable_patterns, reason = "with every feature S3 alone could come here")]
        other => {
            // Locks save fetches, never bytes: without one each replica fetches for itself.
            tracing::warn!(
                single_flight_type = other.as_str(),
                "SingleFlightType is not in this build: each replica fetches for itself, and the \
                 first version stored stays"
            );
            None
        }
    })
}

/// What can be said of the settings without asking anybody. A lock in the store has the store's settings.
///
/// # Errors
/// As [`open`].
#[cfg_attr(
    not(any(feature = "minio", feature = "gcp", feature = "azureblob")),
    expect(unused_variables)
)]
pub fn check(config: &Config, variables: Variables<'_>) -> Result<(), Error> {
    match config.single_flight_type {
        #[cfg(feature = "etcd")]
        SingleFlightType::Etcd => etcd::Members::of(&config.single_flight.etcd).map(drop),
        #[cfg(feature = "redis")]
        SingleFlightType::Redis => redis::Servers::of(&config.single_flight.redis).map(drop),
        #[cfg(feature = "redis")]
        SingleFlightType::RedisSentinel => {
            redis::Servers::behind_sentinels(&config.single_flight.redis_sentinel).map(drop)
        }
        #[cfg(feature = "gcp")]
        SingleFlightType::Gcp => gcp_access(config, variables).map(drop),
        #[cfg(feature = "azureblob")]
        SingleFlightType::AzureBlob => azure_access(config, variables).map(drop),
        #[cfg(feature = "minio")]
        SingleFlightType::S3 if config.storage_type == StorageType::Minio => {
            storage::minio::access(&config.storage.minio, variables).map(drop)
        }
        // The region and the credentials of S3 may be known to an instance alone, which would be asked.
        _ => Ok(()),
    }
}

#[cfg(feature = "gcp")]
fn gcp_access(config: &Config, variables: Variables<'_>) -> Result<Access, Error> {
    let emulator = config.dipylon.storage_emulator_host.as_str();
    storage::gcp::access(&config.storage.gcp, emulator, variables)
}

#[cfg(feature = "azureblob")]
fn azure_access(config: &Config, variables: Variables<'_>) -> Result<Access, Error> {
    let ours = storage::azureblob::Extensions {
        endpoint: config.dipylon.azure_endpoint.as_str(),
        create_container: config.dipylon.azure_create_container,
    };
    storage::azureblob::access(&config.storage.azure_blob, ours, variables)
}

/// An Athens holder does not renew: it has its lock for `TTL`.
#[cfg(any(feature = "s3", feature = "minio"))]
fn s3_terms(config: &Config) -> stores::Terms {
    let (lease, ttl) = (config.dipylon.lock.lease, config.single_flight.s3.ttl);
    stores::Terms { lease, foreign: ttl, longest: Duration::MAX }
}

/// The lease as the kind can have it.
fn lease(config: &Config) -> Duration {
    let lease = config.dipylon.lock.lease;
    match config.single_flight_type {
        #[cfg(feature = "azureblob")]
        SingleFlightType::AzureBlob => lease.clamp(stores::MIN_LEASE, stores::MAX_LEASE),
        SingleFlightType::Gcp => lease.min(config.single_flight.gcp.stale_threshold),
        _ => lease,
    }
}

/// How the lock behaves.
pub fn limits(config: &Config) -> LockLimits {
    let ours = &config.dipylon.lock;
    let lease = lease(config);
    let (ttl, timeout, max_retries) = match config.single_flight_type {
        SingleFlightType::Redis => athens(&config.single_flight.redis.lock_config),
        SingleFlightType::RedisSentinel => athens(&config.single_flight.redis_sentinel.lock_config),
        SingleFlightType::S3 => {
            let s3 = &config.single_flight.s3;
            (s3.ttl, s3.timeout, s3.max_retries)
        }
        _ => (TTL, TIMEOUT, MAX_RETRIES),
    };
    LockLimits {
        lease,
        // One that is lost leaves time for another, also where the kind shortens the lease.
        renewal: ours.renewal.min(lease / 2),
        poll: Duration::from_millis(u64::from(ours.poll_millis)),
        ttl,
        timeout,
        max_retries,
    }
}

fn athens(keys: &LockConfig) -> (Duration, Duration, u32) {
    (keys.ttl, keys.timeout, keys.max_retries)
}
