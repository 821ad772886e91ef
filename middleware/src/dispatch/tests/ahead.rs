//! Versions that come into the queue before a client asks for them.

use super::super::{Ahead, STORE_PATIENCE};
use super::background::{Shelf, kept_by};
use super::*;
use crate::testing::module;

impl Bench {
    /// Offers a version of `example.com/m`, waiting so long for the store.
    async fn ahead(&self, version: &str) -> Ahead {
        let context = RequestContext::detached(Instant::now() + 90 * SECOND);
        self.background.ahead(&context, &module("example.com/m"), &query(version)).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_ahead_of_clients_shares_the_queue_and_its_limits_with_what_they_cause() {
    let bench = Setup { entries_max: 2, workers_max: 1, ..Setup::new(false) }.bench();
    bench.ask("v1.0.0").await;
    assert_eq!(bench.ahead("v1.0.0").await, Ahead::Queued);
    assert_eq!(bench.ahead("v1.1.0").await, Ahead::Accepted);
    assert_eq!(bench.ahead("v1.2.0").await, Ahead::Full);
    bench.ask("v1.1.0").await;
    let counts = [BackgroundEvent::Accepted, BackgroundEvent::Duplicate].map(|e| bench.events(e));
    assert_eq!((counts, bench.refused()), ([2, 2], 1));
    bench.stashes.gate.add_permits(9);
    settle().await;
    assert_eq!(
        (bench.versions(), bench.events(BackgroundEvent::Stored)),
        (vec!["v1.0.0".to_owned(), "v1.1.0".to_owned()], 2)
    );
}

#[tokio::test(start_paused = true)]
async fn what_policy_forbids_and_what_cannot_be_had_is_not_taken_ahead_of_clients() {
    let may_fetch: MayFetch = Arc::new(|_, version| version.canonical().is_some());
    let bench = Setup { may_fetch, ..Setup::new(true) }.bench();
    assert_eq!(bench.ahead("main").await, Ahead::Forbidden);
    *bench.stashes.result.lock() = Err(error(ErrorKind::NotFound));
    assert_eq!(bench.ahead("v1.0.0").await, Ahead::Accepted);
    settle().await;
    assert_eq!(bench.ahead("v1.0.0").await, Ahead::KnownAbsent);
    assert_eq!((bench.stashes.asked().len(), bench.events(BackgroundEvent::Accepted)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_promised_ahead_of_clients_is_in_the_store_and_what_is_not_there_is_told() {
    let shelf = Arc::new(Shelf::default());
    let bench = kept_by(&shelf, false).bench();
    assert_eq!(bench.ahead("v1.0.0").await, Ahead::Accepted);
    assert_eq!(shelf.kept(), ["example.com/m@v1.0.0"]);
    shelf.fails.store(true, Ordering::SeqCst);
    assert_eq!(bench.ahead("v1.1.0").await, Ahead::Unkept);
    assert_eq!(bench.ahead("v1.1.0").await, Ahead::Queued, "it is fetched all the same");
    assert_eq!(bench.events(BackgroundEvent::Accepted), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_promised_ahead_of_clients_while_the_store_has_not_said_that_it_has_it() {
    let shelf = Shelf::gated();
    let bench = kept_by(&shelf, true).bench();
    let context = RequestContext::detached(Instant::now() + SECOND);
    let m = module("example.com/m");
    let offered = bench.background.ahead(&context, &m, &query("v1.0.0")).await;
    assert_eq!((offered, bench.stashes.asked().len()), (Ahead::Unsure, 0));
    tokio::time::sleep(STORE_PATIENCE).await;
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0"], "and fetched it is");
}
