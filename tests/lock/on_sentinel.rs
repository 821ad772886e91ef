//! `SingleFlightType = "redis-sentinel"`: the suite behind one sentinel, and a failover among three.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon::config::{LockConfig, RedisSentinelLock as Keys, Secret};
use dipylon::lock::redis::{RedisLock, Servers};
use dipylon_middleware::ports::{Acquired, Lock, LockClaim};
use dipylon_testkit::lock_suite::Subject;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::redis::PASSWORD;
use dipylon_testkit::services::sentinel::{MASTER, SENTINEL_PASSWORD, Sentinels};
use dipylon_testkit::upstream::{Fault, When};

use crate::cases::holder;
use crate::fleet::{Fleet, assert_whole, until};
use crate::on_redis::command;

const LEASE: Duration = Duration::from_secs(2);

dipylon_testkit::lock_suite!(subject, "needs the redis program: run by cargo xtask test");

async fn subject() -> Subject {
    let sentinels = Sentinels::start(1);
    let endpoints = sentinels.endpoints();
    let (looked, evicted) = (sentinels.first_url(), sentinels.first_url());
    Subject::new(LEASE, move || Arc::new(open(&endpoints, SENTINEL_PASSWORD)))
        .looking(move |_| {
            let url = looked.clone();
            Box::pin(async move { command(&url, &["KEYS", "*"]).await })
        })
        .evicting(move |key| {
            let url = evicted.clone();
            Box::pin(async move {
                let deleted: i64 = command(&url, &["DEL", &key]).await;
                assert_eq!(deleted, 1, "{key}");
            })
        })
        .keep(sentinels)
}

/// A replica.
fn open(endpoints: &[String], sentinel_password: &str) -> RedisLock {
    let keys = Keys {
        endpoints: endpoints.to_vec(),
        master_name: MASTER.to_owned(),
        sentinel_password: Secret::new(sentinel_password),
        redis_username: String::new(),
        redis_password: Secret::new(PASSWORD),
        db: 0,
        lock_config: LockConfig { ttl: LEASE, timeout: LEASE, max_retries: 1 },
    };
    let servers = Servers::behind_sentinels(&keys).expect("addresses");
    RedisLock::open("redis-sentinel", servers, LEASE)
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_wrong_password_of_the_sentinels_is_an_error_that_does_not_show_it() {
    let sentinels = Sentinels::start(1);
    let error = open(&sentinels.endpoints(), "swordfish").check().await.unwrap_err();
    assert!(!error.to_string().contains("swordfish"), "{error}");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_sentinel_that_is_not_there_is_passed_over() {
    let sentinels = Sentinels::start(1);
    let mut endpoints = vec!["127.0.0.1:1".to_owned()];
    endpoints.extend(sentinels.endpoints());
    assert_eq!(open(&endpoints, SENTINEL_PASSWORD).check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn after_a_failover_the_new_leader_is_asked() {
    let mut sentinels = Sentinels::start(3);
    let lock = open(&sentinels.endpoints(), SENTINEL_PASSWORD);
    let claim = LockClaim { key: "example.com/m@v1.0.0".into(), owner: "a".into() };
    assert!(matches!(lock.acquire(&claim).await, Ok(Acquired::Granted { .. })));
    assert_eq!(lock.release(&claim).await, Ok(true));
    sentinels.kill_leader();
    let killed = Instant::now();
    while !matches!(lock.acquire(&claim).await, Ok(Acquired::Granted { .. })) {
        assert!(killed.elapsed() < Duration::from_secs(30), "no new leader is found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("granted by the new leader {:?} after the old one was killed", killed.elapsed());
    let keys: Vec<String> = command(&sentinels.replica_url(), &["KEYS", "*"]).await;
    assert_eq!(keys, ["example.com/m@v1.0.0"]);
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_failover_during_a_hold_costs_at_most_one_more_fetch() {
    let mut sentinels = Sentinels::start(3);
    let endpoints = sentinels.endpoints().join(",");
    let fleet = Fleet::start(&[
        ("ATHENS_SINGLE_FLIGHT_TYPE", "redis-sentinel"),
        ("ATHENS_REDIS_SENTINEL_ENDPOINTS", &endpoints),
        ("ATHENS_REDIS_SENTINEL_MASTER_NAME", MASTER),
        ("ATHENS_REDIS_SENTINEL_PASSWORD", SENTINEL_PASSWORD),
        ("ATHENS_REDIS_PASSWORD", PASSWORD),
    ])
    .await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.0.0").filler(1_000_000));
    fleet.upstream.fault(When::suffix(".zip"), Fault::Delay(Duration::from_secs(8)));
    let (asking, killing) = (fleet.ask_all(&module, 3), async {
        holder(&fleet).await;
        sentinels.kill_leader();
    });
    let (answers, ()) = futures::join!(asking, killing);
    assert_whole(&answers, &module.zip());
    let fetches = fleet.fetches(&module);
    println!("{fetches} fetches with a failover during the hold");
    assert!(fetches <= 2, "{fetches}");
    let used = async || fleet.sum("dipylon_lock_degraded", &[]).await == 0.0;
    until("all use the new leader", used).await;
    fleet.assert_at_rest().await;
}
