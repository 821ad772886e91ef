//! Request ids.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::service::{ATHENS_REQUEST_ID, X_REQUEST_ID};
use crate::telemetry::trace::TraceId;

/// The longest request id that is taken over from a client.
pub const ID_BYTES_MAX: usize = 128;

/// Headers that may carry a request id, the first that is there counts.
const ID_HEADERS: [HeaderName; 2] = [ATHENS_REQUEST_ID, X_REQUEST_ID];

/// The client's request id, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> Arc<str> {
    ID_HEADERS
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|id| {
            !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .map_or_else(new_id, Arc::from)
}

/// Unique without asking the operating system per request.
fn new_id() -> Arc<str> {
    TraceId::random().hex().as_str().into()
}
