//! The objectives that a load is held to: those of the alert rules, and none of our own beside them.

use std::path::Path;

use super::prometheus::{Alert, Found, Prometheus};
use super::scenarios::{Failures, Scenario};
use super::timeline::{Second, Timeline};

/// The alert whose expression has the objective as its last factor.
const BUDGET_ALERT: &str = "DipylonErrorBudgetBurnsFast";

/// Whether one objective was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) what: String,
    pub(super) limit: String,
    pub(super) measured: String,
    /// `None`: stated, not judged.
    pub(super) kept: Option<bool>,
}

impl Judged {
    pub(super) fn word(&self) -> &'static str {
        match self.kept {
            Some(true) => "kept",
            Some(false) => "NOT KEPT",
            None => "stated",
        }
    }
}

/// The share of requests that may fail, as the alert rules have it.
///
/// # Errors
/// One line: the rules cannot be read, or say no such share.
pub(super) fn objective(root: &Path) -> Result<f64, String> {
    let path = root.join("dashboards/rules/alerts.yml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    share(&text).ok_or_else(|| format!("{}: {BUDGET_ALERT} has no share", path.display()))
}

/// The factor behind the first burn rate: `14.4 * 0.001`.
fn share(rules: &str) -> Option<f64> {
    let (_, rest) = rules.split_once(&format!("alert: {BUDGET_ALERT}\n"))?;
    let (_, rest) = rest.split_once(" * ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    rest[..end].parse().ok()
}

/// What clients saw.
pub(super) fn of_clients(scenario: &Scenario, seen: &Timeline, objective: f64) -> Vec<Judged> {
    let all = seen.whole(|_| true);
    let share = format!("{} %", objective * 100.0);
    let (what, limit, part, allowed) = match scenario.failures {
        Failures::None => ("requests that fail", "none".to_owned(), all.clone(), 0.0),
        Failures::Objective => ("requests that fail", share, all.clone(), objective),
        Failures::NoStored => {
            let stored = seen.whole(|kind| kind == "stored");
            ("requests for what is stored, that fail", "none".to_owned(), stored, 0.0)
        }
        Failures::OfWhatExists => {
            let existing = seen.whole(|kind| kind != "absent");
            ("requests for what exists, that fail", share, existing, objective)
        }
    };
    let judged = |what: &str, limit: String, measured: String, kept: Option<bool>| Judged {
        what: what.to_owned(),
        limit,
        measured,
        kept,
    };
    let failed = |seen: &Second| format!("{} of {}", seen.failed, seen.answers);
    let ratio = |seen: &Second| seen.failed as f64 / seen.answers.max(1) as f64;
    let kept = part.answers > 0 && ratio(&part) <= allowed;
    let wrong = all.wrong;
    let mut rows = vec![
        judged(what, limit, failed(&part), Some(kept)),
        judged("answers with wrong bytes", "none".to_owned(), wrong.to_string(), Some(wrong == 0)),
    ];
    if part.answers != all.answers {
        let share = format!("{} ({:.2} %)", failed(&all), ratio(&all) * 100.0);
        rows.push(judged("requests that fail, of all", "-".to_owned(), share, None));
    }
    rows
}

/// Each alert: was it raised in the time of the load?
///
/// # Errors
/// One line: Prometheus does not answer, or knows no alerts.
pub(super) fn of_alerts(
    prometheus: &Prometheus,
    scenario: &Scenario,
    from: f64,
    to: f64,
) -> Result<Vec<Judged>, String> {
    let alerts = prometheus.alerts()?;
    if alerts.is_empty() {
        return Err("Prometheus knows none of the alert rules".to_owned());
    }
    // All rules are as old as this Prometheus, so a series that begins within the load was raised within it.
    let raised = prometheus.range("ALERTS", from, to)?;
    Ok(alerts.iter().map(|alert| judge(alert, &raised, scenario)).collect())
}

fn judge(alert: &Alert, raised: &[Found], scenario: &Scenario) -> Judged {
    let lasted = |state: &str| {
        let is = |found: &&Found| {
            let label = |name: &str| found.labels.get(name).map(String::as_str);
            label("alertname") == Some(&alert.name) && label("alertstate") == Some(state)
        };
        let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
        for (time, _) in raised.iter().filter(is).flat_map(|found| &found.points) {
            first = first.min(*time);
            last = last.max(*time);
        }
        (first <= last).then_some(last - first)
    };
    let (pending, firing) = (lasted("pending"), lasted("firing"));
    let expected = scenario.alerts.contains(&alert.name.as_str());
    let measured = match (pending, firing) {
        (_, Some(secs)) => format!("fired, for {secs:.0} s"),
        (Some(secs), None) => format!("its condition held for {secs:.0} s"),
        (None, None) => "quiet".to_owned(),
    };
    let quiet = pending.is_none() && firing.is_none();
    Judged {
        what: format!("alert {}", alert.name),
        limit: if expected {
            "expected here".to_owned()
        } else {
            format!("quiet ({}; it waits {:.0} s)", alert.severity, alert.wait_secs)
        },
        measured,
        kept: if expected { None } else { Some(quiet) },
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::scenario;
    use super::*;

    #[test]
    fn the_objective_is_that_of_the_alert_rules() {
        let objective = objective(&crate::workspace_root()).unwrap();
        assert!((objective - 0.001).abs() < 1e-9, "{objective}");
        assert_eq!(share("alert: Other\n a > 14.4 * 0.5"), None);
    }

    #[test]
    fn one_failure_is_too_many_where_none_is_allowed() {
        let seen = |kind: &str, failed| {
            Timeline::of(kind, Second { answers: 10_000, failed, ..Second::default() })
        };
        let kept = |name: &str, kind: &str, failed| {
            of_clients(scenario(name).unwrap(), &seen(kind, failed), 0.001)[0].kept
        };
        assert_eq!(kept("rolling", "hit", 0), Some(true));
        assert_eq!(kept("rolling", "hit", 1), Some(false));
        assert_eq!(kept("brownout", "hit", 10), Some(true));
        assert_eq!(kept("brownout", "hit", 11), Some(false));
        // Nothing that is judged was asked for.
        assert_eq!(kept("brownout", "absent", 0), Some(false));
        assert_eq!(kept("upstream", "stored", 1), Some(false));
    }

    #[test]
    fn an_alert_that_nobody_expects_is_a_failure() {
        let labels = [("alertname", "DipylonDown"), ("alertstate", "pending")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let raised = [Found { labels, points: vec![(10.0, 1.0), (14.0, 1.0)] }];
        let alert = |name: &str| Alert {
            name: name.to_owned(),
            severity: "page".to_owned(),
            wait_secs: 60.0,
        };
        let kept = |name: &str, of: &str| judge(&alert(name), &raised, scenario(of).unwrap()).kept;
        assert_eq!(kept("DipylonDown", "mixed"), Some(false));
        assert_eq!(kept("DipylonDown", "rolling"), None);
        assert_eq!(kept("DipylonSheds", "mixed"), Some(true));
    }
}
