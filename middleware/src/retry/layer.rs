use std::sync::Arc;

use tower::Layer;

use super::service::Retry;
use super::state::allowance;
use crate::allowance::Allowance;
use crate::telemetry::Telemetry;

/// Makes [`Retry`]s that share one budget.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    attempts: u32,
    budget: Arc<Allowance>,
    telemetry: Telemetry,
}

impl RetryLayer {
    /// At most `attempts` attempts of one call.
    pub fn new(attempts: u32, telemetry: &Telemetry) -> Self {
        Self {
            attempts: attempts.max(1),
            budget: Arc::new(allowance()),
            telemetry: telemetry.clone(),
        }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            inner,
            attempts: self.attempts,
            budget: Arc::clone(&self.budget),
            telemetry: self.telemetry.clone(),
        }
    }
}
