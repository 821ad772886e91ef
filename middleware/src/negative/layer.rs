use std::time::Duration;

use tower::Layer;

use super::service::Negative;
use crate::error::Error;
use crate::remember::Remember;
use crate::request::StashKey;

/// What the remembered answers may take together, in bytes.
pub const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Makes [`Negative`]s that share one memory.
#[derive(Clone, Debug)]
pub struct NegativeLayer {
    remembered: Remember<StashKey, Error>,
    time_to_live: Duration,
}

impl NegativeLayer {
    /// Remembers each "no" for `time_to_live`.
    pub fn new(time_to_live: Duration) -> Self {
        Self { remembered: Remember::new(BYTES_MAX), time_to_live }
    }
}

impl<S> Layer<S> for NegativeLayer {
    type Service = Negative<S>;

    fn layer(&self, inner: S) -> Negative<S> {
        Negative { inner, remembered: self.remembered.clone(), time_to_live: self.time_to_live }
    }
}
