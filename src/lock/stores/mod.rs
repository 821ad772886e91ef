//! `SingleFlightType = "s3"`, `"gcp"` and `"azureblob"`: locks that lie in the store itself.
//!
//! `s3` and `gcp` have one object for each lock, written where there was none. Its holder renews it by
//! writing it anew in place of what it wrote last; who waits takes it over in place of what it has seen
//! unchanged for a lease, by its own clock. Every such write is conditional, so of many one succeeds. A store
//! is tried once before it is trusted with a lock (`probe.rs`). Nothing is pushed: who waits polls.
//!
//! | kind | object | Athens |
//! |---|---|---|
//! | `s3` | `lock/<module>@<version>` | the same object, a UUID in it: it stands for `TTL` |
//! | `gcp` | `.dipylon/lock/<module>@<version>` | has no lock |
//! | `azureblob` | a lease on `lease/<module>@<version>` | the same |
//!
//! A lock is given back by a conditional removal. Where a server removes whatever the condition says, it is
//! first marked as leaving, which is conditional: nobody takes such a mark until a lease has passed. Its owner
//! removes it within a third of that, or lets it lapse; that removal, which has no condition, is sent once.

#[cfg(feature = "azureblob")]
mod azureblob;
mod check;
mod clock;
mod hash;
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp"))]
mod mark;
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp"))]
mod object_lock;
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp"))]
mod objects;
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp"))]
mod probe;
mod removals;
mod wire;

#[cfg(feature = "azureblob")]
pub use self::azureblob::{AzureLock, MAX_LEASE, MIN_LEASE};
#[cfg(any(feature = "s3", feature = "minio", feature = "gcp"))]
pub use self::object_lock::{ObjectLock, Terms};
