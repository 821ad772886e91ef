//! The reference page, made from the catalogue.

use std::fmt::Write as _;

use dipylon_middleware::telemetry::athens::ATHENS_METRICS;
use dipylon_middleware::telemetry::catalogue::{
    AGE_SECONDS, FieldInfo, LABELS, LAYER_SECONDS, METRICS, REQUEST_EVENT, REQUEST_SECONDS,
    SECONDS, SpanAttribute, SpanEvent, Work, series_max,
};
use dipylon_middleware::telemetry::labels::Label;
use dipylon_middleware::telemetry::{LabelInfo, LayerName, MetricInfo, RouteName};

const INTRODUCTION: &str = "\
# Telemetry

This page is made from the program's own catalogue; `DIPYLON_BLESS=1 cargo test --test telemetry`
writes it anew. A metric, label value or field that is not here does not exist.

One word says how a request ended, its *outcome*. It stands in the metrics, on the spans, in the log,
as `detail` in the answer's `Cache-Status`, and it is the same word everywhere:
[docs/outcomes.md](../outcomes.md) has each with its status, its log level and what provokes it.

Every answer carries `X-Request-Id` and `Athens-Request-ID` (equal; a client's own is kept),
`traceparent`, `Cache-Status` and `Server-Timing`. In `Cache-Status` (RFC 9211) the last word is the
gateway's; before it stand those of a near tier and the far store behind it, and what an upstream said that is a
cache itself. [docs/outcomes.md](../outcomes.md) says what each of its parameters means here.
";

const METRICS_INTRODUCTION: &str = "
Served at `/metrics` (`StatsExporter`; where that is anything but `prometheus`, nothing is counted either) in
Prometheus's text format, or as OpenMetrics with exemplars for who asks for that, always at the root, never below
`PathPrefix`.

Names end in their unit, and in `_total` where they count, as Prometheus asks. What OpenTelemetry's semantic
conventions have a name for goes by it: on spans `http.request.method`, `http.route`, `http.response.status_code`,
`url.path`; in the metrics `http_server_request_duration_seconds` and `http_server_active_requests`, behind the
prefix `dipylon_`, because their labels are closed sets of ours (`route`, `outcome`) and not the attributes that the
conventions ask for, so a query over the servers of many programs must not add them up. `process_…` is what every
Prometheus client calls it. All else only a module gateway has: it is `dipylon_…` in the metrics and `dipylon.…` on
spans.

Labels are closed sets: no module, host, path or user agent is ever a label, so a
gateway exposes the same series for one module as for a million.
";

const ATHENS_INTRODUCTION: &str = "
### Athens's own

`[Dipylon] AthensMetrics = true` exposes these beside ours, for dashboards that were made for Athens. `list`
and `latest` are not among them, and a fetch counts when all of it has ended.
";

const TRACES_INTRODUCTION: &str = "
Sent by OTLP (`TraceExporter = \"otlp\"`, `TraceExporterURL`) over gRPC, or HTTP with
`OtlpProtocol = \"http\"`. [docs/traces.md](../traces.md) says which traces are kept, how one reads, and which
standard variables are followed.

A span has one of these names; each has `dipylon.outcome`.
";

const LOG_INTRODUCTION: &str = "
One event `request` for each request, when the last byte of its answer has gone (`LogAccess`). The
fields marked with `?` are left out where there is nothing to say. Plain logs have them as
`key=value`; JSON logs (`LogFormat = \"json\"`, `CloudRuntime = \"GCP\"`) have `-` in place of `_`.

Every other line that is written while a request, or a background fetch, is in hand has its `trace_id` too. What one
place in the program says more than 20 times in 10 s is left out, and the next line of it says how many those were
(`left_out`); the event `request` is never left out, nor is an error, which a breach of security is too. A thread
writes; where standard output is not read, 8192 lines wait, of 16 MiB together at most, and further ones are lost, as
those are that cannot be written. `dipylon_log_lines_total` counts.
";

/// The page as Markdown.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    push_metrics(&mut page);
    push_athens(&mut page);
    page.push_str("\n## Labels\n");
    LABELS.iter().for_each(|label| push_label(&mut page, label));
    page.push_str("\n## Traces\n");
    page.push_str(TRACES_INTRODUCTION);
    push_spans(&mut page);
    page.push_str("\n## Log\n");
    page.push_str(LOG_INTRODUCTION);
    push_fields(&mut page, "field", REQUEST_EVENT);
    page
}

