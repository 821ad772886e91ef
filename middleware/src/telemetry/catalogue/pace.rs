//! The labels of what is said about the pace at which upstreams are asked.

use super::super::labels::label;

label! {
    /// What an upstream request had to wait for.
    PaceReason = "reason" {
        /// The end of the time for which the host asked to be left alone (`Retry-After`).
        Paused = "paused",
        /// The host's rate (`UpstreamRate`).
        Host = "host",
        /// The rate class of its module.
        Class = "class",
    }
}

label! {
    /// What became of an upstream request that could not go at once.
    Paced = "result" {
        /// It waited.
        Waited = "waited",
        /// It was refused, because the wait would have been too long.
        Refused = "refused",
    }
}
