//! What checksum databases answered: lookups and tiles never change.
//!
//! What is proven is kept for ever. What is not is held in memory only, and asked for again after a
//! while, so that no wrong answer of an upstream can stay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::telemetry::Outcome;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::ExtraStore;

/// Bytes of answers held in memory in front of storage.
const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// Bytes of answers that are held unproven.
const MAX_HELD_BYTES: u64 = 16 << 20;
/// How long an unproven answer is given out before it is asked for again.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(600);
/// A guess that sizes the index of the memory; tiles have 8 KiB and lookups about 1 KiB.
const EXPECTED_ENTRIES: usize = 4096;
/// Longest element of a key that storage takes, in bytes.
const MAX_KEY_ELEMENT_BYTES: usize = 255;

#[derive(Clone)]
struct ByteWeight;

impl Weighter<String, Bytes> for ByteWeight {
    fn weight(&self, key: &String, bytes: &Bytes) -> u64 {
        (key.len() + bytes.len()) as u64
    }
}

/// An unproven answer, and when it came.
type Held = (Bytes, Instant);

impl Weighter<String, Held> for ByteWeight {
    fn weight(&self, key: &String, (bytes, _): &Held) -> u64 {
        (key.len() + bytes.len()) as u64
    }
}

/// What [`SumDbCache::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) bytes: Bytes,
    pub(crate) outcome: Outcome,
    /// Whether it was kept, which only what is proven is.
    pub(crate) proven: bool,
}

/// Two levels for what is proven: memory, then storage. Beside them what is held unproven. Storage
/// trouble is logged and costs one more upstream request;
/// it never fails a verification that upstream can answer.
pub(crate) struct SumDbCache {
    memory: Cache<String, Bytes, ByteWeight>,
    held: Cache<String, Held, ByteWeight>,
    store: Arc<dyn ExtraStore>,
}

impl SumDbCache {
    pub(crate) fn new(store: Arc<dyn ExtraStore>) -> Self {
        let memory = Cache::with_weighter(EXPECTED_ENTRIES, MAX_MEMORY_BYTES, ByteWeight);
        let held = Cache::with_weighter(EXPECTED_ENTRIES, MAX_HELD_BYTES, ByteWeight);
        Self { memory, held, store }
    }

    /// An answer that is kept, or was held not long ago, and where it was.
    pub(crate) async fn read(&self, key: &str) -> Option<Cached> {
        if let Some(bytes) = self.memory.get(key) {
            return Some(Cached { bytes, outcome: Outcome::HitMemory, proven: true });
        }
        if let Some((bytes, came)) = self.held.get(key)
            && came.elapsed() < HELD_FOR
        {
            return Some(Cached { bytes, outcome: Outcome::HitMemory, proven: false });
        }
        if !is_storable(key) {
            return None;
        }
        match self.store.get(key).await {
            Ok(found) => {
                let bytes = found?;
                self.memory.insert(key.to_owned(), bytes.clone());
                Some(Cached { bytes, outcome: Outcome::HitStorage, proven: true })
            }
            Err(error) => {
                tracing::warn!(key, %error, "a kept answer of the checksum database is unreadable");
                None
            }
        }
    }

    /// An unproven answer, however old: where nobody can be asked.
    pub(crate) fn seen(&self, key: &str) -> Option<Bytes> {
        self.held.get(key).map(|(bytes, _)| bytes)
    }

    /// Holds an unproven answer in memory; whether there is room for one of its size.
    pub(crate) fn hold(&self, key: &str, bytes: &Bytes) -> bool {
        self.held.insert(key.to_owned(), (bytes.clone(), Instant::now()));
        self.held.peek(key).is_some()
    }

    /// Keeps a proven answer for ever, replacing another one.
    pub(crate) async fn keep(&self, key: &str, bytes: &Bytes) {
        if self.memory.get(key).is_some_and(|kept| kept == *bytes) {
            return;
        }
        self.memory.insert(key.to_owned(), bytes.clone());
        self.held.remove(key);
        if !is_storable(key) {
            return;
        }
        if let Err(error) = self.store.put(key, bytes.clone()).await {
            tracing::warn!(key, %error, "an answer of the checksum database could not be kept");
        }
    }
}

fn is_storable(key: &str) -> bool {
    key.split('/').all(|element| element.len() <= MAX_KEY_ELEMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use dipylon_middleware::Error;
    use dipylon_middleware::ports::BoxFuture;

    use super::*;

    /// Nothing is in it, and nothing may be put there.
    struct Empty;

    impl ExtraStore for Empty {
        fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
            Box::pin(std::future::ready(Ok(None)))
        }
        fn put<'a>(&'a self, key: &'a str, _: Bytes) -> BoxFuture<'a, Result<(), Error>> {
            panic!("{key} must not be stored")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unproven_answer_is_asked_for_again_after_a_while_but_not_forgotten() {
        let cache = SumDbCache::new(Arc::new(Empty));
        let bytes = Bytes::from_static(b"record");
        cache.hold("sumdb/x/lookup/m@v1.0.0", &bytes);
        tokio::time::advance(HELD_FOR - Duration::from_secs(1)).await;
        let found = cache.read("sumdb/x/lookup/m@v1.0.0").await;
        let held = Cached { bytes: bytes.clone(), outcome: Outcome::HitMemory, proven: false };
        assert_eq!(found, Some(held));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(cache.read("sumdb/x/lookup/m@v1.0.0").await, None);
        assert_eq!(cache.seen("sumdb/x/lookup/m@v1.0.0"), Some(bytes));
    }
}
