//! How a failed call becomes an error of the storage: one line that names the operation, the place and the
//! cause, and never the password of the URL.

use dipylon_middleware::error::{Error, ErrorKind};
use http::StatusCode;

/// Why a call has no answer, or not the one that was wanted.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The cause, in words.
    pub(super) said: String,
    /// What the server answered, if it did.
    pub(super) status: Option<StatusCode>,
    /// Whether the server was not reached, or left the connection before it answered.
    pub(super) is_transport: bool,
    /// Whether a connection broke that had been made: most likely it was closed while it lay idle.
    pub(super) broke: bool,
}

impl Failure {
    pub(super) fn of(said: impl Into<String>) -> Self {
        Self { said: said.into(), status: None, is_transport: false, broke: false }
    }

    /// The server was not reached, or did not answer to the end.
    pub(super) fn of_transport(said: impl Into<String>) -> Self {
        Self { is_transport: true, ..Self::of(said) }
    }

    /// Whether it may pass. A plain 500 is an answer: a server says it of one damaged version too.
    fn may_pass(&self) -> bool {
        let status = self.status.map(|status| status.as_u16());
        self.is_transport || matches!(status, Some(408 | 429 | 502 | 503 | 504))
    }

    /// The error that a caller sees.
    pub(super) fn error(&self, what: &str, place: &str) -> Error {
        let advice = match self.status.map(|status| status.as_u16()) {
            Some(401 | 403 | 407) => "; check the user and password in Storage.External.URL",
            Some(404 | 405) => "; does Storage.External.URL lead to an external storage server?",
            None if self.is_transport => "; is the server up, and Storage.External.URL right?",
            _ => "",
        };
        let text = format!("external storage cannot {what} at {place}: {}{advice}", self.said);
        if !self.may_pass() {
            return Error::new(ErrorKind::Storage, text);
        }
        // Not in the server's words, which may name what was asked for.
        let cause = match self.status {
            Some(status) => format!("it answered {status}"),
            None => format!("{}{advice}", self.said),
        };
        Error::new(ErrorKind::StorageUnavailable, text).with_cause(cause)
    }
}
