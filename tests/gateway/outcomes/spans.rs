//! The spans that the lines of the table leave, and those of settings that no line needs, held to the catalogue.

use std::collections::BTreeSet;

use dipylon_middleware::telemetry::labels::Label as _;
use dipylon_middleware::telemetry::{Outcome, SpanName};
use dipylon_testkit::traces::Traces;

use super::agree::keeping_all;
use super::spans_of;
use crate::world::{Setup, file, latest, list, until};

/// Spans that occur in no test of this program, and why.
const ELSEWHERE: [(&str, &str); 2] = [
    ("request_context", "it begins the trace, so no span of it can be a part of that"),
    ("lock", "it needs a lock service: tests/lock/traced.rs sees it"),
];

/// Asks a gateway with these settings for these, and hands over all names once those `wanted` are among them.
async fn seen_with(
    settings: &[(&str, &str)],
    asks: &[String],
    wanted: &[&str],
) -> BTreeSet<String> {
    let traces = Traces::start();
    let setup = settings.iter().fold(Setup::disk(), |setup, (name, value)| setup.env(name, value));
    let world = keeping_all(setup, &traces).start().await;
    world.add_module();
    for path in asks {
        world.get(path).await;
    }
    until(&format!("{wanted:?} have come"), async || {
        let names = traces.names();
        wanted.iter().all(|name| names.contains(*name))
    })
    .await;
    traces.names()
}

#[tokio::test]
async fn the_spans_of_the_tests_are_those_of_the_catalogue() {
    let tiered = [("DIPYLON_TIERED_DIRECTORY", "{folder}/near"), ("DIPYLON_HEDGE_AFTER", "250ms")];
    let asks = [latest(), file("zip")];
    let mut seen = seen_with(&tiered, &asks, &["latest", "storage_tier", "upstream_hedge"]).await;
    seen.extend(seen_with(&[("PROXY_FORCE_SSL", "true")], &[list()], &["force_ssl"]).await);
    let in_background = [("ATHENS_DOWNLOAD_MODE", "async")];
    seen.extend(seen_with(&in_background, &[file("zip")], &["background_stash"]).await);
    for outcome in Outcome::ALL {
        seen.extend(Box::pin(spans_of(*outcome)).await.iter().cloned());
    }

    let declared: BTreeSet<String> = SpanName::all().map(|name| name.to_string()).collect();
    let undeclared: Vec<_> = seen.difference(&declared).collect();
    assert!(undeclared.is_empty(), "not in the catalogue: {undeclared:?}");
    let never: BTreeSet<&str> = declared.difference(&seen).map(String::as_str).collect();
    let named: BTreeSet<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    assert_eq!(never, named, "what never occurs here, and what there is a reason for");
}
