//! The W3C trace context: what a client says of its trace, and what goes on to others.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::ids::{SpanId, SpanRef, TraceId, hex};

/// The longest `tracestate` that is passed on; the specification asks for 512 bytes at least.
pub const TRACESTATE_BYTES_MAX: usize = 4096;
/// Members that a `tracestate` may have; the specification wants more to be refused.
const TRACESTATE_MEMBERS_MAX: usize = 32;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span of another program that a request belongs to.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its ids.
    pub span: SpanRef,
    /// Whether that program keeps the trace.
    pub is_sampled: bool,
    /// What other systems have noted; passed on as it came.
    pub state: Option<Arc<str>>,
}

impl Parent {
    /// What a request says of it, or `None` where it says nothing, or something malformed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(TRACEPARENT)?.to_str().ok()?;
        let mut fields = text.split('-');
        let version =
            fields.next().and_then(|version| hex(version, 2)).filter(|word| *word != "ff")?;
        let trace = TraceId::from_hex(fields.next()?)?;
        let span = SpanId::from_hex(fields.next()?)?;
        let flags = u8::from_str_radix(hex(fields.next()?, 2)?, 16).ok()?;
        if version == "00" && fields.next().is_some() {
            return None;
        }
        let span = SpanRef { trace, span };
        Some(Self { span, is_sampled: flags & 1 == 1, state: state_of(headers) })
    }
}

/// The `tracestate`, which may come in several headers; `None` where it is malformed or too long, which
/// says nothing against the trace itself.
fn state_of(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = headers.get_all(TRACESTATE).iter();
    let mut state = all.next()?.to_str().ok()?.to_owned();
    for more in all {
        state.push(',');
        state.push_str(more.to_str().ok()?);
    }
    let members = || state.split(',').map(str::trim).filter(|member| !member.is_empty());
    let is_sound = members().all(|member| member.contains('='))
        && (1..=TRACESTATE_MEMBERS_MAX).contains(&members().count());
    (is_sound && state.len() <= TRACESTATE_BYTES_MAX).then(|| state.into())
}

/// The headers that carry a trace on to another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`, where there was one.
    pub tracestate: Option<Arc<str>>,
}

impl Onward {
    /// Puts them on a request.
    pub fn put(&self, headers: &mut HeaderMap) {
        let state = self.tracestate.as_deref();
        for (name, value) in [(TRACEPARENT, Some(&*self.traceparent)), (TRACESTATE, state)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

/// `traceparent` of a span.
pub(super) fn traceparent(span: SpanRef, is_sampled: bool) -> String {
    let mut text = String::with_capacity("00-".len() + 32 + 1 + 16 + "-00".len());
    text.push_str("00-");
    text.push_str(span.trace.hex().as_str());
    text.push('-');
    text.push_str(span.span.hex().as_str());
    text.push_str(if is_sampled { "-01" } else { "-00" });
    text
}
