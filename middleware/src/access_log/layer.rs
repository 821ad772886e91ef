use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::service::AccessLog;
use crate::telemetry::{RequestLog, Telemetry};

/// Makes [`AccessLog`]s.
#[derive(Clone)]
pub struct AccessLogLayer {
    telemetry: Telemetry,
    log: Option<Arc<dyn RequestLog>>,
}

impl AccessLogLayer {
    /// Metrics always; lines of the log where `logs` says so (`LogAccess`).
    pub fn new(logs: bool, telemetry: &Telemetry) -> Self {
        let log = logs.then(|| Arc::clone(&telemetry.request_log));
        Self { telemetry: telemetry.clone(), log }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner, telemetry: self.telemetry.clone(), log: self.log.clone() }
    }
}

impl fmt::Debug for AccessLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLogLayer")
    }
}
