//! Who does not have the lock.

use super::*;
use crate::response::Content;
use crate::telemetry::{Outcome, SpanEvent, StorageOperation};
use crate::testing::{bytes_of, spans};

#[tokio::test(start_paused = true)]
async fn three_replicas_fetch_once_and_the_others_serve_what_was_stored() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replicas: Vec<_> = (0..3).map(|_| Replica::new(&lock, &storage)).collect();
    let asking: Vec<_> = replicas.iter().map(Replica::asks).collect();
    pass(5 * SECOND).await;
    assert_eq!(replicas.iter().map(Replica::fetches).sum::<usize>(), 1);
    storage.put(release());
    for replica in &replicas {
        replica.end_fetches().await;
    }
    let mut outcomes = Vec::new();
    for asked in asking {
        outcomes.push(asked.await.expect("no panic").expect("an answer").outcome);
    }
    outcomes.sort();
    assert_eq!(outcomes, [Outcome::MissLeader, Outcome::MissFollower, Outcome::MissFollower]);
    settle().await;
    replicas.iter().for_each(Replica::assert_at_rest);
    assert!(!lock.is_held(KEY));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_replica_links_to_the_span_that_has_the_lock() {
    let (telemetry, spans) = spans::traced(spans::ALL);
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replicas = [Replica::new(&lock, &storage), Replica::new(&lock, &storage)];
    let traced = || {
        let mut request = zip();
        request.context.trace = spans::root(&telemetry);
        let span = request.context.trace.span().expect("a trace");
        (request, span)
    };
    let ((leading, leader), (waiting, waiter)) = (traced(), traced());
    replicas[0].ask(leading).await.expect("an answer");
    let waits = tokio::spawn(replicas[1].stack.send(waiting));
    pass(5 * SECOND).await;
    storage.put(release());
    replicas[0].end_fetches().await;
    waits.await.expect("no panic").expect("an answer");
    settle().await;
    let linked = spans.linked_to(leader.trace);
    assert_eq!(linked.len(), 1, "once, however often it asked: {linked:?}");
    assert_eq!((linked[0].trace, linked[0].links.as_slice()), (waiter.trace, [leader].as_slice()));
    let events: Vec<_> = linked[0].events.iter().map(|event| event.name).collect();
    assert_eq!(events, [SpanEvent::LockHeldElsewhere, SpanEvent::LockStoredElsewhere]);
}

