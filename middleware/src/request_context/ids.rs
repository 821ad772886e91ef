//! Request ids and the trace context of the client.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

/// The longest request id that is taken over from a client.
pub const ID_BYTES_MAX: usize = 128;

/// Headers that may carry a request id, the first that is there counts.
const ID_HEADERS: [&str; 2] = ["athens-request-id", "x-request-id"];

/// The client's request id, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> Arc<str> {
    ID_HEADERS
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .find(|id| {
            !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .map_or_else(new_id, Arc::from)
}

/// Unique without asking the operating system per request: a random start, a counter, a keyed hash.
fn new_id() -> Arc<str> {
    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", KEYS.0.hash_one(number), KEYS.1.hash_one(number)).into()
}

/// The client's trace context (W3C `traceparent`, `tracestate`), or an empty one.
pub(super) fn remote_trace(headers: &HeaderMap) -> opentelemetry::Context {
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let state = headers.get("tracestate").and_then(|value| value.to_str().ok()).unwrap_or("");
    let context = opentelemetry::Context::new();
    match parent.and_then(|parent| span_context(parent, state)) {
        Some(remote) => context.with_remote_span_context(remote),
        None => context,
    }
}

fn span_context(parent: &str, state: &str) -> Option<SpanContext> {
    let mut fields = parent.split('-');
    let version = fields.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace = fields.next().filter(|id| is_hex(id, 32))?;
    let span = fields.next().filter(|id| is_hex(id, 16))?;
    let flags = fields.next().filter(|flags| is_hex(flags, 2))?;
    if version == "00" && fields.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
        true,
        state.parse().unwrap_or(TraceState::NONE),
    );
    context.is_valid().then_some(context)
}

/// Lower-case hexadecimal digits, as the specification wants them.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
