//! From a number to a trace: what Prometheus knows of the exemplars that gateways expose.

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use serde_json::Value;

use crate::prometheus::Prometheus;
use crate::world::{PROGRAM, alone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the prometheus program: run by cargo xtask test"]
async fn a_miss_is_found_by_its_trace_from_the_latency_of_its_route() {
    let _alone = alone().await;
    let upstream = Upstream::start().await;
    upstream.add(FakeModule::new("example.com/lib", "v1.0.0"));
    let gateway = Gateway::builder(PROGRAM)
        .env("GOPROXY", &upstream.url())
        .env("GOSUMDB", "off")
        .env("ATHENS_TRACE_EXPORTER", "otlp")
        // Nobody takes them there: the trace is kept all the same.
        .env("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1")
        .start()
        .await;
    let prometheus = Prometheus::start(&[gateway.address()]).await;
    let miss = gateway.get("/example.com/lib/@v/v1.0.0.zip").await;
    assert_eq!(miss.status, 200);
    let trace = miss.header("traceparent").and_then(|parent| parent.split('-').nth(1));
    let trace = trace.expect("a trace").to_owned();
    let selector = "dipylon_http_server_request_duration_seconds_bucket{route=\"zip\"}";
    let found = prometheus.until_exemplar(selector).await;
    assert_eq!(found["labels"]["trace_id"], Value::String(trace), "{found}");
    assert!(found["value"].as_str().and_then(|value| value.parse::<f64>().ok()) > Some(0.0));
}
