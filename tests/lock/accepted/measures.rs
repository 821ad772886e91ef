//! The measures, and the limits they are held to.

use std::time::Duration;

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use futures::future::join_all;
use tokio::sync::Mutex;

use super::table::{Column, write};
use crate::cases::{served_after_a_kill, start};
use crate::fleet::{Fleet, REPLICAS, assert_whole, zip};
use crate::service::{LAPSED, Service};

/// Clients that want one cold version at once, of all gateways together.
const CLIENTS: usize = 1_000;
/// Cold versions that every gateway is asked for at once.
const VERSIONS: usize = 200;
/// What each zip carries, so that its bytes come in more than one piece.
const ZIP_BYTES: usize = 100_000;
/// How long the fetch that all wait for takes: by then they have come.
const FETCH: Duration = Duration::from_secs(1);
/// Warm requests to each gateway.
const WARM: usize = 100;
/// Holders that are killed.
const KILLS: usize = 20;
/// Of these at once, each in a fleet of its own: more would measure this machine.
const KILLS_AT_ONCE: usize = 5;
/// Versions that are wanted while the service is dead, and clients of each gateway for each of them.
const DEAD_VERSIONS: usize = 20;
const DEAD_CLIENTS: usize = 5;
/// Waits for a commit that are measured, two for each commit.
const WAITS: usize = 100;
/// What 99 of 100 waits may last beyond the commit, where a release is pushed and where it is polled for.
const SEEN_AFTER_PUSH: f64 = 0.050;
const SEEN_BY_POLL: f64 = 0.300;

/// One measure at a time: what they take is what they measure.
pub(super) static ALONE: Mutex<()> = Mutex::const_new(());

pub(super) async fn slow_a_thousand_clients_or_200_versions_cost_one_fetch_each_and_leave_nothing(
    kind: &str,
    service: Service,
) {
    let mut fleet = start(&service, &[]).await;
    let one = fleet.add(version("one", 0));
    fleet.upstream.fault(When::path(&zip(&one)), Fault::Delay(FETCH));
    assert_whole(&fleet.ask_all(&one, CLIENTS.div_ceil(REPLICAS)).await, &one.zip());
    let of_one = fleet.fetches(&one) - 1;

    let many: Vec<_> = (0..VERSIONS).map(|number| fleet.add(version("many", number))).collect();
    join_all(many.iter().map(async |module| {
        assert_whole(&fleet.ask_all(module, 1).await, &module.zip());
    }))
    .await;
    let of_many = many.iter().map(|module| fleet.fetches(module)).sum::<usize>() - VERSIONS;

    fleet.assert_at_rest().await;
    let unsaved = fleet.sum("dipylon_stash_saves_total", &[("result", "failed")]).await;
    // A lock is given back behind the answer, and by a busy service at the second or third attempt.
    fleet.settled().await;
    let asked = fleet.sum("dipylon_lock_operations_total", &[]).await;
    assert_whole(&fleet.ask_all(&one, WARM).await, &one.zip());
    let warm = fleet.sum("dipylon_lock_operations_total", &[]).await - asked;

    for gateway in &mut fleet.gateways {
        let status = gateway.terminate().await;
        assert!(status.success(), "{}", gateway.stderr());
    }
    // An answer that a busy service gave too late may have left a lock to nobody: it lapses.
    let left = service.left_after(service.default_lease() + LAPSED).await;
    println!(
        "{kind}: {of_one} and {of_many} duplicates, {unsaved} saves failed, \
         {warm} operations when warm, left {left:?}"
    );
    write(
        kind,
        &[
            (Column::OneVersion, of_one.to_string()),
            (Column::ManyVersions, of_many.to_string()),
            (Column::Warm, warm.to_string()),
            (Column::Left, left.len().to_string()),
        ],
    );
    assert_eq!((of_one, of_many), (0, 0), "duplicate fetches, {unsaved} saves failed");
    assert_eq!(warm, 0.0, "a warm request asks the service nothing");
    assert_eq!(left, Vec::<String>::new());
}

pub(super) async fn slow_another_serves_within_a_lease_and_two_seconds_of_twenty_kills(
    kind: &str,
    service: Service,
) {
    let mut took = Vec::new();
    let elections = service.elections();
    for round in 0..KILLS / KILLS_AT_ONCE {
        let kills = (0..KILLS_AT_ONCE).map(|number| {
            let module = version("killed", round * KILLS_AT_ONCE + number).filler(3_000_000);
            served_after_a_kill(&service, module)
        });
        took.extend(join_all(kills).await);
    }
    took.sort();
    println!("{kind}: served {took:.2?} after the kill");
    let limit = service.take_over_limit(service.default_lease(), elections);
    let worst = took[KILLS - 1];
    write(
        kind,
        &[(Column::Killed, format!("{:.1} s of {}", worst.as_secs_f64(), limit.as_secs()))],
    );
    assert!(worst <= limit, "{worst:?}, not within {limit:?}");
    assert_eq!(service.left_after(service.default_lease() + LAPSED).await, Vec::<String>::new());
}

