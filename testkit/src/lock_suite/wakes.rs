//! Who waits is woken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_middleware::ports::Acquired;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Subject, granted, held, released};

/// Time for a push to be listened to; a replica that was opened this moment polls until then.
const SETTLED: Duration = Duration::from_millis(500);
/// The default pause between two questions of who waits.
const POLL: Duration = Duration::from_millis(250);
/// What the median may take from a release until who polls has the lock.
const POLLED: Duration = Duration::from_millis(300);
/// Rounds whose median counts.
const ROUNDS: usize = 15;
/// What the median of a push may take on a machine that is busy with other tests.
const PROMPT: Duration = Duration::from_millis(50);

/// The usual case.
pub async fn a_release_wakes_who_waits_in_another_replica(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    sleep(SETTLED).await;
    let claim = subject.claim("m", "a");
    granted(&holder, &claim).await;
    let held = held(&waiter, &subject.claim("m", "b")).await;
    let waiting = tokio::spawn(held.released);
    sleep(Duration::from_millis(100)).await;
    released(&holder, &claim).await;
    timeout(PATIENCE, waiting).await.expect("a wake in time").expect("no panic");
}

/// A second wish of one process.
pub async fn a_release_wakes_who_waits_in_the_same_replica(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    sleep(SETTLED).await;
    granted(&lock, &claim).await;
    let held = held(&lock, &subject.claim("m", "b")).await;
    released(&lock, &claim).await;
    timeout(PATIENCE, held.released).await.expect("a wake in time");
}

/// Between the question and the wait.
pub async fn a_release_before_the_wait_is_not_missed(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    sleep(SETTLED).await;
    let claim = subject.claim("m", "a");
    granted(&holder, &claim).await;
    let held = held(&waiter, &subject.claim("m", "b")).await;
    released(&holder, &claim).await;
    sleep(Duration::from_millis(200)).await;
    timeout(PATIENCE, held.released).await.expect("a wake in time");
}

/// In every replica.
pub async fn a_release_wakes_all_who_wait(subject: Subject) {
    let holder = subject.replica();
    let waiters: Vec<_> = (0..8).map(|_| subject.replica()).collect();
    sleep(SETTLED).await;
    let claim = subject.claim("m", "a");
    granted(&holder, &claim).await;
    let mut waiting = Vec::new();
    for (number, waiter) in waiters.iter().enumerate() {
        let held = held(waiter, &subject.claim("m", &number.to_string())).await;
        waiting.push(tokio::spawn(held.released));
    }
    released(&holder, &claim).await;
    for woken in waiting {
        timeout(PATIENCE, woken).await.expect("a wake in time").expect("no panic");
    }
}

/// Waiters are not kept from what is there already.
pub async fn a_wake_is_prompt(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    sleep(SETTLED).await;
    let mut took = Vec::new();
    for number in 0..ROUNDS {
        let claim = subject.claim(&format!("m{number}"), "a");
        granted(&holder, &claim).await;
        let held = held(&waiter, &subject.claim(&format!("m{number}"), "b")).await;
        let waiting = tokio::spawn(async move {
            timeout(PATIENCE, held.released).await.expect("a wake in time");
            Instant::now()
        });
        // A service may need a moment until it knows who waits.
        sleep(Duration::from_millis(150)).await;
        let began = Instant::now();
        released(&holder, &claim).await;
        took.push(waiting.await.expect("no panic").saturating_duration_since(began));
    }
    took.sort();
    assert!(took[ROUNDS / 2] <= PROMPT, "{took:?}");
}

/// With a push or without.
pub async fn who_polls_has_what_is_released_within_300_milliseconds(subject: Subject) {
    let (holder, waiter) = (subject.replica(), subject.replica());
    let mut took = Vec::new();
    for number in 0..ROUNDS {
        let name = format!("m{number}");
        let (mine, next) = (subject.claim(&name, "a"), subject.claim(&name, "b"));
        granted(&holder, &mine).await;
        held(&waiter, &next).await;
        let (waiting, claim) = (Arc::clone(&waiter), next.clone());
        let waiting = tokio::spawn(async move {
            loop {
                sleep(POLL).await;
                if let Ok(Acquired::Granted { .. }) = waiting.acquire(&claim).await {
                    return Instant::now();
                }
            }
        });
        // Anywhere between two questions.
        sleep(POLL / 20 * u32::try_from(number).expect("a small number")).await;
        let began = Instant::now();
        released(&holder, &mine).await;
        let granted = timeout(PATIENCE, waiting).await.expect("a grant in time").expect("no panic");
        took.push(granted.saturating_duration_since(began));
        released(&waiter, &next).await;
    }
    took.sort();
    assert!(took[ROUNDS / 2] <= POLLED, "{took:?}");
}
