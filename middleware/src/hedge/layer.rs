use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::service::Hedge;
use super::state::allowance;
use crate::allowance::Allowance;
use crate::ports::Fetched;
use crate::request::FetchRequest;
use crate::stack::Border;
use crate::telemetry::Telemetry;

/// Makes [`Hedge`]s that share one budget.
#[derive(Clone, Debug)]
pub struct HedgeLayer {
    after: Duration,
    second: Border<FetchRequest, Fetched>,
    budget: Arc<Allowance>,
    telemetry: Telemetry,
}

impl HedgeLayer {
    /// A request of `second` where there is no answer `after` this.
    pub fn new(
        after: Duration,
        second: Border<FetchRequest, Fetched>,
        telemetry: &Telemetry,
    ) -> Self {
        Self { after, second, budget: Arc::new(allowance()), telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge {
            inner,
            second: self.second.clone(),
            after: self.after,
            budget: Arc::clone(&self.budget),
            telemetry: self.telemetry.clone(),
        }
    }
}