pub(super) async fn slow_every_request_succeeds_while_the_service_is_dead(
    kind: &str,
    mut service: Service,
) {
    let fleet = start(&service, &[]).await;
    let warm = fleet.add(version("warm", 0));
    assert_whole(&fleet.ask_all(&warm, 1).await, &warm.zip());
    fleet.assert_at_rest().await;
    service.stop();
    let modules: Vec<_> =
        (0..DEAD_VERSIONS).map(|number| fleet.add(version("dead", number))).collect();
    let answers = join_all(modules.iter().map(async |module| {
        let answers = fleet.ask_all(module, DEAD_CLIENTS).await;
        assert_whole(&answers, &module.zip());
        answers
    }))
    .await;
    let answered: usize = answers.iter().map(Vec::len).sum();
    assert_eq!(answered, DEAD_VERSIONS * DEAD_CLIENTS * REPLICAS);
    let duplicates =
        modules.iter().map(|module| fleet.fetches(module) - 1).max().expect("some versions");
    assert!(fleet.sum("dipylon_layer_calls_total", &[("outcome", "miss_degraded")]).await >= 1.0);
    // A replica that found in the store what another had fetched has not asked the service until now.
    for (number, gateway) in fleet.gateways.iter().enumerate() {
        let module = fleet.add(version("alone", number));
        assert_whole(&[gateway.get(&zip(&module)).await], &module.zip());
    }
    assert_eq!(fleet.sum("dipylon_lock_degraded", &[]).await, REPLICAS as f64);
    let flagged = answers.iter().flatten().filter(|answer| {
        answer.header("cache-status").is_some_and(|status| status.contains("degraded"))
    });
    let flagged = flagged.count();
    println!("{kind}: {answered} succeed, {flagged} flagged, {duplicates} duplicates at most");
    let shown = if service.is_store() {
        format!("{answered} streamed, {flagged} flagged")
    } else {
        format!("{answered} succeed, {duplicates} duplicates")
    };
    write(kind, &[(Column::Dead, shown)]);
    if service.is_store() {
        assert_eq!(flagged, answered, "all were streamed without a store");
    } else {
        assert!(duplicates < REPLICAS, "{duplicates} duplicates of one version");
    }
}

pub(super) async fn slow_waiters_see_a_commit_soon(kind: &str, service: Service) {
    let fleet = start(&service, &[]).await;
    let mut after = Vec::new();
    for number in 0..WAITS.div_ceil(REPLICAS - 1) {
        after.extend(waited_beyond_a_commit(&fleet, number).await);
    }
    after.sort_by(f64::total_cmp);
    let p99 = after[(after.len() * 99).div_ceil(100) - 1];
    println!("{kind}: commits were seen after {after:.3?} s");
    let limit = if service.pushes() { SEEN_AFTER_PUSH } else { SEEN_BY_POLL };
    let milliseconds = |seconds: f64| (seconds * 1e3).ceil();
    write(
        kind,
        &[(
            Column::Seen,
            format!("{} ms of {}, n {}", milliseconds(p99), milliseconds(limit), after.len()),
        )],
    );
    assert!(p99 <= limit, "p99 of {} waits: {p99} s, not within {limit} s", after.len());
}

/// How long the two replicas that wait for the third have waited when the version was stored already.
/// All are asked at once, and a hold ends with the commit: what a wait lasts beyond it is what is meant.
async fn waited_beyond_a_commit(fleet: &Fleet, number: usize) -> Vec<f64> {
    let module = fleet.add(version("awaited", number));
    // Anywhere between two looks.
    let delay = Duration::from_millis(300 + 13 * number as u64 % 250);
    fleet.upstream.fault(When::path(&zip(&module)), Fault::Delay(delay));
    let before = join_all(fleet.gateways.iter().map(times)).await;
    assert_whole(&fleet.ask_all(&module, 1).await, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    fleet.assert_at_rest().await;
    let behind = join_all(fleet.gateways.iter().map(times)).await;
    let hold: f64 = before.iter().zip(&behind).map(|(old, new)| new.held - old.held).sum();
    let waited = before.iter().zip(&behind).filter(|(old, new)| new.waits > old.waits);
    let waited: Vec<f64> = waited.map(|(old, new)| new.waited - old.waited - hold).collect();
    assert_eq!(waited.len(), REPLICAS - 1, "two wait for the third");
    waited
}

/// What a gateway has spent on locks so far, in seconds.
struct Times {
    held: f64,
    /// For what others stored.
    waited: f64,
    waits: f64,
}

async fn times(gateway: &Gateway) -> Times {
    let metrics = gateway.metrics().await;
    let stored = |name| metrics.metric(name).label("result", "stored").sum();
    Times {
        held: metrics.metric("dipylon_lock_hold_duration_seconds_sum").sum(),
        waited: stored("dipylon_lock_wait_duration_seconds_sum"),
        waits: stored("dipylon_lock_wait_duration_seconds_count"),
    }
}

fn version(name: &str, number: usize) -> FakeModule {
    FakeModule::new(&format!("example.com/{name}"), &format!("v1.0.{number}")).filler(ZIP_BYTES)
}
