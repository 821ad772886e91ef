//! `SingleFlightType = "s3"`, `"gcp"` and `"azureblob"`: the suite, what else lies under a lock's name, and
//! what a store may be in the way of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dipylon_middleware::lock::OPERATION_TIMEOUT;
use dipylon_middleware::ports::{Acquired, Lock, LockClaim};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::lock_suite::Subject;

use crate::asks_again::AsksAgain;
use crate::careless::{Act, Asked, Careless, Kept};
use crate::stores::{FOREIGN, Store};

const LEASE: Duration = Duration::from_secs(3);
/// The shortest that Azure grants.
const AZURE_LEASE: Duration = Duration::from_secs(15);

mod s3_on_minio {
    dipylon_testkit::lock_suite!(polled super::minio, "needs minio: run by cargo xtask test");
}

mod s3_on_versitygw {
    dipylon_testkit::lock_suite!(polled super::versitygw, "needs versitygw: run by cargo xtask test");
}

mod gcp {
    dipylon_testkit::lock_suite!(polled super::gcp, "needs gcs: run by cargo xtask test");
}

mod azureblob {
    dipylon_testkit::lock_suite!(polled super::azurite, "needs azurite: run by cargo xtask test");
}

async fn minio() -> Subject {
    subject(Store::minio().await, LEASE)
}

async fn versitygw() -> Subject {
    subject(Store::versitygw().await, LEASE)
}

async fn gcp() -> Subject {
    subject(Store::gcp().await, LEASE)
}

async fn azurite() -> Subject {
    subject(Store::azurite().await, AZURE_LEASE).not_telling_whose()
}

