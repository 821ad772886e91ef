//! A "no" of `direct` while the module proxy before it has trouble: the answer of the moment, and no more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::redis::RedisServer;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use tempfile::TempDir;

use crate::fleet::{Fleet, REPLICAS, assert_whole};
use crate::service::Service;

/// Stands where `go` would, and finds nothing after a while: who waits for the lock waits by then.
const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
version) echo go version go1.26.8 linux/amd64; exit ;;
env) echo '{}'; exit ;;
esac
echo "$*" >> "$(dirname "$0")/calls"
sleep 1
echo "fatal: repository not found" >&2
exit 1
"#;

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_no_behind_a_proxy_in_trouble_is_told_to_no_replica_and_remembered_by_none() {
    let (service, upstream) = (Service::Redis(RedisServer::start()), Upstream::start().await);
    let folder = TempDir::with_prefix("dipylon-go-").expect("a temporary folder");
    let go = folder.path().join("go");
    fs::write(&go, SCRIPT).expect("a script");
    fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).expect("its rights");
    let (go, list) = (go.display().to_string(), format!("{}|direct", upstream.url()));
    let ours = service.variables();
    let mut variables: Vec<_> = ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([("GOPROXY", list.as_str()), ("GO_BINARY_PATH", go.as_str())]);
    let fleet = Fleet::start(&variables).await;
    let module = FakeModule::new("example.com/lib", "v1.2.3");
    upstream.add(module.clone());
    upstream.fault(When::any(), Fault::Status(500, "text/plain", Bytes::from("a bad day")));
    let answers = fleet.ask_all(&module, 2).await;
    assert_eq!(answers.len(), 2 * REPLICAS);
    for answer in answers {
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(answer.text().contains("repository not found"), "as go has it: {}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"), "nor does a cache before us");
    }
    let waited = "dipylon_lock_wait_duration_seconds_count";
    assert_eq!(fleet.sum(waited, &[("result", "settled")]).await, 0.0, "nobody is told");
    let calls = fs::read_to_string(folder.path().join("calls")).expect("go was called");
    assert_eq!(calls.lines().count(), REPLICAS, "each asks for itself: {calls}");
    fleet.assert_at_rest().await;
    service.assert_empty().await;
    // The proxy is well again, and it had the version all the time.
    upstream.clear_faults();
    assert_whole(&fleet.ask_all(&module, 1).await, &module.zip());
}
