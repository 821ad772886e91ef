//! How far a request went: what `Cache-Status` says with `fwd` (RFC 9211, section 2.2).

use http::StatusCode;

/// Whether a request went on from what is kept here, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// An upstream was asked for it, or a fetch was waited for until there was no more time.
    pub asked: bool,
    /// An older answer was there, and was no longer fresh.
    pub stale: bool,
    /// It shared what another request had asked.
    pub collapsed: bool,
    /// The status that upstream answered, where one was the reason of this answer.
    pub status: Option<StatusCode>,
}
