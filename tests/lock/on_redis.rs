//! `SingleFlightType = "redis"` on a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon::config::{LockConfig, RedisLock as Keys, Secret, UrlText};
use dipylon::lock::redis::{RedisLock, Servers};
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::{Acquired, Lock, LockClaim, Moment, Verdict};
use dipylon_testkit::lock_suite::Subject;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use futures::future::join_all;

use crate::fleet::{Fleet, assert_whole, zip};

const LEASE: Duration = Duration::from_secs(2);

dipylon_testkit::lock_suite!(subject, "needs the redis program: run by cargo xtask test");

async fn subject() -> Subject {
    let server = RedisServer::start();
    let (opened, looked, evicted) = (server.url(), server.url(), server.url());
    Subject::new(LEASE, move || Arc::new(open(&opened, "")))
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
        .keep(server)
}

/// A replica.
fn open(endpoint: &str, password: &str) -> RedisLock {
    open_as(endpoint, password, false)
}

fn open_as(endpoint: &str, password: &str, cluster: bool) -> RedisLock {
    let lock_config = LockConfig { ttl: LEASE, timeout: LEASE, max_retries: 1 };
    let (endpoint, password) = (UrlText::new(endpoint), Secret::new(password));
    let keys = Keys { endpoint, password, cluster, lock_config };
    RedisLock::open("redis", Servers::of(&keys).expect("an address"), LEASE)
}

/// Asks the server past the adapter.
pub(crate) async fn command<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> T {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(&mut connection).await.expect("an answer")
}

fn claim(owner: &str) -> LockClaim {
    LockClaim { key: "example.com/m@v1.0.0".into(), owner: owner.into() }
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_password_of_its_own_key_is_used() {
    let server = RedisServer::start();
    let lock = open(&server.address().to_string(), PASSWORD);
    assert_eq!(lock.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_wrong_password_is_an_error_that_does_not_show_it() {
    let server = RedisServer::start();
    let error = open(&server.address().to_string(), "swordfish").check().await.unwrap_err();
    assert!(!error.to_string().contains("swordfish"), "{error}");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_lock_of_athens_is_respected_and_left_alone() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    // What the library of Athens sets: its token, with its own 900 seconds.
    let athens = ["SET", "example.com/m@v1.0.0", "wGiIkFxL8cvOCr_JdHwNTA", "NX", "PX", "900000"];
    let set: String = command(&server.url(), &athens).await;
    assert_eq!(set, "OK");
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Held(_))));
    assert_eq!(lock.release(&claim("ours")).await, Ok(false));
    let left: i64 = command(&server.url(), &["PTTL", "example.com/m@v1.0.0"]).await;
    assert!(left > 890_000, "{left}");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn athens_finds_our_lock_under_its_own_key() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    let athens = ["SET", "example.com/m@v1.0.0", "token", "NX", "PX", "900000"];
    let set: Option<String> = command(&server.url(), &athens).await;
    assert_eq!(set, None);
}

fn verdict() -> Verdict {
    Verdict::new(ErrorKind::NotFound, "example.com/m@v1.0.0: not found").expect("it lasts")
}

