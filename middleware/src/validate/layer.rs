use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::service::{CALLS_MAX, Calls, Validate};
use crate::flight::Flights;
use crate::ports::Validator;

/// Makes [`Validate`]s that share their calls.
#[derive(Clone)]
pub struct ValidateLayer {
    calls: Calls,
}

impl ValidateLayer {
    /// Asks `validator`, each time for `timeout` at most. Calls are counted by `tasks`, which a drain
    /// waits for.
    pub fn new(validator: Arc<dyn Validator>, timeout: Duration, tasks: TaskTracker) -> Self {
        let (flights, room) = (Flights::new(tasks), Arc::new(Semaphore::new(CALLS_MAX)));
        Self { calls: Calls { validator, timeout, flights, room } }
    }
}

impl fmt::Debug for ValidateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValidateLayer")
    }
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate { inner, calls: self.calls.clone() }
    }
}
