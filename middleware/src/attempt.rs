//! What `breaker` and `retry` ask of a request: they stand around upstreams and around storage alike.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::ports::StorageCall;
use crate::request::{FetchRequest, HasContext, StorageRequest};
use crate::telemetry::Metrics;

/// What an error says about whoever was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in trouble that may pass.
    Failing,
    /// It works, and said no.
    Answered,
    /// Nothing: the error is of our own making.
    Silent,
}

/// A request that may be sent more than once.
pub trait Attempt: HasContext + Clone + Send + 'static {
    /// An attempt is made again only this long after the first began, and in the first half of the caller's
    /// time, so that one which takes as long as the first ends before the caller goes away; nothing for as
    /// long as the caller waits.
    const REPEATED_WITHIN: Option<Duration>;

    /// What an error says about whoever was called.
    fn verdict(error: &Error) -> Verdict;
    /// Whether sending it twice does what sending it once does.
    fn may_be_repeated(&self) -> bool;
    /// Whether it only asks if the other side works: an open breaker lets it pass.
    fn is_probe(&self) -> bool;
    /// What is refused, for the text of a refusal; nothing where the name of the other side says all.
    fn name(&self) -> Option<&'static str>;
    /// How long it may wait because the other side asks for it.
    fn patience(&self) -> Duration;
    /// Counts an attempt made again.
    fn count_repetition(&self, metrics: &Metrics);
}

impl Attempt for FetchRequest {
    const REPEATED_WITHIN: Option<Duration> = None;

    /// A refusal of our own below (a full line, a host that is left alone) tells nothing of an upstream: taken for
    /// an answer, it would keep the breaker of a hanging upstream closed.
    fn verdict(error: &Error) -> Verdict {
        use ErrorKind::{
            BadContent, NotFound, UpstreamRefused, UpstreamRejected, UpstreamUnavailable,
        };
        match error.kind() {
            UpstreamUnavailable => Verdict::Silent,
            kind if kind.is_transient() => Verdict::Failing,
            NotFound | UpstreamRefused | UpstreamRejected | BadContent => Verdict::Answered,
            _ => Verdict::Silent,
        }
    }

    /// Whatever is asked of an upstream is read.
    fn may_be_repeated(&self) -> bool {
        true
    }

    fn is_probe(&self) -> bool {
        false
    }

    fn name(&self) -> Option<&'static str> {
        None
    }

    /// As long as for its turn: to be told to come later is no more than that.
    fn patience(&self) -> Duration {
        self.turn_patience
    }

    fn count_repetition(&self, metrics: &Metrics) {
        metrics.retries.get((self.ask.kind(),)).inc();
    }
}

impl Attempt for StorageRequest {
    /// What hangs is not waited for twice: upstream is there to ask.
    const REPEATED_WITHIN: Option<Duration> = Some(Duration::from_secs(5));

    fn verdict(error: &Error) -> Verdict {
        use ErrorKind::{BadRequest, Storage, StorageUnavailable, Unsupported};
        match error.kind() {
            StorageUnavailable => Verdict::Failing,
            // A refusal, something damaged: the backend was reached.
            Storage | BadRequest | Unsupported => Verdict::Answered,
            _ => Verdict::Silent,
        }
    }

    fn may_be_repeated(&self) -> bool {
        match self.operation {
            StorageCall::List(_)
            | StorageCall::Read(..)
            | StorageCall::Catalog(..)
            | StorageCall::ReadExtra(_)
            | StorageCall::Check => true,
            // Removed twice is removed; written twice are the same bytes.
            StorageCall::WriteExtra(..) | StorageCall::RemoveExtra(_) => true,
            // Create-if-absent, so it would do no harm; but where only the answer was lost it would meet
            // itself, pass for somebody else's, and never be in the index. Who asks next saves again.
            StorageCall::Save(_) => false,
        }
    }

    fn is_probe(&self) -> bool {
        matches!(self.operation, StorageCall::Check)
    }

    fn name(&self) -> Option<&'static str> {
        Some(self.operation.operation().as_str())
    }

    fn patience(&self) -> Duration {
        Duration::MAX
    }

    fn count_repetition(&self, metrics: &Metrics) {
        metrics.storage_retries.get((self.operation.operation(),)).inc();
    }
}