/// When another was seen to have the lock.
async fn seen_held(lock: &RedisLock, claim: &LockClaim) -> Moment {
    match lock.acquire(claim).await {
        Ok(Acquired::Held(held)) => held.since.expect("a moment"),
        other => panic!("not held: {other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_verdict_is_in_no_way_of_athens() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    assert_eq!(lock.settle(&claim("ours"), &verdict()).await, Ok(true));
    let keys: Vec<String> = command(&server.url(), &["KEYS", "*"]).await;
    assert_eq!(keys, ["dipylon:found:{example.com/m@v1.0.0}"]);
    let athens = ["SET", "example.com/m@v1.0.0", "token", "NX", "PX", "900000"];
    let set: String = command(&server.url(), &athens).await;
    assert_eq!(set, "OK", "its own key is free");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_user_who_may_touch_the_locks_alone_locks_and_leaves_no_verdict() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "athens", "on", ">pw", "~example.com/*", "&*", "+@all"];
    let _: String = command(&server.url(), &rules).await;
    let lock = open(&format!("redis://athens:pw@{}", server.address()), "");
    assert!(matches!(lock.acquire(&claim("a")).await, Ok(Acquired::Granted { .. })));
    let since = seen_held(&lock, &claim("b")).await;
    assert_eq!(lock.settle(&claim("a"), &verdict()).await, Ok(true));
    // Nor may it read one that is there.
    let name = "dipylon:found:{example.com/m@v1.0.0}";
    let _: String = command(&server.url(), &["SET", name, "9999999999999999 {}"]).await;
    let asked = lock.ask_again(&claim("b"), since).await;
    assert!(matches!(asked, Ok(Acquired::Granted { .. })), "{asked:?}");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn what_is_no_verdict_of_ours_is_passed_over() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert!(matches!(lock.acquire(&claim("a")).await, Ok(Acquired::Granted { .. })));
    let since = seen_held(&lock, &claim("b")).await;
    assert_eq!(lock.release(&claim("a")).await, Ok(true));
    let name = "dipylon:found:{example.com/m@v1.0.0}";
    for text in ["", "9999999999999999", "9999999999999999 {}", "of another kind"] {
        let _: String = command(&server.url(), &["SET", name, text]).await;
        let asked = lock.ask_again(&claim("b"), since).await;
        assert!(matches!(asked, Ok(Acquired::Granted { .. })), "{text}: {asked:?}");
        assert_eq!(lock.release(&claim("b")).await, Ok(true));
    }
    let _: i64 = command(&server.url(), &["DEL", name]).await;
    let _: i64 = command(&server.url(), &["LPUSH", name, "a list"]).await;
    let asked = lock.ask_again(&claim("b"), since).await;
    assert!(matches!(asked, Ok(Acquired::Granted { .. })), "{asked:?}");
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_server_that_comes_back_is_used_again() {
    let mut server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert_eq!(lock.check().await, Ok(()));
    server.stop();
    assert!(lock.check().await.is_err());
    server.restart();
    assert_eq!(lock.check().await, Ok(()));
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_server_that_is_not_there_at_the_start_is_used_when_it_is() {
    let mut server = RedisServer::start();
    server.stop();
    let lock = open(&server.url(), "");
    assert!(lock.check().await.is_err());
    server.restart();
    assert_eq!(lock.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_server_that_is_full_says_so_and_works_when_there_is_room() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    let _: String = command(&server.url(), &["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = lock.acquire(&claim("ours")).await.expect_err("no memory is left").to_string();
    assert!(error.contains("OOM"), "{error}");
    assert!(lock.check().await.is_err(), "a ping would not notice");
    let _: String = command(&server.url(), &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(lock.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_verdict_that_cannot_be_left_keeps_no_lock() {
    let server = RedisServer::start();
    let admin = server.url();
    let all = ["ACL", "SETUSER", "athens", "on", ">pw", "~example.com/*", "&*", "+@all"];
    let _: String = command(&admin, &all).await;
    let limited = open(&format!("redis://athens:pw@{}", server.address()), "");
    let full = open(&admin, "");
    for (lock, memory) in [(limited, "0"), (full, "1")] {
        assert!(matches!(lock.acquire(&claim("a")).await, Ok(Acquired::Granted { .. })));
        let since = seen_held(&lock, &claim("b")).await;
        let _: String = command(&admin, &["CONFIG", "SET", "maxmemory", memory]).await;
        assert_eq!(lock.settle(&claim("a"), &verdict()).await, Ok(true), "{memory}");
        let _: String = command(&admin, &["CONFIG", "SET", "maxmemory", "0"]).await;
        let left: Vec<String> = command(&admin, &["KEYS", "example.com*"]).await;
        assert_eq!(left, Vec::<String>::new(), "{memory}");
        if memory == "0" {
            let asked = lock.ask_again(&claim("b"), since).await;
            assert!(matches!(asked, Ok(Acquired::Granted { .. })), "{asked:?}");
            assert_eq!(lock.release(&claim("b")).await, Ok(true));
        }
    }
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_frozen_server_is_an_error_within_two_seconds_and_used_again_when_it_thaws() {
    let mut server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert_eq!(lock.check().await, Ok(()));
    server.freeze();
    let began = Instant::now();
    assert!(lock.check().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.thaw();
    assert_eq!(lock.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_user_without_the_right_to_publish_still_locks_and_releases() {
    let server = RedisServer::start();
    let rules = [
        "ACL",
        "SETUSER",
        "athens",
        "on",
        ">pw",
        "~*",
        "resetchannels",
        "-@all",
        "+eval",
        "+evalsha",
        "+script|load",
        "+get",
        "+set",
        "+del",
        "+pexpire",
        "+pttl",
        "+time",
    ];
    let _: String = command(&server.url(), &rules).await;
    let lock = open(&format!("redis://athens:pw@{}", server.address()), "");
    assert!(matches!(lock.acquire(&claim("ours")).await, Ok(Acquired::Granted { .. })));
    assert_eq!(lock.release(&claim("ours")).await, Ok(true));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn revoked_rights_are_an_error_until_they_are_given_back() {
    let server = RedisServer::start();
    let _: String =
        command(&server.url(), &["ACL", "SETUSER", "athens", "on", ">pw", "~*", "&*", "+@all"])
            .await;
    let lock = open(&format!("redis://athens:pw@{}", server.address()), "");
    assert_eq!(lock.check().await, Ok(()));
    let _: String = command(&server.url(), &["ACL", "SETUSER", "athens", "-@all"]).await;
    assert!(lock.check().await.is_err());
    let _: String = command(&server.url(), &["ACL", "SETUSER", "athens", "+@all"]).await;
    assert_eq!(lock.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_cluster_is_used_like_a_server() {
    let node = RedisServer::node();
    let slots = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
    let _: String = command(&node.url(), &slots).await;
    let endpoints = format!("{}, 127.0.0.1:1", node.url());
    let (lock, other) = (open_as(&endpoints, "", true), open_as(&endpoints, "", true));
    let began = Instant::now();
    while lock.check().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "the cluster does not begin to work");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for number in 0..20 {
        let key = format!("example.com/m{number}@v1.0.0");
        let claim = |owner: &str| LockClaim { key: key.as_str().into(), owner: owner.into() };
        let (one, two) = (claim("a"), claim("b"));
        assert!(matches!(lock.acquire(&one).await, Ok(Acquired::Granted { .. })));
        let Ok(Acquired::Held(held)) = other.acquire(&two).await else { panic!("not held") };
        assert_eq!(lock.renew(&one).await, Ok(true));
        assert_eq!(lock.release(&one).await, Ok(true));
        let woken = tokio::time::timeout(Duration::from_secs(5), held.released).await;
        woken.expect("a wake in time");
        // The verdict lies in the slot of its lock.
        assert!(matches!(lock.acquire(&one).await, Ok(Acquired::Granted { .. })));
        let since = seen_held(&other, &two).await;
        assert_eq!(lock.settle(&one, &verdict()).await, Ok(true));
        let told = other.ask_again(&two, since).await;
        assert!(matches!(&told, Ok(Acquired::Settled(found)) if *found == verdict()), "{told:?}");
        let deleted: i64 =
            command(&node.url(), &["DEL", &format!("dipylon:found:{{{key}}}")]).await;
        assert_eq!(deleted, 1);
    }
    let keys: Vec<String> = command(&node.url(), &["KEYS", "*"]).await;
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn what_stops_waiting_is_forgotten() {
    let server = RedisServer::start();
    let lock = open(&server.url(), "");
    assert!(matches!(lock.acquire(&claim("a")).await, Ok(Acquired::Granted { .. })));
    let Ok(Acquired::Held(held)) = lock.acquire(&claim("b")).await else { panic!("not held") };
    assert_eq!(lock.waiting(), 1);
    drop(held);
    assert_eq!(lock.waiting(), 0);
}

/// Scripts that the server has run: each question about a lock is one.
async fn questions(server: &RedisServer) -> u64 {
    let stats: String = command(&server.url(), &["INFO", "commandstats"]).await;
    let calls = stats.lines().filter_map(|line| {
        let (command, rest) = line.strip_prefix("cmdstat_eval")?.split_once(":calls=")?;
        assert!(matches!(command, "" | "sha"), "{line}");
        rest.split(',').next()?.parse::<u64>().ok()
    });
    calls.sum()
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_hundred_who_wait_in_one_replica_ask_the_server_as_one() {
    let server = RedisServer::start();
    let url = server.url();
    let fleet = Fleet::start(&[
        ("ATHENS_SINGLE_FLIGHT_TYPE", "redis"),
        ("ATHENS_REDIS_ENDPOINT", &url),
        // All of them are let in.
        ("ATHENS_PROTOCOL_WORKERS", "200"),
    ])
    .await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.0.0"));
    // Another program has the lock, and tells nobody when it gives it back.
    let held = Duration::from_secs(5);
    let key = format!("{}@{}", module.path(), module.version());
    let millis = held.as_millis().to_string();
    let set: String = command(&url, &["SET", &key, "another program", "PX", &millis]).await;
    assert_eq!(set, "OK");
    let (client, path) = (fleet.gateways[0].client(), zip(&module));
    let asking = join_all((0..100).map(|_| client.get(&path)));
    let watching = async {
        tokio::time::sleep(held / 5).await;
        let (before, began) = (questions(&server).await, Instant::now());
        assert_eq!(fleet.sum("dipylon_lock_waiting", &[]).await, 1.0, "one waits for all");
        tokio::time::sleep(held * 3 / 5).await;
        // A question each 188 to 250 ms.
        let asked = questions(&server).await - before;
        let seconds = began.elapsed().as_secs_f64();
        assert!(asked as f64 <= seconds / 0.1875 + 1.0, "{asked} questions in {seconds} s");
        assert!(asked >= 5, "{asked} questions in {seconds} s");
    };
    let (answers, ()) = futures::join!(asking, watching);
    assert_whole(&answers, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    fleet.assert_at_rest().await;
}

#[tokio::test]
#[ignore = "needs the redis program: run by cargo xtask test"]
async fn a_server_that_speaks_tls_is_used_where_its_authority_is_trusted_and_nowhere_else() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let server = RedisServer::with_tls(&made.cert.pem(), &made.signing_key.serialize_pem());
    let url = format!("rediss://:{PASSWORD}@localhost:{}", server.address().port());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, made.cert.pem()).expect("a file");
    let authority = authority.display().to_string();
    let lock = [("ATHENS_SINGLE_FLIGHT_TYPE", "redis"), ("ATHENS_REDIS_ENDPOINT", url.as_str())];
    for trusted in [true, false] {
        let mut variables = lock.to_vec();
        if trusted {
            variables.push(("SSL_CERT_FILE", &authority));
        }
        let fleet = Fleet::start(&variables).await;
        let module = fleet.add(FakeModule::new("example.com/lib", "v1.0.0"));
        assert_whole(&fleet.ask_all(&module, 5).await, &module.zip());
        let degraded = fleet.sum("dipylon_lock_degraded", &[]).await;
        if trusted {
            assert_eq!((fleet.fetches(&module), degraded), (1, 0.0));
            fleet.assert_at_rest().await;
        } else {
            assert!(degraded >= 1.0, "nobody is asked who cannot be known: {degraded}");
        }
    }
}
