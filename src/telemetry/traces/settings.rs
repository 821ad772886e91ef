//! What the keys say of traces, and the standard `OTEL_*` variables where the keys do not.

use std::time::Duration;

use dipylon_middleware::telemetry::trace::KeepRules;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

use super::TraceConfig;
use super::queue::Batch;

/// `TraceExporterURL` where nobody has set it: then a standard variable comes first.
pub const DEFAULT_URL: &str = "http://localhost:4317";
/// Spans that may wait for the collector, whatever `OTEL_BSP_MAX_QUEUE_SIZE` says.
pub const SPANS_QUEUED_MAX: usize = 262_144;

/// Spans that may wait for the collector: a cold graph of 600 files.
const SPANS_QUEUED: usize = 16_384;
/// Spans that are sent at once, as in other programs.
const SPANS_SENT: usize = 512;
/// How long a span waits for others.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long one attempt to send may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sending may take with all attempts.
const EXPORT_PATIENCE: Duration = Duration::from_secs(30);
/// Where a collector listens for OTLP over HTTP if nobody says.
const HTTP_URL: &str = "http://localhost:4318";
const HTTP_PATH: &str = "/v1/traces";

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything about traces, decided.
#[derive(Debug)]
#[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "there is no exporter to tell"))]
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) http: bool,
    /// Those of the keys; the exporter reads those of the variables itself, and these come first.
    pub(super) headers: Vec<(String, String)>,
    /// A file with certificates to trust besides the system's.
    pub(super) certificate: Option<String>,
    pub(super) timeout: Duration,
    pub(super) batch: Batch,
    pub(super) rules: KeepRules,
    pub(super) resource: Resource,
}

impl Settings {
    /// `None` where no traces are to be sent.
    ///
    /// # Errors
    /// For a variable that cannot be followed.
    pub(super) fn of(config: &TraceConfig, variable: Variable<'_>) -> Result<Option<Self>, String> {
        // Set but empty means not set, in the specification.
        let variable = &|name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, word: &str| {
            variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
        };
        let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        if !config.export || is_off {
            return Ok(None);
        }
        let http = config.http || says_http(variable)?;
        Ok(Some(Self {
            endpoint: endpoint(config, http, variable),
            http,
            headers: config.headers.clone(),
            certificate: of_traces(variable, "CERTIFICATE"),
            timeout: timeout(variable),
            batch: batch(variable),
            rules: rules(config, variable)?,
            resource: resource(variable),
        }))
    }
}

/// A variable of the exporter: the one for traces, else the one for everything.
fn of_traces(variable: Variable<'_>, name: &str) -> Option<String> {
    variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
        .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn says_http(variable: Variable<'_>) -> Result<bool, String> {
    match of_traces(variable, "PROTOCOL").as_deref() {
        None | Some("grpc") => Ok(false),
        Some("http/protobuf") => Ok(true),
        Some(other) => Err(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL: accepted are grpc and http/protobuf, not {other:?}"
        )),
    }
}

fn endpoint(config: &TraceConfig, http: bool, variable: Variable<'_>) -> String {
    let below = |base: &str| format!("{}{HTTP_PATH}", base.trim_end_matches('/'));
    let url = config.url.trim_end_matches('/');
    if !url.is_empty() && url != DEFAULT_URL {
        return if http && !url.ends_with(HTTP_PATH) { below(url) } else { url.to_owned() };
    }
    let for_traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let for_all = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    match (for_traces, for_all) {
        // Of traces alone: taken as it is, in the specification.
        (Some(exact), _) => exact,
        (None, Some(base)) if http => below(&base),
        (None, Some(base)) => base,
        (None, None) if http => below(HTTP_URL),
        (None, None) => DEFAULT_URL.to_owned(),
    }
}

/// A whole number that a variable holds. One that holds something else is as good as not set, in the
/// specification.
fn number(variable: Variable<'_>, name: &str) -> Option<u64> {
    let text = variable(name)?;
    let number = text.trim().parse().ok();
    if number.is_none() {
        tracing::warn!(name, text, "this variable holds no whole number: it is not followed");
    }
    number
}

fn milliseconds(variable: Variable<'_>, name: &str) -> Option<Duration> {
    number(variable, name).filter(|number| *number > 0).map(Duration::from_millis)
}

fn timeout(variable: Variable<'_>) -> Duration {
    milliseconds(variable, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
        .or_else(|| milliseconds(variable, "OTEL_EXPORTER_OTLP_TIMEOUT"))
        .unwrap_or(EXPORT_TIMEOUT)
}

fn batch(variable: Variable<'_>) -> Batch {
    let count = |name, default, most| {
        let number = number(variable, name).and_then(|number| usize::try_from(number).ok());
        number.unwrap_or(default).clamp(1, most)
    };
    let queued_max = count("OTEL_BSP_MAX_QUEUE_SIZE", SPANS_QUEUED, SPANS_QUEUED_MAX);
    Batch {
        queued_max,
        spans_max: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", SPANS_SENT, queued_max),
        every: milliseconds(variable, "OTEL_BSP_SCHEDULE_DELAY").unwrap_or(SEND_EVERY),
        patience: milliseconds(variable, "OTEL_BSP_EXPORT_TIMEOUT").unwrap_or(EXPORT_PATIENCE),
    }
}

fn rules(config: &TraceConfig, variable: Variable<'_>) -> Result<KeepRules, String> {
    let (fraction, follows_parents) = match (config.fraction, variable("OTEL_TRACES_SAMPLER")) {
        (Some(fraction), _) => (fraction, true),
        (None, None) => (1.0, true),
        (None, Some(sampler)) => sampler_of(sampler.trim(), variable)?,
    };
    let TraceConfig { keeps_notable, slow, .. } = *config;
    Ok(KeepRules { fraction, follows_parents, keeps_notable, slow })
}

/// The share, and whether callers are followed.
fn sampler_of(sampler: &str, variable: Variable<'_>) -> Result<(f64, bool), String> {
    let ratio = || match variable("OTEL_TRACES_SAMPLER_ARG") {
        None => Ok(1.0),
        Some(text) => match text.trim().parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(format!("OTEL_TRACES_SAMPLER_ARG: accepted is 0 to 1, not {text:?}")),
        },
    };
    match sampler {
        "always_on" => Ok((1.0, false)),
        "always_off" => Ok((0.0, false)),
        "traceidratio" => Ok((ratio()?, false)),
        "parentbased_always_on" => Ok((1.0, true)),
        "parentbased_always_off" => Ok((0.0, true)),
        "parentbased_traceidratio" => Ok((ratio()?, true)),
        other => Err(format!(
            "OTEL_TRACES_SAMPLER: accepted are always_on, always_off, traceidratio and parentbased_ before \
             each of them, not {other:?}"
        )),
    }
}

/// What the collector is told of this process. The SDK reads the variables; ours is only what they leave out.
fn resource(variable: Variable<'_>) -> Resource {
    let said = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let says = |name: &str| {
        said.split(',').any(|pair| pair.split('=').next().is_some_and(|key| key.trim() == name))
    };
    let mut resource = Resource::builder();
    if variable("OTEL_SERVICE_NAME").is_none() && !says("service.name") {
        resource = resource.with_service_name("dipylon");
    }
    if !says("service.version") {
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        resource = resource.with_attribute(version);
    }
    resource.build()
}
