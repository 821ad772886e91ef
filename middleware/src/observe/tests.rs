use tower::Layer as _;

use super::ObserveLayer;
use crate::error::{Error, ErrorKind};
use crate::ports::StorageCall;
use crate::request::StorageRequest;
use crate::response::HasOutcome;
use crate::telemetry::{LayerName, Outcome, Telemetry};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{call, context, leaf, telemetry};

#[derive(Debug)]
struct Pong;

impl HasOutcome for Pong {
    fn outcome(&self) -> Outcome {
        Outcome::HitStorage
    }
}

fn ping() -> StorageRequest {
    StorageRequest { context: context(), operation: StorageCall::Check }
}

fn pong(_: StorageRequest) -> Result<Pong, Error> {
    Ok(Pong)
}

fn calls(telemetry: &Telemetry, outcome: Outcome) -> u64 {
    telemetry.metrics.layer_calls.get((LayerName::Lookup, outcome)).get()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_counted_by_its_outcome_and_timed() {
    let telemetry = telemetry();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    call(&layer.layer(leaf(pong)), ping()).await.unwrap();
    assert_eq!(calls(&telemetry, Outcome::HitStorage), 1);
    assert_eq!(telemetry.metrics.layer_seconds.get((LayerName::Lookup,)).get_sample_count(), 1);
    assert_eq!(telemetry.metrics.layer_active.get((LayerName::Lookup,)).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_is_counted_by_the_outcome_of_its_kind() {
    let telemetry = telemetry();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    let service = layer.layer(failing::<_, Pong>(ErrorKind::UpstreamTimeout));
    assert_passes_unchanged(&service, ping(), ErrorKind::UpstreamTimeout).await;
    assert_eq!(calls(&telemetry, Outcome::UpstreamTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_are_counted_together() {
    let telemetry = telemetry();
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    for service in [layer.layer(leaf(pong)), layer.layer(leaf(pong))] {
        call(&service, ping()).await.unwrap();
    }
    assert_eq!(calls(&telemetry, Outcome::HitStorage), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_is_counted_as_dropped() {
    let (telemetry, held) = (telemetry(), Held::default());
    let layer = ObserveLayer::new(LayerName::Lookup, &telemetry);
    let service = layer.layer(held.service::<_, Pong>());
    let active = telemetry.metrics.layer_active.get((LayerName::Lookup,));
    let mut first = Box::pin(call(&service, ping()));
    assert!(futures::poll!(&mut first).is_pending());
    assert_eq!((active.get(), held.counts()), (1, (1, 1)));
    held.assert_ends_with_its_caller(&service, ping()).await;
    assert_eq!((active.get(), calls(&telemetry, Outcome::Dropped)), (1, 1), "the first goes on");
    drop(first);
    assert_eq!((active.get(), calls(&telemetry, Outcome::Dropped)), (0, 2));
    assert_eq!(held.counts(), (2, 0));
}
