//! The labels of what is asked of upstreams.

use super::super::labels::label;

label! {
    /// What a breaker is of.
    BreakerScope = "scope" {
        /// A host, which cannot be reached.
        Host = "host",
        /// One upstream, which fails in whatever way.
        Upstream = "upstream",
    }
}

label! {
    /// What came of a small file that was late.
    Hedged = "result" {
        /// The second request brought the answer.
        First = "first",
        /// The first request brought it after all.
        Late = "late",
        /// The second request failed; the answer, if there was one, is that of the first.
        Failed = "failed",
        /// Whoever had asked went away before there was an answer, or the first request failed.
        Abandoned = "abandoned",
        /// It was not asked for once more: the budget is used up.
        Refused = "refused",
    }
}
