use crate::telemetry::trace::TraceId;
use prometheus::Registry;

use super::*;
use crate::telemetry::histogram::HistogramVector;
use crate::telemetry::metrics::{Family, Instrument};
use crate::telemetry::{IntCounter, IntGauge};

const BOUNDS: &[f64] = &[0.1, 1.0, 300.0];

fn trace(number: u8) -> Option<TraceId> {
    TraceId::from_hex(&format!("{number:032x}"))
}

fn gathered(registry: &Registry) -> String {
    encode(&registry.gather(), &Exemplars::new())
}

/// Times stand behind exemplars alone, and are not told beforehand.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once(" # ") {
        Some((before, exemplar)) => {
            let (exemplar, time) = exemplar.rsplit_once(' ').expect("a time");
            assert!(time.parse::<f64>().is_ok_and(|time| time > 1.7e9), "{time}");
            format!("{before} # {exemplar}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn counters_gauges_and_units_are_written_as_the_specification_says() {
    let registry = Registry::new();
    let counter: Family<IntCounter, ()> =
        Family::register(Some(&registry), "dipylon_sent_bytes_total", "Bytes \"sent\".\n", &[])
            .unwrap();
    counter.get(()).inc_by(7);
    let gauge: Family<IntGauge, ()> =
        Family::register(Some(&registry), "dipylon_waiting", "Who waits \\ stands.", &[]).unwrap();
    gauge.get(()).set(-3);
    let want = "\
# TYPE dipylon_sent_bytes counter
# UNIT dipylon_sent_bytes bytes
# HELP dipylon_sent_bytes Bytes \\\"sent\\\".\\n
dipylon_sent_bytes_total 7
# TYPE dipylon_waiting gauge
# HELP dipylon_waiting Who waits \\\\ stands.
dipylon_waiting -3
# EOF
";
    assert_eq!(gathered(&registry), want);
}

#[test]
fn an_exemplar_stands_behind_the_bucket_that_its_value_fell_into() {
    let registry = Registry::new();
    let vector = HistogramVector::new("dipylon_x_seconds", "Seconds.", &["route"], BOUNDS).unwrap();
    registry.register(Box::new(vector.clone())).unwrap();
    let [zip, list] = ["zip", "list"].map(|route| vector.child(&[route], true));
    zip.observe_in(0.1, trace(1));
    zip.observe_in(0.05, trace(2));
    zip.observe_in(0.5, None);
    zip.observe_in(1000.0, trace(3));
    list.observe(1.0);
    let exemplars = Exemplars::from([("dipylon_x_seconds", vector.exemplified())]);
    let text = encode(&registry.gather(), &exemplars);
    let want = "\
# TYPE dipylon_x_seconds histogram
# UNIT dipylon_x_seconds seconds
# HELP dipylon_x_seconds Seconds.
dipylon_x_seconds_bucket{route=\"list\",le=\"0.1\"} 0
dipylon_x_seconds_bucket{route=\"list\",le=\"1.0\"} 1
dipylon_x_seconds_bucket{route=\"list\",le=\"300.0\"} 1
dipylon_x_seconds_bucket{route=\"list\",le=\"+Inf\"} 1
dipylon_x_seconds_sum{route=\"list\"} 1
dipylon_x_seconds_count{route=\"list\"} 1
dipylon_x_seconds_bucket{route=\"zip\",le=\"0.1\"} 2 # {trace_id=\"00000000000000000000000000000002\"} 0.05
dipylon_x_seconds_bucket{route=\"zip\",le=\"1.0\"} 3
dipylon_x_seconds_bucket{route=\"zip\",le=\"300.0\"} 3
dipylon_x_seconds_bucket{route=\"zip\",le=\"+Inf\"} 4 # {trace_id=\"00000000000000000000000000000003\"} 1000
dipylon_x_seconds_sum{route=\"zip\"} 1000.65
dipylon_x_seconds_count{route=\"zip\"} 4
# EOF
";
    assert_eq!(without_times(&text), want);
}

#[test]
fn an_exemplar_finds_its_series_by_the_names_of_labels_in_whatever_order_they_are_declared() {
    let registry = Registry::new();
    let names = &["route", "class"];
    let vector = HistogramVector::new("dipylon_x_seconds", "Seconds.", names, BOUNDS).unwrap();
    registry.register(Box::new(vector.clone())).unwrap();
    vector.child(&["hit", "miss"], true).observe_in(0.05, trace(1));
    vector.child(&["miss", "hit"], true).observe_in(0.05, trace(2));
    let exemplars = Exemplars::from([("dipylon_x_seconds", vector.exemplified())]);
    let text = encode(&registry.gather(), &exemplars);
    for (labels, trace) in
        [("class=\"miss\",route=\"hit\"", 1), ("class=\"hit\",route=\"miss\"", 2)]
    {
        let bucket = format!("_bucket{{{labels},le=\"0.1\"}} 1 # {{trace_id=\"{trace:032x}\"}} ");
        assert!(text.contains(&bucket), "{bucket} is not in {text}");
    }
}

#[test]
fn a_child_that_is_asked_for_twice_keeps_its_exemplars() {
    let vector = HistogramVector::new("dipylon_x_seconds", "Seconds.", &[], BOUNDS).unwrap();
    crate::telemetry::Histogram::child(&vector, &[], true).observe_in(0.2, trace(1));
    vector.child(&[], true).observe_in(2.0, trace(2));
    let exemplified = vector.exemplified();
    assert_eq!(exemplified.len(), 1);
    let traces = exemplified[0].buckets.iter().map(|slot| slot.map(|slot| slot.trace));
    assert_eq!(traces.collect::<Vec<_>>(), [None, trace(1), trace(2), None]);
}
