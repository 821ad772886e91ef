//! A load under which every panel has something to show: hits, misses, refusals, and every fault that a
//! panel or an alert watches.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_middleware::breaker::state::{STORAGE_FAILURES_TO_OPEN, UPSTREAM_FAILURES_TO_OPEN};
use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::redis::RedisServer;
use dipylon_testkit::upstream::{Fault, When};

use crate::store::{LOOP, Store};
use crate::world::{LIB, REFUSED, World};

/// Background fetches that may wait (`QueueMaxEntries`), and some.
pub(crate) const FLOOD_REQUESTS: usize = 10_000 + 200;
/// Requests of the client that is greedy: three times what it may send at once.
const GREEDY_REQUESTS: usize = 600;
/// Requests written at once: what a socket takes in before the answers are read.
const FLOOD_CHUNK: usize = 400;
/// The longest that a lock, an upstream, the store or the near disk may take to get into trouble, or out of it.
const TROUBLE_MAX: Duration = Duration::from_secs(20);
/// The pause between two looks at it.
const TROUBLE_PAUSE: Duration = Duration::from_millis(50);
/// For as long a gauge is left as it is, so that a scrape sees it: one and a half times their interval.
const SCRAPED: Duration = Duration::from_millis(750);
const ENDED: &str = "dipylon_http_server_requests_total";
const LOST: &str = "dipylon_lock_lost_total";
const DEGRADED: &str = "dipylon_lock_degraded";
const OPEN: &str = "dipylon_upstream_breakers_open";
const HOSTS_PAUSED: &str = "dipylon_upstream_hosts_paused";
const PACED: &str = "dipylon_upstream_paced_total";
const STORE_LEFT_ALONE: &str = "dipylon_storage_breaker_open";
const FAR_FAILS: &str = "dipylon_tier_far_failing";
const PAUSED: &str = "dipylon_tier_paused";
const ASKED: &str = "dipylon_lock_operations_total";
const RENEWED: [(&str, &str); 2] = [("operation", "renew"), ("result", "done")];

pub(crate) fn path(module: &FakeModule, kind: &str) -> String {
    format!("/{}/@v/{}.{kind}", module.path(), module.version())
}

fn status(code: u16) -> Fault {
    Fault::Status(code, "text/plain", Bytes::from_static(b"as upstream says\n"))
}

/// A module that upstream has, of this round only.
pub(crate) fn fresh(world: &World, name: &str, round: usize) -> FakeModule {
    let version = format!("v1.{round}.0");
    let module = FakeModule::new(&format!("example.com/{name}"), &version).filler(20_000);
    world.upstream.add(module.clone());
    module
}

/// One round on the gateway that is used.
pub(crate) async fn round(world: &World, locks: &mut RedisServer, store: &mut Store, round: usize) {
    let get = async |path: &str| world.gateway.get(path).await.status.as_u16();
    if round == 0 {
        breaker(world).await;
        pause(world).await;
    }
    let lib = FakeModule::new(LIB, "v1.0.0");
    for kind in ["info", "mod", "zip", "zip"] {
        assert_eq!(get(&path(&lib, kind)).await, 200, "{kind}");
    }
    for page in
        ["/healthz", "/readyz", "/catalog", "/index", "/nothing", "/example.com/Bad/@v/list"]
    {
        get(page).await;
    }
    get(&format!("/sumdb/{}/supported", world.database.name())).await;
    assert_eq!(get(&format!("/{REFUSED}/@v/list")).await, 403);
    // A major version of LIB that its path allows: of another one upstream is not even asked.
    for outcome in ["upstream_not_found", "negative"] {
        let before = count(world, ENDED, &[("outcome", outcome)]).await;
        assert_eq!(get(&format!("/{LIB}/@v/v1.9.{round}.info")).await, 404);
        assert!(count(world, ENDED, &[("outcome", outcome)]).await > before, "{outcome}");
    }
    assert_eq!(get(&format!("/{LOOP}/@v/v1.{round}.0.zip")).await, 500);
    greed(world).await;
    lists(world, round).await;
    misses(world, store, round).await;
    failures(world, round).await;
    outage(world, locks, round).await;
    if round == 0 {
        near(world).await;
    }
    // Late in the round, so that it is within the range of a rate at its end.
    let behind = fresh(world, "background/well", round);
    assert_eq!(get(&path(&behind, "zip")).await, 404, "it is fetched behind the answer");
    without_a_store(world, store, round).await;
}

