//! `/metrics` as OpenMetrics: the same as in the classic text, with traces beside the buckets.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{VERSION, World, file, until};

const ACCEPT: (&str, &str) = (
    "accept",
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
);
const HISTOGRAM: &str = "dipylon_http_server_request_duration_seconds";

/// A gateway that keeps traces, which nobody takes.
async fn world() -> World {
    let collector =
        [("ATHENS_TRACE_EXPORTER", "otlp"), ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1")];
    World::start(&collector).await
}

/// The names and labels of all samples, with bounds as numbers, because the two texts write them apart.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let named = lines.map(|line| {
        let end = line.find("} ").map_or_else(|| line.find(' ').unwrap_or(0), |end| end + 1);
        line[..end].to_owned()
    });
    named.map(|name| name.replace(".0\"", "\"")).collect()
}

/// Each `# TYPE`, by the family as the classic text names it.
fn types(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let classic = |(name, kind): (&str, &str)| {
        let is_short = kind == "counter" && !name.ends_with("_total");
        let name = if is_short { format!("{name}_total") } else { name.to_owned() };
        (name, kind.to_owned())
    };
    lines.map(classic).collect()
}

async fn until_saved(world: &World) {
    until("the zip is stored, and indexed", async || {
        let metrics = world.gateway.metrics().await;
        let saves = metrics.metric("dipylon_stash_saves_total").label("result", "created").sum();
        let calls = metrics.metric("dipylon_layer_active_calls").label("layer", "stash").sum();
        saves == 1.0 && calls == 0.0
    })
    .await;
}

#[tokio::test]
async fn both_texts_say_the_same_and_only_who_asks_for_openmetrics_gets_it() {
    let world = world().await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    // What goes on behind the answer adds samples of its own.
    until_saved(&world).await;
    // The first scrape of each kind leaves its own outcomes behind.
    for accept in [ACCEPT, ("accept", "*/*")] {
        world.get_with("/metrics", &[accept]).await;
    }
    let open = world.get_with("/metrics", &[ACCEPT]).await;
    let classic = world.get_with("/metrics", &[("accept", "*/*")]).await;
    let wanted = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(wanted));
    assert_eq!(classic.header("content-type"), Some("text/plain; version=0.0.4"));
    for answer in [&open, &classic] {
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("accept")));
    }
    assert!(open.text().ends_with("\n# EOF\n") && !classic.text().contains("# EOF"));
    assert_eq!(types(open.text()), types(classic.text()));
    let (open, classic) = (samples(open.text()), samples(classic.text()));
    let apart: Vec<_> = open.symmetric_difference(&classic).collect();
    assert!(apart.is_empty() && open.len() > 200, "{} samples, {apart:#?}", open.len());
}

#[tokio::test]
async fn a_bucket_leads_to_the_trace_of_a_request_that_fell_into_it() {
    let world = world().await;
    let miss = world.get(&file(VERSION, "zip")).await;
    let trace = miss.header("traceparent").and_then(|parent| parent.split('-').nth(1));
    let exemplar = format!("# {{trace_id=\"{}\"}} ", trace.expect("a trace"));
    let of = |text: &str, name: &str, label: &str| -> usize {
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter(|line| line.contains(&exemplar)).count()
    };
    until("the request has ended", async || {
        let open = world.get_with("/metrics", &[ACCEPT]).await;
        of(open.text(), HISTOGRAM, "route=\"zip\"") == 1
    })
    .await;
    let open = world.get_with("/metrics", &[ACCEPT]).await;
    for (name, label) in [
        ("dipylon_layer_duration_seconds_bucket", "layer=\"dispatch\""),
        ("dipylon_upstream_request_duration_seconds_bucket", "kind=\"zip\""),
        ("dipylon_single_flight_wait_duration_seconds_bucket", "role=\"leader\""),
    ] {
        assert_eq!(of(open.text(), name, label), 1, "{name}");
    }
}

#[tokio::test]
async fn where_no_trace_is_kept_no_bucket_leads_to_one() {
    let world = World::start(&[]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    let open = world.get_with("/metrics", &[ACCEPT]).await;
    assert!(open.text().contains(HISTOGRAM) && !open.text().contains("trace_id"));
}

#[tokio::test]
async fn a_hit_that_no_share_takes_leaves_no_exemplar_beside_a_miss_that_does() {
    let world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1"),
        ("GO_ENV", "production"),
        ("ATHENS_TRACE_SAMPLING_FRACTION", "0"),
        // However slow this machine is.
        ("DIPYLON_TRACE_SLOW", "0s"),
    ])
    .await;
    let trace = |answer: &dipylon_testkit::client::Response| {
        let parent = answer.header("traceparent").unwrap_or_default().to_owned();
        let words: Vec<&str> = parent.split('-').collect();
        (words[1].to_owned(), words[3].to_owned())
    };
    let miss = world.get(&file(VERSION, "zip")).await;
    until_saved(&world).await;
    let (missed, flags) = trace(&miss);
    assert_eq!(flags, "01");
    let mut hits = Vec::new();
    for _ in 0..5 {
        let hit = world.get(&file(VERSION, "zip")).await;
        let told = hit.header("cache-status").unwrap_or_default();
        assert!(told.contains("; hit; "), "{told}");
        let (trace, flags) = trace(&hit);
        assert_eq!(flags, "00");
        hits.push(trace);
    }
    until("the requests are counted", async || {
        let metrics = world.gateway.metrics().await;
        let requests = metrics.metric("dipylon_http_server_requests_total").label("route", "zip");
        requests.sum() == 6.0
    })
    .await;
    let open = world.get_with("/metrics", &[ACCEPT]).await;
    assert!(open.text().contains(&missed), "the miss, by which it is seen that there are any");
    for hit in hits {
        assert!(!open.text().contains(&hit), "{hit} is a hit's");
    }
}
