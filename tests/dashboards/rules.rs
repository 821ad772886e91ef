//! The rules as files, read by the one shape they are written in, and the cases that promtool runs.
//!
//! That the reader here misses none is seen where Prometheus has loaded them: `live` compares the names.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{Recorded, problems};
use crate::world::folder;

/// One rule of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) is_alert: bool,
    pub(crate) expr: String,
    /// `severity`, `summary`, `description`, `runbook`, as they stand.
    fields: BTreeMap<String, String>,
}

fn read(name: &str) -> String {
    let path = folder().join("rules").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every rule of both files.
pub(crate) fn all() -> Vec<Rule> {
    ["recording.yml", "alerts.yml"].iter().flat_map(|name| parse(&read(name))).collect()
}

/// What the recording rules record.
pub(crate) fn recorded() -> Recorded {
    let labels = |rule: &Rule| -> BTreeSet<String> {
        let names = crate::promql::names(&rule.expr);
        names.map(|names| names.grouped.into_iter().collect()).unwrap_or_default()
    };
    let rules = all().into_iter().filter(|rule| !rule.is_alert);
    rules.map(|rule| (rule.name.clone(), labels(&rule))).collect()
}

/// Reads `- record:` and `- alert:` entries whose `expr` stands on its line, or folded below it.
fn parse(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut folded = None;
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if folded.is_some_and(|above| indent > above) {
            if let Some(rule) = rules.last_mut() {
                rule.expr = format!("{} {line}", rule.expr).trim().to_owned();
            }
            continue;
        }
        folded = None;
        let Some((key, value)) = line.trim_start_matches("- ").split_once(": ") else { continue };
        match (key, rules.last_mut()) {
            ("record" | "alert", _) => rules.push(Rule {
                name: value.to_owned(),
                is_alert: key == "alert",
                ..Rule::default()
            }),
            ("expr", Some(_)) if value == ">-" => folded = Some(indent),
            ("expr", Some(rule)) => rule.expr = value.to_owned(),
            ("labels", Some(rule)) => {
                let severity = value.trim_matches(['{', '}']).trim_start_matches("severity: ");
                rule.fields.insert("severity".to_owned(), severity.to_owned());
            }
            (_, Some(rule)) => drop(rule.fields.insert(key.to_owned(), value.to_owned())),
            (_, None) => {}
        }
    }
    rules
}

/// The cases of each alert: whether it fires in one, and stays quiet in one.
fn cases(text: &str) -> BTreeMap<&str, (bool, bool)> {
    let mut cases: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for case in text.split("alertname: ").skip(1) {
        let name = case.lines().next().unwrap_or_default().trim();
        let expected = case.split_once("exp_alerts:").map_or("", |(_, rest)| rest);
        let quiet = expected.trim_start().starts_with("[]");
        let (fires, stays_quiet) = cases.entry(name).or_default();
        *fires |= !quiet && expected.contains("exp_labels");
        *stays_quiet |= quiet;
    }
    cases
}

#[test]
fn a_rule_is_read_on_one_line_and_folded() {
    let text = "groups:\n  - name: g\n    rules:\n      - record: a:b\n        expr: x\n\
                \x20     - alert: C\n        expr: >-\n          y\n            > 1\n        for: 5m\n\
                \x20       labels: {severity: page}\n";
    let found = parse(text);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].name.as_str(), found[0].expr.as_str(), found[0].is_alert),
        ("a:b", "x", false)
    );
    assert_eq!(
        (found[1].name.as_str(), found[1].expr.as_str(), found[1].is_alert),
        ("C", "y > 1", true)
    );
    assert_eq!(found[1].fields["severity"], "page");
}

