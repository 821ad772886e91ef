//! Finished spans, as a test reads them.

use std::future::{Future, ready};
use std::sync::LazyLock;

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use parking_lot::Mutex;

static FINISHED: Mutex<Vec<SpanData>> = Mutex::new(Vec::new());

static PROVIDER: LazyLock<SdkTracerProvider> = LazyLock::new(|| {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Keep).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    provider
});

#[derive(Debug)]
struct Keep;

impl SpanExporter for Keep {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        FINISHED.lock().extend(batch);
        ready(Ok(()))
    }
}

/// Makes every span of the process real from now on. All tests of the process share the exporter, so
/// a test looks for spans of its own traces.
pub(crate) fn install() {
    LazyLock::force(&PROVIDER);
}

/// Finished spans of a trace.
pub(crate) fn of_trace(trace: TraceId) -> Vec<SpanData> {
    matching(|span| span.span_context.trace_id() == trace)
}

/// Finished spans that are linked to a trace.
pub(crate) fn linked_to(trace: TraceId) -> Vec<SpanData> {
    matching(|span| span.links.iter().any(|link| link.span_context.trace_id() == trace))
}

fn matching(wanted: impl Fn(&SpanData) -> bool) -> Vec<SpanData> {
    FINISHED.lock().iter().filter(|span| wanted(span)).cloned().collect()
}
