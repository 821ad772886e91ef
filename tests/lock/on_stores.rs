//! `SingleFlightType = "s3"`, `"gcp"` and `"azureblob"`: the suite, what else lies under a lock's name, and
//! what a store may be in the way of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_middleware::ports::{Acquired, Lock, LockClaim};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::lock_suite::Subject;

use crate::careless::Careless;
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
    subject(Store::azurite().await, AZURE_LEASE)
}

fn subject(store: Store, lease: Duration) -> Subject {
    let store = Arc::new(store);
    let (opened, looked, evicted) = (Arc::clone(&store), Arc::clone(&store), store);
    Subject::new(lease, move || opened.open(lease))
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
    for name in ["example.com/m", "lock/example.com/m", "lease/example.com/m"] {
        let Ok(module) = ModulePath::parse(name) else { continue };
        assert!(storage.list(&module).await.expect("a list").is_empty(), "{name}");
        for kind in FileKind::ALL {
            assert!(
                storage.read(&module, &version, kind).await.expect("a look").is_none(),
                "{name}"
            );
        }
    }
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
    assert!(began.elapsed() + Duration::from_secs(2) > FOREIGN, "{:?}", began.elapsed());
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