#[tokio::test(start_paused = true)]
async fn a_push_wakes_at_once() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    lock.hold_elsewhere(KEY, 60 * SECOND);
    let asking = replica.asks();
    pass(5 * SECOND + SECOND / 10).await;
    storage.put(release());
    let stored = Instant::now();
    lock.free(KEY);
    asking.await.expect("no panic").expect("an answer");
    assert_eq!(stored.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_push_a_commit_is_seen_within_the_poll() {
    let (lock, storage) = (MemoryLock::silent(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    lock.hold_elsewhere(KEY, 60 * SECOND);
    let asking = replica.asks();
    pass(5 * SECOND + SECOND / 10).await;
    storage.put(release());
    let stored = Instant::now();
    asking.await.expect("no panic").expect("an answer");
    assert!(stored.elapsed() <= SECOND / 4, "{:?}", stored.elapsed());
    assert_eq!(replica.waits(LockWait::Stored), 1);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_begin_to_wait_together_do_not_ask_together() {
    let (lock, storage) = (MemoryLock::silent(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 60 * SECOND);
    let replicas: Vec<_> = (0..20).map(|_| Replica::new(&lock, &storage)).collect();
    let asking: Vec<_> = replicas.iter().map(Replica::asks).collect();
    settle().await;
    assert_eq!(lock.calls("acquire"), 20, "all ask at once first");
    let mut most = 0;
    for _ in 0..200 {
        let before = lock.calls("acquire");
        pass(SECOND / 100).await;
        most = most.max(lock.calls("acquire") - before);
    }
    // In step they would be twenty each time; a poll has 25 of these pauses.
    assert!(most <= 12, "{most} of 20 ask in one hundredth of a second");
    let polls = lock.calls("acquire") - 20;
    assert!((20 * 7..=20 * 11).contains(&polls), "{polls} questions in 2 s");
    for asked in asking {
        asked.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_taken_and_storage_looked_at_again_before_a_fetch() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    storage.put(release());
    let replica = Replica::new(&lock, &storage);
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!((served.outcome, replica.fetches()), (Outcome::MissFollower, 0));
    let content = served.files.get(FileKind::Zip).expect("the zip");
    assert!(matches!(content, Content::Stored(_)), "{content:?}");
    assert_eq!(bytes_of(&content).await.expect("its bytes"), release().zip);
    settle().await;
    assert!(!lock.is_held(KEY), "given back at once");
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_whole_version_is_served_with_all_its_files() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    storage.put(release());
    let replica = Replica::new(&lock, &storage);
    let served = replica.ask(request(Want::Version)).await.expect("an answer");
    for kind in [FileKind::Info, FileKind::Mod, FileKind::Zip] {
        assert!(served.files.get(kind).is_some(), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_files_and_queries_ask_for_no_lock() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    for kind in [FileKind::Info, FileKind::Mod] {
        replica.ask(request(Want::File(kind))).await.expect("an answer");
    }
    for want in [Want::File(FileKind::Zip), Want::Version] {
        let mut asked = request(want);
        asked.key.version = query("main");
        replica.ask(asked).await.expect("an answer");
    }
    assert_eq!((lock.calls("acquire"), replica.fetches()), (0, 4));
    assert_eq!(storage.calls(StorageOperation::Read), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_has_the_key_that_athens_gives_it() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let replica = Replica::new(&lock, &storage);
    let mut asked = zip();
    asked.key.module = module("github.com/BurntSushi/toml");
    asked.key.version = query("v2.0.0+incompatible");
    replica.ask(asked).await.expect("an answer");
    let claims = lock.claims("acquire");
    assert_eq!(&*claims[0].key, "github.com/BurntSushi/toml@v2.0.0+incompatible");
}

#[tokio::test(start_paused = true)]
async fn no_two_wishes_have_the_same_owner() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    for _ in 0..3 {
        let replica = Replica::new(&lock, &storage);
        for _ in 0..3 {
            replica.ask(zip()).await.expect("an answer");
            replica.end_fetches().await;
        }
    }
    let owners: std::collections::HashSet<_> =
        lock.claims("acquire").into_iter().map(|claim| claim.owner).collect();
    assert_eq!(owners.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn exactly_one_waiter_takes_over_from_a_holder_that_died() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 10 * SECOND);
    let replicas: Vec<_> = (0..20).map(|_| Replica::new(&lock, &storage)).collect();
    let asking: Vec<_> = replicas.iter().map(Replica::asks).collect();
    let fetches = || replicas.iter().map(Replica::fetches).sum::<usize>();
    pass(9 * SECOND).await;
    assert_eq!(fetches(), 0);
    pass(SECOND + SECOND / 4).await;
    assert_eq!(fetches(), 1, "within a poll of the end of the lease");
    pass(60 * SECOND).await;
    assert_eq!(fetches(), 1);
    for asked in asking {
        asked.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_has_the_whole_stash_timeout_for_its_fetch() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 500 * SECOND);
    let replica = Replica::new(&lock, &storage);
    replica.ask(zip()).await.expect("an answer");
    let left = replica.fetches.lock()[0].deadline - Instant::now();
    assert_eq!(left, STASH_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_held_for_longer_than_anybody_waits_is_done_without() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 10_000 * SECOND);
    let replica = Replica::new(&lock, &storage);
    let began = Instant::now();
    let served = replica.ask(zip()).await.expect("an answer");
    assert_eq!((served.outcome, began.elapsed()), (Outcome::MissDegraded, STASH_TIMEOUT));
    assert!(!replica.is_degraded(), "the service works");
    assert_eq!(replica.waits(LockWait::Degraded), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_and_gives_the_lock_to_the_next() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let (failing, next) = (Replica::failing(&lock, &storage), Replica::new(&lock, &storage));
    below::assert_passes_unchanged(&failing.stack, zip(), ErrorKind::UpstreamFailed).await;
    settle().await;
    failing.assert_at_rest();
    let began = Instant::now();
    next.ask(zip()).await.expect("an answer");
    assert_eq!((next.fetches(), began.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_from_its_fetch_ends_that_and_gives_the_lock_back() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    let fetching = below::Held::default();
    let replica = Replica::over(&lock, &storage, limits(), fetching.service(), Arc::default());
    fetching.assert_ends_with_its_caller(&replica.stack, zip()).await;
    assert_eq!((replica.waits(LockWait::Granted), lock.calls("release")), (1, 1));
    assert!(!lock.is_held(KEY));
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    lock.hold_elsewhere(KEY, 60 * SECOND);
    let replica = Replica::new(&lock, &storage);
    let asking = replica.asks();
    pass(SECOND).await;
    asking.abort();
    settle().await;
    replica.assert_at_rest();
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_does_not_keep_a_fetch_from_beginning() {
    let (lock, storage) = (MemoryLock::new(10 * SECOND), MemoryStorage::new());
    storage.fail(StorageOperation::Read);
    let replica = Replica::new(&lock, &storage);
    replica.ask(zip()).await.expect("an answer");
    assert_eq!(replica.fetches(), 1);
}
