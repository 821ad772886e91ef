//! `SingleFlightType = "etcd"` on a real server.

use std::sync::Arc;
use std::time::Duration;

use dipylon::config::{Endpoints, EtcdLock as Keys, UrlText};
use dipylon::lock::etcd::{EtcdLock, Members};
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::{Acquired, Held, Lock, LockClaim, LockError, Verdict};
use dipylon_testkit::lock_suite::Subject;
use dipylon_testkit::services::etcd::EtcdCluster;
use etcd_client::{AlarmAction, AlarmType, Client, DeleteOptions, GetOptions, PutOptions};

use crate::line::Line;
use crate::stores::authority;

/// The shortest that a server grants.
const LEASE: Duration = Duration::from_secs(2);
/// What the mutex of Athens and ours lie below.
const KEY: &str = "example.com/m@v1.0.0";

dipylon_testkit::lock_suite!(subject, "needs the etcd program: run by cargo xtask test");

async fn subject() -> Subject {
    let cluster = EtcdCluster::start(1);
    let (opened, looked, evicted) = (cluster.endpoints(), cluster.endpoints(), cluster.endpoints());
    Subject::new(LEASE, move || Arc::new(open(&opened)))
        .looking(move |_| {
            let endpoints = looked.clone();
            Box::pin(async move {
                let mut left = keys(&endpoints).await;
                left.extend(leases(&endpoints).await);
                left
            })
        })
        .evicting(move |key| {
            let endpoints = evicted.clone();
            Box::pin(async move {
                let below = Some(DeleteOptions::new().with_prefix());
                let deleted = client(&endpoints).await.delete(format!("{key}/"), below).await;
                assert_eq!(deleted.expect("an answer").deleted(), 1, "{key}");
            })
        })
        .keep(cluster)
}

/// A replica.
fn open(endpoints: &str) -> EtcdLock {
    let endpoints = Endpoints(endpoints.split(',').map(UrlText::new).collect());
    EtcdLock::open(Members::of(&Keys { endpoints }).expect("addresses"), LEASE)
}

async fn client(endpoints: &str) -> Client {
    let endpoints: Vec<&str> = endpoints.split(',').collect();
    Client::connect(endpoints, None).await.expect("addresses")
}

/// All keys that lie there.
pub(crate) async fn keys(endpoints: &str) -> Vec<String> {
    let all = Some(GetOptions::new().with_all_keys());
    let found = client(endpoints).await.get("", all).await.expect("an answer");
    found.kvs().iter().map(|kv| kv.key_str().expect("text").to_owned()).collect()
}

/// All leases that are granted.
pub(crate) async fn leases(endpoints: &str) -> Vec<String> {
    let found = client(endpoints).await.leases().await.expect("an answer");
    found.leases().iter().map(|lease| format!("lease {:x}", lease.id())).collect()
}

fn claim(owner: &str) -> LockClaim {
    LockClaim { key: KEY.into(), owner: owner.into() }
}

