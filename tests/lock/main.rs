//! Locks across replicas: the lock suite on every service, and whole gateways that share a store.

mod fleet;
mod on_redis;
mod redis_fleet;