/// Upstream fails so often in a row that it is left alone for a while. Then it is well.
async fn breaker(world: &World) {
    let broken = "/example.com/broken/";
    world.upstream.fault(When::prefix(broken), status(500));
    for number in 0..2 * UPSTREAM_FAILURES_TO_OPEN {
        let answer = world.gateway.get(&format!("{broken}@v/v1.{number}.0.info")).await;
        assert!(answer.status.is_server_error(), "{}", answer.status);
    }
    assert_eq!(count(world, OPEN, &[]).await, 1.0, "a breaker is open");
    tokio::time::sleep(SCRAPED).await;
    let well = path(&fresh(world, "well", 0), "info");
    until("upstream is asked again", async || world.gateway.get(&well).await.status == 200).await;
    assert_eq!(count(world, OPEN, &[]).await, 0.0, "the breaker is closed");
}

/// Upstream wants to be left alone for longer than anybody waits: who asks meanwhile is refused, who asks near
/// the end waits.
async fn pause(world: &World) {
    let hurried = path(&fresh(world, "hurried", 0), "info");
    world.upstream.fault(When::path(&hurried).times(1), Fault::RetryAfter(429, 7));
    let client = world.gateway.client();
    let first = tokio::spawn(async move { client.get(&hurried).await.status });
    until("upstream is left alone", async || count(world, HOSTS_PAUSED, &[]).await == 1.0).await;
    let late = path(&fresh(world, "late", 0), "info");
    assert_eq!(world.gateway.get(&late).await.status, 503);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.gateway.get(&late).await.status, 200, "it waits");
    // Longer than anybody waits, and so it is told at once.
    assert_eq!(first.await.expect("the request is not aborted"), 429);
    for result in ["waited", "refused"] {
        assert_eq!(count(world, PACED, &[("result", result)]).await, 1.0, "{result}");
    }
    until("it is asked again", async || count(world, HOSTS_PAUSED, &[]).await == 0.0).await;
}

/// The near disk fails a copy, and is left alone for a while.
async fn near(world: &World) {
    let kept = fresh(world, "kept", 0);
    world.take_near(true);
    assert_eq!(world.gateway.get(&path(&kept, "zip")).await.status, 200);
    until("the near disk is left alone", async || count(world, PAUSED, &[]).await == 1.0).await;
    world.take_near(false);
}

/// Nobody listens where the store was: it is left alone, and upstream answers. Then it is back.
async fn without_a_store(world: &World, store: &mut Store, round: usize) {
    store.stop().await;
    for number in 0..STORAGE_FAILURES_TO_OPEN {
        let module = fresh(world, &format!("homeless{number}"), round);
        assert_eq!(world.gateway.get(&path(&module, "zip")).await.status, 200);
    }
    for gauge in [STORE_LEFT_ALONE, FAR_FAILS] {
        assert_eq!(count(world, gauge, &[]).await, 1.0, "{gauge}");
    }
    tokio::time::sleep(SCRAPED).await;
    store.restart().await;
    let number = AtomicUsize::new(0);
    until("the store is asked again", async || {
        let name = format!("housed{}", number.fetch_add(1, Ordering::Relaxed));
        let module = fresh(world, &name, round);
        assert_eq!(world.gateway.get(&path(&module, "info")).await.status, 200);
        let gauges = [STORE_LEFT_ALONE, FAR_FAILS].map(|gauge| count(world, gauge, &[]));
        futures::future::join_all(gauges).await == [0.0, 0.0]
    })
    .await;
}

