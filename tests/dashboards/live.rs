//! What a real Prometheus and promtool say.

use std::process::Command;
use std::time::{Duration, Instant};

use dipylon_testkit::services::redis::RedisServer;

use crate::collector::Collector;
use crate::load::{FLOOD_REQUESTS, flood, overload, round};
use crate::looks::{Looks, assert_hidden_is_found};
use crate::prometheus::{Prometheus, promtool, promtool_of};
use crate::store::Store;
use crate::variables::Chosen;
use crate::world::{World, alone};
use crate::{panels, rules};

/// How promtool reads the text of metrics, and says what its linter has against them.
const CHECK_METRICS: [&str; 2] = ["check", "metrics"];
/// Histograms from whose buckets one gets to a trace.
const EXEMPLIFIED: [&str; 2] =
    ["dipylon_http_server_request_duration_seconds", "dipylon_layer_duration_seconds"];
/// The longest until the trace of an exemplar is with the collector.
const TRACE_MAX: Duration = Duration::from_secs(15);
/// The longest that the load goes on until nothing is empty.
const LOAD_MAX: Duration = Duration::from_secs(120);
/// The panels *Gateways up*, and *Series* and *Seconds of a scrape*: what they ask for every target has.
const UP: u64 = 701;
const SCRAPES: [u64; 2] = [705, 706];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio, otelcol, the prometheus program and the redis program: run by cargo xtask test"]
async fn after_a_load_with_faults_no_panel_and_no_rule_is_empty() {
    let _alone = alone().await;
    let mut locks = RedisServer::start();
    let mut store = Store::start().await;
    let collector = Collector::start().await;
    let traces = collector.url("grpc");
    let (used, flooded) = tokio::join!(World::used(&locks, &store, &traces), World::flooded());
    let targets = [used.gateway.address(), flooded.gateway.address()];
    let prometheus = Prometheus::start(&targets).await;
    let loaded: Vec<String> = prometheus
        .rules()
        .await
        .iter()
        .map(|rule| rule["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let read: Vec<String> = rules::all().into_iter().map(|rule| rule.name).collect();
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    assert_eq!(
        sorted(&loaded),
        sorted(&read),
        "what Prometheus loads is what the checks have read"
    );

    prometheus.until_scraped(targets.len()).await;
    let chosen = Chosen::all(&prometheus).await;
    assert_only_gateways_count(&prometheus, &chosen, targets.len()).await;

    let began = Instant::now();
    flood(&flooded).await;
    println!("{FLOOD_REQUESTS} background fetches asked for in {:?}", began.elapsed());
    let began = Instant::now();
    let looks = Looks::all(chosen);
    let mut rounds = 0;
    loop {
        tokio::join!(round(&used, &mut locks, &mut store, rounds), overload(&flooded, rounds));
        rounds += 1;
        let left = looks.empty(&prometheus).await;
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < LOAD_MAX, "empty after {rounds} rounds: {left:#?}");
    }
    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    assert_hidden_is_found(&prometheus).await;
    assert_exemplars_lead_to_traces(&prometheus, &collector).await;
    for world in [&used, &flooded] {
        assert_metrics_are_clean(world).await;
    }
    println!(
        "{} expressions of panels and {} rules have data after {rounds} rounds, in {} looks",
        panels::targets().len(),
        read.len(),
        looks.count()
    );
}

/// Makes sure that with all chosen the panels of what every target has show the gateways and nothing else,
/// although Prometheus scrapes something else too.
async fn assert_only_gateways_count(prometheus: &Prometheus, chosen: &Chosen, gateways: usize) {
    assert_eq!(prometheus.series("up == 1").await, gateways + 1, "and Prometheus itself");
    let shown = async |id: u64| {
        let targets = panels::targets();
        let target = targets.iter().find(|target| target.id == id).expect("the panel is there");
        prometheus.values(&chosen.fill(&target.expr)).await
    };
    let up = shown(UP).await;
    assert!(up.len() == 1 && up[0] == gateways as f64, "{up:?} of {gateways} up: {chosen:?}");
    for id in SCRAPES {
        assert_eq!(shown(id).await.len(), gateways, "the panel {id}: {chosen:?}");
    }
}

/// From a graph to a trace: Prometheus has exemplars of the histograms of the requests, and what they name is with
/// the collector.
async fn assert_exemplars_lead_to_traces(prometheus: &Prometheus, collector: &Collector) {
    for metric in EXEMPLIFIED {
        let named = prometheus.exemplars(&format!("{metric}_bucket")).await;
        assert!(!named.is_empty(), "{metric} has no exemplar");
        let began = Instant::now();
        while !collector.spans().iter().any(|span| named.contains(&span.trace)) {
            assert!(began.elapsed() < TRACE_MAX, "{metric}: the collector has none of {named:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The classic text of a gateway that has counted all it can, by Prometheus's own linter: names, units, help.
async fn assert_metrics_are_clean(world: &World) {
    let answer = world.gateway.get("/metrics").await;
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("text/plain"),
        "who asks for nothing else gets the classic text: {kind}"
    );
    promtool_of(&CHECK_METRICS, answer.text()).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
#[ignore = "needs the prometheus program: run by cargo xtask test"]
fn promtool_finds_what_is_wrong_with_metrics() {
    let clean = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n";
    assert_eq!(promtool_of(&CHECK_METRICS, clean), Ok(()));
    let text = "# HELP a A.\n# TYPE a counter\na 1\n";
    let said = promtool_of(&CHECK_METRICS, text).expect_err("a counter without its end");
    assert!(said.contains("counter metrics should have \"_total\" suffix"), "{said}");
}

/// Where the Alertmanager of the compose file sends an alert of this severity.
fn receiver(severity: &str) -> String {
    let severity = format!("severity={severity}");
    let args = ["config", "routes", "test", "--config.file=alertmanager.yml", &severity];
    let output = Command::new("amtool").args(args).current_dir(crate::world::folder()).output();
    let output = output.expect("amtool is installed (Debian: prometheus-alertmanager)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
#[ignore = "needs the alertmanager program: run by cargo xtask test"]
fn amtool_accepts_the_configuration_and_sends_pages_and_tickets_apart() {
    assert_eq!((receiver("page").as_str(), receiver("ticket").as_str()), ("pages", "tickets"));
}

#[test]
#[ignore = "needs the prometheus program: run by cargo xtask test"]
fn promtool_accepts_every_rule_every_case_and_every_panel() {
    for args in [
        ["check", "config", "prometheus.yml"].as_slice(),
        &["test", "rules", "rules/recording_test.yml", "rules/alerts_test.yml"],
        &["test", "rules", "rules/burns_test.yml"],
    ] {
        promtool(args).unwrap_or_else(|said| panic!("promtool {args:?}:\n{said}"));
    }
    let targets = panels::targets();
    let together: Vec<&str> = targets.iter().map(|target| target.expr.as_str()).collect();
    if parse(&together).is_err() {
        // promtool names the number of a rule; one by one, the panel has its name.
        for target in &targets {
            parse(&[&target.expr]).unwrap_or_else(|said| panic!("{}: {said}", target.place));
        }
    }
    let broken = parse(&["sum(rate(dipylon_spool_bytes[5m])"]).expect_err("a bracket is missing");
    assert!(broken.contains("could not parse expression"), "{broken}");
}

/// Whether promtool can read expressions: as rules, which is how it reads them.
fn parse(expressions: &[&str]) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("panels.json");
    let numbered = expressions.iter().enumerate();
    let rules: Vec<_> = numbered
        .map(|(number, expr)| (format!("panel:{number}"), Chosen::anything().fill(expr)))
        .map(|(record, expr)| serde_json::json!({"record": record, "expr": expr}))
        .collect();
    let rules = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(&file, rules.to_string()).map_err(|error| error.to_string())?;
    promtool(&["check", "rules", &file.display().to_string()])
}
