//! What becomes of the service itself.

use super::{Subject, granted, held, released};

/// It can be asked.
pub async fn a_working_service_says_so(subject: Subject) {
    assert_eq!(subject.replica().check().await, Ok(()));
}

/// However often it is made.
pub async fn a_check_takes_no_lock_and_leaves_nothing(subject: Subject) {
    let lock = subject.replica();
    for _ in 0..3 {
        assert_eq!(lock.check().await, Ok(()));
    }
    lock.close().await;
    assert_eq!(subject.left().await, Vec::<String>::new());
}

/// No key for each version that was ever fetched.
pub async fn nothing_is_left_when_all_is_released(subject: Subject) {
    let (one, other) = (subject.replica(), subject.replica());
    for number in 0..10 {
        let name = format!("m{number}");
        let claim = subject.claim(&name, "a");
        granted(&one, &claim).await;
        drop(held(&other, &subject.claim(&name, "b")).await);
        released(&one, &claim).await;
    }
    one.close().await;
    other.close().await;
    assert_eq!(subject.left().await, Vec::<String>::new());
}

/// Not its session either, although it held a lock to the end.
pub async fn nothing_is_left_of_a_replica_that_took_leave(subject: Subject) {
    let (lock, claim) = (subject.replica(), subject.claim("m", "a"));
    granted(&lock, &claim).await;
    released(&lock, &claim).await;
    lock.close().await;
    drop(lock);
    assert_eq!(subject.left().await, Vec::<String>::new());
}
