//! The report of one scenario: what was loaded, the verdict, what clients saw, what the gateways counted.

use std::path::Path;

use super::document::Document;
use super::options::Options;
use super::prometheus::{Found, Prometheus};
use super::timeline::Second;
use super::verdict::{Verdict, per_file};
use super::world::World;
use crate::plot::Plot;

/// Quantiles that are drawn.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
/// Slow traces that are named.
const SLOWEST: usize = 5;
/// Bytes of the collector's file that are looked at.
const MAX_TRACES_BYTES: u64 = 256 * 1024 * 1024;

/// What Prometheus is asked for the plots: name, title, unit, question, the label that names the series. All of
/// it is counted by the gateways; rates are over windows that a short load fills.
const QUESTIONS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "outcomes",
        "How requests ended, by the gateways",
        "requests a second",
        "sum by (outcome) (rate(dipylon_http_server_requests_total{route!=\"admin\"}[15s]))",
        "outcome",
    ),
    (
        "upstream",
        "What upstream was asked, by outcome",
        "requests a second",
        "sum by (outcome) (rate(dipylon_upstream_requests_total[15s]))",
        "outcome",
    ),
    (
        "locks",
        "Waits for a lock, by result",
        "a second",
        "sum by (result) (rate(dipylon_lock_wait_duration_seconds_count[15s]))",
        "result",
    ),
    (
        "storage",
        "Calls of storage, p99 by operation",
        "seconds",
        "histogram_quantile(0.99, sum by (operation, le) \
        (rate(dipylon_storage_operation_duration_seconds_bucket[30s])))",
        "operation",
    ),
    (
        "processor",
        "Processor time of each gateway",
        "cores",
        "rate(process_cpu_seconds_total{job=\"dipylon\"}[15s])",
        "instance",
    ),
    (
        "memory",
        "Resident memory of each gateway",
        "MiB",
        "process_resident_memory_bytes{job=\"dipylon\"} / 1048576",
        "instance",
    ),
];

/// Writes `SCENARIO.md` and `SCENARIO.html`, with plots.
///
/// # Errors
/// One line: what could not be asked or written.
pub(super) fn write(
    folder: &Path,
    world: &World,
    verdict: &Verdict,
    options: &Options,
) -> Result<(), String> {
    let mut report = Document::new(&format!("Load: {}", verdict.scenario.name));
    about(&mut report, verdict, options);
    judged(&mut report, verdict);
    happened(&mut report, verdict);
    clients(&mut report, verdict);
    gateways(&mut report, world, verdict)?;
    traces(&mut report, world)?;
    report.write(folder, verdict.scenario.name, true)
}

/// A page that leads to those of all scenarios.
///
/// # Errors
/// One line: the file that cannot be written.
pub(super) fn write_index(folder: &Path, verdicts: &[Verdict]) -> Result<(), String> {
    let mut index = Document::new("Load test");
    let row = |verdict: &Verdict| {
        let fact = |name: &str| format!("{:.0}", verdict.facts.value(name));
        let failures = verdict.failures();
        let word = if failures.is_empty() { "passed".to_owned() } else { "NOT KEPT".to_owned() };
        let why = if failures.is_empty() { String::new() } else { failures.join("; ") };
        let name = verdict.scenario.name;
        vec![
            name.to_owned(),
            word,
            fact("answers"),
            fact("failed"),
            fact("wrong"),
            fact("p99_ms"),
            why,
        ]
    };
    index.table(
        &["scenario", "verdict", "answers", "failed", "wrong bytes", "p99 ms", "why"],
        verdicts.iter().map(row).collect(),
    );
    index.text(
        "Each scenario has a page of its own beside this one, `SCENARIO.html` and `SCENARIO.md`.",
    );
    index.write(folder, "report", true)
}

