//! What is told of the background to who looks on.

use serde_json::json;

use super::*;
use crate::explain::{Subject, Tells as _};
use crate::testing::{module, subject};

#[tokio::test(start_paused = true)]
async fn what_runs_waits_and_pauses_is_told_with_how_many_come_before_it() {
    let bench = Setup { workers_max: 1, ..Setup::new(false) }.bench();
    for version in ["v1.0.0", "v1.0.1", "v1.0.2"] {
        bench.ask(version).await;
    }
    settle().await;
    tokio::time::sleep(3 * SECOND).await;
    let told = async |version| bench.background.tell(&subject(version)).await;
    let row = |version: &str, state: &str, attempts: u32, before: Option<usize>| {
        json!([{
            "version": version, "state": state, "age_seconds": 3, "attempts": attempts, "before_it": before,
        }])
    };
    assert_eq!(told("v1.0.0").await, row("v1.0.0", "running", 1, None));
    assert_eq!(told("v1.0.1").await, row("v1.0.1", "waiting", 0, Some(0)));
    assert_eq!(told("v1.0.2").await, row("v1.0.2", "waiting", 0, Some(1)));
    assert_eq!(told("v1.0.3").await, json!([]), "nobody has asked for it");
    // The first fails, and waits for its next attempt behind the one that waits for a turn.
    *bench.stashes.result.lock() = Err(error(ErrorKind::UpstreamFailed));
    bench.stashes.gate.add_permits(1);
    settle().await;
    assert_eq!(told("v1.0.0").await, row("v1.0.0", "paused", 1, Some(1)));
    assert_eq!(told("v1.0.1").await, row("v1.0.1", "running", 1, None));
    let all = Subject { version: None, ..subject("v1.0.0") };
    let all = bench.background.tell(&all).await;
    assert_eq!(all.as_array().map(Vec::len), Some(3), "{all}");
    let other = Subject { version: None, module: module("example.com/other"), ..subject("v1.0.0") };
    assert_eq!(bench.background.tell(&other).await, json!([]));
}
