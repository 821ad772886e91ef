//! A store that is busy for a moment: the call is made again, and nobody sees it.

use dipylon_testkit::metrics::Metrics;
use dipylon_testkit::module::FakeModule;

use crate::backend;
use crate::relay::Relay;
use crate::world::{MODULE, Site};

fn retries(metrics: &Metrics) -> f64 {
    metrics.metric("dipylon_storage_retries_total").label("operation", "read").sum()
}

/// `external` is the kind whose client repeats nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_is_asked_again_when_it_is_busy_and_the_metric_counts_it() {
    let backend = backend::external().await;
    let relay = Relay::to(&backend.server).await;
    let site = Site::start(backend.kind, backend.settings(&relay.address.to_string())).await;
    let module = FakeModule::new(MODULE, "v1.0.0").filler(50_000);
    site.fill(&module).await;
    assert_eq!(retries(&site.gateway.metrics().await), 0.0);
    for (number, suffix) in [(1.0, "info"), (2.0, "mod"), (3.0, "zip")] {
        relay.refuse(1);
        assert_eq!(site.file(&module, suffix).await, "hit_storage", "{}", site.log());
        assert_eq!(retries(&site.gateway.metrics().await), number, "{suffix}");
    }
}
