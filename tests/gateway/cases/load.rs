//! Cases 22 to 24: many clients, clients that leave, clients that are slow.

use std::time::Duration;

use dipylon_testkit::upstream::Fault;

use crate::world::{MODULE, Setup, VERSION, file, large};

const MIB: usize = 1024 * 1024;
/// More than the buffers of a connection take in, so that a reader who stops is felt.
const LARGE_BYTES: usize = 12 * MIB;

/// One replica here: what three share is the lock's affair, and tested with the locks.
#[tokio::test]
async fn case_22_a_thousand_clients_of_one_replica_cost_one_upstream_get() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    // Late enough that all of them come while it is under way.
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(800)));
    let client = world.client();
    let path = file("zip");
    let requests = (0..1000).map(|_| client.get(&path));
    for answer in futures::future::join_all(requests).await {
        assert_eq!(
            (answer.status.as_u16(), answer.truncated),
            (200, false),
            "{:?}",
            answer.headers
        );
        assert!(answer.body == module.zip());
    }
    for kind in ["zip", "info", "mod"] {
        assert_eq!(world.asked(&file(kind)), 1, "{kind}");
    }
    world.until_stored(MODULE, VERSION).await;
    let metrics = world.metrics().await;
    let zips = metrics.metric("dipylon_http_server_requests_total").label("route", "zip");
    assert_eq!(zips.clone().label("outcome", "miss_leader").sum(), 1.0);
    assert_eq!(zips.sum(), 1000.0);
}

#[tokio::test]
async fn case_23_a_client_that_leaves_does_not_end_the_fetch() {
    let world = Setup::disk().env("DIPYLON_HOLD_BACK_BYTES", "4096").start().await;
    let module = world.add(large(MIB));
    let trickle = Fault::Trickle { bytes_per_tick: 64 * 1024, tick: Duration::from_millis(20) };
    world.upstream.fault(file("zip").as_str(), trickle);
    let mut leaving = world.client().get_streaming(&file("zip")).await.unwrap();
    assert!(leaving.chunk().await.unwrap().is_some());
    assert_eq!(world.upstream.in_flight(), 1, "it leaves in the middle");
    drop(leaving);
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn case_23_a_client_that_leaves_before_the_first_byte_does_not_end_the_fetch() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(500)));
    let client = world.client();
    let path = file("zip");
    let leaving = tokio::spawn(async move { client.get_streaming(&path).await });
    world.until("upstream is asked", || world.asked(&file("zip")) == 1).await;
    leaving.abort();
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn case_24_a_slow_client_slows_neither_the_others_nor_the_store() {
    let world = Setup::disk().start().await;
    let module = world.add(large(LARGE_BYTES));
    let mut slow = world.client().get_streaming(&file("zip")).await.unwrap();
    let first = slow.chunk().await.unwrap().expect("a first chunk");
    // From here on it reads nothing, while two others get all of it and it is stored.
    let path = file("zip");
    let (one, two) = tokio::join!(world.get_ok(&path), world.get_ok(&path));
    assert!(one.body == module.zip() && two.body == module.zip());
    world.until_stored(MODULE, VERSION).await;
    let rest = slow.collect().await;
    assert!(!rest.truncated);
    assert!([first, rest.body].concat() == module.zip(), "the slow one gets every byte as well");
    assert_eq!(world.asked(&file("zip")), 1);
}
