//! Request ids.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

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