async fn is_granted(lock: &EtcdLock, owner: &str) -> bool {
    matches!(lock.acquire(&claim(owner)).await, Ok(Acquired::Granted { .. }))
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_replica_has_one_lease_however_many_locks_it_takes() {
    let cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    for number in 0..20 {
        let key = format!("example.com/m{number}@v1.0.0").into();
        let granted = lock.acquire(&LockClaim { key, owner: "a".into() }).await;
        assert!(matches!(granted, Ok(Acquired::Granted { .. })));
    }
    assert_eq!(leases(&cluster.endpoints()).await.len(), 1);
    lock.close().await;
    assert_eq!(keys(&cluster.endpoints()).await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_lease_is_kept_alive_for_as_long_as_the_replica_lives() {
    let cluster = EtcdCluster::start(1);
    let (lock, other) = (open(&cluster.endpoints()), open(&cluster.endpoints()));
    assert!(is_granted(&lock, "a").await);
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(lock.renew(&claim("a")).await, Ok(true));
    assert!(!is_granted(&other, "b").await);
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_lock_of_athens_is_respected_and_left_alone() {
    let cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    // What the mutex of Athens creates: a key without a value, named after a lease of its own.
    let mut athens = client(&cluster.endpoints()).await;
    let lease = athens.lease_grant(60, None).await.expect("a lease").id();
    let key = format!("{KEY}/{lease:x}");
    let under = Some(PutOptions::new().with_lease(lease));
    athens.put(key.as_str(), "", under).await.expect("an answer");
    let Ok(Acquired::Held(held)) = lock.acquire(&claim("ours")).await else { panic!("not held") };
    assert_eq!(lock.release(&claim("ours")).await, Ok(false));
    assert_eq!(keys(&cluster.endpoints()).await, std::slice::from_ref(&key));
    let waiting = tokio::spawn(held.released);
    athens.delete(key, None).await.expect("an answer");
    let woken = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    woken.expect("a wake in time").expect("no panic");
    assert!(is_granted(&lock, "ours").await);
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn athens_finds_our_lock_below_its_own_prefix() {
    let cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    assert!(is_granted(&lock, "ours").await);
    let found = keys(&cluster.endpoints()).await;
    let lease = &leases(&cluster.endpoints()).await[0]["lease ".len()..];
    assert_eq!(found, [format!("{KEY}/{lease}")]);
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn verdicts_lie_apart_from_the_locks_under_one_lease_that_is_given_back() {
    let cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    let verdict = Verdict::new(ErrorKind::NotFound, "not found").expect("it lasts");
    for number in 0..3 {
        let key = format!("example.com/m@v1.0.{number}");
        let claim = LockClaim { key: key.as_str().into(), owner: "ours".into() };
        assert!(matches!(lock.acquire(&claim).await, Ok(Acquired::Granted { .. })));
        assert_eq!(lock.settle(&claim, &verdict).await, Ok(true));
    }
    let names = [0, 1, 2].map(|number| format!("dipylon:found/example.com/m@v1.0.{number}"));
    assert_eq!(keys(&cluster.endpoints()).await, names);
    assert_eq!(leases(&cluster.endpoints()).await.len(), 2, "of the session and of verdicts");
    lock.close().await;
    assert_eq!(keys(&cluster.endpoints()).await, Vec::<String>::new());
    assert_eq!(leases(&cluster.endpoints()).await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_session_that_the_server_forgot_is_made_anew() {
    let cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    assert!(is_granted(&lock, "a").await);
    let lease = leases(&cluster.endpoints()).await[0]["lease ".len()..].to_owned();
    let id = i64::from_str_radix(&lease, 16).expect("a number");
    client(&cluster.endpoints()).await.lease_revoke(id).await.expect("an answer");
    assert_eq!(lock.renew(&claim("a")).await, Ok(false));
    let began = std::time::Instant::now();
    while !is_granted(&lock, "b").await {
        assert!(began.elapsed() < LEASE + Duration::from_secs(3), "no new session");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_server_that_comes_back_is_used_again() {
    let mut cluster = EtcdCluster::start(1);
    let lock = open(&cluster.endpoints());
    assert_eq!(lock.check().await, Ok(()));
    cluster.stop();
    assert!(lock.check().await.is_err());
    cluster.restart();
    let began = std::time::Instant::now();
    while lock.check().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "not used again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_server_that_is_not_there_at_the_start_is_used_when_it_is() {
    let mut cluster = EtcdCluster::start(1);
    cluster.stop();
    let lock = open(&cluster.endpoints());
    assert!(lock.check().await.is_err());
    cluster.restart();
    let began = std::time::Instant::now();
    while lock.check().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_lock_outlives_the_leader_of_three_members() {
    let mut cluster = EtcdCluster::start(3);
    let (lock, other) = (open_with(&cluster, 10), open_with(&cluster, 10));
    assert!(is_granted(&lock, "a").await);
    let leader = cluster.kill_leader();
    println!("member {leader} led");
    let began = std::time::Instant::now();
    while lock.renew(&claim("a")).await != Ok(true) {
        assert!(began.elapsed() < Duration::from_secs(10), "not renewed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("renewed {:?} after the leader was killed", began.elapsed());
    // A member may have renewed that had not noticed yet: until there is a leader, all refuse.
    let held = answered("an answer about b", || async { other.acquire(&claim("b")).await }).await;
    assert!(matches!(held, Acquired::Held(_)), "{held:?}");
    // Its first answer may be lost with a member; then the second says that nothing was left to release.
    answered("an answer about the release", || async { lock.release(&claim("a")).await }).await;
    let granted =
        answered("an answer about b", || async { other.acquire(&claim("b")).await }).await;
    assert!(matches!(granted, Acquired::Granted { .. }), "{granted:?}");
}

/// A lock that is asked for at two members, the first of which can be kept from answering.
async fn with_a_line(cluster: &EtcdCluster) -> (EtcdLock, Line) {
    let endpoint = cluster.endpoints();
    let line = Line::to(authority(&endpoint)).await;
    let lock = open(&format!("http://{},{endpoint}", line.address));
    (lock, line)
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_release_whose_answer_a_member_lost_is_none_of_a_lost_lock() {
    let cluster = EtcdCluster::start(1);
    let verdict = Verdict::new(ErrorKind::NotFound, "not found").expect("it lasts");
    for is_settled in [false, true] {
        let (lock, line) = with_a_line(&cluster).await;
        assert!(is_granted(&lock, "a").await);
        line.mute();
        if is_settled {
            // The other member was found already, when a lease for what was found was asked for.
            assert_eq!(lock.settle(&claim("a"), &verdict).await, Ok(true));
        } else {
            // Whether it was given back, or that member will come to it later, nobody can know.
            lock.release(&claim("a")).await.expect_err("it is to be asked again");
        }
        assert_eq!(lock.release(&claim("a")).await, Ok(false), "asked once, nothing is there");
        assert!(keys(&cluster.endpoints()).await.iter().all(|key| !key.starts_with(KEY)));
        lock.close().await;
    }
}

#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_server_without_space_for_a_verdict_has_the_lock_back_all_the_same() {
    let cluster = EtcdCluster::start(1);
    let verdict = Verdict::new(ErrorKind::NotFound, "not found").expect("it lasts");
    let mut server = client(&cluster.endpoints()).await;
    // Without a lease for verdicts, and with one.
    for has_lease in [false, true] {
        let (lock, other) = (open(&cluster.endpoints()), open(&cluster.endpoints()));
        if has_lease {
            assert!(is_granted(&lock, "a").await);
            assert_eq!(lock.settle(&claim("a"), &verdict).await, Ok(true));
        }
        assert!(is_granted(&lock, "a").await);
        let Ok(Acquired::Held(Held { since: Some(since), .. })) = other.acquire(&claim("b")).await
        else {
            panic!("not held")
        };
        server.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.expect("an answer");
        assert_eq!(lock.settle(&claim("a"), &verdict).await, Ok(true), "lease: {has_lease}");
        server.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.expect("an answer");
        let asked = other.ask_again(&claim("b"), since).await;
        assert!(matches!(asked, Ok(Acquired::Granted { .. })), "nothing was found: {asked:?}");
        assert_eq!(other.release(&claim("b")).await, Ok(true));
        lock.close().await;
        other.close().await;
    }
}

/// What the service says as soon as it says something, within 10 s.
async fn answered<T, F>(what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, LockError>>,
{
    let began = std::time::Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn open_with(cluster: &EtcdCluster, lease_secs: u64) -> EtcdLock {
    let endpoints = cluster.endpoints().split(',').map(UrlText::new).collect();
    let members = Members::of(&Keys { endpoints: Endpoints(endpoints) }).expect("addresses");
    EtcdLock::open(members, Duration::from_secs(lease_secs))
}
