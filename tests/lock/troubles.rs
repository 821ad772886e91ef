//! A lock service that works badly: slow, reset, silent, full, or without our rights. No request fails for it.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::line::Line;
use dipylon_testkit::upstream::{Fault, Gate, When};
use serde_json::json;

use crate::cases::{start, under_one_lock};
use crate::fleet::{Fleet, REPLICAS, assert_whole, until};
use crate::leash::Leash;
use crate::on_redis::command;
use crate::service::{LAPSED, Service};

/// A holder misses some renewals, and its lock lives on.
const LEASE: [(&str, &str); 2] = [("DIPYLON_LOCK_LEASE", "8"), ("DIPYLON_LOCK_RENEWAL", "1")];
/// How long each trouble lasts: more than a renewal, and less than the ten polls (`MaxRetries`) after which who waits
/// goes on without a lock.
const TROUBLE: Duration = Duration::from_millis(1_200);
/// After that all who wait have been answered again.
const ANSWERED: Duration = Duration::from_millis(700);
/// How late each answer is on a slow line, in milliseconds.
const LATENCY_MILLIS: u64 = 400;
/// `Timeout` of a lock service in these tests, where it has the key, and in seconds; else it is 15 s.
const TIMEOUT: [(&str, &str); 2] =
    [("ATHENS_REDIS_LOCK_TIMEOUT", "10"), ("ATHENS_S3_LOCK_TIMEOUT", "10")];
/// The longest that the first miss may wait for a service that swallows everything, and fetch.
const FIRST: Duration = Duration::from_secs(30);
/// The longest that a miss may take which does not wait, but for a question of a replica that has not asked before:
/// less than any `Timeout`.
const NEXT: Duration = Duration::from_secs(8);

pub(crate) async fn a_slow_line_that_breaks_and_is_down_for_a_while_costs_a_holder_nothing(
    service: Service,
) {
    let [server] = &service.addresses()[..] else { panic!("one server") };
    let line = Line::to(server);
    let ours = service.variables();
    let through = ours.iter().map(|(name, value)| (*name, value.replace(server, &line.address)));
    let through: Vec<_> = through.collect();
    let mut variables: Vec<_> = through.iter().map(|(name, value)| (*name, &**value)).collect();
    variables.extend(LEASE);
    let fleet = Fleet::start(&variables).await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.0.0").filler(1_000_000));
    let gate = Gate::default();
    fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let (answers, ()) = futures::join!(fleet.ask_all(&module, 5), async {
        under_one_lock(&fleet, &module).await;
        line.poison("latency", "downstream", &json!({ "latency": LATENCY_MILLIS }));
        tokio::time::sleep(TROUBLE).await;
        line.cure("latency");
        line.poison("reset_peer", "downstream", &json!({ "timeout": 0 }));
        tokio::time::sleep(TROUBLE).await;
        line.cure("reset_peer");
        renewed(&fleet).await;
        line.down();
        tokio::time::sleep(TROUBLE).await;
        line.up();
        renewed(&fleet).await;
        // Who waited for a service that did not answer goes on waiting, or went on without a lock.
        gate.open();
    });
    assert_whole(&answers, &module.zip());
    fleet.assert_at_rest().await;
    assert_eq!(fleet.sum("dipylon_lock_lost_total", &[]).await, 0.0, "the holder has kept it");
    assert_eq!(fleet.fetches(&module), 1);
    let used = async || fleet.sum("dipylon_lock_degraded", &[]).await == 0.0;
    until("all use the lock", used).await;
    service.assert_empty().await;
}

/// A renewal is answered that was not before.
async fn renewed(fleet: &Fleet) {
    let renewals = [("operation", "renew"), ("result", "done")];
    let done = async || fleet.sum("dipylon_lock_operations_total", &renewals).await;
    let before = done().await;
    until("the lock is renewed again", async || done().await > before).await;
    tokio::time::sleep(ANSWERED).await;
}

