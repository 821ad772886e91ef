//! Finished spans as the exporter wants them.

use std::borrow::Cow;

use dipylon_middleware::telemetry::trace::{Attributes, FinishedSpan, SpanRef, Value};
use dipylon_middleware::telemetry::{LayerName, SpanAttribute, SpanName};
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// The instrumentation scope of every span.
const SCOPE: &str = "dipylon";

pub(super) fn span_data(span: FinishedSpan) -> SpanData {
    let state = span.state.as_deref().and_then(|state| state.parse().ok());
    let own = SpanRef { trace: span.trace, span: span.id };
    let mut attributes = pairs(span.attributes);
    attributes.push(KeyValue::new(SpanAttribute::Outcome.as_str(), span.outcome.as_str()));
    let (mut events, mut links) = (SpanEvents::default(), SpanLinks::default());
    events.events = span
        .events
        .into_iter()
        .map(|event| Event::new(event.name.as_str(), event.at, pairs(event.attributes), 0))
        .collect();
    links.links =
        span.links.into_iter().map(|to| Link::with_context(context(to, true, None))).collect();
    SpanData {
        span_context: context(own, false, state),
        parent_span_id: span
            .parent
            .map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_bytes())),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: kind(span.name),
        name: Cow::Borrowed(span.name.as_str()),
        start_time: span.started,
        end_time: span.ended,
        attributes,
        dropped_attributes_count: 0,
        events,
        links,
        status: span.error.map_or(Status::Unset, |error| Status::error(String::from(error))),
        instrumentation_scope: InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// Which side of a call a span is.
fn kind(name: SpanName) -> SpanKind {
    match name {
        SpanName::Request(_) => SpanKind::Server,
        SpanName::Layer(LayerName::Upstream) => SpanKind::Client,
        SpanName::Layer(_) | SpanName::Work(_) => SpanKind::Internal,
    }
}

/// All that is kept is sampled, whatever its caller said.
fn context(span: SpanRef, is_remote: bool, state: Option<TraceState>) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(span.trace.to_bytes()),
        SpanId::from_bytes(span.span.to_bytes()),
        TraceFlags::SAMPLED,
        is_remote,
        state.unwrap_or(TraceState::NONE),
    )
}

fn pairs(attributes: Attributes) -> Vec<KeyValue> {
    let pair = |(name, value): (SpanAttribute, Value)| match value {
        Value::Text(text) => KeyValue::new(name.as_str(), String::from(text)),
        Value::Number(number) => KeyValue::new(name.as_str(), number),
        Value::Flag(flag) => KeyValue::new(name.as_str(), flag),
    };
    attributes.into_iter().map(pair).collect()
}
