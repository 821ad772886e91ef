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
#[cfg(feature = "redis")]
mod wakers;

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::Error;
use dipylon_middleware::lock::LockLimits;
use dipylon_middleware::ports::Lock;

use crate::config::{Config, LockConfig, SingleFlightType};

/// The keys `TTL`, `Timeout` and `MaxRetries` of a kind that does not have them: Athens's defaults.
const TTL: Duration = Duration::from_secs(900);
const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_RETRIES: u32 = 10;

/// Opens what `SingleFlightType` names; `None` where no lock is needed, or where this build has none
/// of that kind. Must be called within a runtime.
///
/// # Errors
/// `Unsupported` for settings that can never work; one line says which and why.
pub fn open(config: &Config) -> Result<Option<Arc<dyn Lock>>, Error> {
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

/// What can be said of the settings without opening anything.
///
/// # Errors
/// As [`open`].
pub fn check(config: &Config) -> Result<(), Error> {
    match config.single_flight_type {
        #[cfg(feature = "etcd")]
        SingleFlightType::Etcd => etcd::Members::of(&config.single_flight.etcd).map(drop),
        #[cfg(feature = "redis")]
        SingleFlightType::Redis => redis::Servers::of(&config.single_flight.redis).map(drop),
        #[cfg(feature = "redis")]
        SingleFlightType::RedisSentinel => {
            redis::Servers::behind_sentinels(&config.single_flight.redis_sentinel).map(drop)
        }
        _ => Ok(()),
    }
}

/// How the lock behaves.
pub fn limits(config: &Config) -> LockLimits {
    let ours = &config.dipylon.lock;
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
        lease: ours.lease,
        renewal: ours.renewal,
        poll: Duration::from_millis(u64::from(ours.poll_millis)),
        ttl,
        timeout,
        max_retries,
    }
}

fn athens(keys: &LockConfig) -> (Duration, Duration, u32) {
    (keys.ttl, keys.timeout, keys.max_retries)
}
