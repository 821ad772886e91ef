//! What all clients of object stores are set up with.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// Repetitions of one request, after the first try.
pub(in crate::storage) const MAX_RETRIES: usize = 3;
/// No repetition begins after this time.
pub(in crate::storage) const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first repetition.
pub(in crate::storage) const BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause before a repetition.
pub(in crate::storage) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The media types of a version's objects.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct ContentTypes {
    pub(in crate::storage) info: &'static str,
    pub(in crate::storage) go_mod: &'static str,
    pub(in crate::storage) zip: &'static str,
}

impl ContentTypes {
    /// By the end of a name.
    #[cfg(feature = "gcp")]
    pub(in crate::storage) fn of(self, name: &str) -> &'static str {
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("info") => self.info,
            Some("mod") => self.go_mod,
            Some("zip") => self.zip,
            _ => OTHER,
        }
    }
}

/// The media type of what is no version's.
const OTHER: &str = "application/octet-stream";

/// Media types by the ends of names. Timeouts are the connector's.
pub(in crate::storage) fn client_options(types: ContentTypes) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(true)
        .with_content_type_for_suffix("info", types.info)
        .with_content_type_for_suffix("mod", types.go_mod)
        .with_content_type_for_suffix("zip", types.zip)
        .with_default_content_type(OTHER)
}

/// How often a request is made again. Above it the storage stack has its own deadline.
pub(in crate::storage) fn retries() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: BACKOFF, max_backoff: BACKOFF_MAX, base: 2.0 };
    RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT }
}