fn subject(store: Store, lease: Duration) -> Subject {
    let store = Arc::new(store);
    let (opened, looked, evicted) = (Arc::clone(&store), Arc::clone(&store), store);
    Subject::new(lease, move || Arc::new(AsksAgain(opened.open(lease))))
        .looking(move |_| {
            let store = Arc::clone(&looked);
            Box::pin(async move { store.left().await })
        })
        .evicting(move |key| {
            let store = Arc::clone(&evicted);
            Box::pin(async move { store.evict(&key).await })
        })
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn no_lock_in_minio_is_listed_or_read_as_a_version() {
    no_lock_is_listed_or_read_as_a_version(Store::minio().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs versitygw: run by cargo xtask test"]
async fn no_lock_in_s3_is_listed_or_read_as_a_version() {
    no_lock_is_listed_or_read_as_a_version(Store::versitygw().await).await;
}

#[tokio::test]
#[ignore = "needs gcs: run by cargo xtask test"]
async fn no_lock_in_gcp_is_listed_or_read_as_a_version() {
    no_lock_is_listed_or_read_as_a_version(Store::gcp().await).await;
}

#[tokio::test]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn no_lock_in_azureblob_is_listed_or_read_as_a_version() {
    no_lock_is_listed_or_read_as_a_version(Store::azurite().await).await;
}

async fn no_lock_is_listed_or_read_as_a_version(store: Store) {
    let (lock, storage) = (store.open(AZURE_LEASE), store.storage().await);
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    assert_eq!(store.left().await, [store.name("example.com/m@v1.0.0")]);
    assert!(storage.catalog(None, 0).await.expect("a catalogue").entries.is_empty());
    let version = Version::parse("v1.0.0").expect("a version");
    let module = ModulePath::parse("example.com/m").expect("a module path");
    assert!(storage.list(&module).await.expect("a list").is_empty());
    for kind in FileKind::ALL {
        assert!(storage.read(&module, &version, kind).await.expect("a look").is_none());
    }
    // And nobody can ask for what lies below a lock's folder: no module path begins so.
    let name = store.name("example.com/m");
    assert!(ModulePath::parse(&name).is_err(), "{name}");
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
}

fn claim(owner: &str) -> LockClaim {
    LockClaim { key: "example.com/m@v1.0.0".into(), owner: owner.into() }
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_lock_of_athens_in_s3_is_waited_for_as_long_as_it_stands_and_then_taken_over() {
    let store = Store::minio().await;
    let (lock, name) = (store.open(LEASE), store.name("example.com/m@v1.0.0"));
    store.raw.put(&name, &b"6a2f41a3-c54c-fce8-32d2-0324e1c32e22"[..]).await;
    let began = Instant::now();
    let Ok(Acquired::Held(held)) = lock.acquire(&claim("ours")).await else { panic!("not held") };
    assert!(held.lapses_in.is_some_and(|lapses| lapses <= FOREIGN), "{:?}", held.lapses_in);
    assert_eq!(lock.release(&claim("ours")).await, Ok(false));
    while !matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })) {
        assert!(began.elapsed() < FOREIGN * 3, "never taken over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The dates by which the store tells its age have whole seconds: each may be one off.
    let took = began.elapsed();
    assert!(took + Duration::from_millis(1_100) > FOREIGN, "{took:?}");
    assert!(took < FOREIGN + Duration::from_secs(1), "{took:?}");
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
}

#[tokio::test]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn the_blob_of_a_lease_is_athens_own_and_stays_for_it() {
    let store = Store::azurite().await;
    // As Athens writes it.
    store.raw.put("lease/example.com/m@v1.0.0", &[1_u8][..]).await;
    let lock = store.open(AZURE_LEASE);
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    assert_eq!(store.left().await, ["lease/example.com/m@v1.0.0"]);
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
    assert_eq!(store.left().await, Vec::<String>::new());
    let objects: Vec<_> = store.raw.objects().await.into_keys().collect();
    assert_eq!(objects, ["lease/example.com/m@v1.0.0"]);
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_store_that_is_cut_off_is_an_error_and_used_again_when_it_is_back() {
    let store = Store::minio().await;
    let lock = store.open(LEASE);
    assert_eq!(lock.check().await, Ok(()));
    store.stop();
    assert!(lock.acquire(&claim("ours")).await.is_err());
    assert!(lock.check().await.is_err());
    store.restart();
    assert_eq!(lock.check().await, Ok(()));
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_write_whose_answer_was_lost_in_minio_is_found_to_be_ours() {
    a_write_whose_answer_was_lost_is_found_to_be_ours(Store::minio().await).await;
}

#[tokio::test]
#[ignore = "needs gcs: run by cargo xtask test"]
async fn a_write_whose_answer_was_lost_in_gcp_is_found_to_be_ours() {
    a_write_whose_answer_was_lost_is_found_to_be_ours(Store::gcp().await).await;
}

/// Who has heard of no answer is like a process of its own that knows the owner alone.
async fn a_write_whose_answer_was_lost_is_found_to_be_ours(store: Store) {
    let (written, unaware) = (store.open(LEASE), store.open(LEASE));
    let granted = async |lock: &Arc<dyn Lock>| match lock.acquire(&claim("ours")).await {
        Ok(Acquired::Granted { fencing }) => fencing,
        other => panic!("not granted: {other:?}"),
    };
    let fencing = granted(&written).await;
    assert_eq!(granted(&unaware).await, fencing, "it is the same grant");
    // Each renewal is unheard of by the other, and by the time of the last so is what was written before.
    assert_eq!(written.renew(&claim("ours")).await, Ok(true));
    assert_eq!(unaware.renew(&claim("ours")).await, Ok(true));
    assert_eq!(written.renew(&claim("ours")).await, Ok(true));
    assert_eq!(unaware.release(&claim("ours")).await, Ok(true));
    assert_eq!(written.renew(&claim("ours")).await, Ok(false));
    assert_eq!(store.left().await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn no_renewal_waits_for_those_who_wait_for_a_lock() {
    let store = Store::minio().await;
    let lock = store.open(LEASE);
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    let asking = (0..400).map(|number| {
        let (lock, claim) = (Arc::clone(&lock), claim(&format!("other {number}")));
        tokio::spawn(async move { lock.acquire(&claim).await })
    });
    let asking: Vec<_> = asking.collect();
    tokio::task::yield_now().await;
    let mut renewals = 0;
    while !asking.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(lock.renew(&claim("ours")).await, Ok(true));
        renewals += 1;
    }
    for asked in asking {
        let answer = asked.await.expect("no panic");
        assert!(!matches!(answer, Ok(Acquired::Granted { .. })), "{answer:?}");
    }
    assert!(renewals > 2, "{renewals} while 400 asked");
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_no_lock_service() {
    let lock = Careless::start(200).await.lock(LEASE);
    for _ in 0..2 {
        let error = lock.acquire(&claim("ours")).await.expect_err("no lock").to_string();
        assert!(error.contains("ignores If-None-Match"), "{error}");
        assert!(lock.check().await.is_err());
    }
}

#[tokio::test]
async fn a_store_that_is_busy_is_an_error_and_no_holder() {
    for status in [429, 503] {
        let lock = Careless::start(status).await.lock(LEASE);
        let error = lock.acquire(&claim("ours")).await.expect_err("no lock").to_string();
        assert!(error.contains(&format!("it answered {status}")), "{error}");
        assert!(error.contains("it is busy"), "{error}");
    }
}

/// As a store that removes whatever the condition says.
fn removes_blindly(asked: &Asked) -> Act {
    match asked.is("DELETE") {
        true => Act::Ignore,
        false => Act::Serve,
    }
}

fn removals(lock: &Kept) -> usize {
    lock.asked().iter().filter(|asked| asked.is("DELETE")).count()
}

async fn must_be_granted(lock: &Kept) {
    let answer = lock.acquire(&claim("ours")).await;
    assert!(matches!(answer, Ok(Acquired::Granted { .. })), "{answer:?}");
}

async fn acquire_error(lock: &Kept) -> String {
    lock.acquire(&claim("ours")).await.expect_err("no lock").to_string()
}

#[tokio::test]
async fn a_removal_without_a_condition_is_sent_once_after_a_mark() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&is_broken);
    let lock = Careless::told(move |asked| {
        let is_removal = asked.is("DELETE") && asked.is_of_a_lock();
        match is_removal && breaks.load(Ordering::SeqCst) {
            true => Act::Break,
            false => removes_blindly(asked),
        }
    });
    let lock = lock.await.lock(LEASE);
    must_be_granted(&lock).await;
    for sent in 1..=2 {
        assert!(lock.release(&claim("ours")).await.is_err());
        assert_eq!(removals(&lock), sent);
        let asked = lock.asked();
        let [.., mark, removal] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(mark.is("PUT") && mark.if_match.is_some(), "{mark:?}");
        assert!(removal.is("DELETE") && removal.if_match.is_none(), "{removal:?}");
    }
    is_broken.store(false, Ordering::SeqCst);
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
    assert_eq!(lock.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lock_whose_mark_came_late_is_left_to_lapse() {
    let lock = Careless::told(|asked| {
        let is_write = asked.is("PUT") && asked.if_match.is_some() && asked.is_of_a_lock();
        match is_write {
            true => Act::Late(LEASE / 3 + Duration::from_millis(100)),
            false => removes_blindly(asked),
        }
    });
    let lock = lock.await.lock(LEASE);
    must_be_granted(&lock).await;
    let error = lock.release(&claim("ours")).await.expect_err("late").to_string();
    assert!(error.contains("too slowly to be removed"), "{error}");
    assert_eq!((removals(&lock), lock.objects().len()), (0, 1));
}

#[tokio::test]
async fn a_removal_whose_answer_was_lost_is_no_lost_lock() {
    for losses in [1, 2] {
        let lost = AtomicUsize::new(0);
        let lock = Careless::told(move |asked| {
            let is_removal = asked.is("DELETE") && asked.is_of_a_lock();
            match is_removal && lost.fetch_add(1, Ordering::SeqCst) < losses {
                true => Act::BreakAfter,
                false => Act::Serve,
            }
        });
        let lock = lock.await.lock(LEASE);
        must_be_granted(&lock).await;
        let waiting = lock.acquire(&claim("another")).await;
        let Ok(Acquired::Held(held)) = waiting else { panic!("{waiting:?}") };
        if losses == 2 {
            assert!(lock.release(&claim("ours")).await.is_err());
        }
        assert_eq!(lock.release(&claim("ours")).await, Ok(true), "{losses} lost");
        held.released.await;
        assert_eq!(lock.release(&claim("ours")).await, Ok(false), "{losses} lost");
    }
}

#[tokio::test]
async fn what_refuses_to_write_where_nothing_lies_is_an_error_and_no_holder() {
    let answers = [
        (409, "OperationAborted", "it answered 409 OperationAborted"),
        (409, "", "it answered 409"),
        (404, "", "it answered 404"),
        (404, "NoSuchKey", "it answered 404 NoSuchKey"),
        (409, "ConditionalRequestConflict", "refuses to write a lock where it shows none"),
        (412, "", "refuses to write a lock where it shows none"),
    ];
    for (status, code, want) in answers {
        let lock = Careless::told(move |asked| match asked.is("PUT") && asked.is_of_a_lock() {
            true => Act::Answer(status, code),
            false => Act::Serve,
        });
        let error = acquire_error(&lock.await.lock(LEASE)).await;
        assert!(error.contains(want), "{status} {code}: {error}");
    }
}

#[tokio::test]
async fn what_refuses_to_replace_a_lapsed_lock_is_an_error_and_no_holder() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let lock = Careless::told(move |asked| {
        let is_write = asked.is("PUT") && asked.is_of_a_lock();
        match is_write && breaks.load(Ordering::SeqCst) {
            true => Act::Answer(412, ""),
            false => Act::Serve,
        }
    });
    let lease = Duration::from_secs(1);
    let lock = lock.await.lock(lease);
    must_be_granted(&lock).await;
    is_broken.store(true, Ordering::SeqCst);
    let answer = lock.acquire(&claim("another")).await;
    assert!(matches!(answer, Ok(Acquired::Held(_))), "{answer:?}");
    tokio::time::sleep(lease + Duration::from_millis(100)).await;
    let error = lock.acquire(&claim("another")).await.expect_err("lapsed").to_string();
    assert!(error.contains("refuses to replace a lock that it shows unchanged"), "{error}");
}

#[tokio::test]
async fn a_missing_page_is_no_missing_lock() {
    let lock = Careless::told(|asked| match asked.is("GET") && asked.is_of_a_lock() {
        true => Act::Answer(404, ""),
        false => Act::Serve,
    });
    let lock = lock.await.lock(LEASE);
    must_be_granted(&lock).await;
    let error = lock.acquire(&claim("another")).await.expect_err("unread").to_string();
    assert!(error.contains("cannot read a lock: it answered 404"), "{error}");
}

#[tokio::test]
async fn where_nothing_may_be_removed_one_trial_is_left_however_often_it_is_looked() {
    let lock = Careless::told(|asked| match asked.is("DELETE") {
        true => Act::Answer(403, "AccessDenied"),
        false => Act::Serve,
    });
    let lock = lock.await.lock(LEASE);
    for _ in 0..3 {
        let error = acquire_error(&lock).await;
        assert!(error.contains("cannot remove a lock: it answered 403 AccessDenied"), "{error}");
        assert!(lock.check().await.is_err());
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(lock.objects().len(), 1, "{:?}", lock.objects());
}

#[tokio::test]
async fn a_store_that_lets_nobody_read_is_no_lock_service() {
    let lock = Careless::told(|asked| match asked.is("GET") {
        true => Act::Answer(403, "AccessDenied"),
        false => Act::Serve,
    });
    let lock = lock.await.lock(LEASE);
    for error in [acquire_error(&lock).await, lock.check().await.expect_err("no").to_string()] {
        assert!(error.contains("cannot read a lock: it answered 403 AccessDenied"), "{error}");
    }
    assert_eq!(lock.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn a_conflict_by_chance_proves_no_condition() {
    let was_met = AtomicBool::new(false);
    let lock = Careless::told(move |asked| {
        // The second write of the first trial: the one that its condition must refuse.
        let is_second = asked.is("PUT") && asked.if_none_match && asked.body() == b"2";
        match is_second && !was_met.swap(true, Ordering::SeqCst) {
            true => Act::Answer(409, "ConditionalRequestConflict"),
            false => Act::Serve,
        }
    });
    let lock = lock.await.lock(LEASE);
    let error = acquire_error(&lock).await;
    assert!(error.contains("did not answer a trial clearly"), "{error}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    must_be_granted(&lock).await;
}

#[tokio::test]
async fn all_requests_of_a_question_have_one_deadline_less_than_the_layers() {
    let lock = Careless::told(|asked| match asked.is_of_a_lock() {
        true => Act::Late(Duration::from_millis(1_200)),
        false => Act::Serve,
    });
    let lock = lock.await.lock(LEASE);
    must_be_granted(&lock).await;
    // Each of its two requests would be in time.
    let began = Instant::now();
    let error = lock.acquire(&claim("another")).await.expect_err("late").to_string();
    assert_eq!(error, "the store gave no answer within 1.8s");
    assert!(began.elapsed() < OPERATION_TIMEOUT, "{:?}", began.elapsed());
}

/// A lock costs one request of such a store, a check of it several.
#[tokio::test]
async fn a_store_that_is_slow_is_found_to_work_again() {
    let lock = Careless::told(|asked| match asked.is_of_a_lock() {
        true => Act::Serve,
        false => Act::Late(Duration::from_millis(700)),
    });
    let lock = lock.await.lock(LEASE);
    // The first trial asks seven times, the check four.
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        outcomes.push(lock.check().await.map_err(|error| error.to_string()));
        assert!(began.elapsed() < OPERATION_TIMEOUT, "{:?}", began.elapsed());
        if outcomes.last() == Some(&Ok(())) {
            break;
        }
    }
    assert_eq!(outcomes.last(), Some(&Ok(())), "{outcomes:?}");
    assert!(outcomes.len() > 2, "each call has its time: {outcomes:?}");
}

#[tokio::test]
async fn who_was_kept_by_our_own_permits_says_so_and_does_not_accuse_the_store() {
    let lock = Careless::told(|asked| match asked.is_of_a_lock() {
        true => Act::Late(Duration::from_secs(3)),
        false => Act::Serve,
    });
    let lock = lock.await.lock(LEASE);
    let asking = (0..33).map(|number| {
        let (lock, claim) = (Arc::clone(&lock), claim(&number.to_string()));
        async move { lock.acquire(&claim).await.expect_err("late").to_string() }
    });
    let said = futures::future::join_all(asking).await;
    let silent = "the store gave no answer within 1.8s";
    assert_eq!(said.iter().filter(|said| *said == silent).count(), 32, "{said:?}");
    let crowded = "32 requests of this gateway for locks kept another one waiting for too long";
    assert_eq!(said.iter().filter(|said| *said == crowded).count(), 1, "{said:?}");
}