pub(crate) async fn a_service_that_swallows_everything_delays_the_first_miss_by_its_timeout_at_most(
    mut service: Service,
) {
    let others = service.variables();
    let leash = Leash::to(&mut service).await;
    let through = leash.variables(&others);
    let mut variables: Vec<_> = through.iter().map(|(name, value)| (*name, &**value)).collect();
    variables.extend(TIMEOUT);
    let fleet = Fleet::start(&variables).await;
    let warm = fleet.add(FakeModule::new("example.com/warm", "v1.0.0"));
    assert_whole(&fleet.ask_all(&warm, 1).await, &warm.zip());
    assert_eq!(fleet.fetches(&warm), 1);
    leash.hold();
    let first = fleet.add(FakeModule::new("example.com/first", "v1.0.0"));
    let began = Instant::now();
    assert_whole(&fleet.ask_all(&first, 5).await, &first.zip());
    println!("the first after {:?}", began.elapsed());
    assert!(began.elapsed() < FIRST, "{:?}", began.elapsed());
    assert!(fleet.fetches(&first) <= REPLICAS, "{}", fleet.fetches(&first));
    // Those who found in the store what the first of them fetched go on asking.
    assert!(fleet.sum("dipylon_lock_degraded", &[]).await >= 1.0);
    let next = fleet.add(FakeModule::new("example.com/next", "v1.0.0"));
    let began = Instant::now();
    assert_whole(&fleet.ask_all(&next, 5).await, &next.zip());
    assert!(began.elapsed() < NEXT, "{:?}", began.elapsed());
    assert!(fleet.fetches(&next) <= REPLICAS, "{}", fleet.fetches(&next));
}

pub(crate) async fn a_full_server_costs_no_answer_and_is_used_again(service: Service) {
    let Service::Redis(server) = &service else { panic!("a server of Redis") };
    let (url, fleet) = (server.url(), start(&service, &[]).await);
    costs_no_answer(
        &fleet,
        async || set(&url, &["CONFIG", "SET", "maxmemory", "1"]).await,
        async || set(&url, &["CONFIG", "SET", "maxmemory", "0"]).await,
    )
    .await;
    // What could not be given back has lapsed.
    assert_eq!(service.left_after(service.default_lease() + LAPSED).await, Vec::<String>::new());
}

pub(crate) async fn a_server_that_takes_our_rights_away_costs_no_answer_and_is_used_again(
    service: Service,
) {
    let Service::Redis(server) = &service else { panic!("a server of Redis") };
    let url = server.url();
    set(&url, &["ACL", "SETUSER", "athens", "on", ">pw", "~*", "&*", "+@all"]).await;
    let ours = format!("redis://athens:pw@{}", server.address());
    let fleet =
        Fleet::start(&[("ATHENS_SINGLE_FLIGHT_TYPE", "redis"), ("ATHENS_REDIS_ENDPOINT", &ours)])
            .await;
    costs_no_answer(
        &fleet,
        async || set(&url, &["ACL", "SETUSER", "athens", "-@all"]).await,
        async || set(&url, &["ACL", "SETUSER", "athens", "+@all"]).await,
    )
    .await;
    // What could not be given back has lapsed.
    assert_eq!(service.left_after(service.default_lease() + LAPSED).await, Vec::<String>::new());
}

async fn set(url: &str, words: &[&str]) {
    let answer: String = command(url, words).await;
    assert_eq!(answer, "OK", "{words:?}");
}

/// Trouble begins during a hold: the holder's clients and all later ones have their answers; when it is over, locks
/// are used again.
async fn costs_no_answer(fleet: &Fleet, begins: impl AsyncFn(), ends: impl AsyncFn()) {
    let (module, gate) =
        (fleet.add(FakeModule::new("example.com/held", "v1.0.0")), Gate::default());
    fleet.upstream.fault(When::suffix("held/@v/v1.0.0.zip"), Fault::Gate(gate.clone()));
    let (answers, ()) = futures::join!(fleet.ask_all(&module, 5), async {
        under_one_lock(fleet, &module).await;
        begins().await;
        tokio::time::sleep(TROUBLE).await;
        gate.open();
    });
    assert_whole(&answers, &module.zip());
    assert!(fleet.fetches(&module) <= REPLICAS, "{}", fleet.fetches(&module));
    for patch in 0..3 {
        let module = fleet.add(FakeModule::new("example.com/lib", &format!("v1.0.{patch}")));
        assert_whole(&fleet.ask_all(&module, 5).await, &module.zip());
        assert!(fleet.fetches(&module) <= REPLICAS, "{}", fleet.fetches(&module));
    }
    assert!(fleet.sum("dipylon_lock_degraded", &[]).await >= 1.0);
    ends().await;
    let used = async || fleet.sum("dipylon_lock_degraded", &[]).await == 0.0;
    until("all use the lock again", used).await;
    let module = fleet.add(FakeModule::new("example.com/after", "v1.0.0").filler(1_000_000));
    assert_whole(&fleet.ask_all(&module, 5).await, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    fleet.assert_at_rest().await;
}
