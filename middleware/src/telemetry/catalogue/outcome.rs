//! How things end.

use super::super::labels::label;

label! {
    /// How a request, or one layer's part in it, ended. One closed list serves the metric label,
    /// the span, the log event, `Cache-Status` and the error text.
    Outcome = "outcome" {
        /// Answered from the hot cache in memory.
        HitMemory = "hit_memory",
        /// Answered from storage.
        HitStorage = "hit_storage",
        /// Answered from memory while a newer answer is fetched.
        StaleRevalidate = "stale_revalidate",
        /// Answered with an older answer because upstream failed.
        StaleError = "stale_error",
        /// Not in storage; this request led the fetch.
        MissLeader = "miss_leader",
        /// Not in storage; this request shared another's fetch.
        MissFollower = "miss_follower",
        /// Not in storage, or storage could not be asked; answered, but nothing could be stored, or
        /// without the lock across replicas.
        MissDegraded = "miss_degraded",
        /// A remembered "does not exist".
        Negative = "negative",
        /// Refused by the filter file.
        DenyFilter = "deny_filter",
        /// Refused by the validator hook.
        DenyValidator = "deny_validator",
        /// The validator hook could not be asked, or gave no clear answer.
        ValidatorFailed = "validator_failed",
        /// Refused for missing or wrong credentials.
        DenyAuth = "deny_auth",
        /// A private path that the checksum database does not know, or must not be asked about.
        DenyPrivate = "deny_private",
        /// Refused by a rate limit.
        Limited = "limited",
        /// Refused because the gateway is at a limit of its own.
        Shed = "shed",
        /// Sent elsewhere.
        Redirected = "redirected",
        /// Not in storage; a fetch goes on in the background.
        AsyncAccepted = "async_accepted",
        /// Not in storage, and the mode forbids to fetch.
        NotStored = "not_stored",
        /// Upstream says that it does not exist.
        UpstreamNotFound = "upstream_not_found",
        /// Upstream refuses us.
        UpstreamRefused = "upstream_refused",
        /// Upstream asks us to slow down.
        UpstreamThrottled = "upstream_throttled",
        /// Upstream did not answer in time.
        UpstreamTimeout = "upstream_timeout",
        /// Upstream failed.
        UpstreamError = "upstream_error",
        /// Upstream is left alone for a while after many failures.
        UpstreamUnavailable = "upstream_unavailable",
        /// Upstream answered with something that is not what was asked for.
        UpstreamBadContent = "upstream_bad_content",
        /// There is no upstream to ask.
        NoUpstream = "no_upstream",
        /// The bytes are not those the checksum database knows.
        ChecksumMismatch = "checksum_mismatch",
        /// The checksum database could not be asked.
        ChecksumUnavailable = "checksum_unavailable",
        /// Storage refuses, or what it has is damaged.
        StorageError = "storage_error",
        /// Storage could not be reached, did not answer in time, or is left alone for a while.
        StorageUnavailable = "storage_unavailable",
        /// The request itself is malformed.
        Invalid = "invalid",
        /// The request's own deadline passed.
        Deadline = "deadline",
        /// Done; for operations that are neither hit nor miss.
        Ok = "ok",
        /// A defect in the gateway.
        Internal = "internal",
        /// The caller went away before the end.
        Dropped = "dropped",
    }
}

label! {
    /// How a request ended, in a word for many outcomes: seconds by each of them would be too many series.
    OutcomeClass = "outcome_class" {
        /// Answered from what was here, fresh or older; and pages.
        Hit = "hit",
        /// Answered with what was fetched.
        Miss = "miss",
        /// A right answer without content: it does not exist, is refused, is elsewhere; or the client left.
        No = "no",
        /// A failure on our side of the wire: what the objective counts.
        Failed = "failed",
    }
}

impl OutcomeClass {
    /// The class of an outcome.
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::HitMemory
            | Outcome::HitStorage
            | Outcome::StaleRevalidate
            | Outcome::StaleError
            | Outcome::Ok => Self::Hit,
            Outcome::MissLeader | Outcome::MissFollower | Outcome::MissDegraded => Self::Miss,
            Outcome::Negative
            | Outcome::DenyFilter
            | Outcome::DenyValidator
            | Outcome::DenyAuth
            | Outcome::DenyPrivate
            | Outcome::Limited
            | Outcome::Redirected
            | Outcome::AsyncAccepted
            | Outcome::NotStored
            | Outcome::UpstreamNotFound
            | Outcome::UpstreamRefused
            | Outcome::ChecksumMismatch
            | Outcome::Invalid
            | Outcome::Dropped => Self::No,
            Outcome::ValidatorFailed
            | Outcome::Shed
            | Outcome::UpstreamThrottled
            | Outcome::UpstreamTimeout
            | Outcome::UpstreamError
            | Outcome::UpstreamUnavailable
            | Outcome::UpstreamBadContent
            | Outcome::NoUpstream
            | Outcome::ChecksumUnavailable
            | Outcome::StorageError
            | Outcome::StorageUnavailable
            | Outcome::Deadline
            | Outcome::Internal => Self::Failed,
        }
    }
}