fn about(report: &mut Document, verdict: &Verdict, options: &Options) {
    let setup = &verdict.setup;
    report.text(format!("{}.", capital(verdict.scenario.about)));
    report.text(format!(
        "{} gateways behind nginx, locks in {}, storage in {}, every answer of upstream {} ms late, Toxiproxy \
         in between; {} for {:.0} s; {}.",
        setup.gateways,
        setup.lock.word(),
        setup.storage.word(),
        setup.upstream_delay_ms,
        if options.tests_build { "the tests' build, not optimised" } else { "a release build" },
        verdict.facts.value("seconds"),
        machine(),
    ));
    if !setup.env.is_empty() {
        let all: Vec<String> =
            setup.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        report.code("sh", all.join("\n"));
    }
}

/// What a number belongs to.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    format!("load generator and servers share {cores} cores, whose load at the end was {load}")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn judged(report: &mut Document, verdict: &Verdict) {
    let failures = verdict.failures();
    let word = if failures.is_empty() { "passed" } else { "FAILED" };
    report.heading(format!("Verdict: {word}"));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for one in &verdict.judged {
        let word = one.word().to_owned();
        rows.push(vec![one.what.clone(), one.limit.clone(), one.measured.clone(), word]);
    }
    for (rule, kept) in &verdict.facts.thresholds {
        let word = if *kept { "kept" } else { "NOT KEPT" };
        rows.push(vec!["k6".to_owned(), format!("`{rule}`"), String::new(), word.to_owned()]);
    }
    report.table(&["objective", "limit", "measured", "verdict"], rows);
    report.text(
        "The share of requests that may fail, and the alerts, are those of `dashboards/rules/alerts.yml`, which a \
         Prometheus went by during the load. An alert whose condition held for a moment is not kept, though it \
         would have waited longer before it tells anybody.",
    );
}

fn happened(report: &mut Document, verdict: &Verdict) {
    let trouble = verdict.timeline.trouble();
    if verdict.events.is_empty() && trouble.is_none() {
        return;
    }
    report.heading("What happened");
    let rows = verdict.events.iter().map(|event| {
        vec![
            format!("{:.1} s", event.at),
            format!("{:.1} s", event.until - event.at),
            event.what.clone(),
        ]
    });
    if !verdict.events.is_empty() {
        report.table(&["at", "took", "what"], rows.collect());
    }
    let all = verdict.timeline.whole(|_| true);
    let rate = 100.0 * all.failed as f64 / all.answers.max(1) as f64;
    report.text(match trouble {
        None => format!("Of {} requests none failed, and no byte was wrong: {}.", all.answers, all.wrong),
        Some((first, end)) => format!(
            "Of {} requests {} failed ({rate:.3} %), all between {first} s and {end} s of the load: {} s. Answers \
             with wrong bytes: {}.",
            all.answers,
            all.failed,
            end - first,
            all.wrong
        ),
    });
}

fn clients(report: &mut Document, verdict: &Verdict) {
    report.heading("What clients saw");
    let seconds = verdict.timeline.seconds(|_| true);
    let over = |value: &dyn Fn(&Second) -> Option<f64>| {
        let points = seconds.iter().filter_map(|(at, one)| Some((f64::from(*at), value(one)?)));
        points.collect::<Vec<_>>()
    };
    let mut rate = Plot::new("Answers, and those that failed", "seconds", "a second")
        .line("answers", over(&|one| Some(one.answers as f64)))
        .line("failed", over(&|one| Some(one.failed as f64)));
    rate.marks = marks(verdict);
    report.plot("answers", rate);
    let mut times = Plot::new("Time of an answer, to its last byte", "seconds", "ms");
    times.logarithmic = true;
    times.marks = marks(verdict);
    for (name, share) in QUANTILES {
        times = times.line(name, over(&|one| one.quantile(share)));
    }
    report.plot("times", times);
    let row = |kind: &String| {
        let whole = verdict.timeline.whole(|other| other == kind);
        let mut row = vec![kind.clone(), whole.answers.to_string(), whole.failed.to_string()];
        let quantiles = QUANTILES.iter().map(|(_, share)| *share).chain([1.0]);
        row.extend(quantiles.map(|share| {
            whole.quantile(share).map_or("-".to_owned(), |time| format!("{time:.1}"))
        }));
        row
    };
    report.table(
        &["kind", "answers", "failed", "p50 ms", "p95 ms", "p99 ms", "longest ms"],
        verdict.timeline.kinds.keys().map(row).collect(),
    );
}

