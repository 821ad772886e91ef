//! Traces: what the recorder keeps goes through a bounded queue to an OTLP exporter, where one is configured.
//! Without one, every request has ids all the same.

mod convert;
mod exporter;
mod queue;
mod settings;

use std::time::Duration;

use dipylon_middleware::telemetry::trace::Tracer;
use dipylon_middleware::telemetry::{SpanFate, Telemetry};

use self::queue::Sending;
use self::settings::Settings;
pub use self::settings::{DEFAULT_URL, SPANS_QUEUED_MAX};

/// The flush at exit may take this long: a dead collector must not hold a drain.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go, and which.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// Whether there is a collector.
    pub export: bool,
    /// Its URL; empty, or the default one, leaves it to the standard `OTEL_EXPORTER_OTLP_*` variables.
    pub url: String,
    /// HTTP with protobuf in place of gRPC.
    pub http: bool,
    /// Headers for the collector: secret.
    pub headers: Vec<(String, String)>,
    /// The share of new traces that is kept, 0 to 1; nothing leaves it to the standard variables.
    pub fraction: Option<f64>,
    /// Whether errors, slow answers and misses are kept whatever the share.
    pub keeps_notable: bool,
    /// From when on an answer is slow.
    pub slow: Option<Duration>,
}

/// Begins traces, and sends what is left when the program ends.
#[derive(Debug)]
pub struct Traces {
    tracer: Tracer,
    sending: Option<Sending>,
}

/// Sets tracing up as the keys say, and the standard variables where they do not. Call inside the runtime.
///
/// # Errors
/// When the exporter cannot be built: a malformed URL, header or variable, or a build without `otlp`.
pub fn init(
    config: &TraceConfig,
    variable: &dyn Fn(&str) -> Option<String>,
    telemetry: &Telemetry,
) -> Result<Traces, String> {
    let Some(settings) = Settings::of(config, variable)? else {
        return Ok(Traces { tracer: Tracer::default(), sending: None });
    };
    let exporter = exporter::build(&settings)?;
    let sending = Sending::begin(exporter, settings.batch, telemetry);
    Ok(Traces { tracer: Tracer::new(settings.rules, sending.sink()), sending: Some(sending) })
}

impl Traces {
    /// What begins traces.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends what is left, for a bounded time, and counts what that was too short for.
    pub async fn flush(self) {
        let Some(sending) = self.sending else { return };
        let spans = sending.end(FLUSH_TIMEOUT).await;
        if spans.left_behind > 0 {
            tracing::warn!(
                spans = spans.left_behind,
                "the last traces were not sent: the collector did not take them in time"
            );
        }
        if spans.lost() > 0 {
            let [queue_full, not_taken, left_behind] =
                [spans.queue_full, spans.not_taken, spans.left_behind];
            tracing::warn!(
                sent = spans.sent,
                queue_full,
                not_taken,
                left_behind,
                "spans were lost"
            );
        }
    }
}

/// What became of the spans of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    sent: u64,
    queue_full: u64,
    not_taken: u64,
    left_behind: u64,
}

impl Tally {
    fn of(telemetry: &Telemetry) -> Self {
        let count = |fate| telemetry.metrics.trace_spans.get((fate,)).get();
        Self {
            sent: count(SpanFate::Sent),
            queue_full: count(SpanFate::QueueFull),
            not_taken: count(SpanFate::NotTaken),
            left_behind: count(SpanFate::LeftBehind),
        }
    }

    fn lost(&self) -> u64 {
        self.queue_full + self.not_taken + self.left_behind
    }
}

#[cfg(test)]
mod tests;
