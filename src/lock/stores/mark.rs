//! What lies in a lock object, and what a waiter makes of it: no I/O here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Locks of others that are remembered. One that is forgotten is waited for anew.
const MAX_SIGHTINGS: usize = 4_096;
/// The longest lease that a mark is believed to have; that of the configuration's key.
const MAX_LEASE: Duration = Duration::from_secs(3_600);
/// The shortest.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// What one of ours writes into a lock. No two marks have the same bytes, because a store's tag may be a hash
/// of them: owners differ, and each renewal has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) owner: String,
    pub(super) fencing: u64,
    pub(super) lease_millis: u64,
    pub(super) renewals: u64,
    /// It is given back and about to be removed: nobody takes it, but who finds it left behind.
    pub(super) is_leaving: bool,
}

impl Mark {
    pub(super) fn new(owner: &str, fencing: u64, lease: Duration) -> Self {
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Self { owner: owner.to_owned(), fencing, lease_millis, renewals: 0, is_leaving: false }
    }

    /// The next one of the same holder.
    pub(super) fn renewed(&self) -> Self {
        Self { renewals: self.renewals.saturating_add(1), ..self.clone() }
    }

    /// The last one of the same holder.
    pub(super) fn leaving(&self) -> Self {
        Self { is_leaving: true, ..self.renewed() }
    }

    pub(super) fn bytes(&self) -> Bytes {
        // A struct of texts and numbers is always a text of JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// `None` for what none of ours has written: Athens's, which is a UUID.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// How long it stands unless it changes.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_millis).clamp(MIN_LEASE, MAX_LEASE)
    }
}

/// Since when locks of others have been as they are, by this process's own clock. A tag is never used again,
/// so one that is the same as before has been the same all the time, however long ago that was.
pub(super) struct Sightings {
    seen: Cache<Arc<str>, (Arc<str>, Instant)>,
}

impl Default for Sightings {
    fn default() -> Self {
        Self { seen: Cache::new(MAX_SIGHTINGS) }
    }
}

impl Sightings {
    /// How long `key` has had `tag`, as far as we know. `age` is what the store says.
    pub(super) fn look(&self, key: &Arc<str>, tag: &str, now: Instant, age: Duration) -> Duration {
        match self.seen.get(key) {
            Some((known, since)) if *known == *tag => now.saturating_duration_since(since),
            _ => {
                let since = now.checked_sub(age).unwrap_or(now);
                self.seen.insert(Arc::clone(key), (tag.into(), since));
                now.saturating_duration_since(since)
            }
        }
    }

    /// Whether another had the lock when it was last looked at.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.seen.get(key).is_some()
    }

    pub(super) fn forget(&self, key: &str) {
        self.seen.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark::new("me", 7, Duration::from_secs(10))
    }

    #[test]
    fn no_two_marks_have_the_same_bytes() {
        let one = mark();
        let all = [
            one.bytes(),
            one.renewed().bytes(),
            one.renewed().renewed().bytes(),
            one.leaving().bytes(),
        ];
        for (at, bytes) in all.iter().enumerate() {
            assert!(!all[..at].contains(bytes));
            assert!(
                Mark::read(bytes).is_some_and(|read| read.owner == one.owner && read.fencing == 7)
            );
        }
        let another = Mark::new("you", 7, Duration::from_secs(10));
        assert_ne!(another.bytes(), one.bytes());
    }

    #[test]
    fn what_athens_writes_is_no_mark_of_ours() {
        assert_eq!(Mark::read(b"6a2f41a3-c54c-fce8-32d2-0324e1c32e22"), None);
        assert_eq!(Mark::read(b""), None);
    }

    #[test]
    fn a_lease_out_of_bounds_is_brought_within() {
        assert_eq!(Mark { lease_millis: 0, ..mark() }.lease(), MIN_LEASE);
        assert_eq!(Mark { lease_millis: u64::MAX, ..mark() }.lease(), MAX_LEASE);
    }

    #[test]
    fn a_change_begins_the_wait_anew_and_what_stays_grows_old() {
        let (sightings, key) = (Sightings::default(), "key".into());
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let none = Duration::ZERO;
        assert_eq!(sightings.look(&key, "a", began, none), none);
        assert_eq!(sightings.look(&key, "a", began + second, none), second);
        assert_eq!(sightings.look(&key, "b", began + second * 2, none), none);
        assert_eq!(sightings.look(&key, "b", began + second * 9, none), second * 7);
        assert!(sightings.knows("key"));
        sightings.forget("key");
        assert!(!sightings.knows("key"));
    }

    #[tokio::test]
    async fn what_the_store_says_of_its_age_counts_at_the_first_look() {
        let (sightings, key) = (Sightings::default(), "key".into());
        let (now, age) = (Instant::now() + Duration::from_secs(100), Duration::from_secs(30));
        assert_eq!(sightings.look(&key, "a", now, age), age);
    }
}
