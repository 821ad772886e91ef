//! What checksum databases answered, kept for ever: lookups and tiles never change.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::telemetry::Outcome;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ExtraStore;

/// Bytes of answers held in memory in front of storage.
const MAX_MEMORY_BYTES: u64 = 16 << 20;
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

/// Two levels: memory, then storage. Storage trouble is logged and costs one more upstream request;
/// it never fails a verification that upstream can answer.
pub(crate) struct SumDbCache {
    memory: Cache<String, Bytes, ByteWeight>,
    store: Arc<dyn ExtraStore>,
}

impl SumDbCache {
    pub(crate) fn new(store: Arc<dyn ExtraStore>) -> Self {
        let memory = Cache::with_weighter(EXPECTED_ENTRIES, MAX_MEMORY_BYTES, ByteWeight);
        Self { memory, store }
    }

    /// A kept answer, and where it was.
    pub(crate) async fn read(&self, key: &str) -> Option<(Bytes, Outcome)> {
        if let Some(bytes) = self.memory.get(key) {
            return Some((bytes, Outcome::HitMemory));
        }
        if !is_storable(key) {
            return None;
        }
        match self.store.get(key).await {
            Ok(found) => {
                let bytes = found?;
                self.memory.insert(key.to_owned(), bytes.clone());
                Some((bytes, Outcome::HitStorage))
            }
            Err(error) => {
                tracing::warn!(key, %error, "a kept answer of the checksum database is unreadable");
                None
            }
        }
    }

    /// Keeps an answer, replacing another one.
    pub(crate) async fn keep(&self, key: &str, bytes: &Bytes) {
        if self.memory.get(key).is_some_and(|kept| kept == *bytes) {
            return;
        }
        self.memory.insert(key.to_owned(), bytes.clone());
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
