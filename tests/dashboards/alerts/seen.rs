//! All scenes at once, under one Prometheus and one Alertmanager.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use super::alertmanager::Alertmanager;
use super::faster::faster;
use super::limits::{Background, Disk, Modes, NearDisk, Overload, Spools};
use super::outages::{Down, Locks, SlowStore, StoreGone, Traces};
use super::scene::{Scene, Seen, play};
use super::upstreams::{Breaker, Failing, Integrity, Quiet, Throttled};
use crate::prometheus::Prometheus;
use crate::rules;
use crate::world::{alone, folder};

/// How much faster time goes in the rules: five minutes are two and a half seconds, six hours three minutes.
const FASTER: u64 = 120;
/// How often gateways are scraped and rules evaluated, in milliseconds: five times in the shortest range.
const INTERVAL_MILLIS: u64 = 500;

/// Both files of rules for the faster time, in a folder.
fn write_rules(to: &Path) {
    for name in ["recording.yml", "alerts.yml"] {
        let text = std::fs::read_to_string(folder().join("rules").join(name)).expect("rules");
        std::fs::write(to.join(name), faster(&text, FASTER)).expect("a file of rules");
    }
}

fn configuration(rules: &Path, alertmanager: SocketAddr, jobs: &[(&str, SocketAddr)]) -> String {
    let one = |(job, target): &(&str, SocketAddr)| {
        format!("{{targets: [\"{target}\"], labels: {{job: \"{job}\"}}}}")
    };
    let targets: Vec<String> = jobs.iter().map(one).collect();
    let rules = rules.display();
    format!(
        "global: {{scrape_interval: {INTERVAL_MILLIS}ms, scrape_timeout: {INTERVAL_MILLIS}ms, \
         evaluation_interval: {INTERVAL_MILLIS}ms}}\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}\n\
         rule_files: [\"{rules}/recording.yml\", \"{rules}/alerts.yml\"]\n\
         scrape_configs:\n- {{job_name: scenes, static_configs: [{}]}}\n",
        targets.join(", ")
    )
}

/// The alerts of the file, and those that some scene must raise.
fn known_and_played() -> (BTreeSet<String>, BTreeSet<String>) {
    let known = rules::all().into_iter().filter(|rule| rule.is_alert).map(|rule| rule.name);
    let played = [
        Down::ALERTS,
        Failing::ALERTS,
        Breaker::ALERTS,
        Throttled::ALERTS,
        Integrity::ALERTS,
        Locks::ALERTS,
        StoreGone::ALERTS,
        SlowStore::ALERTS,
        Disk::ALERTS,
        NearDisk::ALERTS,
        Traces::ALERTS,
        Overload::ALERTS,
        Background::ALERTS,
        Modes::ALERTS,
    ];
    let played = played.into_iter().flatten().map(|alert| (*alert).to_owned());
    (known.collect(), played.collect())
}

#[test]
fn every_alert_of_the_file_has_a_scene_that_raises_it() {
    let (known, played) = known_and_played();
    assert_eq!(known, played, "(in alerts.yml, in the scenes)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy, otelcol, the prometheus program, the alertmanager program, the redis program and small \
            file systems: run by cargo xtask test"]
async fn slow_each_alert_fires_in_alertmanager_when_what_it_watches_breaks_and_is_resolved_after() {
    let _alone = alone().await;
    let began = Instant::now();
    let (quiet, down) = tokio::join!(Quiet::start(), Down::start());
    let (failing, breaker) = tokio::join!(Failing::start(), Breaker::start());
    let (throttled, integrity) = tokio::join!(Throttled::start(), Integrity::start());
    let (locks, gone) = tokio::join!(Locks::start(), StoreGone::start());
    let (slow, disk) = tokio::join!(SlowStore::start(), Disk::start());
    let (overload, background) = tokio::join!(Overload::start(), Background::start());
    let (modes, near_disk) = tokio::join!(Modes::start(), NearDisk::start());
    let (spools, traces) = tokio::join!(Spools::start(), Traces::start());
    let jobs = [
        (Quiet::JOB, quiet.address()),
        job(&down),
        job(&failing),
        job(&breaker),
        job(&throttled),
        job(&integrity),
        job(&locks),
        job(&gone),
        job(&slow),
        job(&disk),
        job(&near_disk),
        job(&traces),
        job(&overload),
        job(&background),
        job(&modes),
        job(&spools),
    ];
    let alertmanager = Alertmanager::start().await;
    let rules = tempfile::tempdir().expect("a temporary folder");
    write_rules(rules.path());
    let config = |_| configuration(rules.path(), alertmanager.address(), &jobs);
    let prometheus = Prometheus::start_with(config).await;
    prometheus.until("up == 1", jobs.len()).await;
    println!("{} gateways are scraped after {:?}", jobs.len(), began.elapsed());

    let scenes = async {
        tokio::join!(
            play(down, &alertmanager),
            play(failing, &alertmanager),
            play(breaker, &alertmanager),
            play(throttled, &alertmanager),
            play(integrity, &alertmanager),
            play(locks, &alertmanager),
            play(gone, &alertmanager),
            play(slow, &alertmanager),
            play(disk, &alertmanager),
            play(near_disk, &alertmanager),
            play(traces, &alertmanager),
            play(overload, &alertmanager),
            play(background, &alertmanager),
            play(modes, &alertmanager),
            play(spools, &alertmanager),
        )
    };
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o) = tokio::select! {
        seen = scenes => seen,
        never = quiet.go_on() => match never {},
    };
    let all = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o];
    for Seen { job, fired, resolved_in } in &all {
        let fired: Vec<String> = fired
            .iter()
            .map(|(alert, after)| format!("{alert} after {:.1} s", after.as_secs_f64()))
            .collect();
        let (fired, after) = (fired.join(", "), resolved_in.as_secs_f64());
        println!("{job}: {fired}; all resolved {after:.1} s after");
    }
    let fired: BTreeSet<String> = all.iter().flat_map(|seen| seen.fired.keys().cloned()).collect();
    assert_eq!(known_and_played().0, fired, "(in alerts.yml, seen firing)");
    let told = alertmanager.told(Quiet::JOB);
    assert!(told.is_empty(), "where nothing is broken nothing fires: {told:?}");
    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    println!("{} alerts seen in {:?}", fired.len(), began.elapsed());
}

fn job<S: Scene>(scene: &S) -> (&'static str, SocketAddr) {
    (S::JOB, scene.gateway().address())
}
