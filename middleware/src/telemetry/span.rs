//! Spans through the OpenTelemetry API itself: a bridge through log spans costs eight times as much
//! on the hit path.
//!
//! The root span is made by `request_context`; `observe` makes one child per layer, and only under a
//! sampled parent, so an unsampled request pays nothing.

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};

use super::catalogue::{LayerName, Outcome};

/// The instrumentation scope of every span.
pub const SCOPE: &str = "dipylon";

/// Starts a span under `parent`; the returned context holds it.
pub fn start(parent: &Context, name: &'static str, kind: SpanKind) -> Context {
    let tracer = global::tracer(SCOPE);
    let span = tracer.span_builder(name).with_kind(kind).start_with_context(&tracer, parent);
    parent.with_span(span)
}

/// A child span of `parent` for one layer's call, or `None` where the trace is not kept.
pub fn child(parent: &Context, layer: LayerName) -> Option<Context> {
    let sampled = parent.span().span_context().is_sampled();
    sampled.then(|| start(parent, layer.as_str(), SpanKind::Internal))
}

/// Ends the span in `context` with its outcome.
pub fn end(context: &Context, outcome: Outcome, error: Option<&str>) {
    let span = context.span();
    span.set_attribute(KeyValue::new("dipylon.outcome", outcome.as_str()));
    if let Some(message) = error {
        span.set_status(Status::error(message.to_owned()));
    }
    span.end();
}

/// Notes on the span in `context` that something happened; free where the trace is not kept.
pub fn event(context: &Context, name: &'static str, attributes: Vec<KeyValue>) {
    let span = context.span();
    if span.is_recording() {
        span.add_event(name, attributes);
    }
}

/// The trace id as 32 hexadecimal digits, or `None` outside a trace.
pub fn trace_id(context: &Context) -> Option<String> {
    let span = context.span();
    let id = span.span_context();
    id.is_valid().then(|| id.trace_id().to_string())
}

/// The W3C `traceparent` header of the span in `context`.
pub fn traceparent(context: &Context) -> Option<String> {
    let span = context.span();
    let id = span.span_context();
    id.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", id.trace_id(), id.span_id(), id.trace_flags().to_u8()))
}

/// The `traceparent` for a third party: nothing unless the trace is kept. Without an exporter none
/// is, and then a client's own ids are nobody else's business.
pub fn traceparent_if_kept(context: &Context) -> Option<String> {
    let is_kept = context.span().span_context().is_sampled();
    is_kept.then(|| traceparent(context)).flatten()
}
