//! What is told of locks, to who looks on.

use std::slice::from_ref;

use serde_json::{Value, json};

use super::*;
use crate::explain::{Foretold, Subject, Tells as _};
use crate::lock::Counts;
use crate::testing::lock::Mood;
use crate::testing::{asking, spans, subject};

/// The locks that a replica tells of, of one version or of all.
async fn under_way(replica: &Replica, version: Option<&str>) -> Vec<Value> {
    let about = Subject { version: version.map(query), ..subject("v1.0.0") };
    let told = replica.layer.tell(&about).await;
    told["under_way"].as_array().cloned().expect("a list")
}

#[tokio::test(start_paused = true)]
async fn who_has_a_lock_and_who_waits_for_it_is_told_until_it_is_given_back() {
    let (telemetry, _spans) = spans::traced(spans::ALL);
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (one, other) = (Replica::new(&lock, &storage), Replica::new(&lock, &storage));
    let (mut leading, waiting) = (zip(), zip());
    leading.context.trace = spans::root(&telemetry);
    let trace = leading.context.trace.id().expect("a trace").to_string();
    let ids = [&leading, &waiting].map(|request| request.context.id.to_string());
    one.ask(leading).await.expect("an answer");
    pass(2 * SECOND).await;
    let waits = tokio::spawn(other.stack.send(waiting));
    pass(5 * SECOND).await;
    let held = json!({
        "version": "v1.0.0", "state": "held", "age_seconds": 7, "request_id": ids[0], "held_by_trace": null,
    });
    let awaited = json!({
        "version": "v1.0.0", "state": "awaited", "age_seconds": 5, "request_id": ids[1], "held_by_trace": trace,
    });
    for version in [None, Some("v1.0.0")] {
        assert_eq!(under_way(&one, version).await, from_ref(&held), "{version:?}");
        assert_eq!(under_way(&other, version).await, from_ref(&awaited), "{version:?}");
    }
    assert_eq!(under_way(&one, Some("v1.0.1")).await, [Value::Null; 0], "of another version");
    assert_eq!(one.layer.counts(), Counts { held: 1, awaited: 0 });
    assert_eq!(other.layer.counts(), Counts { held: 0, awaited: 1 });
    storage.put(release());
    one.end_fetches().await;
    waits.await.expect("no panic").expect("an answer");
    settle().await;
    for replica in [&one, &other] {
        assert_eq!(replica.layer.counts(), Counts::default());
        assert_eq!(under_way(replica, None).await, [Value::Null; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_waits_for_no_lock_any_more() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 60 * SECOND);
    let replica = Replica::new(&lock, &storage);
    let waits = replica.asks();
    pass(SECOND).await;
    assert_eq!(replica.layer.counts(), Counts { held: 0, awaited: 1 });
    waits.abort();
    settle().await;
    assert_eq!(replica.layer.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn no_more_locks_are_told_of_than_are_asked_for_and_the_oldest_come_first() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    let versions = ["v1.0.3", "v1.0.1", "v1.0.2"];
    for version in versions {
        let mut request = zip();
        request.key.version = query(version);
        replica.ask(request).await.expect("an answer");
        pass(SECOND).await;
    }
    let keys = |most| {
        let listed = replica.layer.under_way(most, |_| true);
        listed.iter().map(|listed| listed.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(2),
        versions[..2].iter().map(|v| format!("example.com/m@{v}")).collect::<Vec<_>>()
    );
    assert_eq!((keys(9).len(), replica.layer.counts().held), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_told_with_its_reason_and_only_a_zip_is_foretold_without_a_lock()
{
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    let works = json!({ "works": true, "trouble": null, "under_way": [] });
    assert_eq!(replica.layer.tell(&subject("v1.0.0")).await, works);
    assert_eq!(replica.layer.foretell(&asking("v1.0.0", FileKind::Zip)).await, Foretold::Passes);
    lock.set(Mood::Refuses);
    replica.ask(zip()).await.expect("an answer");
    let told = replica.layer.tell(&subject("v1.0.0")).await;
    assert_eq!(told["works"], false, "{told}");
    assert!(
        told["trouble"].as_str().is_some_and(|why| why.contains("refused on purpose")),
        "{told}"
    );
    let foretold = async |version, kind| replica.layer.foretell(&asking(version, kind)).await;
    let Foretold::Degraded(why) = foretold("v1.0.0", FileKind::Zip).await else {
        panic!("it is not foretold that there is no lock")
    };
    assert!(why.contains("the lock service is down"), "{why}");
    assert_eq!(foretold("v1.0.0", FileKind::Mod).await, Foretold::Passes, "no lock is wanted");
    assert_eq!(foretold("main", FileKind::Zip).await, Foretold::Passes, "no lock is wanted");
}
