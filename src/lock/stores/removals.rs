//! Locks whose giving back was sent and not answered. What is found to be gone then was given back, and not
//! lost.

use dipylon_middleware::ports::LockClaim;
use quick_cache::sync::Cache;

/// Locks that are remembered. One that is forgotten counts as lost.
const MAX_REMOVALS: usize = 4_096;

pub(super) struct Removals {
    sent: Cache<LockClaim, ()>,
}

impl Default for Removals {
    fn default() -> Self {
        Self { sent: Cache::new(MAX_REMOVALS) }
    }
}

impl Removals {
    /// One is about to be sent. `true` if no other is unanswered.
    pub(super) fn send(&self, claim: &LockClaim) -> bool {
        let is_first = !self.were_sent(claim);
        self.sent.insert(claim.clone(), ());
        is_first
    }

    /// Whether any may have been done.
    pub(super) fn were_sent(&self, claim: &LockClaim) -> bool {
        self.sent.get(claim).is_some()
    }

    /// Nothing is unknown any more.
    pub(super) fn are_over(&self, claim: &LockClaim) {
        self.sent.remove(claim);
    }
}
