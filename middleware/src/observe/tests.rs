use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer as _, Service as _, service_fn};

use super::ObserveLayer;
use crate::error::{Error, ErrorKind};
use crate::request::{HasContext, RequestContext};
use crate::response::HasOutcome;
use crate::telemetry::{LayerName, Outcome, Telemetry};

struct Ping(RequestContext);

impl HasContext for Ping {
    fn context(&self) -> &RequestContext {
        &self.0
    }
    fn context_mut(&mut self) -> &mut RequestContext {
        &mut self.0
    }
}

#[derive(Debug)]
struct Pong;

impl HasOutcome for Pong {
    fn outcome(&self) -> Outcome {
        Outcome::HitStorage
    }
}

fn ping() -> Ping {
    Ping(RequestContext::detached(Instant::now() + Duration::from_secs(1)))
}

fn calls(telemetry: &Telemetry, outcome: Outcome) -> u64 {
    telemetry.metrics.layer_calls.get((LayerName::Lookup, outcome)).get()
}

#[tokio::test]
async fn a_call_is_counted_by_its_outcome_and_timed() {
    let telemetry = Telemetry::new().unwrap();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    layer.layer(service_fn(async |_: Ping| Ok(Pong))).call(ping()).await.unwrap();
    assert_eq!(calls(&telemetry, Outcome::HitStorage), 1);
    assert_eq!(telemetry.metrics.layer_seconds.get((LayerName::Lookup,)).get_sample_count(), 1);
    assert_eq!(telemetry.metrics.layer_active.get((LayerName::Lookup,)).get(), 0);
}

#[tokio::test]
async fn an_error_is_counted_by_the_outcome_of_its_kind() {
    let telemetry = Telemetry::new().unwrap();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    let failing =
        service_fn(async |_: Ping| Err::<Pong, _>(Error::new(ErrorKind::UpstreamTimeout, "late")));
    layer.layer(failing).call(ping()).await.unwrap_err();
    assert_eq!(calls(&telemetry, Outcome::UpstreamTimeout), 1);
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_is_counted_as_dropped() {
    let telemetry = Telemetry::new().unwrap();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    let hanging = service_fn(async |_: Ping| std::future::pending::<Result<Pong, Error>>().await);
    let mut call = layer.layer(hanging).call(ping());
    assert!(futures::poll!(&mut call).is_pending());
    assert_eq!(telemetry.metrics.layer_active.get((LayerName::Lookup,)).get(), 1);
    drop(call);
    assert_eq!(calls(&telemetry, Outcome::Dropped), 1);
    assert_eq!(telemetry.metrics.layer_active.get((LayerName::Lookup,)).get(), 0);
}
