//! Which traces are kept. Pure.

use std::time::Duration;

use super::context::Parent;
use super::ids::TraceId;
use super::recorder::RootEnd;
use crate::telemetry::catalogue::Kept;

/// Which traces are kept.
#[derive(Clone, Copy, Debug)]
pub struct KeepRules {
    /// The share of traces that is kept whatever comes of them, 0 to 1.
    pub fraction: f64,
    /// Whether a caller's word on its own trace comes before the share.
    pub follows_parents: bool,
    /// Whether traces with errors, slow answers and misses are kept whatever else is said.
    pub keeps_notable: bool,
    /// From when on an answer counts as slow; nothing where none does.
    pub slow: Option<Duration>,
}

impl KeepRules {
    /// Keeps nothing but what callers keep.
    pub const NONE: Self =
        Self { fraction: 0.0, follows_parents: true, keeps_notable: false, slow: None };

    /// What is known when a trace begins.
    pub(super) fn at_start(&self, trace: TraceId, parent: Option<&Parent>) -> Option<Kept> {
        let is_taken = match parent {
            Some(parent) if self.follows_parents => parent.is_sampled,
            // By the id alone, as in other programs, so that all of them take the same ones.
            _ => trace.lot() < (self.fraction.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64,
        };
        is_taken.then_some(Kept::Sampled)
    }

    /// What is known on the way.
    pub(super) fn on_the_way(&self, kept: Kept) -> Option<Kept> {
        self.keeps_notable.then_some(kept)
    }

    /// What is known when it ends.
    pub(super) fn at_end(&self, end: &RootEnd<'_>) -> Option<Kept> {
        let is_slow = self.slow.is_some_and(|slow| end.waited >= slow);
        let kept = match () {
            () if end.is_loud => Kept::Error,
            () if end.outcome.is_miss() => Kept::Miss,
            () if is_slow => Kept::Slow,
            () => return None,
        };
        self.on_the_way(kept)
    }
}
