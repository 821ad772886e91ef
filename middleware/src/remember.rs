//! A bounded memory of answers with an age. Ages are monotonic: a clock that jumps changes nothing.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Keeps at most a fixed number of answers; the least useful go first.
pub struct Remember<K, V> {
    entries: Arc<Cache<K, (Instant, V)>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Remember<K, V> {
    /// Room for `entries_max` answers.
    pub fn new(entries_max: usize) -> Self {
        Self { entries: Arc::new(Cache::new(entries_max)) }
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

    /// Forgets an answer.
    pub fn forget(&self, key: &K) {
        self.entries.remove(key);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_until_it_is_too_old() {
        let memory = Remember::new(8);
        memory.put("a", 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(memory.get(&"a", Duration::from_secs(60)), Some((1, Duration::from_secs(60))));
        assert_eq!(memory.get(&"a", Duration::from_secs(59)), None);
        memory.forget(&"a");
        assert_eq!(memory.get(&"a", Duration::from_secs(60)), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Remember::new(100);
        for number in 0..10_000 {
            memory.put(number, ());
        }
        let kept = (0..10_000).filter(|n| memory.get(n, Duration::MAX).is_some()).count();
        assert!(kept <= 100, "{kept}");
    }
}
