//! Hiding what must not be printed, as everywhere else in the program.

use std::borrow::Cow;

pub(super) use dipylon_middleware::redact::names_a_secret;
pub use dipylon_middleware::redact::{HIDDEN, redact_url};

/// As [`redact_url`], for a text that is not known to be a URL: an `@` alone hides nothing.
pub(super) fn redact_text(text: &str) -> Cow<'_, str> {
    if text.contains("://") { redact_url(text) } else { Cow::Borrowed(text) }
}
