//! One error type and one table: kind → status, caching, log level, outcome.
//!
//! Errors are `Clone`, because waiters of one flight share them. A redirect is a response, never an
//! error. The rule behind the statuses (GOPROXY protocol, list semantics): 404 means "does not
//! exist" and sends a `GOPROXY=a,b` client on; a refusal is 403; "could not find out" is 5xx or 429.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::forward::Forward;
use crate::redact::redact_prose;
use crate::telemetry::Outcome;

/// What went wrong, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The path names nothing that could exist.
    InvalidPath,
    /// No module can have the path, now or ever: nobody is asked.
    ImpossiblePath,
    /// A query parameter is malformed.
    BadRequest,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// What changes something needs `AdminToken`, and the request does not bring it.
    AdminRefused,
    /// The filter file excludes the module.
    DeniedByFilter,
    /// The validator hook refuses the version.
    DeniedByValidator,
    /// The validator hook could not be asked, or gave no clear answer.
    ValidatorFailed,
    /// A private path that must not be, or could not be, looked up in the checksum database.
    PrivateChecksum,
    /// The bytes are not those the checksum database knows.
    ChecksumMismatch,
    /// Upstream refuses us (401, 403, 451).
    UpstreamRefused,
    /// Upstream says that it does not exist (404, 410).
    NotFound,
    /// One upstream says that it does not exist, and one asked before it, which may have it, could not say.
    NotFoundForNow,
    /// Not stored, and the mode or the network mode forbids to fetch.
    NotStored,
    /// Policy has changed, more than once, while it was asked for.
    PolicyChanged,
    /// Not stored yet; a background fetch was started.
    AsyncAccepted,
    /// The client sends too many requests.
    RateLimited,
    /// Upstream asks us to slow down (429).
    UpstreamThrottled,
    /// Upstream has asked to be left alone until a time that has not come (`Retry-After`).
    UpstreamPaused,
    /// A rate at which we ask upstream leaves no room in time.
    UpstreamPaced,
    /// A limit of our own is reached.
    Overloaded,
    /// There is no upstream to ask.
    NoUpstream,
    /// The checksum database could not be asked.
    ChecksumUnavailable,
    /// Upstream failed so often that it is left alone for a while.
    UpstreamUnavailable,
    /// Upstream did not answer in time.
    UpstreamTimeout,
    /// Upstream failed.
    UpstreamFailed,
    /// Upstream answers that it will not take the question (a 4xx that has no kind of its own). An
    /// answer all the same: asked again, it would say so again.
    UpstreamRejected,
    /// Upstream answered with something that is not what was asked for.
    BadContent,
    /// The request's own deadline passed.
    DeadlineExceeded,
    /// Storage refuses, or what it has is damaged.
    Storage,
    /// Storage could not be reached, did not answer in time, or is left alone for a while.
    StorageUnavailable,
    /// Storage works, but there is no room here for one more call of this kind.
    StorageBusy,
    /// The configured backend cannot do this.
    Unsupported,
    /// A defect in the gateway.
    Internal,
}

/// How loud a log event about an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// Somebody should look some day.
    Warn,
    /// Somebody should look now.
    Error,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRow {
    /// Status of the answer.
    pub status: StatusCode,
    /// `Cache-Control` of the answer: what an outer cache may keep, and for how long.
    pub cache_control: &'static str,
    /// Severity of the log event.
    pub severity: Severity,
    /// Outcome for metrics, spans, logs and `Cache-Status`.
    pub outcome: Outcome,
}

