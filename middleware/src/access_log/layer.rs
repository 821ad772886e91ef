use tower::Layer;

use super::service::AccessLog;
use crate::telemetry::Telemetry;

/// Makes [`AccessLog`]s.
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    telemetry: Telemetry,
    events: bool,
}

impl AccessLogLayer {
    /// Metrics always; log events where `events` says so (`LogAccess`).
    pub fn new(events: bool, telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone(), events }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner, telemetry: self.telemetry.clone(), events: self.events }
    }
}
