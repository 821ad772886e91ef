//! The body of a save: what Go's multipart writer makes of the three files, byte for byte.

use bytes::Bytes;
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::ports::NewVersion;
use futures::StreamExt as _;
use futures::stream;

use super::wire::{INFO_PART, MOD_PART, ZIP_PART};

/// Bytes of a boundary before they are written in hexadecimal, as Go's writer has them.
const BOUNDARY_BYTES: usize = 30;

/// A text that none of the parts can be expected to have.
pub(super) fn boundary() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let mut text = String::with_capacity(2 * BOUNDARY_BYTES);
    while text.len() < 2 * BOUNDARY_BYTES {
        // Each of them has keys of its own, which nobody outside can know.
        let number = RandomState::new().hash_one(text.len());
        text.push_str(&format!("{number:016x}"));
    }
    text.truncate(2 * BOUNDARY_BYTES);
    text
}

/// `Content-Type` of a form with this boundary.
pub(super) fn content_type(boundary: &str) -> String {
    format!("multipart/form-data; boundary={boundary}")
}

/// The parts in Athens's order. The zip streams from its spool.
pub(super) fn body(new: &NewVersion, boundary: &str) -> ByteStream {
    let head = |first: &str, name: &str| {
        let text = format!(
            "{first}--{boundary}\r\n\
             Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        Ok(Bytes::from(text))
    };
    let small = stream::iter([
        head("", INFO_PART),
        Ok(new.info.clone()),
        head("\r\n", MOD_PART),
        Ok(new.go_mod.clone()),
        head("\r\n", ZIP_PART),
    ]);
    let end = stream::once(std::future::ready(Ok(format!("\r\n--{boundary}--\r\n").into())));
    small.chain(new.zip.stream(0..new.zip.written())).chain(end).boxed()
}
