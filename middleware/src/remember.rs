//! A bounded memory of answers with an age. Ages are monotonic: a clock that jumps changes nothing.

use std::cell::Cell;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::error::Error;
use crate::request::StashKey;

/// What an entry takes beside the bytes it weighs itself.
const ENTRY_BYTES: u64 = 256;

/// How much memory a value holds.
pub trait Weigh {
    /// Bytes on the heap, about.
    fn bytes(&self) -> u64;
}

/// Keeps answers in at most a fixed number of bytes; the least useful go first.
pub struct Remember<K, V> {
    entries: Arc<Cache<K, (Instant, V), WeighEntry>>,
}

#[derive(Clone)]
struct WeighEntry;

impl<K: Weigh, V: Weigh> Weighter<K, (Instant, V)> for WeighEntry {
    fn weight(&self, key: &K, (_, value): &(Instant, V)) -> u64 {
        ENTRY_BYTES + key.bytes() + value.bytes()
    }
}

impl<K: Eq + Hash + Clone + Weigh, V: Clone + Weigh> Remember<K, V> {
    /// Room for `bytes_max`.
    pub fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / (2 * ENTRY_BYTES)).unwrap_or(usize::MAX).max(1);
        Self { entries: Arc::new(Cache::with_weighter(entries, bytes_max, WeighEntry)) }
    }

    /// The answer and its age, where it is not older than `age_max`.
    pub fn get(&self, key: &K, age_max: Duration) -> Option<(V, Duration)> {
        let (since, value) = self.entries.get(key)?;
        let age = since.elapsed();
        (age <= age_max).then_some((value, age))
    }

    /// Keeps an answer from now on.
    pub fn put(&self, key: K, value: V) {
        self.entries.insert(key, (Instant::now(), value));
    }

    /// Forgets one answer.
    pub fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets each answer that `is_meant` says; how many there were.
    pub fn forget(&self, is_meant: impl Fn(&K, &V) -> bool) -> usize {
        let forgotten = Cell::new(0);
        self.entries.retain(|key, (_, value)| {
            let goes = is_meant(key, value);
            forgotten.set(forgotten.get() + usize::from(goes));
            !goes
        });
        forgotten.get()
    }
}

impl<K, V> Clone for Remember<K, V> {
    fn clone(&self) -> Self {
        Self { entries: Arc::clone(&self.entries) }
    }
}

impl<K, V> fmt::Debug for Remember<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remember")
    }
}

impl Weigh for ModulePath {
    fn bytes(&self) -> u64 {
        self.as_str().len() as u64
    }
}

impl Weigh for Version {
    fn bytes(&self) -> u64 {
        self.as_str().len() as u64
    }
}

impl Weigh for VersionQuery {
    fn bytes(&self) -> u64 {
        self.as_str().len() as u64
    }
}

impl Weigh for StashKey {
    fn bytes(&self) -> u64 {
        self.module.bytes() + self.version.bytes()
    }
}

impl Weigh for () {
    fn bytes(&self) -> u64 {
        0
    }
}

impl Weigh for Bytes {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl Weigh for Error {
    fn bytes(&self) -> u64 {
        self.message().len() as u64
    }
}

impl<A: Weigh, B: Weigh> Weigh for (A, B) {
    fn bytes(&self) -> u64 {
        self.0.bytes() + self.1.bytes()
    }
}

impl<T: Weigh, E: Weigh> Weigh for Result<T, E> {
    fn bytes(&self) -> u64 {
        self.as_ref().map_or_else(Weigh::bytes, Weigh::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &dyn fmt::Display) -> Bytes {
        text.to_string().into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_until_it_is_too_old() {
        let memory = Remember::new(1 << 20);
        memory.put(key(&"a"), key(&1));
        tokio::time::advance(Duration::from_secs(60)).await;
        let minute = Duration::from_secs(60);
        assert_eq!(memory.get(&key(&"a"), minute), Some((key(&1), minute)));
        assert_eq!(memory.get(&key(&"a"), Duration::from_secs(59)), None);
    }

    #[test]
    fn what_is_meant_is_forgotten_and_counted_and_nothing_else() {
        let memory = Remember::new(1 << 20);
        for number in 0..10 {
            memory.put(key(&number), key(&(number % 3)));
        }
        assert_eq!(memory.forget(|_, value| *value == key(&0)), 4);
        assert_eq!(memory.forget(|_, value| *value == key(&0)), 0);
        memory.remove(&key(&1));
        let kept = (0..10).filter(|n| memory.get(&key(n), Duration::MAX).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [2, 4, 5, 7, 8]);
    }

    #[test]
    fn the_memory_is_bounded_in_bytes() {
        const BYTES_MAX: u64 = 100_000;
        let memory = Remember::new(BYTES_MAX);
        for number in 0..10_000 {
            memory.put(key(&number), Bytes::from(vec![0; 1_000]));
        }
        let kept = (0..10_000).filter(|n| memory.get(&key(n), Duration::MAX).is_some()).count();
        assert!((1..=100).contains(&kept), "{kept}");
    }
}
