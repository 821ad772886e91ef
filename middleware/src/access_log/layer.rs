use tower::Layer;

use super::service::AccessLog;
use crate::telemetry::Telemetry;

/// Makes [`AccessLog`]s.
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    telemetry: Telemetry,
    logs: bool,
}

impl AccessLogLayer {
    /// Metrics always; lines of the log where `logs` says so (`LogAccess`).
    pub fn new(logs: bool, telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone(), logs }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner, telemetry: self.telemetry.clone(), logs: self.logs }
    }
}