fn push_metrics(page: &mut String) {
    page.push_str("\n## Metrics\n");
    page.push_str(METRICS_INTRODUCTION);
    let list = |bounds: &[f64]| -> String {
        let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
        bounds.join(", ")
    };
    let (most, buckets) = (series_max(), list(SECONDS));
    let (requests, fewer, ages) = (list(REQUEST_SECONDS), list(LAYER_SECONDS), list(AGE_SECONDS));
    let _ = write!(
        page,
        "At the very most there are {most} series.\nHistograms count seconds, with bounds at {buckets};\nthose of \
         requests, which have two labels, at {requests};\nthose of which there are many at {fewer};\nages at {ages}.\n\
         \n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    );
    for MetricInfo { name, help, kind, label_infos, .. } in METRICS {
        let labels: Vec<String> = label_infos.iter().map(link).collect();
        let (kind, labels, help) = (kind.as_str(), labels.join(", "), cell(help));
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
}

fn push_athens(page: &mut String) {
    page.push_str(ATHENS_INTRODUCTION);
    page.push_str("\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for MetricInfo { name, help, kind, label_infos, .. } in ATHENS_METRICS {
        let label = |label: &LabelInfo| {
            let values: Vec<&str> = label.values.iter().map(|(value, _)| *value).collect();
            format!("`{}`: {}", label.name, values.join(", "))
        };
        let labels: Vec<String> = label_infos.iter().map(label).collect();
        let (kind, labels) = (kind.as_str(), labels.join("; "));
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
}

/// Two sets may share a label's name, so the link goes by the set.
fn link(label: &LabelInfo) -> String {
    format!("[`{}`](#{})", label.name, anchor(label))
}

fn heading(label: &LabelInfo) -> String {
    let shared = LABELS.iter().filter(|other| other.name == label.name).count() > 1;
    let of =
        METRICS.iter().find(|metric| metric.label_infos.iter().any(|one| one.set == label.set));
    match of {
        Some(metric) if shared => format!("`{}` of `{}`", label.name, metric.name),
        _ => format!("`{}`", label.name),
    }
}

/// The anchor that a heading gets: lower case, blanks as dashes, other signs left out.
fn anchor(label: &LabelInfo) -> String {
    let letters = heading(label).to_lowercase().replace(' ', "-");
    letters.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

fn push_label(page: &mut String, label: &LabelInfo) {
    let _ = write!(
        page,
        "\n### {}\n\n{}\n\n| value | meaning |\n|---|---|\n",
        heading(label),
        label.about.trim()
    );
    for (value, meaning) in label.values {
        let _ = writeln!(page, "| `{value}` | {} |", cell(meaning));
    }
}

fn push_spans(page: &mut String) {
    let _ = write!(page, "\n| span | is |\n|---|---|\n");
    for (set, what) in [
        (RouteName::INFO, "the root of a request, named after what was asked for"),
        (LayerName::INFO, "a layer's part in it"),
    ] {
        let _ = writeln!(page, "| any [`{}`](#{}) | {what} |", set.name, anchor(&set));
    }
    push_fields(page, "", Work::INFO.values);
    push_fields(page, "attribute", SpanAttribute::INFO.values);
    push_fields(page, "event", SpanEvent::INFO.values);
}

fn push_fields(page: &mut String, title: &str, fields: &[FieldInfo]) {
    if !title.is_empty() {
        let _ = write!(page, "\n| {title} | meaning |\n|---|---|\n");
    }
    for (name, meaning) in fields {
        let _ = writeln!(page, "| `{name}` | {} |", cell(meaning));
    }
}

/// A text within a Markdown table.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}
