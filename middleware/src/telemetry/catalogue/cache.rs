//! The labels of what is known already, and of what clients got from where.

use super::super::labels::label;
use super::Outcome;

label! {
    /// Where an answer is looked for before an upstream is asked.
    Tier = "tier" {
        /// Small files in memory.
        Memory = "memory",
        /// Lists, latest versions and what queries stand for, in memory.
        Answers = "answers",
        /// Remembered "does not exist".
        Negatives = "negatives",
        /// The store, a near tier included.
        Storage = "storage",
    }
}

label! {
    /// What looking brought.
    Found = "result" {
        /// It is there.
        Hit = "hit",
        /// It is there, and too old to be given without a word: it is while a newer one is fetched, or cannot be.
        Stale = "stale",
        /// It is not there.
        Miss = "miss",
    }
}

label! {
    /// Where the bytes that a client got came from. All but `upstream` no upstream had to send again.
    Source = "source" {
        /// The gateway's memory.
        Memory = "memory",
        /// The store.
        Storage = "storage",
        /// An upstream, for this request.
        Upstream = "upstream",
        /// An upstream, for another request that was under way.
        Shared = "shared",
    }
}

impl Source {
    /// Where an answer of modules came from; nothing for refusals, failures and pages.
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::HitMemory | Outcome::StaleRevalidate | Outcome::StaleError => {
                Some(Self::Memory)
            }
            Outcome::HitStorage => Some(Self::Storage),
            Outcome::MissLeader | Outcome::MissDegraded => Some(Self::Upstream),
            Outcome::MissFollower => Some(Self::Shared),
            _ => None,
        }
    }
}
