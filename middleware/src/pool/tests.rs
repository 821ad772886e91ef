use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tower::Layer as _;

use super::{PoolLayer, SMALL_PER_SLOT};
use crate::error::{Error, ErrorKind};
use crate::request::{StashKey, StashRequest, Want};
use crate::response::{Files, FinishGuard, Finished, Stashed};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, context_for, leaf, module, query, settle, stashed};

fn request(patience: Duration) -> StashRequest {
    request_of(Want::File(FileKind::Zip), patience)
}

fn request_of(want: Want, patience: Duration) -> StashRequest {
    let (module, version) = (module("example.com/m"), query("v1.0.0"));
    StashRequest { context: context_for(patience), key: StashKey { module, version, want } }
}

type Guards = Arc<Mutex<Vec<FinishGuard>>>;

/// A stash that answers at once; its work ends when its guard is dropped.
fn working(guards: &Guards) -> impl Fn(StashRequest) -> Result<Stashed, Error> + Clone + use<> {
    let guards = Arc::clone(guards);
    move |_| {
        let (guard, finished) = Finished::new();
        guards.lock().push(guard);
        Ok(Stashed { finished, ..stashed("v1.0.0", Files::default()) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_held_until_all_work_has_ended_not_until_the_answer() {
    let guards = Guards::default();
    let pool = PoolLayer::new(1).layer(leaf(working(&guards)));
    call(&pool, request(60 * SECOND)).await.expect("a slot is free");
    let mut second = Box::pin(call(&pool, request(60 * SECOND)));
    assert!(futures::poll!(&mut second).is_pending(), "the first one's commit goes on");
    assert_eq!(guards.lock().len(), 1);
    guards.lock().clear();
    second.await.expect("the slot is free");
}

#[tokio::test(start_paused = true)]
async fn as_many_run_as_there_are_slots() {
    let guards = Guards::default();
    let pool = PoolLayer::new(3).layer(leaf(working(&guards)));
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(call(&pool, request(60 * SECOND)))).collect();
    for call in &mut calls {
        let _ = futures::poll!(call);
    }
    assert_eq!(guards.lock().len(), 3);
    guards.lock().pop();
    settle().await;
    for call in &mut calls[3..] {
        let _ = futures::poll!(call);
    }
    assert_eq!(guards.lock().len(), 3, "one ended, one more began");
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_refused_with_a_time_to_ask_again() {
    let guards = Guards::default();
    let pool = PoolLayer::new(1).layer(leaf(working(&guards)));
    call(&pool, request(60 * SECOND)).await.expect("a slot is free");
    let refused = call(&pool, request(5 * SECOND)).await.expect_err("no slot in time");
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    assert_eq!(refused.retry_after(), Some(SECOND));
    assert_eq!(guards.lock().len(), 1, "the refused one never ran");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_and_gives_its_slot_back() {
    let pool = PoolLayer::new(1).layer(failing(ErrorKind::UpstreamFailed));
    for _ in 0..3 {
        assert_passes_unchanged(&pool, request(SECOND), ErrorKind::UpstreamFailed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_from_its_slot_ends_the_call_below_and_gives_it_back() {
    let held = Held::default();
    let pool = PoolLayer::new(1).layer(held.service());
    // Each finds the one slot free again.
    for _ in 0..2 {
        held.assert_ends_with_its_caller(&pool, request(SECOND)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_it_waits_costs_no_slot() {
    let guards = Guards::default();
    let pool = PoolLayer::new(1).layer(leaf(working(&guards)));
    call(&pool, request(60 * SECOND)).await.expect("a slot is free");
    let mut leaving = Box::pin(call(&pool, request(60 * SECOND)));
    assert!(futures::poll!(&mut leaving).is_pending());
    drop(leaving);
    guards.lock().clear();
    settle().await;
    call(&pool, request(SECOND)).await.expect("the slot is free");
}

#[tokio::test(start_paused = true)]
async fn a_small_file_never_waits_for_a_zip() {
    let guards = Guards::default();
    let pool = PoolLayer::new(1).layer(leaf(working(&guards)));
    call(&pool, request(60 * SECOND)).await.expect("a slot is free");
    for kind in [FileKind::Info, FileKind::Mod] {
        let small = request_of(Want::File(kind), SECOND);
        call(&pool, small).await.expect("small files have slots of their own");
    }
    let whole = request_of(Want::Version, SECOND);
    call(&pool, whole).await.expect_err("a whole version has a zip, too");
}

#[tokio::test(start_paused = true)]
async fn small_files_are_bounded_too() {
    let guards = Guards::default();
    let pool = PoolLayer::new(1).layer(leaf(working(&guards)));
    let small = || request_of(Want::File(FileKind::Mod), SECOND);
    for _ in 0..SMALL_PER_SLOT {
        call(&pool, small()).await.expect("a slot is free");
    }
    let refused = call(&pool, small()).await.expect_err("no slot is free");
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_slots() {
    let (guards, layer) = (Guards::default(), PoolLayer::new(1));
    let (one, two) = (layer.layer(leaf(working(&guards))), layer.layer(leaf(working(&guards))));
    call(&one, request(60 * SECOND)).await.expect("a slot is free");
    let refused = call(&two, request(SECOND)).await.expect_err("the other has the slot");
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
}
