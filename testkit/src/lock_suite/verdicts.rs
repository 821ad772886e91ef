//! Who waited is told what the holder found for good. Only of services that carry that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::{Acquired, Lock, LockClaim, Moment, VERDICT_LIFE, Verdict};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Subject, granted, held, released};

/// What a service may take beyond the life of a verdict to forget it, which may be twice as long as promised.
const FORGOTTEN: Duration = Duration::from_secs(5);

fn verdict() -> Verdict {
    let text =
        "example.com/m@v1.0.0: \u{201c}not\u{201d} {found}: 100% 'sure' \"here\" \\ there, [].*";
    Verdict::new(ErrorKind::NotFound, text).expect("it lasts")
}

async fn since(lock: &Arc<dyn Lock>, claim: &LockClaim) -> Moment {
    held(lock, claim).await.since.expect("a service that carries verdicts")
}

async fn told(lock: &Arc<dyn Lock>, claim: &LockClaim, since: Moment) -> Option<Verdict> {
    match lock.ask_again(claim, since).await.expect("an answer") {
        Acquired::Settled(verdict) => Some(verdict),
        Acquired::Granted { .. } => None,
        Acquired::Held(_) => panic!("{claim:?} is held"),
    }
}

/// In whatever replica, letter by letter.
pub async fn all_who_waited_are_told_what_the_holder_found(subject: Subject) {
    let (holder, one, other) = (subject.replica(), subject.replica(), subject.replica());
    let (a, b, c) = (subject.claim("m", "a"), subject.claim("m", "b"), subject.claim("m", "c"));
    granted(&holder, &a).await;
    let (b_since, c_since) = (since(&one, &b).await, since(&other, &c).await);
    assert_eq!(holder.settle(&a, &verdict()).await, Ok(true));
    assert_eq!(told(&one, &b, b_since).await, Some(verdict()));
    assert_eq!(told(&other, &c, c_since).await, Some(verdict()));
    assert_eq!(told(&one, &b, b_since).await, Some(verdict()), "asked twice");
}

/// As by a release.
pub async fn who_waits_is_woken_by_a_verdict(subject: Subject) {
    let (holder, waiter, claim) = (subject.replica(), subject.replica(), subject.claim("m", "a"));
    // Time for a push to be listened to.
    sleep(Duration::from_millis(500)).await;
    granted(&holder, &claim).await;
    let held = held(&waiter, &subject.claim("m", "b")).await;
    assert_eq!(holder.settle(&claim, &verdict()).await, Ok(true));
    timeout(PATIENCE, held.released).await.expect("a wake in time");
}

/// What was found for others is no answer to it.
pub async fn who_comes_after_a_verdict_has_the_lock(subject: Subject) {
    let (holder, next) = (subject.replica(), subject.replica());
    let (a, b) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&holder, &a).await;
    assert_eq!(holder.settle(&a, &verdict()).await, Ok(true));
    granted(&next, &b).await;
    released(&next, &b).await;
}

/// It waits for another question to upstream than the one that was answered so.
pub async fn who_began_to_wait_after_a_verdict_is_not_told(subject: Subject) {
    let (first, second, third) = (subject.replica(), subject.replica(), subject.replica());
    let (a, b, c) = (subject.claim("m", "a"), subject.claim("m", "b"), subject.claim("m", "c"));
    granted(&first, &a).await;
    assert_eq!(first.settle(&a, &verdict()).await, Ok(true));
    granted(&second, &b).await;
    let c_since = since(&third, &c).await;
    released(&second, &b).await;
    assert_eq!(told(&third, &c, c_since).await, None);
    released(&third, &c).await;
}

/// Of this key, that is.
pub async fn who_waits_for_another_key_is_not_told(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    let (m, n, b) = (subject.claim("m", "a"), subject.claim("n", "a"), subject.claim("n", "b"));
    granted(&holder, &m).await;
    granted(&holder, &n).await;
    let n_since = since(&waiter, &b).await;
    assert_eq!(holder.settle(&m, &verdict()).await, Ok(true));
    released(&holder, &n).await;
    assert_eq!(told(&waiter, &b, n_since).await, None);
    released(&waiter, &b).await;
}

/// A late holder tells nothing: another has the lock.
pub async fn only_its_owner_settles_a_lock(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    let (a, b) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&holder, &a).await;
    let b_since = since(&waiter, &b).await;
    assert_eq!(waiter.settle(&b, &verdict()).await, Ok(false));
    released(&holder, &a).await;
    assert_eq!(told(&waiter, &b, b_since).await, None);
    assert_eq!(holder.settle(&a, &verdict()).await, Ok(false), "it was given back");
    released(&waiter, &b).await;
}

/// By itself, and nothing is left of it.
pub async fn a_verdict_stands_for_its_life_and_is_forgotten(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    let (a, b) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&holder, &a).await;
    let b_since = since(&waiter, &b).await;
    let began = Instant::now();
    assert_eq!(holder.settle(&a, &verdict()).await, Ok(true));
    // No renewal keeps it: the holder is still there.
    while told(&waiter, &b, b_since).await.is_some() {
        assert!(began.elapsed() < 2 * VERDICT_LIFE + FORGOTTEN, "{:?}", began.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    // A server may round to its own ticks.
    assert!(began.elapsed() + Duration::from_millis(10) > VERDICT_LIFE, "{:?}", began.elapsed());
    released(&waiter, &b).await;
    holder.close().await;
    waiter.close().await;
    assert_eq!(subject.left().await, Vec::<String>::new());
}
