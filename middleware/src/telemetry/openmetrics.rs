//! What the registry gathers, as OpenMetrics 1.0 text with exemplars, which the `prometheus` crate does not write.
//!
//! Source followed: the OpenMetrics specification, *Text format*. A counter's family has its name without `_total`; a
//! family whose name ends in a base unit says so; an exemplar stands behind the bucket that its value fell into.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};

use super::exemplars::{Exemplar, Exemplified};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The base units that our metrics have.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Exemplars by the name of their histogram.
pub type Exemplars = BTreeMap<&'static str, Vec<Exemplified>>;

/// The text for what was gathered.
pub fn encode(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let mut text = String::new();
    for family in families {
        push_family(&mut text, family, exemplars.get(family.name()).map_or(&[], Vec::as_slice));
    }
    text.push_str("# EOF\n");
    text
}

fn push_family(text: &mut String, family: &MetricFamily, exemplified: &[Exemplified]) {
    let name = family.name();
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
        MetricType::HISTOGRAM => (name, "histogram"),
        MetricType::GAUGE => (name, "gauge"),
        MetricType::SUMMARY | MetricType::UNTYPED => (name, "unknown"),
    };
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if let Some(unit) = UNITS.iter().find(|unit| is_in(name, unit)) {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {}", escaped(family.help()));
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => {
                push_sample(text, name, "_total", labels, metric.get_counter().get_value());
            }
            MetricType::HISTOGRAM => {
                let of_these = |one: &&Exemplified| is_of(labels, one);
                let buckets = exemplified.iter().find(of_these).map(|one| one.buckets.as_slice());
                push_histogram(text, name, labels, metric.get_histogram(), buckets.unwrap_or(&[]));
            }
            _ => push_sample(text, name, "", labels, metric.get_gauge().get_value()),
        }
    }
}

/// By their names: the registry sorts labels, and a metric has them in an order of its own.
fn is_of(labels: &[LabelPair], one: &Exemplified) -> bool {
    let has = |label: &LabelPair| {
        one.labels.iter().any(|(name, value)| name == label.name() && value == label.value())
    };
    labels.len() == one.labels.len() && labels.iter().all(has)
}

fn is_in(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

fn push_histogram(
    text: &mut String,
    name: &str,
    labels: &[LabelPair],
    histogram: &Histogram,
    exemplars: &[Option<Exemplar>],
) {
    let count = histogram.get_sample_count();
    let bounded = histogram.get_bucket().iter();
    let bounded = bounded.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let finite = bounded.filter(|(bound, _)| bound.is_finite());
    let buckets = finite.chain([(f64::INFINITY, count)]);
    for (index, (bound, cumulative)) in buckets.enumerate() {
        push_name(text, name, "_bucket", labels, Some(bound));
        let _ = write!(text, " {cumulative}");
        if let Some(exemplar) = exemplars.get(index).copied().flatten() {
            push_exemplar(text, &exemplar);
        }
        text.push('\n');
    }
    push_sample(text, name, "_sum", labels, histogram.get_sample_sum());
    push_sample(text, name, "_count", labels, count);
}

fn push_exemplar(text: &mut String, exemplar: &Exemplar) {
    let Exemplar { trace, value, at } = exemplar;
    let _ = write!(text, " # {{trace_id=\"{trace}\"}} {value}");
    if let Ok(since) = at.duration_since(SystemTime::UNIX_EPOCH) {
        let _ = write!(text, " {:.3}", since.as_secs_f64());
    }
}

fn push_sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    value: impl std::fmt::Display,
) {
    push_name(text, name, suffix, labels, None);
    let _ = writeln!(text, " {value}");
}

fn push_name(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    bound: Option<f64>,
) {
    let _ = write!(text, "{name}{suffix}");
    let mut separator = '{';
    for label in labels {
        let _ = write!(text, "{separator}{}=\"{}\"", label.name(), escaped(label.value()));
        separator = ',';
    }
    if let Some(bound) = bound {
        let bound = if bound.is_infinite() { "+Inf".to_owned() } else { canonical(bound) };
        let _ = write!(text, "{separator}le=\"{bound}\"");
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
}

/// A bound is written as a float, also where it is a whole number.
fn canonical(bound: f64) -> String {
    let text = bound.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