impl ErrorKind {
    /// Every kind, in the order of the table.
    pub const ALL: &'static [Self] = &[
        Self::InvalidPath,
        Self::ImpossiblePath,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::Unauthorized,
        Self::AdminRefused,
        Self::DeniedByFilter,
        Self::DeniedByValidator,
        Self::ValidatorFailed,
        Self::PrivateChecksum,
        Self::ChecksumMismatch,
        Self::UpstreamRefused,
        Self::NotFound,
        Self::NotFoundForNow,
        Self::NotStored,
        Self::PolicyChanged,
        Self::AsyncAccepted,
        Self::RateLimited,
        Self::UpstreamThrottled,
        Self::UpstreamPaused,
        Self::UpstreamPaced,
        Self::Overloaded,
        Self::NoUpstream,
        Self::ChecksumUnavailable,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
        Self::UpstreamFailed,
        Self::UpstreamRejected,
        Self::BadContent,
        Self::DeadlineExceeded,
        Self::Storage,
        Self::StorageUnavailable,
        Self::StorageBusy,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The table. Exhaustive, so a new kind does not compile until it is decided here.
    pub fn row(self) -> ErrorRow {
        use Severity::{Error as Bad, Info, Warn};
        const NO: &str = "no-store";
        const MINUTE: &str = "public, max-age=60";
        const DAY: &str = "public, max-age=86400";
        let (status, cache_control, severity, outcome) = match self {
            Self::InvalidPath => (404, MINUTE, Info, Outcome::Invalid),
            Self::ImpossiblePath => (404, DAY, Info, Outcome::Invalid),
            Self::BadRequest => (400, NO, Info, Outcome::Invalid),
            Self::MethodNotAllowed => (405, NO, Info, Outcome::Invalid),
            Self::Unauthorized => (401, NO, Info, Outcome::DenyAuth),
            Self::AdminRefused => (403, NO, Info, Outcome::DenyAuth),
            Self::DeniedByFilter => (403, NO, Info, Outcome::DenyFilter),
            Self::DeniedByValidator => (403, NO, Info, Outcome::DenyValidator),
            Self::ValidatorFailed => (503, NO, Bad, Outcome::ValidatorFailed),
            Self::PrivateChecksum => (403, NO, Info, Outcome::DenyPrivate),
            Self::ChecksumMismatch => (403, NO, Bad, Outcome::ChecksumMismatch),
            Self::UpstreamRefused => (403, NO, Warn, Outcome::UpstreamRefused),
            Self::NotFound => (404, MINUTE, Info, Outcome::UpstreamNotFound),
            Self::NotFoundForNow => (404, NO, Warn, Outcome::UpstreamNotFound),
            Self::NotStored => (404, NO, Info, Outcome::NotStored),
            Self::PolicyChanged => (503, NO, Warn, Outcome::Shed),
            Self::AsyncAccepted => (404, NO, Info, Outcome::AsyncAccepted),
            Self::RateLimited => (429, NO, Info, Outcome::Limited),
            Self::UpstreamThrottled => (429, NO, Warn, Outcome::UpstreamThrottled),
            Self::UpstreamPaused => (503, NO, Warn, Outcome::UpstreamThrottled),
            Self::UpstreamPaced => (503, NO, Warn, Outcome::Shed),
            Self::Overloaded => (503, NO, Warn, Outcome::Shed),
            Self::NoUpstream => (503, NO, Bad, Outcome::NoUpstream),
            Self::ChecksumUnavailable => (503, NO, Bad, Outcome::ChecksumUnavailable),
            Self::UpstreamUnavailable => (503, NO, Warn, Outcome::UpstreamUnavailable),
            Self::UpstreamTimeout => (504, NO, Warn, Outcome::UpstreamTimeout),
            Self::UpstreamFailed => (502, NO, Warn, Outcome::UpstreamError),
            Self::UpstreamRejected => (502, NO, Warn, Outcome::UpstreamError),
            Self::BadContent => (502, NO, Bad, Outcome::UpstreamBadContent),
            Self::DeadlineExceeded => (504, NO, Warn, Outcome::Deadline),
            Self::Storage => (500, NO, Bad, Outcome::StorageError),
            Self::StorageUnavailable => (503, NO, Bad, Outcome::StorageUnavailable),
            Self::StorageBusy => (503, NO, Warn, Outcome::Shed),
            Self::Unsupported => (501, NO, Info, Outcome::Invalid),
            Self::Internal => (500, NO, Bad, Outcome::Internal),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ErrorRow { status, cache_control, severity, outcome }
    }

    /// Whether the same question would get the same answer for a while: what may be remembered.
    pub fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::InvalidPath | Self::NotFound | Self::PrivateChecksum | Self::ChecksumMismatch
        )
    }

    /// Whether whoever had the last word says that it does not exist, for good or for now.
    pub fn is_absence(self) -> bool {
        matches!(self, Self::NotFound | Self::NotFoundForNow)
    }

    /// Whether it is only met by a request that went on, to an upstream or to a checksum database.
    fn is_met_upstream(self) -> bool {
        matches!(
            self,
            Self::UpstreamRefused
                | Self::NotFound
                | Self::NotFoundForNow
                | Self::UpstreamThrottled
                | Self::UpstreamTimeout
                | Self::UpstreamFailed
                | Self::UpstreamRejected
                | Self::BadContent
                | Self::ChecksumMismatch
                | Self::ChecksumUnavailable
        )
    }

    /// Whether another attempt at an upstream may succeed.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::UpstreamTimeout
                | Self::UpstreamFailed
                | Self::UpstreamThrottled
                | Self::UpstreamUnavailable
        )
    }
}

/// The longest error text that leaves the process, in bytes; `go` shows 648 at most.
pub const MAX_MESSAGE_BYTES: usize = 600;

/// What every layer fails with.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Arc<str>,
    retry_after: Option<Duration>,
    remembered: bool,
    from_elsewhere: bool,
    unreachable: bool,
    cause: Option<Arc<str>>,
    forward: Forward,
    fresh_for: Option<Duration>,
}

impl Error {
    /// An error whose text a person will see: one line that names what was wrong, where, and what
    /// to do. Control characters are replaced, because one would make `go` drop the whole text.
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            message: printable(message.as_ref()).into(),
            retry_after: None,
            remembered: false,
            from_elsewhere: false,
            unreachable: false,
            cause: None,
            forward: Forward { asked: kind.is_met_upstream(), ..Forward::default() },
            fresh_for: None,
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text a person sees.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The outcome of a call that failed with this.
    pub fn outcome(&self) -> Outcome {
        if self.remembered { Outcome::Negative } else { self.kind.row().outcome }
    }

