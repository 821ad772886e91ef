//! Is an answer what was asked for? Login pages, foreign versions and broken files end here, before
//! anybody sees or stores them.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::ports::ZipBody;
use dipylon_middleware::request::FetchAsk;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::gomod::{GoMod, MAX_GO_MOD_BYTES};
use dipylon_protocol::info::{Info, MAX_INFO_BYTES};
use dipylon_protocol::list::{ListError, MAX_LIST_BYTES};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use futures::StreamExt as _;

use super::http_body::{limited, too_large};

/// How every module zip begins: its first local file header.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// The most bytes of an answer that is read whole.
pub(crate) fn max_bytes(ask: &FetchAsk) -> u64 {
    match ask {
        FetchAsk::List => MAX_LIST_BYTES as u64,
        FetchAsk::Latest | FetchAsk::Info(_) => MAX_INFO_BYTES as u64,
        FetchAsk::Mod(_) => MAX_GO_MOD_BYTES as u64,
        FetchAsk::Zip(_) => MAX_ZIP_BYTES,
    }
}

/// Checks a small answer: the text must be of its kind, and an info must be for what was asked.
///
/// # Errors
/// `BadContent` naming the place and the reason.
pub(crate) fn check(
    ask: &FetchAsk,
    module: &ModulePath,
    body: &[u8],
    place: &str,
) -> Result<(), Error> {
    let bad = |reason: &dyn std::fmt::Display| {
        let text = format!("{place}: upstream's answer is refused: {reason}");
        Err(Error::new(ErrorKind::BadContent, text))
    };
    match ask {
        FetchAsk::List => {
            // What the list means is the list filter's affair; here only that it is one.
            let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
            if first == Some(&b'<') { bad(&ListError::WebPage) } else { Ok(()) }
        }
        FetchAsk::Latest => match Info::parse(body).map(|info| module.accepts(&info.version)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => bad(&error),
            Err(error) => bad(&error),
        },
        FetchAsk::Info(version) => {
            match Info::parse(body).and_then(|info| info.check(version, module)) {
                Ok(()) => Ok(()),
                Err(error) => bad(&error),
            }
        }
        FetchAsk::Mod(_) => match GoMod::parse(body) {
            Ok(_) => Ok(()),
            Err(error) => bad(&error),
        },
        FetchAsk::Zip(_) => Ok(()),
    }
}

/// Checks how a zip begins and how long it says it is; the rest streams, bounded.
///
/// # Errors
/// `BadContent`, or what the stream fails with before its first four bytes.
pub(crate) async fn zip(
    stream: ByteStream,
    length: Option<u64>,
    place: Arc<str>,
) -> Result<ZipBody, Error> {
    if length.is_some_and(|length| length > MAX_ZIP_BYTES) {
        return Err(too_large(&place, MAX_ZIP_BYTES));
    }
    let mut stream = limited(stream, MAX_ZIP_BYTES, Arc::clone(&place));
    // An upstream may send single bytes; four of them are as many chunks as can be needed.
    let mut begin: Vec<Bytes> = Vec::with_capacity(ZIP_MAGIC.len());
    let mut seen = Vec::with_capacity(ZIP_MAGIC.len());
    while seen.len() < ZIP_MAGIC.len() {
        let Some(chunk) = stream.next().await.transpose()? else { break };
        let wanted = chunk.len().min(ZIP_MAGIC.len() - seen.len());
        seen.extend_from_slice(&chunk[..wanted]);
        begin.push(chunk);
    }
    if seen != ZIP_MAGIC {
        let text = format!("{place}: upstream's answer is refused: it is no module zip");
        return Err(Error::new(ErrorKind::BadContent, text));
    }
    let begin = futures::stream::iter(begin.into_iter().map(Ok));
    Ok(ZipBody { length, stream: begin.chain(stream).boxed() })
}
