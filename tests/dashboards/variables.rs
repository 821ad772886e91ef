//! The dashboard's variables with all chosen, as Grafana puts them into an expression.

use crate::panels;
use crate::prometheus::{JOB, Prometheus};

/// What `$__rate_interval` and `$__range` stand for in the check.
const RATE_INTERVAL: &str = "20s";
const RANGE: &str = "5m";
/// What has a meaning of its own in a regular expression.
const SPECIAL: &str = "$^*{}[]'+?.()|";

/// The variables of the dashboard, each with what stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen(Vec<(String, String)>);

impl Chosen {
    /// Gateways that there need not be: for expressions that are only read.
    pub(crate) fn anything() -> Self {
        let fixed = [("job", JOB), ("instance", r"(a\\.b:1|c:2)")];
        Self(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// "All" of every variable, by what Prometheus knows now.
    pub(crate) async fn all(prometheus: &Prometheus) -> Self {
        let mut chosen = Self(Vec::new());
        for variable in panels::variables() {
            // A variable may say itself what "All" is; else it is everything that its question finds.
            let value = match variable.all_value {
                Some(value) => value,
                None => {
                    let selector = chosen.fill(&variable.selector);
                    one_of(&prometheus.label_values(&selector, &variable.label).await)
                }
            };
            chosen.0.push((variable.name, value));
        }
        chosen
    }

    /// An expression of a panel as Grafana would send it.
    pub(crate) fn fill(&self, expr: &str) -> String {
        let filled = expr.replace("$__rate_interval", RATE_INTERVAL).replace("$__range", RANGE);
        self.0.iter().fold(filled, |text, (name, value)| text.replace(&format!("${name}"), value))
    }
}

/// A regular expression, within the quotes of an expression, for any of `values`.
fn one_of(values: &[String]) -> String {
    let escaped: Vec<String> = values.iter().map(|value| escaped(value)).collect();
    match escaped.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join("|")),
    }
}

fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for character in value.chars() {
        if SPECIAL.contains(character) {
            escaped.push_str(r"\\");
        }
        escaped.push(character);
    }
    escaped
}

#[test]
fn all_that_is_chosen_is_one_regular_expression() {
    let values = ["10.0.0.1:3000", "gw-2:3000"].map(str::to_owned);
    assert_eq!(one_of(&values), r"(10\\.0\\.0\\.1:3000|gw-2:3000)");
    assert_eq!(one_of(&values[1..]), "gw-2:3000");
    assert_eq!(one_of(&[]), "()", "nothing has an empty job");
    let filled = Chosen::anything().fill(r#"x{job=~"$job", instance=~"$instance"}[$__range]"#);
    assert_eq!(filled, r#"x{job=~"dipylon", instance=~"(a\\.b:1|c:2)"}[5m]"#);
}
