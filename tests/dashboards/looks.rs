//! What Prometheus must have before a panel or a rule can be believed.
//!
//! That an expression has a value is not enough: `(x or y * 0) / y` is 0 without an `x`, whether nothing
//! was counted or the name of it never is. So each selector of an expression is looked for by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::prometheus::Prometheus;
use crate::promql::names;
use crate::variables::Chosen;
use crate::{panels, rules};

/// Gauges that are 0 while all is well. Their series are there from the start, so each must have been above
/// 0 once: a panel of one that nothing ever raises would be as good as empty.
const TROUBLE: [&str; 7] = [
    "dipylon_lock_degraded",
    "dipylon_policy_file_refused",
    "dipylon_storage_breaker_open",
    "dipylon_tier_far_failing",
    "dipylon_tier_paused",
    "dipylon_upstream_breakers_open",
    "dipylon_upstream_hosts_paused",
];

/// Expressions that must have series, each with the places that need it.
#[derive(Debug)]
pub(crate) struct Looks {
    chosen: Chosen,
    places: BTreeMap<String, BTreeSet<String>>,
}

impl Looks {
    fn new(chosen: Chosen) -> Self {
        Self { chosen, places: BTreeMap::new() }
    }

    /// Those of every panel and every rule.
    pub(crate) fn all(chosen: Chosen) -> Self {
        let mut looks = Self::new(chosen);
        for target in panels::targets() {
            looks.add_whole(&target.place, &target.expr);
            looks.add_parts(&target.place, &target.expr);
        }
        for rule in rules::all() {
            // What is recorded has the value already. An alert has none while nothing is wrong.
            if !rule.is_alert {
                looks.add_whole(&rule.name, &rule.name);
            }
            looks.add_parts(&rule.name, &rule.expr);
        }
        for gauge in TROUBLE {
            looks.add_whole("trouble", &format!("max_over_time({gauge}[$__range]) > 0"));
        }
        looks
    }

    /// Looks for the value of an expression.
    fn add_whole(&mut self, place: &str, expr: &str) {
        let expr = self.chosen.fill(expr);
        self.places.entry(expr).or_default().insert(place.to_owned());
    }

    /// Looks for each of its selectors.
    fn add_parts(&mut self, place: &str, expr: &str) {
        let expr = self.chosen.fill(expr);
        let selectors = names(&expr).expect("its names are checked").selectors;
        for selector in selectors {
            self.places.entry(selector.to_string()).or_default().insert(place.to_owned());
        }
    }

    /// How many different expressions are looked for.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// The places that have nothing to show yet, each with what is missing there.
    pub(crate) async fn empty(&self, prometheus: &Prometheus) -> Vec<String> {
        let mut empty = Vec::new();
        for (expr, places) in &self.places {
            if prometheus.series(expr).await == 0 {
                empty.extend(places.iter().map(|place| format!("{place}: {expr}")));
            }
        }
        empty
    }
}

/// A failure that the load does not make, in the form that gives 0 without it.
const HIDDEN: &str = r#"(sum(rate(dipylon_http_server_requests_total{outcome="deny_auth"}[1m]))
    or sum(rate(dipylon_http_server_requests_total[1m])) * 0)
    / sum(rate(dipylon_http_server_requests_total[1m]))"#;
/// Its part that nothing counts.
const HIDDEN_PART: &str = r#"dipylon_http_server_requests_total{outcome="deny_auth"}"#;

/// Makes sure, on a Prometheus that has data, that a name which is never counted is found where the whole
/// expression has a value.
///
/// # Panics
/// When it is not.
pub(crate) async fn assert_hidden_is_found(prometheus: &Prometheus) {
    let looks = || Looks::new(Chosen::anything());
    let (mut whole, mut parts) = (looks(), looks());
    whole.add_whole("hidden", HIDDEN);
    parts.add_parts("hidden", HIDDEN);
    assert_eq!(whole.empty(prometheus).await, Vec::<String>::new(), "it is 0, which is a value");
    assert_eq!(parts.empty(prometheus).await, [format!("hidden: {HIDDEN_PART}")]);
}

#[test]
fn an_expression_is_looked_for_whole_and_in_its_parts() {
    let mut looks = Looks::new(Chosen::anything());
    let expr = r#"(rate(a{job=~"$job", x!="1"}[$__rate_interval]) or b * 0) / b"#;
    looks.add_whole("p", expr);
    looks.add_parts("p", expr);
    looks.add_parts("q", "b > 1");
    let want = [
        (r#"(rate(a{job=~"dipylon", x!="1"}[20s]) or b * 0) / b"#, vec!["p"]),
        (r#"a{job=~"dipylon",x!="1"}"#, vec!["p"]),
        ("b{}", vec!["p", "q"]),
    ];
    let want = want.map(|(expr, places)| {
        (expr.to_owned(), places.into_iter().map(str::to_owned).collect::<BTreeSet<_>>())
    });
    assert_eq!(looks.places, BTreeMap::from(want));
}
