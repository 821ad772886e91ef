//! What a holder found for good.

use super::*;
use crate::testing::lock::Mood;

/// A fetch that is answered so after a second, and how many there were.
fn refused(
    lock: &Arc<MemoryLock>,
    storage: &Arc<MemoryStorage>,
    kind: ErrorKind,
) -> (Replica, Arc<Mutex<usize>>) {
    let asked: Arc<Mutex<usize>> = Arc::default();
    let counted = Arc::clone(&asked);
    let upstream = below::late(SECOND, move |_: StashRequest| {
        *counted.lock() += 1;
        Err(Error::new(kind, "example.com/m@v1.0.0: no such version"))
    });
    (Replica::over(lock, storage, limits(), upstream, Arc::default()), asked)
}

/// How often three replicas that are asked at once ask upstream, whose answer is such an error.
async fn fetches_of_three(lock: Arc<MemoryLock>, kind: ErrorKind) -> usize {
    let storage = MemoryStorage::new();
    let replicas: Vec<_> = (0..3).map(|_| refused(&lock, &storage, kind)).collect();
    let asking: Vec<_> = replicas.iter().map(|(replica, _)| replica.asks()).collect();
    for asked in asking {
        let error = asked.await.expect("no panic").expect_err("there is no such version");
        assert_eq!(
            (error.kind(), error.message()),
            (kind, "example.com/m@v1.0.0: no such version")
        );
    }
    settle().await;
    replicas.iter().for_each(|(replica, _)| replica.assert_at_rest());
    assert!(!lock.is_held(KEY));
    replicas.iter().map(|(_, asked)| *asked.lock()).sum()
}

