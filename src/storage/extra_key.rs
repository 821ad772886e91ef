//! What the name of an extra, a file of ours under `.dipylon/`, may be: the same in every store.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;

/// Largest extra in bytes: a `.mod` of the largest size.
pub const MAX_EXTRA_BYTES: usize = MAX_GO_MOD_BYTES;
/// Longest key in bytes: a longer one reads as absent too.
pub const MAX_EXTRA_KEY_BYTES: usize = 2_048;
/// Longest element of a key in bytes: what common file systems take. A longer one is not shortened:
/// it reads as absent, and a write is refused.
pub(super) const MAX_ELEMENT_BYTES: usize = 255;

/// Keys are made by the gateway, so a bad one is a defect; but it never becomes a path. `in_use` are
/// first elements that the store uses itself.
///
/// # Errors
/// `Internal`, with what is wrong with the key.
pub(crate) fn check(key: &str, in_use: &[&str]) -> Result<(), Error> {
    let reason = if key.len() > MAX_EXTRA_KEY_BYTES {
        "it is too long"
    } else if key.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
        "it has a control character or a backslash"
    } else if key.split('/').any(|element| matches!(element, "" | "." | "..")) {
        "an element is empty, `.` or `..`"
    } else if key.split('/').next().is_some_and(|first| in_use.contains(&first)) {
        "its first element is in use by the store itself"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Internal, format!("storage key {key:?} is refused: {reason}")))
}

/// Whether nothing can be stored under the key: it, or an element of it, is too long.
pub(super) fn is_unstorable(key: &str) -> bool {
    key.len() > MAX_EXTRA_KEY_BYTES
        || key.split('/').any(|element| element.len() > MAX_ELEMENT_BYTES)
}
