//! A service that does not work.

use super::*;
use crate::telemetry::{LockAnswer, LockOperation, Outcome};
use crate::testing::call;
use crate::testing::lock::Mood;

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_is_asked_max_retries_times_and_then_done_without() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Refuses);
    let replica = Replica::new(&lock, &storage);
    let began = Instant::now();
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!((served.outcome, replica.fetches()), (Outcome::MissDegraded, 1));
    assert_eq!(lock.calls("acquire"), 11);
    let (took, polls) = (began.elapsed(), SECOND / 4 * 10);
    assert!(took > polls * 3 / 4 && took <= polls, "{took:?}");
    assert!(replica.is_degraded());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_waited_for_until_the_timeout() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Hangs);
    let replica = Replica::with(&lock, &storage, LockLimits { timeout: 5 * SECOND, ..limits() });
    let began = Instant::now();
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!(served.outcome, Outcome::MissDegraded);
    let took = began.elapsed();
    assert!(took >= 5 * SECOND && took <= 5 * SECOND + super::super::OPERATION_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn once_it_is_known_to_be_down_no_miss_waits_for_it() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Refuses);
    let replica = Replica::new(&lock, &storage);
    replica.ask(zip()).await.expect("an answer");
    let (asked, began) = (lock.calls("acquire"), Instant::now());
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!((served.outcome, began.elapsed()), (Outcome::MissDegraded, Duration::ZERO));
    assert_eq!(lock.calls("acquire"), asked);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_go_on_when_the_first_finds_it_down() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 600 * SECOND);
    let replica = Replica::new(&lock, &storage);
    let waiting: Vec<_> = (0..5).map(|_| replica.asks()).collect();
    pass(60 * SECOND).await;
    lock.set(Mood::Refuses);
    let began = Instant::now();
    for asked in waiting {
        let served = asked.await.expect("no panic").expect("an answer");
        assert_eq!(served.outcome, Outcome::MissDegraded);
    }
    assert!(began.elapsed() <= 3 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn it_is_used_again_as_soon_as_it_works_again() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Refuses);
    let replica = Replica::new(&lock, &storage);
    replica.ask(zip()).await.expect("an answer");
    pass(30 * SECOND).await;
    assert!(replica.is_degraded());
    lock.set(Mood::Works);
    pass(2 * SECOND).await;
    assert!(!replica.is_degraded());
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!(served.outcome, Outcome::MissLeader);
    let checks = lock.calls("check");
    pass(60 * SECOND).await;
    assert_eq!(lock.calls("check"), checks, "nobody checks what works");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_an_outage_is_what_the_service_said_last() {
    let (lock, storage, telemetry) =
        (MemoryLock::new(10 * SECOND), MemoryStorage::new(), telemetry());
    lock.set(Mood::Refuses);
    let (service, handle) = (Arc::clone(&lock), storage.handle(&telemetry));
    let (purges, tasks) = (Purges::default(), TaskTracker::new());
    let layer = LockLayer::new(service, limits(), STASH_TIMEOUT, handle, purges, tasks, &telemetry);
    let fetching = layer.layer(leaf(|_| Ok(stashed("v1.0.0", Default::default()))));
    assert_eq!(layer.health().check(), Ok(()));
    call(&fetching, zip()).await.expect("an answer");
    let said = || layer.health().check().expect_err("it is down").to_string();
    assert_eq!(said(), "refused on purpose");
    lock.set(Mood::Hangs);
    pass(5 * SECOND).await;
    assert_eq!(said(), "no answer within 2 s");
    lock.set(Mood::Works);
    pass(5 * SECOND).await;
    assert_eq!(layer.health().check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_no_dead_one() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Late(SECOND / 2));
    let replica = Replica::new(&lock, &storage);
    let began = Instant::now();
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!((served.outcome, began.elapsed()), (Outcome::MissLeader, SECOND / 2));
    assert!(!replica.is_degraded());
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_degrades_nothing() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Refuses);
    let replica = Replica::new(&lock, &storage);
    let asking = replica.asks();
    pass(SECOND).await;
    lock.set(Mood::Works);
    let served = asking.await.expect("no panic").expect("an answer");
    assert_eq!(served.outcome, Outcome::MissLeader);
    assert!(!replica.is_degraded());
}

#[tokio::test(start_paused = true)]
async fn what_another_stored_during_the_outage_is_served() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.set(Mood::Refuses);
    let replica = Replica::new(&lock, &storage);
    let asking = replica.asks();
    pass(SECOND).await;
    storage.put(release());
    let served = asking.await.expect("no panic").expect("an answer");
    assert_eq!((served.outcome, replica.fetches()), (Outcome::MissFollower, 0));
}

#[tokio::test(start_paused = true)]
async fn every_question_is_counted_with_its_answer() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    lock.hold_elsewhere(KEY, SECOND / 2);
    replica.ask(zip()).await.expect("an answer");
    pass(4 * SECOND).await;
    replica.end_fetches().await;
    let metrics = &replica.telemetry.metrics;
    let count = |operation, answer| metrics.lock_calls.get((operation, answer)).get();
    assert!(count(LockOperation::Acquire, LockAnswer::Held) >= 2);
    assert_eq!(count(LockOperation::Acquire, LockAnswer::Done), 1);
    assert_eq!(count(LockOperation::Renew, LockAnswer::Done), 1);
    assert_eq!(count(LockOperation::Release, LockAnswer::Done), 1);
    assert_eq!(metrics.lock_hold_seconds.get(()).get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_known_of_the_lock_service() {
    let (lock, storage, telemetry) =
        (MemoryLock::new(10 * SECOND), MemoryStorage::new(), telemetry());
    lock.set(Mood::Refuses);
    let (service, handle) = (Arc::clone(&lock), storage.handle(&telemetry));
    let (purges, tasks) = (Purges::default(), TaskTracker::new());
    let layer = LockLayer::new(service, limits(), STASH_TIMEOUT, handle, purges, tasks, &telemetry);
    let fetching = || leaf(|_: StashRequest| Ok(stashed("v1.0.0", Default::default())));
    let (one, two) = (layer.layer(fetching()), layer.layer(fetching()));
    assert_eq!(call(&one, zip()).await.expect("an answer").outcome, Outcome::MissDegraded);
    let asked = lock.calls("acquire");
    let began = Instant::now();
    assert_eq!(call(&two, zip()).await.expect("an answer").outcome, Outcome::MissDegraded);
    assert_eq!((lock.calls("acquire"), began.elapsed()), (asked, Duration::ZERO));
}