#[test]
fn every_name_in_a_rule_is_one_of_the_catalogue() {
    let recorded = recorded();
    let of = |rule: &Rule| {
        let name = rule.name.clone();
        problems(&rule.expr, &recorded).into_iter().map(move |problem| format!("{name}: {problem}"))
    };
    let found: Vec<String> = all().iter().flat_map(of).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_has_a_section_in_the_runbook() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");
    let page = std::fs::read_to_string(path).expect("the runbook is a file");
    for alert in all().iter().filter(|rule| rule.is_alert) {
        let field = |name: &str| alert.fields.get(name).map(String::as_str).unwrap_or_default();
        assert!(["page", "ticket"].contains(&field("severity")), "{alert:?}");
        assert!(!field("summary").is_empty() && !field("description").is_empty(), "{alert:?}");
        let anchor = format!("docs/runbook.md#{}", alert.name.to_lowercase());
        assert_eq!(field("runbook"), anchor, "{}", alert.name);
        let heading = format!("## {}", alert.name);
        assert!(page.lines().any(|line| line == heading), "docs/runbook.md has no {heading:?}");
    }
}

#[test]
fn every_alert_fires_in_one_case_and_stays_quiet_in_another() {
    let text = [read("alerts_test.yml"), read("burns_test.yml")].concat();
    let cases = cases(&text);
    for alert in all().iter().filter(|rule| rule.is_alert) {
        let case = cases.get(alert.name.as_str()).copied().unwrap_or_default();
        assert_eq!(case, (true, true), "{}: (fires, stays quiet) in alerts_test.yml", alert.name);
    }
}

/// The pairs of windows that the objective is asked in: the alert, how many times what is allowed, the long window
/// and the short one, which is a twelfth of it.
const BURNS: [(&str, &str, &str, &str); 4] = [
    ("DipylonErrorBudgetBurnsFast", "14.4 * 0.001", "1h", "5m"),
    ("DipylonErrorBudgetBurnsFast", "6 * 0.001", "6h", "30m"),
    ("DipylonErrorBudgetBurnsSlowly", "3 * 0.001", "1d", "2h"),
    ("DipylonErrorBudgetBurnsSlowly", "0.001", "3d", "6h"),
];

#[test]
fn the_objective_is_asked_in_four_pairs_of_windows_and_each_is_recorded() {
    let rules = all();
    for (alert, allowed, long, short) in BURNS {
        let rule = rules.iter().find(|rule| rule.name == alert).expect("the alert");
        let name = |window: &str| format!("job:dipylon_failures:ratio_rate{window}");
        let pair = format!("({} > {allowed} and {} > {allowed})", name(long), name(short));
        assert!(rule.expr.contains(&pair), "{alert} lacks {pair}: {}", rule.expr);
        for window in [long, short] {
            let recorded = rules.iter().find(|rule| rule.name == name(window)).expect("its rule");
            // Three times: what failed, nothing, and all there was.
            assert_eq!(recorded.expr.matches(&format!("[{window}]")).count(), 3, "{window}");
            assert_eq!(recorded.expr.matches('[').count(), 3, "{window}");
        }
    }
}

#[test]
fn every_recording_rule_has_a_case() {
    let text = read("recording_test.yml");
    for rule in all().iter().filter(|rule| !rule.is_alert) {
        let family = rule.name.split("rate").next().unwrap_or_default();
        let in_family = text.contains(&format!("{{__name__=~\"{family}rate.*\"}}"));
        assert!(text.contains(&rule.name) || in_family, "recording_test.yml lacks {}", rule.name);
    }
}

/// What counts against the objective, and what seconds are told of as failed, is the same.
#[test]
fn the_objective_counts_the_outcomes_of_the_class_failed() {
    use dipylon_middleware::telemetry::labels::Label as _;
    use dipylon_middleware::telemetry::{Outcome, OutcomeClass};
    let failed: BTreeSet<&str> = Outcome::ALL
        .iter()
        .filter(|outcome| OutcomeClass::of(**outcome) == OutcomeClass::Failed)
        .map(|outcome| outcome.as_str())
        .collect();
    let objective: Vec<Rule> =
        all().into_iter().filter(|rule| rule.name.starts_with("job:dipylon_failures:")).collect();
    assert_eq!(objective.len(), 7, "seven windows");
    for rule in objective {
        let (_, rest) = rule.expr.split_once("outcome=~\"").expect("it names outcomes");
        let counted = rest.split('"').next().unwrap_or_default().split('|').collect();
        assert_eq!(failed, counted, "{}", rule.name);
    }
}
