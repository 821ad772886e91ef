//! The labels of what is asked of upstreams.

use super::super::labels::label;
use super::Outcome;

label! {
    /// What kind of upstream is asked.
    UpstreamClass = "class" {
        /// A module proxy of the gateway's own GOPROXY list.
        Proxy = "proxy",
        /// A module proxy that the download-mode file names.
        PolicyProxy = "policy_proxy",
        /// A tree of files.
        Tree = "tree",
        /// Repositories, by the `go` command.
        Direct = "direct",
        /// A checksum database.
        ChecksumDatabase = "checksum_database",
    }
}

label! {
    /// How an upstream answered, in short.
    Answered = "result" {
        /// It gave what was asked for.
        Ok = "ok",
        /// It says that it does not exist.
        Absent = "absent",
        /// It refuses us, or asks to be left alone.
        Refused = "refused",
        /// It failed, in whatever way.
        Failed = "failed",
    }
}

impl Answered {
    /// In short.
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::UpstreamNotFound => Self::Absent,
            Outcome::UpstreamRefused | Outcome::UpstreamThrottled => Self::Refused,
            _ => Self::Failed,
        }
    }
}

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
