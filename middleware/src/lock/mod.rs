//! One stash per version among all replicas that share a store.
//!
//! # What it does
//! Before a zip is fetched its version is locked across the replicas, under Athens's own key. Who has
//! the lock looks in storage once more, fetches, and renews the lock until the version is stored; who
//! has not waits until the version is stored or the lock is free, and one of those takes over. A lasting
//! "no" that the holder found, before the answer or behind it, is left at the service, where that carries it, for
//! those who waited.
//!
//! # Where it sits
//! Below `single_flight`, so that one replica asks for a lock once, however many clients wait; above
//! `pool`, so that who waits for another replica takes no fetch slot. `.info` and `.mod` that come
//! alone, and queries, whose stored name is not known yet, pass without a lock.
//!
//! # Telemetry
//! `dipylon_lock_*`: wait, hold, operations, losses, and the gauge `dipylon_lock_degraded`; the span
//! events `lock_acquired`, `lock_held_elsewhere`, `lock_stored_elsewhere`, `lock_settled_elsewhere` and
//! `lock_degraded`; the outcome `miss_degraded` for what was fetched without the lock. The owner of a lock names
//! the span that holds it, so a replica that waits links to it, where the service tells who that is.
//!
//! # Failure modes
//! None that a client sees. A service that gives no sign of life for `Timeout`, or `MaxRetries` times
//! in a row, counts as down: misses go on without a lock, at once, until it is found to work again. A
//! holder that cannot renew its lock goes on without it. A holder that dies is replaced when its lease
//! has lapsed. That is safe because a save never overwrites: a lost lock costs a fetch.
//!
//! # Limits
//! One wish for a lock per key of `single_flight`, and so one row of the roll that `/-/status` and `/-/explain` show
//! until the wish is over and the lock given back; a wish asks once in three quarters of `PollMillis` at
//! most; [`OPERATION_TIMEOUT`] for each question to the service and [`LOOK_TIMEOUT`] for each look in
//! storage; a lock is renewed for `TTL` at most; a wait ends with the stash's deadline, and then the fetch
//! begins without the lock; a verdict stands for [`VERDICT_LIFE`](crate::ports::VERDICT_LIFE), and only for
//! who waited when it was found.

mod health;
mod holding;
mod layer;
mod owner;
mod roll;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use health::{LockHealth, OPERATION_TIMEOUT};
pub use layer::LockLayer;
pub use roll::{Counts, Listed, Standing};
pub use service::{LOOK_TIMEOUT, Locked};
pub use state::{Contest, Footing, Hold, LockLimits, Loss, Next, Tend, Why};
