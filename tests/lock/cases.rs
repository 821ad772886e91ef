//! What three whole gateways do on any lock service, and what becomes of them when it goes.

use std::time::{Duration, Instant};

use dipylon_middleware::ports::VERDICT_LIFE;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, When};
use futures::future::join_all;
use rustix::process::Signal;

use crate::fleet::{Fleet, REPLICAS, assert_whole, until, zip};
use crate::service::{LAPSED, Service};

/// Clients of each gateway that want the same version.
const CLIENTS: usize = 40;
/// Cold versions that are wanted at once.
const VERSIONS: usize = 30;
/// After that a gateway knows that it is to stop.
const TOLD: Duration = Duration::from_millis(500);
/// How many waits ended so.
const WAITED: &str = "dipylon_lock_wait_duration_seconds_count";
/// Commits that others wait for.
const COMMITS: usize = 20;
/// What the median may take, in seconds, until waiters that poll have seen one.
const SEEN_AFTER: f64 = 0.3;
/// Holders that are killed at once, each in a fleet of its own: all wait for the same lease.
const KILLS: usize = 3;

pub(crate) async fn start(service: &Service, more: &[(&str, &str)]) -> Fleet {
    let ours = service.variables();
    let mut variables: Vec<(&str, &str)> =
        ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend(more);
    Fleet::start(&variables).await
}

fn module() -> FakeModule {
    FakeModule::new("example.com/lib", "v1.2.3").filler(3_000_000)
}