    /// When to ask again, where somebody said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Says when to ask again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Whether another host than the one that was asked says so: one that it sent us to.
    pub fn is_from_elsewhere(&self) -> bool {
        self.from_elsewhere
    }

    /// Says that another host has failed than the one that was asked.
    #[must_use]
    pub fn from_elsewhere(mut self) -> Self {
        self.from_elsewhere = true;
        self
    }

    /// Whether the host that was asked could not even be reached: then nothing of it can.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable && !self.from_elsewhere
    }

    /// Says that the host which was asked could not be reached.
    #[must_use]
    pub fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// What is wrong with the one that failed, without a name of what was asked of it: may be told to
    /// others.
    pub fn cause(&self) -> Option<&Arc<str>> {
        self.cause.as_ref()
    }

    /// Says what is wrong with the one that failed.
    #[must_use]
    pub fn with_cause(mut self, cause: impl AsRef<str>) -> Self {
        self.cause = Some(printable(cause.as_ref()).into());
        self
    }

    /// The same failure, with what came of asking elsewhere.
    #[must_use]
    pub fn and_then(mut self, other: &Self) -> Self {
        self.message = printable(&format!("{}; and upstream: {other}", self.message)).into();
        self.forward = other.forward;
        self
    }

    /// Whether storage could not say what it has.
    pub fn is_of_storage(&self) -> bool {
        use ErrorKind::{Storage, StorageBusy, StorageUnavailable};
        matches!(self.kind, Storage | StorageUnavailable | StorageBusy)
    }

    /// The same answer, where a "no" is not known to last: an upstream that may have it could not say.
    #[must_use]
    pub fn for_now(mut self) -> Self {
        if self.kind == ErrorKind::NotFound {
            self.kind = ErrorKind::NotFoundForNow;
        }
        self
    }

    /// Marks the error as remembered from an earlier request.
    #[must_use]
    pub fn remembered(mut self) -> Self {
        self.remembered = true;
        self
    }

    /// The same, where it is known for how long yet.
    #[must_use]
    pub fn remembered_for(mut self, left: Duration) -> Self {
        self.fresh_for = Some(left);
        self.remembered()
    }

    /// For how long it is remembered yet.
    pub fn fresh_for(&self) -> Option<Duration> {
        self.fresh_for
    }

    /// How far the request went that ends with this.
    pub fn forward(&self) -> Forward {
        self.forward
    }

    /// Says that the request had gone on, to an upstream or into a fetch.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.forward.asked = true;
        self
    }

    /// The same, where the time was over before whoever was asked had answered.
    #[must_use]
    pub fn forwarded_if_late(self) -> Self {
        if self.kind == ErrorKind::DeadlineExceeded { self.forwarded() } else { self }
    }

    /// Says what upstream answered.
    #[must_use]
    pub fn answered(mut self, status: StatusCode) -> Self {
        self.forward.status = Some(status);
        self.forwarded()
    }

    /// Says that another request had asked, and that this one shared what came of it.
    #[must_use]
    pub fn collapsed(mut self) -> Self {
        self.forward.collapsed = true;
        self
    }

    /// Says whether an older answer was there, which could not stand in.
    #[must_use]
    pub fn beside_older(mut self, is_there: bool) -> Self {
        self.forward.stale |= is_there;
        self
    }

    /// Says that it was written down for a request before, and nobody was asked again.
    #[must_use]
    pub fn written_down(mut self) -> Self {
        self.forward = Forward::default();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Makes a text that `go` shows: no control characters, at most [`MAX_MESSAGE_BYTES`], and no
/// credentials of a URL.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_MESSAGE_BYTES));
    for character in redact_prose(text).chars() {
        if line.len() + character.len_utf8() > MAX_MESSAGE_BYTES {
            break;
        }
        line.push(if character.is_control() { ' ' } else { character });
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_golden_one() {
        let mut table = String::new();
        for kind in ErrorKind::ALL {
            let row = kind.row();
            table.push_str(&format!(
                "{:<20} {} {:<19} {:<5} {}\n",
                format!("{kind:?}"),
                row.status.as_u16(),
                row.cache_control,
                format!("{:?}", row.severity),
                row.outcome
            ));
        }
        assert_eq!(table, include_str!("error_table.txt"));
    }

    #[test]
    fn only_what_does_not_exist_is_404() {
        for kind in ErrorKind::ALL.iter().filter(|kind| kind.row().status == 404) {
            use ErrorKind::{AsyncAccepted, ImpossiblePath, InvalidPath, NotStored};
            let ours = matches!(kind, ImpossiblePath | InvalidPath | NotStored | AsyncAccepted);
            assert!(ours || kind.is_absence(), "{kind:?}");
        }
    }

    #[test]
    fn credentials_and_control_characters_never_leave() {
        let error =
            Error::new(ErrorKind::UpstreamFailed, "git: https://u:p@ss@host/x\nfailed\u{7}");
        assert_eq!(error.message(), "git: https://***@host/x failed");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let error = Error::new(ErrorKind::Internal, "ä".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(error.message().len(), MAX_MESSAGE_BYTES);
    }
}
