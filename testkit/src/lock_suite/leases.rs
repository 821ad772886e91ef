//! How long a lock is had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use dipylon_middleware::ports::Acquired;
use futures::future::join_all;
use tokio::time::sleep;

use super::{PATIENCE, Subject, eventually, granted, held, released};

/// As long as it is renewed.
pub async fn a_renewed_lock_outlives_its_lease(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    for _ in 0..10 {
        sleep(subject.lease() / 4).await;
        assert_eq!(lock.renew(&claim).await, Ok(true));
    }
    held(&subject.replica(), &subject.claim("m", "b")).await;
    released(&lock, &claim).await;
}

/// No sooner than its lease, and not long after.
pub async fn a_lock_whose_holder_died_lapses(subject: Subject) {
    let (dying, next) = (subject.replica(), subject.replica());
    granted(&dying, &subject.claim("m", "a")).await;
    drop(dying);
    let claim = subject.claim("m", "b");
    let took = eventually(&next, &claim, subject.lease() + PATIENCE).await.expect("an answer");
    assert!(took > subject.lease() / 2, "it lapsed after {took:?}");
    assert!(took < subject.lease() + Duration::from_secs(2), "it lapsed after {took:?}");
    released(&next, &claim).await;
}

/// However many wait for that.
pub async fn one_of_many_replaces_a_dead_holder(subject: Subject) {
    let dying = subject.replica();
    granted(&dying, &subject.claim("m", "dying")).await;
    drop(dying);
    let replicas: Vec<_> = (0..5).map(|_| subject.replica()).collect();
    let winners = Arc::new(AtomicUsize::new(0));
    let limit = subject.lease() + PATIENCE;
    let waiting = (0..20).map(|number| {
        let lock = Arc::clone(&replicas[number % replicas.len()]);
        let (claim, winners) = (subject.claim("m", &number.to_string()), Arc::clone(&winners));
        tokio::spawn(async move {
            let began = std::time::Instant::now();
            let mut tries_after_a_win = 5;
            while tries_after_a_win > 0 && began.elapsed() < limit {
                if let Ok(Acquired::Granted { .. }) = lock.acquire(&claim).await {
                    winners.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if winners.load(Ordering::SeqCst) > 0 {
                    tries_after_a_win -= 1;
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
    });
    join_all(waiting).await.into_iter().for_each(|waiter| waiter.expect("no panic"));
    assert_eq!(winners.load(Ordering::SeqCst), 1);
}

/// One of many locks of one replica.
pub async fn other_locks_outlive_one_that_is_released(subject: Subject) {
    let lock = subject.replica();
    let (one, other) = (subject.claim("m", "a"), subject.claim("n", "a"));
    granted(&lock, &one).await;
    granted(&lock, &other).await;
    released(&lock, &one).await;
    assert_eq!(lock.renew(&other).await, Ok(true));
    released(&lock, &other).await;
}

/// Where the service says when a lock lapses, it is right.
pub async fn a_lapse_is_announced_within_the_lease(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    let held = held(&lock, &subject.claim("m", "b")).await;
    if let Some(lapses_in) = held.lapses_in {
        assert!(lapses_in <= subject.lease(), "{lapses_in:?}");
        assert!(lapses_in > subject.lease() / 2, "{lapses_in:?}");
    }
    released(&lock, &claim).await;
}

/// A stranger prolongs nothing.
pub async fn only_its_owner_renews_a_lock(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    assert_eq!(lock.renew(&subject.claim("m", "b")).await, Ok(false));
    assert_eq!(subject.replica().renew(&subject.claim("m", "b")).await, Ok(false));
    released(&lock, &claim).await;
}

/// What was given back is another's.
pub async fn a_released_lock_is_not_renewed(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    released(&lock, &claim).await;
    assert_eq!(lock.renew(&claim).await, Ok(false));
}

/// No error either.
pub async fn what_was_never_granted_is_neither_renewed_nor_released(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("never", "a"));
    assert_eq!(lock.renew(&claim).await, Ok(false));
    assert_eq!(lock.release(&claim).await, Ok(false));
}

/// As after a failover that forgot it.
pub async fn a_lock_that_was_taken_away_is_not_renewed(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    subject.evict(&claim).await;
    assert_eq!(lock.renew(&claim).await, Ok(false));
    assert_eq!(lock.release(&claim).await, Ok(false));
}

/// It comes back after its lock went to another.
pub async fn a_late_holder_does_not_free_its_successor(subject: Subject) {
    let (late, next) = (subject.replica(), subject.replica());
    let (lost, got) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&late, &lost).await;
    subject.evict(&lost).await;
    granted(&next, &got).await;
    assert_eq!(late.renew(&lost).await, Ok(false));
    assert_eq!(late.release(&lost).await, Ok(false));
    held(&late, &subject.claim("m", "c")).await;
    released(&next, &got).await;
}

/// Whatever has become of it at the service.
pub async fn a_question_that_is_dropped_can_be_asked_again(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    for _ in 0..5 {
        let mut question = lock.acquire(&claim);
        let _ = question.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(question);
    }
    granted(&lock, &claim).await;
    released(&lock, &claim).await;
}
