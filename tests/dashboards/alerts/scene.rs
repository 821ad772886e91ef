//! How a scene is played: all is well, it is broken until its alerts fire, it is mended until they are resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dipylon_testkit::gateway::Gateway;

use super::alertmanager::Alertmanager;
use crate::load::path;
use crate::world::{LIB, World};
use dipylon_testkit::module::FakeModule;

/// For so long all is well first, which is longer than the longest offset of an alert: what was counted before
/// is no event then.
const WELL: Duration = Duration::from_secs(6);
/// The longest until all alerts of a scene have fired: half a minute is the longest that one waits.
const FIRES_WITHIN: Duration = Duration::from_secs(150);
/// The longest until they are resolved: the widest of the short windows is six hours, three minutes here.
const RESOLVED_WITHIN: Duration = Duration::from_secs(330);
/// The pause between two rounds.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// A gateway, what is to be broken, and the alerts that this must raise.
pub(super) trait Scene {
    /// The job of its gateway.
    const JOB: &'static str;
    /// What must fire, and be resolved.
    const ALERTS: &'static [&'static str];

    fn gateway(&self) -> &Gateway;
    /// What clients ask while all is well.
    async fn well(&self, round: usize);
    /// Breaks it.
    async fn spoil(&mut self);
    /// What clients ask while it is broken.
    async fn ill(&self, round: usize);
    /// Mends it.
    async fn mend(&mut self);
}

/// What was seen of a scene.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) job: &'static str,
    /// The alerts that fired, each with how long after the break it did.
    pub(super) fired: BTreeMap<String, Duration>,
    /// Until all of them were resolved, after the mending.
    pub(super) resolved_in: Duration,
}

/// Plays a scene to its end.
///
/// # Panics
/// When something fires while all is well, one of its alerts does not fire, or one that fired is not resolved.
pub(super) async fn play<S: Scene>(mut scene: S, alertmanager: &Alertmanager) -> Seen {
    let job = S::JOB;
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < WELL {
        scene.well(round).await;
        round += 1;
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(alertmanager.firing(job).await, Vec::<String>::new(), "{job} is well");

    let began = Instant::now();
    scene.spoil().await;
    let mut fired: BTreeMap<String, Duration> = BTreeMap::new();
    loop {
        scene.ill(round).await;
        round += 1;
        for alert in alertmanager.firing(job).await {
            fired.entry(alert).or_insert_with(|| began.elapsed());
        }
        let left: Vec<_> = S::ALERTS.iter().filter(|alert| !fired.contains_key(**alert)).collect();
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < FIRES_WITHIN, "{job}: {left:?} did not fire; {fired:?} did");
        tokio::time::sleep(PAUSE).await;
    }

    println!("{job}: fired");
    scene.mend().await;
    let began = Instant::now();
    loop {
        scene.well(round).await;
        round += 1;
        let firing = alertmanager.firing(job).await;
        // What fires only now is the end of the trouble, and ends too.
        for alert in &firing {
            fired.entry(alert.clone()).or_insert_with(|| began.elapsed());
        }
        let resolved = resolved(alertmanager, job);
        if firing.is_empty() && fired.keys().all(|alert| resolved.contains(alert)) {
            println!("{job}: resolved");
            return Seen { job, fired, resolved_in: began.elapsed() };
        }
        let told = alertmanager.told(job);
        assert!(
            began.elapsed() < RESOLVED_WITHIN,
            "{job}: {firing:?} fire still; told were {told:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// The alerts of a job of whose end Alertmanager has told last.
fn resolved(alertmanager: &Alertmanager, job: &str) -> BTreeSet<String> {
    let mut resolved = BTreeSet::new();
    for told in alertmanager.told(job) {
        if told.is_resolved {
            resolved.insert(told.alert);
        } else {
            resolved.remove(&told.alert);
        }
    }
    resolved
}

/// What every gateway is asked while all is well: what is stored.
pub(super) async fn ask_well(world: &World) {
    let lib = FakeModule::new(LIB, "v1.0.0");
    for kind in ["info", "zip"] {
        let answer = world.gateway.get(&path(&lib, kind)).await;
        assert!([200, 302].contains(&answer.status.as_u16()), "{kind}: {}", answer.status);
    }
}
