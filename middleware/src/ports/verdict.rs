//! What a holder of a lock found for good, for those who wait for it.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How long a verdict stands at the lock service, at least; at most twice as long. Who waits asks many times
/// in it; who comes later asks upstream.
pub const VERDICT_LIFE: Duration = Duration::from_secs(10);

/// A lasting "no" that the holder of a lock was answered with. Nothing that may pass is one, so no replica is
/// ever told of another's trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    kind: ErrorKind,
    message: Arc<str>,
}

impl Verdict {
    /// `None` for a kind that may pass. The text is bounded, and without credentials, as that of every error.
    pub fn new(kind: ErrorKind, message: &str) -> Option<Self> {
        Self::of(&Error::new(kind, message))
    }

    /// What can be told of an error; `None` where it may pass.
    pub fn of(error: &Error) -> Option<Self> {
        let kind = error.kind();
        kind.is_permanent().then(|| Self { kind, message: error.message().into() })
    }

    /// What is so for good.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text a person sees.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same answer, for another replica's client.
    pub fn error(&self) -> Error {
        Error::new(self.kind, &*self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::MAX_MESSAGE_BYTES;

    #[test]
    fn only_what_lasts_is_told() {
        for kind in ErrorKind::ALL {
            let verdict = Verdict::of(&Error::new(*kind, "why"));
            assert_eq!(verdict.is_some(), kind.is_permanent(), "{kind:?}");
            let Some(verdict) = verdict else { continue };
            let told = verdict.error();
            assert_eq!((told.kind(), told.message()), (*kind, "why"));
        }
    }

    #[test]
    fn a_text_of_another_replica_is_bounded_and_has_no_secret() {
        let text =
            format!("https://user:hunter2@example.com/{}", "x".repeat(2 * MAX_MESSAGE_BYTES));
        let verdict = Verdict::new(ErrorKind::NotFound, &text).expect("it lasts");
        assert!(!verdict.message().contains("hunter2"), "{verdict:?}");
        assert!(verdict.message().len() <= MAX_MESSAGE_BYTES);
    }
}
