//! Athens's own metrics, as a dashboard for Athens reads them.

use dipylon_middleware::telemetry::athens::{ATHENS_METRICS, FETCH_SECONDS};
use dipylon_testkit::metrics::Metrics;

use crate::world::{VERSION, World, file, until};

#[tokio::test]
async fn athens_s_three_metrics_are_there_where_they_are_asked_for() {
    let world = World::start(&[("DIPYLON_ATHENS_METRICS", "true")]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    until("it is saved", async || {
        let metrics = world.gateway.metrics().await;
        metrics.metric("dipylon_stash_saves_total").sum() == 1.0
            && metrics.metric("dipylon_single_flight_active").sum() == 0.0
    })
    .await;
    // From storage, then from memory.
    for _ in 0..2 {
        assert_eq!(world.get(&file(VERSION, "mod")).await.status, 200);
    }
    assert_eq!(world.get(&file("v1.9.9", "info")).await.status, 404);
    assert_eq!(world.get("/example.com/lib/@v/list").await.status, 200);
    let count = async |name: &str, labels: &[(&str, &str)]| {
        let metrics = world.gateway.metrics().await;
        let question = metrics.metric(name);
        labels.iter().fold(question, |question, (name, value)| question.label(name, value)).sum()
    };
    let fetches = "proxy_upstream_fetch_total";
    until("both fetches have ended", async || count(fetches, &[]).await == 2.0).await;
    for (result, kind, wanted) in [
        ("miss", "zip", 1.0),
        ("hit", "gomod", 2.0),
        ("miss", "info", 1.0),
        ("hit", "info", 0.0),
        ("hit", "zip", 0.0),
    ] {
        let labels = [("cache_result", result), ("cache_type", kind)];
        assert_eq!(count("proxy_cache_lookup_total", &labels).await, wanted, "{result} {kind}");
    }
    for result in ["success", "failure"] {
        let labels = [("fetch_result", result)];
        assert_eq!(count(fetches, &labels).await, 1.0, "{result}");
        let seconds = "proxy_upstream_fetch_duration_seconds_count";
        assert_eq!(count(seconds, &labels).await, 1.0, "{result}");
    }
    let scrape = world.get("/metrics").await;
    let bounds = Metrics::parse(scrape.text());
    let success = |sample: &&dipylon_testkit::metrics::Sample| {
        sample.name == "proxy_upstream_fetch_duration_seconds_bucket"
            && sample.labels["fetch_result"] == "success"
    };
    assert_eq!(bounds.samples().iter().filter(success).count(), FETCH_SECONDS.len() + 1);
}

#[tokio::test]
async fn they_are_not_there_where_nobody_asks() {
    let world = World::start(&[]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    let scrape = world.get("/metrics").await;
    for metric in ATHENS_METRICS {
        assert!(!scrape.text().contains(metric.name), "{}", metric.name);
    }
}