/// Whose replica is fetching: the one that holds a lock.
pub(crate) async fn holder(fleet: &Fleet) -> usize {
    for _ in 0..500 {
        for (number, gateway) in fleet.gateways.iter().enumerate() {
            if gateway.metrics().await.metric("dipylon_lock_held").sum() == 1.0 {
                return number;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody holds a lock")
}

pub(crate) async fn many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key(
    service: Service,
) {
    let fleet = start(&service, &[]).await;
    let module = fleet.add(module());
    fleet.upstream.fault(When::suffix(".zip"), Fault::Delay(Duration::from_millis(300)));
    let answers = fleet.ask_all(&module, CLIENTS).await;
    assert_whole(&answers, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    fleet.assert_at_rest().await;
    service.assert_empty().await;
    // Clients beyond `ProtocolWorkers` may come to the lock late, get it, and find the version stored.
    let done = async |operation| {
        let labels = [("operation", operation), ("result", "done")];
        fleet.sum("dipylon_lock_operations_total", &labels).await
    };
    // What was not answered is given back behind the answer, and more than once.
    if fleet.sum("dipylon_lock_operations_total", &[("result", "failed")]).await > 0.0 {
        fleet.settled().await;
    } else {
        let given_back = async || done("acquire").await == done("release").await;
        until("each lock that was granted is given back", given_back).await;
    }
    let asked = fleet.sum("dipylon_lock_operations_total", &[]).await;
    assert_whole(&fleet.ask_all(&module, CLIENTS).await, &module.zip());
    assert_eq!(fleet.sum("dipylon_lock_operations_total", &[]).await, asked, "a hit asks nothing");
}

pub(crate) async fn many_cold_versions_at_once_are_fetched_once_each(service: Service) {
    let fleet = start(&service, &[]).await;
    let modules: Vec<_> = (0..VERSIONS)
        .map(|patch| fleet.add(FakeModule::new("example.com/lib", &format!("v1.0.{patch}"))))
        .collect();
    let asking = modules.iter().map(|module| async {
        assert_whole(&fleet.ask_all(module, 1).await, &module.zip());
    });
    join_all(asking).await;
    let fetches: usize = modules.iter().map(|module| fleet.fetches(module)).sum();
    assert_eq!(fetches, VERSIONS);
    fleet.assert_at_rest().await;
    service.assert_empty().await;
}

pub(crate) async fn what_is_not_there_is_asked_for_once_by_three_hundred_clients(service: Service) {
    let mut fleet = start(&service, &[]).await;
    let missing = FakeModule::new("example.com/lib", "v1.2.4");
    let gate = Gate::default();
    fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let (answers, ()) = futures::join!(fleet.ask_all(&missing, 300 / REPLICAS), async {
        under_one_lock(&fleet, &missing).await;
        gate.open();
    });
    assert_eq!(answers.len(), 300);
    for answer in answers {
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(answer.text().contains("not found"), "{}", answer.text());
    }
    assert_eq!(fleet.fetches(&missing), 1);
    assert_eq!(fleet.sum(WAITED, &[("result", "settled")]).await, 2.0, "the two that waited");
    fleet.assert_at_rest().await;
    // It is not kept from who asks when it is there: only those who waited were told.
    let there = fleet.add(FakeModule::new("example.com/lib", "v1.2.5"));
    assert_whole(&fleet.ask_all(&there, 1).await, &there.zip());
    for gateway in &mut fleet.gateways {
        let status = gateway.terminate().await;
        assert!(status.success(), "{}", gateway.stderr());
    }
    assert_eq!(service.left_after(2 * VERDICT_LIFE + LAPSED).await, Vec::<String>::new());
}

/// The zip is there, and what the checksum database says of it is known only when it comes in.
pub(crate) async fn what_the_checksum_database_refuses_is_fetched_once(service: Service) {
    let database = ChecksumDb::new("sum.test", 1);
    let asked = database.start().await;
    let setting = format!("{} {}", database.verifier_key(), asked.url());
    let fleet = start(&service, &[("GOSUMDB", &setting)]).await;
    let tampered = FakeModule::new("example.com/tampered", "v1.0.0");
    database.register(&tampered);
    database.lie(tampered.path(), tampered.version(), &module().h1());
    let unknown = FakeModule::new("example.com/unknown", "v1.0.0");
    for (refused, why) in [(tampered, "checksum mismatch"), (unknown, "does not know")] {
        let module = fleet.add(refused);
        let gate = Gate::default();
        let path = zip(&module);
        fleet.upstream.fault(When::path(&path), Fault::Gate(gate.clone()));
        let told = [("result", "settled")];
        let before = fleet.sum(WAITED, &told).await;
        let (answers, ()) = futures::join!(fleet.ask_all(&module, 2), async {
            under_one_lock(&fleet, &module).await;
            gate.open();
        });
        for answer in answers {
            assert_eq!(answer.status, 403, "{}", answer.text());
            assert!(answer.text().contains(why), "{}", answer.text());
        }
        fleet.assert_at_rest().await;
        assert_eq!(fleet.fetches(&module), 1, "{}", module.path());
        assert_eq!(fleet.sum(WAITED, &told).await - before, 2.0, "{}", module.path());
        assert!(!fleet.is_stored(&module).await);
    }
}

pub(crate) async fn who_waits_sees_a_commit_within_its_poll(service: Service) {
    let fleet = start(&service, &[]).await;
    let waits = [("result", "stored")];
    let mut took = Vec::new();
    for patch in 0..COMMITS {
        // Anywhere between two looks.
        let delay = Duration::from_millis(300 + 13 * patch as u64);
        fleet.upstream.fault(When::suffix(&format!("v1.0.{patch}.zip")), Fault::Delay(delay));
        let module = fleet.add(FakeModule::new("example.com/lib", &format!("v1.0.{patch}")));
        let (wait, hold, waiters) = lock_seconds(&fleet, &waits).await;
        assert_whole(&fleet.ask_all(&module, 1).await, &module.zip());
        assert_eq!(fleet.fetches(&module), 1);
        fleet.assert_at_rest().await;
        let after = lock_seconds(&fleet, &waits).await;
        assert_eq!(after.2 - waiters, 2.0, "two waited for the third");
        // All asked at once, and a hold ends behind the commit: what is more was waited for in vain.
        took.push((after.0 - wait) / 2.0 - (after.1 - hold));
    }
    took.sort_by(f64::total_cmp);
    println!("commits were seen after {took:.3?} s, two waiters' mean each");
    assert!(took[COMMITS / 2] <= SEEN_AFTER, "{took:?}");
    assert!(took[COMMITS - 1] <= 2.0 * SEEN_AFTER, "{took:?}");
}

/// Seconds waited for what others stored, seconds of holding, and how many waited.
async fn lock_seconds(fleet: &Fleet, waits: &[(&str, &str)]) -> (f64, f64, f64) {
    (
        fleet.sum("dipylon_lock_wait_duration_seconds_sum", waits).await,
        fleet.sum("dipylon_lock_hold_duration_seconds_sum", &[]).await,
        fleet.sum(WAITED, waits).await,
    )
}

pub(crate) async fn the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds(
    service: Service,
) {
    let elections = service.elections();
    let kills = (0..KILLS).map(|patch| {
        let module = FakeModule::new("example.com/lib", &format!("v1.2.{patch}"));
        served_after_a_kill(&service, module.filler(3_000_000))
    });
    let took = join_all(kills).await;
    println!("served {took:.2?} after the kill");
    let worst = took.iter().max().expect("some kills");
    let limit = service.take_over_limit(service.default_lease(), elections);
    assert!(*worst <= limit, "{worst:?}, not within {limit:?}");
}

/// Kills whoever fetches a module, and says how long after that the last of the others has served it.
pub(crate) async fn served_after_a_kill(service: &Service, module: FakeModule) -> Duration {
    let mut fleet = start(service, &[]).await;
    let module = fleet.add(module);
    fleet.upstream.fault(When::suffix(".zip").times(1), Fault::StallAfter(1_000_000));
    let path = zip(&module);
    let asking: Vec<_> = fleet
        .gateways
        .iter()
        .map(|gateway| {
            let (client, path) = (gateway.client(), path.clone());
            tokio::spawn(async move { client.try_request(http::Method::GET, &path, &[], "").await })
        })
        .collect();
    let holder = holder(&fleet).await;
    until("the fetch is under way", async || fleet.fetches(&module) == 1).await;
    fleet.gateways[holder].kill();
    let killed = Instant::now();
    let mut last = Duration::ZERO;
    for (number, asked) in asking.into_iter().enumerate() {
        let answer = asked.await.expect("no panic");
        if number != holder {
            assert_whole(&[answer.expect("an answer")], &module.zip());
            last = killed.elapsed();
        }
    }
    assert_eq!(fleet.fetches(&module), 2, "one waiter took over");
    assert!(fleet.is_stored(&module).await);
    last
}

pub(crate) async fn when_the_service_is_stopped_every_request_succeeds_and_recovery_is_automatic(
    mut service: Service,
) {
    let fleet = start(&service, &[]).await;
    let warm = fleet.add(FakeModule::new("example.com/warm", "v1.0.0"));
    assert_whole(&fleet.ask_all(&warm, 1).await, &warm.zip());
    service.stop();
    for patch in 0..3 {
        let module = fleet.add(FakeModule::new("example.com/lib", &format!("v1.0.{patch}")));
        assert_whole(&fleet.ask_all(&module, 5).await, &module.zip());
        assert!(fleet.fetches(&module) <= REPLICAS, "{}", fleet.fetches(&module));
    }
    assert!(fleet.sum("dipylon_lock_degraded", &[]).await >= 1.0);
    let degraded = [("layer", "lock"), ("outcome", "miss_degraded")];
    assert!(fleet.sum("dipylon_layer_calls_total", &degraded).await >= 1.0);
    let mut said = String::new();
    for gateway in &fleet.gateways {
        let ready = gateway.get("/readyz").await;
        assert_eq!(ready.status, 200, "no request fails: {}", ready.text());
        said.push_str(ready.text());
    }
    assert!(said.contains("degraded, each replica fetches for itself: "), "{said}");
    service.restart();
    let recovered = async || fleet.sum("dipylon_lock_degraded", &[]).await == 0.0;
    until("all use the lock again", recovered).await;
    let module = fleet.add(module());
    assert_whole(&fleet.ask_all(&module, CLIENTS).await, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
}

pub(crate) async fn when_the_store_is_cut_off_misses_stream_through_unstored_and_are_flagged(
    mut service: Service,
) {
    let fleet = start(&service, &[]).await;
    let warm = fleet.add(FakeModule::new("example.com/warm", "v1.0.0"));
    assert_whole(&fleet.ask_all(&warm, 1).await, &warm.zip());
    until("it is stored", async || fleet.is_stored(&warm).await).await;
    service.stop();
    let mut unstored = Vec::new();
    for patch in 0..3 {
        let module = fleet.add(FakeModule::new("example.com/lib", &format!("v1.0.{patch}")));
        let answers = fleet.ask_all(&module, 5).await;
        assert_whole(&answers, &module.zip());
        for answer in answers {
            let status = answer.header("cache-status").unwrap_or_default().to_owned();
            assert!(status.contains("degraded"), "{status}");
        }
        unstored.push(module);
    }
    let degraded = [("outcome", "miss_degraded")];
    assert!(fleet.sum("dipylon_layer_calls_total", &degraded).await >= 1.0);
    service.restart();
    until("all use the lock and the store again", async || {
        fleet.sum("dipylon_lock_degraded", &[]).await == 0.0
            && fleet.gateways[0].get("/readyz").await.status == 200
            && fleet.gateways[1].get("/readyz").await.status == 200
            && fleet.gateways[2].get("/readyz").await.status == 200
    })
    .await;
    for module in &unstored {
        assert!(!fleet.is_stored(module).await, "{}", module.version());
    }
    let module = fleet.add(module());
    assert_whole(&fleet.ask_all(&module, CLIENTS).await, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    until("it is stored", async || fleet.is_stored(&module).await).await;
    fleet.assert_at_rest().await;
    service.assert_empty().await;
}

pub(crate) async fn without_the_service_at_the_start_the_gateways_start_and_serve(
    mut service: Service,
) {
    service.stop();
    let fleet = start(&service, &[]).await;
    let module = fleet.add(module());
    assert_whole(&fleet.ask_all(&module, 5).await, &module.zip());
    assert!(fleet.fetches(&module) <= REPLICAS);
}

pub(crate) async fn a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version(
    service: Service,
) {
    stopped_for_three_leases(&service, Duration::from_secs(2)).await;
}

/// As above, of the shortest leases that Azure grants.
pub(crate) async fn slow_a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version(
    service: Service,
) {
    stopped_for_three_leases(&service, service.default_lease()).await;
}

async fn stopped_for_three_leases(service: &Service, lease: Duration) {
    let seconds = lease.as_secs().to_string();
    let keys = [("DIPYLON_LOCK_LEASE", seconds.as_str()), ("DIPYLON_LOCK_RENEWAL", "1")];
    let mut fleet = start(service, &keys).await;
    let (module, gate) = (fleet.add(module()), Gate::default());
    fleet.upstream.fault(When::suffix(".zip").times(1), Fault::Gate(gate.clone()));
    let path = zip(&module);
    let asking: Vec<_> = fleet
        .gateways
        .iter()
        .map(|gateway| {
            let (client, path) = (gateway.client(), path.clone());
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    let holder = holder(&fleet).await;
    until("the fetch is under way", async || fleet.fetches(&module) == 1).await;
    fleet.gateways[holder].signal(Signal::STOP);
    tokio::time::sleep(3 * lease).await;
    fleet.gateways[holder].signal(Signal::CONT);
    gate.open();
    for asked in asking {
        assert_whole(&[asked.await.expect("an answer")], &module.zip());
    }
    assert_eq!(fleet.fetches(&module), 2);
    let late = async || {
        fleet.sum("dipylon_stash_saves_total", &[("result", "existed")]).await == 1.0
            && fleet.sum("dipylon_lock_lost_total", &[]).await == 1.0
    };
    until("the late writer is counted", late).await;
    assert_eq!(fleet.sum("dipylon_stash_saves_total", &[("result", "created")]).await, 1.0);
    assert_eq!(fleet.sum("dipylon_stash_saves_total", &[("result", "differed")]).await, 0.0);
    fleet.assert_at_rest().await;
}

pub(crate) async fn the_async_modes_store_under_a_lock(service: Service) {
    for (mode, status) in [("async", 404), ("async_redirect", 302)] {
        let elsewhere = ("ATHENS_DOWNLOAD_URL", "https://elsewhere.example");
        let fleet = start(&service, &[("ATHENS_DOWNLOAD_MODE", mode), elsewhere]).await;
        // The store of locks that lie in it is that of both modes.
        let module = FakeModule::new(&format!("example.com/{mode}"), "v1.2.3");
        let (module, gate) = (fleet.add(module.filler(3_000_000)), Gate::default());
        fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
        for answer in fleet.ask_all(&module, 2).await {
            assert_eq!(answer.status, status, "{mode}: {}", answer.text());
        }
        under_one_lock(&fleet, &module).await;
        gate.open();
        until("it is stored", async || fleet.is_stored(&module).await).await;
        fleet.assert_at_rest().await;
        assert_eq!(fleet.fetches(&module), 1, "{mode}");
        service.assert_empty().await;
    }
}

/// One of the gateways fetches the module, and all others wait for it.
pub(crate) async fn under_one_lock(fleet: &Fleet, module: &FakeModule) {
    until("one fetches, and the others wait", async || {
        fleet.sum("dipylon_lock_held", &[]).await == 1.0
            && fleet.sum("dipylon_lock_waiting", &[]).await == (REPLICAS - 1) as f64
            && fleet.fetches(module) == 1
    })
    .await;
}

pub(crate) async fn a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back(service: Service) {
    let mut fleet = start(&service, &[]).await;
    let module = fleet.add(module());
    let gate = Gate::default();
    fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let (client, path) = (fleet.gateways[0].client(), zip(&module));
    let asking = tokio::spawn(async move { client.get(&path).await });
    assert_eq!(holder(&fleet).await, 0);
    let (status, ()) = futures::join!(fleet.gateways[0].terminate(), async {
        tokio::time::sleep(TOLD).await;
        gate.open();
    });
    assert!(status.success(), "{}", fleet.gateways[0].stderr());
    assert_whole(&[asking.await.expect("an answer")], &module.zip());
    assert!(fleet.is_stored(&module).await);
    service.assert_empty().await;
}

pub(crate) async fn a_leader_that_is_killed_during_a_hold_costs_no_second_fetch(
    mut service: Service,
) {
    let fleet = start(&service, &[]).await;
    let module = fleet.add(module());
    fleet.upstream.fault(When::suffix(".zip"), Fault::Delay(Duration::from_secs(5)));
    let (asking, killing) = (fleet.ask_all(&module, 3), async {
        holder(&fleet).await;
        service.kill_leader();
    });
    let (answers, ()) = futures::join!(asking, killing);
    assert_whole(&answers, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    fleet.assert_at_rest().await;
}
