//! `IndexType = "memory"`: the latest entries of this process, gone at its end.
//!
//! The order of insertion is the order of time: a clock that steps back repeats the last timestamp
//! until it has caught up, so `since` is a binary search and never skips an entry.

use std::collections::{HashSet, VecDeque};

use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, Index, IndexEntry};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use time::OffsetDateTime;

/// Entries kept, about 300 bytes each; beyond them the oldest are dropped.
pub const MAX_INDEX_ENTRIES: usize = 100_000;

/// A bounded index in memory.
#[derive(Debug)]
pub struct MemoryIndex {
    entries_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// The same entries, for finding duplicates.
    known: HashSet<(ModulePath, Version)>,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    module: ModulePath,
    version: Version,
    timestamp: OffsetDateTime,
}

impl Default for MemoryIndex {
    fn default() -> Self {
        Self::new(MAX_INDEX_ENTRIES)
    }
}

impl MemoryIndex {
    /// An empty index of at most `entries_max` entries, which [`MAX_INDEX_ENTRIES`] bounds too.
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max: entries_max.clamp(1, MAX_INDEX_ENTRIES), state: Mutex::default() }
    }

    /// Entries dropped so far because the index was full.
    pub fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    fn add_at(&self, module: &ModulePath, version: &Version, now: OffsetDateTime) {
        let mut state = self.state.lock();
        if !state.known.insert((module.clone(), version.clone())) {
            return;
        }
        let timestamp = state.entries.back().map_or(now, |last| last.timestamp.max(now));
        let (module, version) = (module.clone(), version.clone());
        state.entries.push_back(Entry { module, version, timestamp });
        if state.entries.len() > self.entries_max {
            state.drop_oldest(self.entries_max);
        }
    }

    fn entries_since(&self, since: OffsetDateTime, limit: usize) -> Vec<IndexEntry> {
        let state = self.state.lock();
        let first = state.entries.partition_point(|entry| entry.timestamp < since);
        state.entries.iter().skip(first).take(limit).map(Entry::line).collect()
    }
}

impl State {
    fn drop_oldest(&mut self, entries_max: usize) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.known.remove(&(oldest.module, oldest.version));
        if self.dropped == 0 {
            tracing::warn!(
                entries_max,
                "the memory index is full: it now drops its oldest entries"
            );
        }
        self.dropped += 1;
    }
}

impl Entry {
    fn line(&self) -> IndexEntry {
        IndexEntry {
            path: self.module.as_str().to_owned(),
            version: self.version.as_str().to_owned(),
            timestamp: self.timestamp,
        }
    }
}

impl Index for MemoryIndex {
    fn add<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.add_at(module, version, OffsetDateTime::now_utc());
        Box::pin(std::future::ready(Ok(())))
    }

    fn since(
        &self,
        since: OffsetDateTime,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexEntry>, Error>> {
        let entries = self.entries_since(since, limit);
        Box::pin(std::future::ready(Ok(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn at(seconds: i64) -> OffsetDateTime {
        EPOCH + time::Duration::seconds(seconds)
    }

    fn add(index: &MemoryIndex, version: &str, seconds: i64) {
        let module = ModulePath::parse("example.com/a").unwrap();
        index.add_at(&module, &Version::parse(version).unwrap(), at(seconds));
    }

    fn versions(index: &MemoryIndex, since: OffsetDateTime, limit: usize) -> Vec<String> {
        index.entries_since(since, limit).into_iter().map(|entry| entry.version).collect()
    }

    #[tokio::test]
    async fn an_entry_carries_the_time_it_was_added() {
        let index = MemoryIndex::default();
        let before = OffsetDateTime::now_utc();
        let module = ModulePath::parse("example.com/Azure").unwrap();
        index.add(&module, &Version::parse("v1.0.0").unwrap()).await.unwrap();
        let entries = index.since(EPOCH, 10).await.unwrap();
        assert_eq!(
            (entries[0].path.as_str(), entries[0].version.as_str()),
            ("example.com/Azure", "v1.0.0")
        );
        assert!(
            entries[0].timestamp >= before && entries[0].timestamp <= OffsetDateTime::now_utc()
        );
    }

    #[test]
    fn since_is_inclusive_and_the_oldest_come_first() {
        let index = MemoryIndex::default();
        for (version, seconds) in [("v1.2.0", 1), ("v1.0.0", 2), ("v1.1.0", 3)] {
            add(&index, version, seconds);
        }
        assert_eq!(versions(&index, EPOCH, 10), ["v1.2.0", "v1.0.0", "v1.1.0"]);
        assert_eq!(versions(&index, at(2), 10), ["v1.0.0", "v1.1.0"]);
        assert_eq!(versions(&index, EPOCH, 2), ["v1.2.0", "v1.0.0"]);
        assert!(versions(&index, at(4), 10).is_empty());
    }

    #[test]
    fn a_version_added_again_keeps_its_first_time() {
        let index = MemoryIndex::default();
        add(&index, "v1.0.0", 1);
        add(&index, "v1.0.0", 9);
        assert_eq!(index.entries_since(EPOCH, 10).len(), 1);
        assert_eq!(index.entries_since(EPOCH, 10)[0].timestamp, at(1));
    }

    #[test]
    fn a_clock_that_steps_back_does_not_break_the_order() {
        let index = MemoryIndex::default();
        add(&index, "v1.0.0", 100);
        add(&index, "v1.1.0", 50);
        add(&index, "v1.2.0", 101);
        assert_eq!(versions(&index, at(100), 10), ["v1.0.0", "v1.1.0", "v1.2.0"]);
        assert_eq!(versions(&index, at(101), 10), ["v1.2.0"]);
    }

    #[test]
    fn a_full_index_drops_its_oldest_and_counts_them() {
        let index = MemoryIndex::new(2);
        for (seconds, version) in (1..).zip(["v1.0.0", "v1.1.0", "v1.2.0"]) {
            add(&index, version, seconds);
        }
        assert_eq!(versions(&index, EPOCH, 10), ["v1.1.0", "v1.2.0"]);
        assert_eq!(index.dropped(), 1);
        add(&index, "v1.0.0", 4);
        assert_eq!(versions(&index, EPOCH, 10), ["v1.2.0", "v1.0.0"], "it is new again");
    }
}
