//! The scenarios: one table. Each is a script of `loadtest/`, and what happens to the world meanwhile.

use super::faults::{Action, Fault};
use super::options::{Lock, Storage};

/// One scenario.
#[derive(Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The script of `loadtest/`, without `.js`.
    pub(super) script: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// What it needs in place of Redis.
    pub(super) lock: Option<Lock>,
    /// What it needs in place of MinIO.
    pub(super) storage: Option<Storage>,
    /// What happens, and after which share of the load's time.
    pub(super) faults: &'static [(f64, Fault)],
    /// Requests of clients that may fail.
    pub(super) failures: Failures,
    /// Alerts that belong to what happens here; any other that is raised is a failure.
    pub(super) alerts: &'static [&'static str],
    /// Variables of the gateways.
    pub(super) env: &'static [(&'static str, &'static str)],
    /// The least upstream's delay, where a fetch has to last.
    pub(super) least_delay_ms: u64,
}

/// Requests that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failures {
    /// None at all.
    None,
    /// The share that the objective of the alert rules allows.
    Objective,
    /// Of what is stored none; the others are stated and not judged.
    NoStored,
    /// Of what exists the objective's share. While the store is down, nobody can tell what does not exist: then
    /// upstream's "no" is no answer, because the store might have it.
    OfWhatExists,
}

/// What runs where nothing is named.
pub(super) const USUAL: &[&str] = &["hot", "stampede", "mixed"];

const PLAIN: Scenario = Scenario {
    name: "",
    script: "mixed",
    about: "",
    lock: None,
    storage: None,
    faults: &[],
    failures: Failures::None,
    alerts: &[],
    env: &[],
    least_delay_ms: 0,
};

const fn at(share: f64, action: Action) -> (f64, Fault) {
    (share, Fault(action))
}

/// In the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "hot",
        script: "hot",
        about: "everything is stored: are all answers hits, and how fast?",
        ..PLAIN
    },
    Scenario {
        name: "stampede",
        script: "stampede",
        about: "a version is released, and everybody wants it in the same moment; again and again",
        ..PLAIN
    },
    Scenario {
        name: "mixed",
        about: "a day of builds, cold at its start: a real program's modules, prefix probes, lists, new versions",
        ..PLAIN
    },
    Scenario {
        name: "upstream",
        about: "the same; upstream is 2 s late, then gone, then back",
        faults: &[
            at(0.3, Action::UpstreamLate(2_000)),
            at(0.5, Action::UpstreamWell),
            at(0.6, Action::UpstreamGone),
            at(0.8, Action::UpstreamWell),
        ],
        failures: Failures::NoStored,
        alerts: &[
            "DipylonErrorBudgetBurnsFast",
            "DipylonErrorBudgetBurnsSlowly",
            "DipylonUpstreamFails",
            "DipylonBreakerOpen",
        ],
        ..PLAIN
    },
    Scenario {
        name: "holder-killed",
        script: "stampede",
        about: "the gateway that holds a lock is killed with SIGKILL, and comes back 5 s later; twice",
        faults: &[at(0.25, Action::HolderKilled), at(0.65, Action::HolderKilled)],
        failures: Failures::Objective,
        alerts: &["DipylonDown", "DipylonErrorBudgetBurnsFast"],
        least_delay_ms: 700,
        ..PLAIN
    },
    Scenario {
        name: "lock-gone",
        about: "the mixed day; the lock service is 1 s late, then gone, then back",
        lock: Some(Lock::Redis),
        faults: &[
            at(0.25, Action::LockLate(1_000)),
            at(0.45, Action::LockWell),
            at(0.6, Action::LockGone),
            at(0.8, Action::LockWell),
        ],
        alerts: &["DipylonLockDegraded", "DipylonLocksLost"],
        ..PLAIN
    },
    Scenario {
        name: "failover",
        about: "the mixed day; the Redis server behind the sentinels is killed, and comes back as a replica",
        lock: Some(Lock::Sentinel),
        faults: &[at(0.3, Action::PrimaryKilled), at(0.6, Action::LockBack)],
        alerts: &["DipylonLockDegraded", "DipylonLocksLost"],
        ..PLAIN
    },
    Scenario {
        name: "leader-loss",
        about: "the mixed day; the leader of three etcd members is killed, and comes back",
        lock: Some(Lock::Etcd),
        faults: &[at(0.3, Action::LeaderKilled), at(0.6, Action::LockBack)],
        alerts: &["DipylonLockDegraded", "DipylonLocksLost"],
        ..PLAIN
    },
    Scenario {
        name: "brownout",
        about: "the mixed day; the store is slow, then killed with SIGKILL, and comes back 5 s later",
        storage: Some(Storage::Minio),
        faults: &[
            at(0.25, Action::StorageLate(400)),
            at(0.45, Action::StorageWell),
            at(0.6, Action::StorageRestarted),
        ],
        failures: Failures::OfWhatExists,
        alerts: &["DipylonStorageFails", "DipylonStorageLeftAlone", "DipylonStorageSlow"],
        ..PLAIN
    },
    Scenario {
        name: "redirects",
        about: "the mixed day; zips of 16 kB and more are presigned redirects to the store",
        storage: Some(Storage::Minio),
        env: &[("DIPYLON_PRESIGNED_MIN_BYTES", "16384")],
        ..PLAIN
    },
    Scenario {
        name: "rolling",
        about: "the mixed day; each gateway in turn is told to stop, ends, and is started anew",
        faults: &[at(0.25, Action::RollingRestart)],
        // A gateway that is away for a moment is not scraped in it.
        alerts: &["DipylonDown"],
        ..PLAIN
    },
];

/// The scenario of that name.
///
/// # Errors
/// One line: there is none, and which there are.
pub(super) fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| format!("no scenario {name:?}: there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_script_with_faults_in_their_order() {
        let root = crate::workspace_root();
        for scenario in SCENARIOS {
            let script = root.join(format!("loadtest/{}.js", scenario.script));
            assert!(script.is_file(), "{}", script.display());
            let shares: Vec<f64> = scenario.faults.iter().map(|(share, _)| *share).collect();
            assert!(shares.is_sorted() && shares.iter().all(|share| (0.0..1.0).contains(share)));
        }
    }

    #[test]
    fn every_alert_that_is_expected_is_an_alert() {
        let rules = crate::workspace_root().join("dashboards/rules/alerts.yml");
        let rules = std::fs::read_to_string(rules).unwrap();
        for alert in SCENARIOS.iter().flat_map(|scenario| scenario.alerts) {
            assert!(rules.contains(&format!("alert: {alert}\n")), "{alert}");
        }
    }
}
