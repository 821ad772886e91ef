//! Whether an expression speaks of nothing but what the catalogue declares.

use std::collections::{BTreeMap, BTreeSet};

use dipylon_middleware::telemetry::catalogue::{LABELS, METRICS};
use dipylon_middleware::telemetry::{MetricInfo, MetricType};

use crate::promql::{Selector, names};

/// What Prometheus adds to every series, and to every target.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];
const TARGET_METRICS: [&str; 3] = ["up", "scrape_samples_scraped", "scrape_duration_seconds"];

/// The recording rules, each with the labels of what it records.
pub(crate) type Recorded = BTreeMap<String, BTreeSet<String>>;

/// What is wrong with the names in `text`, one line each.
pub(crate) fn problems(text: &str, recorded: &Recorded) -> Vec<String> {
    let found = match names(text) {
        Ok(found) => found,
        Err(why) => return vec![why],
    };
    let mut problems = Vec::new();
    let mut known: BTreeSet<String> = TARGET_LABELS.iter().map(ToString::to_string).collect();
    if found.selectors.is_empty() {
        problems.push("it speaks of no metric".to_owned());
    }
    for selector in &found.selectors {
        match labels_of(&selector.metric, recorded) {
            Some(labels) => {
                check_matchers(selector, &labels, &mut problems);
                known.extend(labels);
            }
            None => problems.push(format!("{} is not in the catalogue", selector.metric)),
        }
    }
    for label in found.grouped.iter().filter(|label| !known.contains(*label)) {
        problems.push(format!("no metric of it has a label {label:?}"));
    }
    problems
}

/// The metric that a name in an expression belongs to: a histogram has three names.
fn metric(name: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|metric| match metric.kind {
        MetricType::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| name.strip_suffix(part) == Some(metric.name)),
        _ => metric.name == name,
    })
}

/// The labels that the series of this name have; `None` when there is no such name.
fn labels_of(name: &str, recorded: &Recorded) -> Option<BTreeSet<String>> {
    let target = || TARGET_LABELS.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    if TARGET_METRICS.contains(&name) {
        return Some(target());
    }
    if let Some(labels) = recorded.get(name) {
        return Some(labels.clone());
    }
    let mut labels = target();
    labels.extend(metric(name)?.labels.iter().map(ToString::to_string));
    if name.ends_with("_bucket") {
        labels.insert("le".to_owned());
    }
    Some(labels)
}

fn check_matchers(selector: &Selector, labels: &BTreeSet<String>, problems: &mut Vec<String>) {
    let name = &selector.metric;
    for (label, operator, value) in &selector.matchers {
        if !labels.contains(label) {
            problems.push(format!("{name} has no label {label:?}"));
            continue;
        }
        if TARGET_LABELS.contains(&label.as_str()) || label == "le" {
            continue;
        }
        let known = values(name, label);
        let parts: Vec<&str> =
            if operator.ends_with('~') { value.split('|').collect() } else { vec![value.as_str()] };
        for part in parts {
            // Of regular expressions only the two forms that can be held to a closed set are used.
            let is_known = match part.strip_suffix(".*").filter(|_| operator.ends_with('~')) {
                Some(prefix) => known.iter().any(|value| value.starts_with(prefix)),
                None => known.contains(part),
            };
            if !is_known {
                problems.push(format!("{name}: {label} is never {part:?}"));
            }
        }
    }
}

/// The values that a label of this metric can have. A recorded series has them from several metrics.
fn values(name: &str, label: &str) -> BTreeSet<&'static str> {
    let infos = metric(name).map_or(LABELS, |metric| metric.label_infos);
    let infos = infos.iter().filter(|info| info.name == label);
    infos.flat_map(|info| info.values.iter().map(|(value, _)| *value)).collect()
}

/// The metrics of the catalogue that are in none of `expressions`, one line each.
fn unseen(expressions: &[String]) -> Vec<String> {
    let found = expressions.iter().filter_map(|text| names(text).ok());
    let seen: BTreeSet<&str> = found
        .flat_map(|found| found.selectors)
        .filter_map(|selector| metric(&selector.metric).map(|metric| metric.name))
        .collect();
    let unseen = METRICS.iter().map(|metric| metric.name).filter(|name| !seen.contains(name));
    unseen.map(|name| format!("{name} is in no panel and in no rule")).collect()
}

/// The expressions of every panel and every rule.
fn everything() -> Vec<String> {
    let panels = crate::panels::targets().into_iter().map(|target| target.expr);
    panels.chain(crate::rules::all().into_iter().map(|rule| rule.expr)).collect()
}

#[test]
fn every_metric_of_the_catalogue_is_in_a_panel_or_a_rule() {
    let found = unseen(&everything());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_metric_that_nothing_shows_is_named() {
    let (gone, all) = ("dipylon_lock_wait_duration_seconds", everything());
    let without: Vec<String> = all.iter().filter(|expr| !expr.contains(gone)).cloned().collect();
    assert!(without.len() < all.len(), "something shows it");
    let missing = [format!("{gone} is in no panel and in no rule")];
    assert_eq!(unseen(&without), missing);
}

#[test]
fn names_of_the_catalogue_pass() {
    let recorded = Recorded::from([("job:x:y".to_owned(), BTreeSet::from(["job".to_owned()]))]);
    for text in [
        r#"sum by (route) (rate(dipylon_http_server_requests_total{outcome=~"shed|deny_.*", job=~".*"}[5m]))"#,
        "sum by (le, layer) (dipylon_layer_duration_seconds_bucket)",
        r#"dipylon_stash_saves_total{result!="differed"} unless up"#,
        r#"job:x:y{job="a"}"#,
    ] {
        assert_eq!(problems(text, &recorded), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn anything_else_is_named() {
    for (text, want) in [
        ("dipylon_requests_total", "dipylon_requests_total is not in the catalogue"),
        (
            "dipylon_layer_duration_seconds",
            "dipylon_layer_duration_seconds is not in the catalogue",
        ),
        (r#"dipylon_spool_bytes{route="zip"}"#, r#"dipylon_spool_bytes has no label "route""#),
        ("sum by (route) (dipylon_spool_bytes)", r#"no metric of it has a label "route""#),
        (
            r#"dipylon_stash_saves_total{result="verified"}"#,
            r#"dipylon_stash_saves_total: result is never "verified""#,
        ),
        (
            r#"dipylon_http_server_requests_total{outcome=~"shed|hit_disk"}"#,
            r#"dipylon_http_server_requests_total: outcome is never "hit_disk""#,
        ),
        ("1 + 1", "it speaks of no metric"),
    ] {
        assert_eq!(problems(text, &Recorded::new()), [want], "{text}");
    }
}