/// A client of its own that sends more than one may.
async fn greed(world: &World) {
    let request = |number: usize| {
        let end = if number == GREEDY_REQUESTS { "Connection: close\r\n" } else { "" };
        format!("GET /version HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n{end}\r\n")
    };
    let text: String = (1..=GREEDY_REQUESTS).map(request).collect();
    let answers = raw_get(world.gateway.address(), &text).await;
    assert!(answers.contains("HTTP/1.1 429 "), "some are refused");
}

/// Lists: one whose upstream is well, one whose upstream has failed since the first round.
async fn lists(world: &World, round: usize) {
    let (well, ill) = (format!("/{LIB}/@v/list"), "/example.com/ill/@v/list");
    if round == 0 {
        world.upstream.add(FakeModule::new("example.com/ill", "v1.0.0"));
    }
    for path in [well.as_str(), &format!("/{LIB}/@latest"), ill] {
        assert_eq!(world.gateway.get(path).await.status, 200, "{path}");
    }
    if round == 0 {
        world.upstream.fault(When::path(ill), status(500));
    }
    // Older than fresh, and not yet too old to be served at once.
    tokio::time::sleep(Duration::from_millis(1_400)).await;
    assert_eq!(world.gateway.get(&well).await.status, 200);
}

/// One leader with followers, a client that leaves, and a race for the store that is lost.
async fn misses(world: &World, store: &Store, round: usize) {
    let slow = Fault::Delay(Duration::from_millis(600));
    let many = fresh(world, "many", round);
    world.upstream.fault(When::path(&path(&many, "info")), slow.clone());
    let client = world.gateway.client();
    let zip = path(&many, "zip");
    let all = (0..4).map(|_| client.get(&zip));
    assert!(futures::future::join_all(all).await.iter().all(|answer| answer.status == 200));

    let left = fresh(world, "left", round);
    world.upstream.fault(When::prefix(&path(&left, "")), slow.clone());
    let (client, zip) = (world.gateway.client(), path(&left, "zip"));
    let leaves = tokio::spawn(async move { client.get(&zip).await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    leaves.abort();

    let raced = fresh(world, "raced", round);
    world.upstream.fault(When::path(&path(&raced, "zip")), slow);
    let (client, zip) = (world.gateway.client(), path(&raced, "zip"));
    let racing = tokio::spawn(async move { client.get(&zip).await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.lay(&FakeModule::new(raced.path(), raced.version()).filler(30_000));
    assert_eq!(racing.await.expect("the request is not aborted"), 200);
}

/// Upstream and the checksum database in trouble; never ten times in a row, so no breaker opens.
async fn failures(world: &World, round: usize) {
    let get = async |path: &str| world.gateway.get(path).await.status.as_u16();
    let faults = [
        ("failing", status(500), 502),
        ("throttled", status(429), 429),
        ("silent", Fault::HangBeforeHeaders, 504),
        ("login", Fault::HtmlLogin, 502),
        ("forbidden", status(403), 403),
    ];
    for (name, fault, want) in faults {
        let module = fresh(world, name, round);
        world.upstream.fault(When::path(&path(&module, "info")), fault);
        assert_eq!(get(&path(&module, "info")).await, want, "{name}");
    }
    let lied = fresh(world, "lied", round);
    world.database.lie(
        lied.path(),
        lied.version(),
        &FakeModule::new("example.com/x", "v1.0.0").h1(),
    );
    assert_eq!(get(&path(&lied, "zip")).await, 403);
    world.database.down(true);
    let unknown = fresh(world, "unknown", round);
    assert_eq!(get(&path(&unknown, "zip")).await, 503);
    world.database.down(false);
}

/// The lock service dies while a lock is held: that one is lost, a miss goes on without, and both are
/// answered. Then it is back.
async fn outage(world: &World, locks: &mut RedisServer, round: usize) {
    let (held, without) = (fresh(world, "held", round), fresh(world, "without", round));
    let slow = Fault::Trickle { bytes_per_tick: 1_000, tick: Duration::from_millis(200) };
    world.upstream.fault(When::path(&path(&held, "zip")), slow);
    let lost = count(world, LOST, &[]).await;
    let renewed = count(world, ASKED, &RENEWED).await;
    let (client, zip) = (world.gateway.client(), path(&held, "zip"));
    let holding = tokio::spawn(async move { client.get(&zip).await.status });
    until("a lock is renewed", async || count(world, ASKED, &RENEWED).await > renewed).await;

    locks.stop();
    assert_eq!(world.gateway.get(&path(&without, "zip")).await.status, 200);
    assert_eq!(count(world, DEGRADED, &[]).await, 1.0, "the lock service counts as down");
    locks.restart();
    assert_eq!(holding.await.expect("the request is not aborted"), 200);
    until("a lock is lost", async || count(world, LOST, &[]).await > lost).await;
    until("locks are used again", async || count(world, DEGRADED, &[]).await == 0.0).await;
}

/// The sum of a metric's series that have these labels.
pub(crate) async fn count(world: &World, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = world.gateway.metrics().await;
    let question = metrics.metric(metric);
    labels.iter().fold(question, |question, (name, value)| question.label(name, value)).sum()
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < TROUBLE_MAX, "in {TROUBLE_MAX:?} not yet: {what}");
        tokio::time::sleep(TROUBLE_PAUSE).await;
    }
}

/// More background fetches than may wait, while upstream is silent.
pub(crate) async fn flood(world: &World) {
    // For what is in the store before, clients are sent there from then on.
    let stored = path(&FakeModule::new(LIB, "v1.0.0"), "zip");
    until("a zip is in the store", async || world.gateway.get(&stored).await.status == 302).await;
    world.upstream.fault(When::prefix("/example.com/"), Fault::HangBeforeHeaders);
    let address = world.gateway.address();
    for first in (0..FLOOD_REQUESTS).step_by(FLOOD_CHUNK) {
        let last = (first + FLOOD_CHUNK).min(FLOOD_REQUESTS) - 1;
        let request = |number: usize| {
            let end = if number == last { "Connection: close\r\n" } else { "" };
            format!(
                "GET /example.com/background/m{number}/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n{end}\r\n"
            )
        };
        let text: String = (first..=last).map(request).collect();
        let answers = raw_get(address, &text).await;
        assert_eq!(answers.matches("HTTP/1.1 404 ").count(), last + 1 - first);
    }
}

/// A zip for which the client is sent to the store, a list that is late and asked for twice, a miss that finds no
/// place, connections beyond the limit, and a download-mode file with a mistake.
pub(crate) async fn overload(world: &World, round: usize) {
    // Two rounds each, so that it comes to rest and is seen.
    world.spoil_modes(round % 4 < 2);
    let client = world.gateway.client();
    let stored = path(&FakeModule::new(LIB, "v1.0.0"), "zip");
    assert_eq!(client.get(&stored).await.status, 302);
    let late = FakeModule::new(&format!("example.org/late{round}"), "v1.0.0");
    let list = format!("/{}/@v/list", late.path());
    world.upstream.add(late);
    world.upstream.fault(When::path(&list), Fault::Delay(Duration::from_millis(600)));
    assert_eq!(client.get(&list).await.status, 200);
    let zips = (0..3).map(|n| format!("/example.com/wanted{n}/@v/v1.{round}.0.zip"));
    let waiting: Vec<_> = zips
        .map(|zip| {
            let client = client.clone();
            tokio::spawn(async move { client.get(&zip).await.status })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    let idle: Vec<_> = (0..12).map(|_| TcpStream::connect(world.gateway.address())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(idle);
}
