//! Who has the lock.

use super::*;
use crate::telemetry::{LockAnswer, LockLoss, LockOperation, Outcome, SpanAttribute, SpanEvent};
use crate::testing::events::Events;
use crate::testing::lock::Mood;
use crate::testing::spans;

fn lost(replica: &Replica, loss: LockLoss) -> u64 {
    replica.telemetry.metrics.locks_lost.get((loss,)).get()
}

async fn holding(lock: &Arc<MemoryLock>, limits: LockLimits) -> Replica {
    let replica = Replica::with(lock, &MemoryStorage::new(), limits);
    let led = replica.ask(zip()).await.expect("an answer");
    assert_eq!(led.outcome, Outcome::MissLeader);
    replica
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_renewed_until_the_commit_and_then_given_back() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    pass(100 * SECOND).await;
    assert!(lock.is_held(KEY), "ten leases later");
    assert_eq!(lock.calls("renew"), 33);
    replica.end_fetches().await;
    assert!(!lock.is_held(KEY));
    assert_eq!((lock.calls("release"), lock.calls("renew")), (1, 33));
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn the_fencing_token_is_in_the_span_and_in_the_log() {
    let (telemetry, spans) = spans::traced(spans::ALL);
    let (events, _capture) = Events::capture();
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let mut tokens: Vec<u64> = Vec::new();
    for _ in 0..2 {
        let replica = Replica::new(&lock, &storage);
        let mut request = zip();
        request.context.trace = spans::root(&telemetry);
        let trace = request.context.trace.span().expect("a trace").trace;
        replica.ask(request).await.expect("an answer");
        // It is lost, and the log says which grant that was.
        lock.hold_elsewhere(KEY, 5 * SECOND);
        pass(4 * SECOND).await;
        replica.end_fetches().await;
        pass(5 * SECOND).await;

        let of_log = |message| {
            let said = events.named(message);
            said.last().map(|event| event.field("fencing").to_owned()).expect("it is said")
        };
        let token = of_log("a lock was acquired");
        assert_eq!(of_log("a lock was lost: the fetch goes on without it"), token);
        let spans: Vec<_> = spans.all().into_iter().filter(|span| span.trace == trace).collect();
        let noted = spans.iter().flat_map(|span| &span.events);
        let acquired: Vec<_> =
            noted.filter(|event| event.name == SpanEvent::LockAcquired).collect();
        assert_eq!(acquired.len(), 1, "{spans:?}");
        let (name, value) = &acquired[0].attributes[0];
        assert_eq!((*name, value.to_string()), (SpanAttribute::Fencing, token.clone()));
        tokens.push(token.parse().expect("a number"));
    }
    assert!(tokens[0] < tokens[1], "{tokens:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_renewed_for_no_longer_than_its_ttl() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, LockLimits { ttl: 25 * SECOND, ..limits() }).await;
    pass(24 * SECOND).await;
    assert!(lock.is_held(KEY));
    pass(2 * SECOND).await;
    assert!(!lock.is_held(KEY), "given back");
    assert_eq!((lost(&replica, LockLoss::Ttl), replica.fetches()), (1, 1));
    replica.end_fetches().await;
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_gone_is_not_asked_again() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.hold_elsewhere(KEY, 60 * SECOND);
    pass(30 * SECOND).await;
    assert_eq!((lost(&replica, LockLoss::Gone), lock.calls("renew")), (1, 1));
    replica.end_fetches().await;
    assert!(lock.is_held(KEY), "what another holds stays");
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_costs_no_lock() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    pass(2 * SECOND).await;
    lock.set(Mood::Refuses);
    pass(5 * SECOND).await;
    lock.set(Mood::Works);
    pass(10 * SECOND).await;
    assert!(lock.is_held(KEY));
    let renewals =
        replica.telemetry.metrics.lock_calls.get((LockOperation::Renew, LockAnswer::Failed));
    assert!(renewals.get() >= 3, "tried again each second: {}", renewals.get());
    replica.end_fetches().await;
    assert_eq!(lost(&replica, LockLoss::Silent), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_renewed_for_a_lease_counts_as_lost() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.set(Mood::Hangs);
    pass(15 * SECOND).await;
    assert_eq!((lost(&replica, LockLoss::Silent), replica.fetches()), (1, 1));
    let asked = lock.calls("renew");
    pass(60 * SECOND).await;
    assert_eq!(lock.calls("renew"), asked);
    replica.end_fetches().await;
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_given_back_although_its_renewal_hangs() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.set(Mood::Hangs);
    pass(3 * SECOND + SECOND / 10).await;
    lock.set(Mood::Works);
    replica.end_fetches().await;
    assert!(!lock.is_held(KEY));
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_hangs_ends() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.set(Mood::Hangs);
    replica.end_fetches().await;
    // Three attempts of five seconds, a second between them.
    pass(17 * SECOND + SECOND / 10).await;
    replica.assert_at_rest();
    assert_eq!(lock.calls("release"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_was_lost_is_none_of_a_lost_lock() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.set(Mood::Mute);
    replica.end_fetches().await;
    lock.set(Mood::Works);
    assert!(!lock.is_held(KEY), "it was given back, and nobody has said so");
    pass(10 * SECOND).await;
    assert_eq!((lock.calls("release"), lost(&replica, LockLoss::Gone)), (2, 0));
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_finds_nothing_at_once_is_one_of_a_lost_lock() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = holding(&lock, limits()).await;
    lock.free(KEY);
    replica.end_fetches().await;
    assert_eq!((lock.calls("release"), lost(&replica, LockLoss::Gone)), (1, 1));
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_answer_was_lost_is_found_again() {
    let lock = MemoryLock::new(10 * SECOND);
    let replica = Replica::new(&lock, &MemoryStorage::new());
    lock.set(Mood::Mute);
    let asking = replica.asks();
    pass(SECOND).await;
    assert!(lock.is_held(KEY));
    lock.set(Mood::Works);
    let led = asking.await.expect("no panic").expect("an answer");
    assert_eq!((led.outcome, lock.calls("acquire")), (Outcome::MissLeader, 2));
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_an_answer_gives_back_what_it_may_have_got() {
    let lock = MemoryLock::new(60 * SECOND);
    let limits = LockLimits { max_retries: 1, lease: 60 * SECOND, ..limits() };
    let replica = Replica::with(&lock, &MemoryStorage::new(), limits);
    lock.set(Mood::Mute);
    let degraded = replica.ask(zip()).await.expect("an answer");
    assert_eq!(degraded.outcome, Outcome::MissDegraded);
    lock.set(Mood::Works);
    settle().await;
    assert!(!lock.is_held(KEY));
}

/// Another stores the version while nobody knows what became of the question.
async fn served_without_an_answer(mood: Mood) -> (Arc<MemoryLock>, Replica) {
    let (lock, storage) = (MemoryLock::new(60 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    lock.set(mood);
    let asking = replica.asks();
    pass(SECOND).await;
    storage.put(release());
    pass(SECOND + SECOND / 10).await;
    lock.set(Mood::Works);
    let served = asking.await.expect("no panic").expect("an answer");
    assert_eq!((served.outcome, lock.calls("acquire")), (Outcome::MissFollower, 1));
    settle().await;
    (lock, replica)
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_came_without_an_answer_is_given_back_when_it_is_not_needed() {
    let (lock, replica) = served_without_an_answer(Mood::Mute).await;
    assert!(!lock.is_held(KEY));
    assert_eq!(lock.calls("release"), 1);
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_comes_after_nobody_waits_for_it_is_given_back_too() {
    let (lock, replica) = served_without_an_answer(Mood::Hangs).await;
    assert_eq!(lock.calls("release"), 1, "it was not ours, or not yet");
    lock.grant_late(&lock.claims("acquire")[0], 60 * SECOND);
    pass(SECOND + SECOND / 10).await;
    assert!(!lock.is_held(KEY));
    assert_eq!(lock.calls("release"), 2);
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_never_comes_is_given_back_a_few_times_only() {
    let (lock, replica) = served_without_an_answer(Mood::Hangs).await;
    pass(60 * SECOND).await;
    assert_eq!(lock.calls("release"), 3);
    replica.assert_at_rest();
}