fn marks(verdict: &Verdict) -> Vec<(f64, String)> {
    verdict.events.iter().map(|event| (event.at, event.what.clone())).collect()
}

fn gateways(report: &mut Document, world: &World, verdict: &Verdict) -> Result<(), String> {
    report.heading("What the gateways counted");
    let prometheus = Prometheus::local(world.prometheus);
    let (from, to) = verdict.span;
    for (name, title, unit, question, label) in QUESTIONS {
        let mut plot = Plot::new(title, "seconds", unit);
        plot.marks = marks(verdict);
        for found in prometheus.range(question, from, to)? {
            let series = found.labels.get(*label).cloned().unwrap_or_default();
            plot = plot.line(&series, of_load(&found, from));
        }
        report.plot(name, plot);
    }
    let locks = verdict.locks();
    let count = |value: f64| format!("{value:.0}");
    let restarted = verdict.events.iter().any(|event| event.what.contains("gateway-"));
    if restarted {
        report.text("A gateway that was started anew counts from nothing; the plots are right, the sums below \
        are not.");
    }
    report.table(
        &["figure", "value"],
        [
            ("upstream was asked for zips", per_file(verdict.zips)),
            ("upstream was asked for info and mod", per_file(verdict.others)),
            ("locks granted", count(locks.granted)),
            ("waits that ended because another gateway had stored", count(locks.stored)),
            ("fetches without a lock", count(locks.degraded)),
            ("mean wait for a lock", format!("{:.2} s", locks.mean_secs)),
            ("locks lost", count(locks.lost)),
        ]
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect(),
    );
    Ok(())
}

fn of_load(found: &Found, from: f64) -> Vec<(f64, f64)> {
    found.points.iter().map(|(time, value)| (time - from, *value)).collect()
}

/// What the collector received: how many spans, and the longest requests with their traces.
fn traces(report: &mut Document, world: &World) -> Result<(), String> {
    use std::io::Read;
    let path = world.traces();
    let file = match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let mut text = String::new();
    file.take(MAX_TRACES_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut spans = 0;
    let mut roots: Vec<(f64, String, String)> = Vec::new();
    // The last line may be half written.
    for batch in text.lines().filter_map(|line| crate::json::Json::parse(line).ok()) {
        let resources = batch.get("resourceSpans").items().iter();
        let scopes = resources.flat_map(|resource| resource.get("scopeSpans").items());
        for span in scopes.flat_map(|scope| scope.get("spans").items()) {
            spans += 1;
            let word = |name: &str| span.get(name).text().unwrap_or_default().to_owned();
            let time = |name: &str| span.get(name).number().unwrap_or(0.0);
            if word("parentSpanId").is_empty() {
                let secs = (time("endTimeUnixNano") - time("startTimeUnixNano")) / 1e9;
                roots.push((secs, word("name"), word("traceId")));
            }
        }
    }
    roots.sort_by(|a, b| b.0.total_cmp(&a.0));
    report.text(format!(
        "The collector received {spans} spans, {} of them whole requests. The longest:",
        roots.len()
    ));
    let row = |(secs, name, trace): &(f64, String, String)| {
        vec![format!("{secs:.2} s"), name.clone(), format!("`{trace}`")]
    };
    report.table(&["took", "request", "trace"], roots.iter().take(SLOWEST).map(row).collect());
    Ok(())
}