#[tokio::test(start_paused = true)]
async fn what_the_holder_found_for_good_is_the_answer_of_all_who_wait() {
    for kind in ErrorKind::ALL.iter().filter(|kind| kind.is_permanent()) {
        let began = Instant::now();
        assert_eq!(fetches_of_three(MemoryLock::new(10 * SECOND), *kind).await, 1, "{kind:?}");
        assert_eq!(began.elapsed(), SECOND, "they are woken by the push");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_told_to_nobody() {
    for kind in
        [ErrorKind::UpstreamFailed, ErrorKind::UpstreamTimeout, ErrorKind::UpstreamThrottled]
    {
        assert_eq!(fetches_of_three(MemoryLock::new(10 * SECOND), kind).await, 3, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_service_carries_none_each_replica_asks_for_itself() {
    assert_eq!(fetches_of_three(MemoryLock::silent(10 * SECOND), ErrorKind::NotFound).await, 3);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_verdict_asks_upstream() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (first, _) = refused(&lock, &storage, ErrorKind::NotFound);
    first.ask(zip()).await.expect_err("there is no such version");
    settle().await;
    // It has been published in this moment.
    let second = Replica::new(&lock, &storage);
    second.ask(zip()).await.expect("an answer");
    assert_eq!(second.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_holder_is_not_told_what_was_found_before() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (first, _) = refused(&lock, &storage, ErrorKind::NotFound);
    first.ask(zip()).await.expect_err("there is no such version");
    settle().await;
    let (second, third) = (Replica::new(&lock, &storage), Replica::new(&lock, &storage));
    second.ask(zip()).await.expect("an answer");
    let asking = third.asks();
    pass(SECOND).await;
    assert_eq!(third.fetches(), 0, "it waits");
    second.end_fetches().await;
    asking.await.expect("no panic").expect("an answer");
    assert_eq!(third.fetches(), 1);
}

/// How three replicas fare of which the first fetches, and ends so behind its answer: how often the others fetch.
async fn fetches_after(kind: ErrorKind) -> usize {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replicas: Vec<_> = (0..3).map(|_| Replica::new(&lock, &storage)).collect();
    let asking: Vec<_> = replicas.iter().map(Replica::asks).collect();
    pass(SECOND).await;
    let fetching: Vec<_> = replicas.iter().filter(|replica| replica.fetches() == 1).collect();
    assert_eq!(fetching.len(), 1);
    fetching[0].refuse_fetches(&Error::new(kind, "as it came in")).await;
    let mut fetches = 1;
    for _ in 1..replicas.len() {
        pass(SECOND).await;
        for replica in &replicas {
            fetches += replica.fetches();
            replica.refuse_fetches(&Error::new(kind, "as it came in")).await;
        }
    }
    let mut told = 0;
    for asked in asking {
        match asked.await.expect("no panic") {
            Ok(_) => {}
            Err(error) => {
                assert_eq!((error.kind(), error.message()), (kind, "as it came in"));
                told += 1;
            }
        }
    }
    assert_eq!(told, replicas.len() - fetches);
    replicas.iter().for_each(Replica::assert_at_rest);
    assert!(!lock.is_held(KEY));
    fetches
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_behind_the_answer_is_told_to_who_waits_where_it_lasts() {
    for kind in [ErrorKind::PrivateChecksum, ErrorKind::ChecksumMismatch] {
        assert_eq!(fetches_after(kind).await, 1, "{kind:?}");
    }
    for kind in [ErrorKind::BadContent, ErrorKind::UpstreamTimeout, ErrorKind::StorageUnavailable] {
        assert_eq!(fetches_after(kind).await, 3, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_purge_is_told_to_nobody_after_it() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (first, _) = refused(&lock, &storage, ErrorKind::NotFound);
    let (second, streams) = (Replica::new(&lock, &storage), Replica::new(&lock, &storage));
    let asked = first.asks();
    settle().await;
    let waits = second.asks();
    pass(SECOND / 2).await;
    // It has been published, and every gateway is told to ask anew.
    [&first, &second, &streams].iter().for_each(|replica| replica.purge());
    asked.await.expect("no panic").expect_err("upstream was asked before");
    waits.await.expect("no panic").expect("upstream is asked again");
    assert_eq!(second.fetches(), 1);
    // What is refused behind the answer is no other.
    let waits = streams.asks();
    pass(SECOND / 2).await;
    [&first, &second, &streams].iter().for_each(|replica| replica.purge());
    second.refuse_fetches(&Error::new(ErrorKind::PrivateChecksum, "not known yet")).await;
    waits.await.expect("no panic").expect("it is asked for again");
    assert_eq!(streams.fetches(), 1);
    streams.end_fetches().await;
    [&first, &second, &streams].iter().for_each(|replica| replica.assert_at_rest());
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_told_what_lay_there_before_its_own_purge() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (first, _) = refused(&lock, &storage, ErrorKind::NotFound);
    let second = Replica::new(&lock, &storage);
    let asked = first.asks();
    settle().await;
    let waits = second.asks();
    pass(SECOND / 2).await;
    lock.set(Mood::Late(SECOND));
    asked.await.expect("no panic").expect_err("there is no such version");
    // The verdict lies there after a second, and is the answer to a question that is under way by then.
    pass(SECOND * 3 / 2).await;
    assert_eq!(second.fetches(), 0);
    second.purge();
    waits.await.expect("no panic").expect("upstream is asked again");
    assert_eq!((second.fetches(), second.waits(LockWait::Settled)), (1, 0));
    second.end_fetches().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_found_after_a_purge_is_told_as_before() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (first, _) = refused(&lock, &storage, ErrorKind::NotFound);
    let second = Replica::new(&lock, &storage);
    [&first, &second].iter().for_each(|replica| replica.purge());
    let (asked, waits) = (first.asks(), second.asks());
    asked.await.expect("no panic").expect_err("there is no such version");
    waits.await.expect("no panic").expect_err("there is no such version");
    assert_eq!((second.fetches(), second.waits(LockWait::Settled)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_is_not_taken_keeps_no_lock() {
    let lock = MemoryLock::new(10 * SECOND);
    let (replica, _) = refused(&lock, &MemoryStorage::new(), ErrorKind::NotFound);
    lock.set(Mood::Unsettled);
    replica.ask(zip()).await.expect_err("there is no such version");
    pass(2 * SECOND).await;
    assert!(!lock.is_held(KEY));
    let asked = (lock.calls("settle"), lock.calls("release"));
    assert_eq!(asked, (1, 1), "it is tried once, and then given back without it");
    replica.assert_at_rest();
}
