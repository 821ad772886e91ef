//! Who gets a lock.

use std::sync::Arc;

use dipylon_middleware::ports::{Acquired, LockClaim};
use futures::future::join_all;

use super::{Subject, granted, held, released};

/// Nobody has it.
pub async fn a_free_lock_is_granted(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    released(&lock, &claim).await;
}

/// The point of it all.
pub async fn a_lock_that_another_replica_has_is_held(subject: Subject) {
    let (one, other) = (subject.replica(), subject.replica());
    let claim = subject.claim("m", "a");
    granted(&one, &claim).await;
    held(&other, &subject.claim("m", "b")).await;
    released(&one, &claim).await;
}

/// Two wishes of one process are two.
pub async fn a_lock_that_another_owner_of_this_replica_has_is_held(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    held(&lock, &subject.claim("m", "b")).await;
    released(&lock, &claim).await;
}

/// An answer that was lost can be asked for again.
pub async fn its_owner_is_granted_it_again(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    granted(&lock, &claim).await;
    held(&subject.replica(), &subject.claim("m", "b")).await;
    released(&lock, &claim).await;
}

/// Each key is a lock of its own.
pub async fn locks_of_other_keys_are_free(subject: Subject) {
    let (lock, one, other) = (subject.replica(), subject.claim("m", "a"), subject.claim("n", "a"));
    granted(&lock, &one).await;
    granted(&lock, &other).await;
    released(&lock, &one).await;
    held(&subject.replica(), &subject.claim("n", "b")).await;
    released(&lock, &other).await;
}

/// Also where one is the beginning of another.
pub async fn keys_that_differ_in_a_letter_stay_apart(subject: Subject) {
    let lock = subject.replica();
    let claims: Vec<LockClaim> = ["mod", "Mod", "mod/v2", "mo", "mod/"]
        .iter()
        .flat_map(|name| {
            let claim = subject.claim(name, "a");
            let longer = LockClaim { key: format!("{}0", claim.key).into(), ..claim.clone() };
            [claim, longer]
        })
        .collect();
    for claim in &claims {
        granted(&lock, claim).await;
    }
    for claim in &claims {
        released(&lock, claim).await;
    }
}

/// Where the service says it: the whole owner, which names the holder's span.
pub async fn who_does_not_get_a_lock_is_told_whose_it_is(subject: Subject) {
    let (one, other) = (subject.replica(), subject.replica());
    let span = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    let owner = format!("dipylon-{:016x}-{}-{span}", u64::MAX, u64::MAX);
    let claim = LockClaim { owner: owner.as_str().into(), ..subject.claim("m", "a") };
    granted(&one, &claim).await;
    for lock in [&one, &other, &other] {
        let told = held(lock, &subject.claim("m", "b")).await.by;
        assert_eq!(told.as_deref(), subject.tells_whose.then_some(owner.as_str()));
    }
    released(&one, &claim).await;
}

/// Plus, tilde, capitals, dots.
pub async fn keys_with_all_that_versions_may_have_are_locked(subject: Subject) {
    let lock = subject.replica();
    for name in ["Azure/SDK", "a~b/c.d_e-f", "x@v2.0.0+incompatible#"] {
        let claim = subject.claim(name, "a");
        granted(&lock, &claim).await;
        held(&lock, &subject.claim(name, "b")).await;
        released(&lock, &claim).await;
    }
}

/// Module paths have no length of their own.
pub async fn a_key_of_a_kilobyte_is_locked(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim(&"long/".repeat(200), "a"));
    granted(&lock, &claim).await;
    held(&lock, &LockClaim { owner: "b".into(), ..claim.clone() }).await;
    released(&lock, &claim).await;
}

/// The next one need not wait for a lease.
pub async fn a_released_lock_is_free_at_once(subject: Subject) {
    let (one, other) = (subject.replica(), subject.replica());
    let (first, second) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&one, &first).await;
    released(&one, &first).await;
    granted(&other, &second).await;
    released(&other, &second).await;
}

/// A stranger's release changes nothing.
pub async fn only_its_owner_releases_a_lock(subject: Subject) {
    let (one, other) = (subject.replica(), subject.replica());
    let (mine, strange) = (subject.claim("m", "a"), subject.claim("m", "b"));
    granted(&one, &mine).await;
    assert_eq!(other.release(&strange).await, Ok(false));
    assert_eq!(one.release(&strange).await, Ok(false));
    held(&other, &strange).await;
    released(&one, &mine).await;
}

/// So a holder learns that it had lost it.
pub async fn a_second_release_says_that_it_is_gone(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    released(&lock, &claim).await;
    assert_eq!(lock.release(&claim).await, Ok(false));
}

/// Right after its own release, too.
pub async fn the_same_replica_takes_a_lock_many_times(subject: Subject) {
    let lock = subject.replica();
    for number in 0..50 {
        let claim = subject.claim("m", &number.to_string());
        granted(&lock, &claim).await;
        released(&lock, &claim).await;
    }
}

/// All at once, from ten replicas.
pub async fn of_100_contenders_one_is_granted(subject: Subject) {
    let replicas: Vec<_> = (0..10).map(|_| subject.replica()).collect();
    let asking = (0..100).map(|number| {
        let lock = Arc::clone(&replicas[number % replicas.len()]);
        let claim = subject.claim("m", &number.to_string());
        tokio::spawn(async move { (lock.acquire(&claim).await, lock, claim) })
    });
    let mut winners = Vec::new();
    for asked in join_all(asking).await {
        let (answer, lock, claim) = asked.expect("no panic");
        if let Acquired::Granted { .. } = answer.expect("an answer") {
            winners.push((lock, claim));
        }
    }
    assert_eq!(winners.len(), 1);
    released(&winners[0].0, &winners[0].1).await;
}

/// A busy gateway holds many.
pub async fn two_hundred_locks_are_held_at_once(subject: Subject) {
    let lock = subject.replica();
    let claims: Vec<_> = (0..200).map(|number| subject.claim(&format!("m{number}"), "a")).collect();
    join_all(claims.iter().map(|claim| granted(&lock, claim))).await;
    let renewed = join_all(claims.iter().map(|claim| lock.renew(claim))).await;
    assert!(renewed.iter().all(|renewed| *renewed == Ok(true)));
    join_all(claims.iter().map(|claim| released(&lock, claim))).await;
}

/// A late writer can be told from the one after it.
pub async fn the_fencing_token_grows_from_grant_to_grant(subject: Subject) {
    let lock = subject.replica();
    let mut last = 0;
    for number in 0..10 {
        let claim = subject.claim("m", &number.to_string());
        let fencing = granted(&lock, &claim).await;
        assert!(fencing > last, "{fencing} after {last}");
        last = fencing;
        released(&lock, &claim).await;
    }
}

/// Whoever is granted the lock.
pub async fn the_fencing_token_grows_across_replicas(subject: Subject) {
    let replicas = [subject.replica(), subject.replica(), subject.replica()];
    let mut last = 0;
    for (number, lock) in replicas.iter().cycle().take(9).enumerate() {
        let claim = subject.claim("m", &number.to_string());
        let fencing = granted(lock, &claim).await;
        assert!(fencing > last, "{fencing} after {last}");
        last = fencing;
        released(lock, &claim).await;
    }
}
