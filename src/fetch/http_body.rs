//! The body of an upstream's answer: bounded, decoded, and given up when it stalls.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::{Error, ErrorKind};
use flate2::write::MultiGzDecoder;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

/// Compressed bytes decoded at a time. One byte can become a thousand, so at most 4 MiB appear at
/// once, however hostile the body is.
const GUNZIP_INPUT_BYTES: usize = 4 * 1024;

/// The body's bytes as they arrive. It fails with `UpstreamTimeout` when nothing arrives for `idle`,
/// however long the whole takes, and with `UpstreamFailed` when it is cut short. `place` is the URL
/// to name in errors.
pub(crate) fn received(body: Incoming, idle: Duration, place: Arc<str>) -> ByteStream {
    let state = Some((body, place, 0_u64));
    futures::stream::unfold(state, move |state| async move {
        let (mut body, place, received) = state?;
        match next_data(&mut body, idle, &place, received).await {
            Ok(None) => None,
            Ok(Some(data)) => {
                let received = received + data.len() as u64;
                Some((Ok(data), Some((body, place, received))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

async fn next_data(
    body: &mut Incoming,
    idle: Duration,
    place: &str,
    received: u64,
) -> Result<Option<Bytes>, Error> {
    loop {
        let Ok(frame) = tokio::time::timeout(idle, body.frame()).await else {
            let text =
                format!("{place}: upstream sent nothing for {idle:?} after {received} bytes");
            let cause = format!("it sent nothing for {idle:?} within an answer");
            return Err(Error::new(ErrorKind::UpstreamTimeout, text).with_cause(cause));
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers and empty frames carry nothing for us.
                _ => {}
            },
            Some(Err(error)) => {
                let cause = super::http_client::causes(&error);
                let text = format!("{place}: upstream broke off after {received} bytes: {cause}");
                return Err(Error::new(ErrorKind::UpstreamFailed, text));
            }
        }
    }
}

/// The length that the head announces, in bytes on the wire.
pub(crate) fn announced_length(body: &Incoming) -> Option<u64> {
    body.size_hint().exact()
}

/// Fails with `BadContent` once more than `max_bytes` have come.
pub(crate) fn limited(stream: ByteStream, max_bytes: u64, place: Arc<str>) -> ByteStream {
    let state = Some((stream, place, 0_u64));
    futures::stream::unfold(state, move |state| async move {
        let (mut stream, place, before) = state?;
        let data = match stream.next().await? {
            Ok(data) => data,
            Err(error) => return Some((Err(error), None)),
        };
        let total = before + data.len() as u64;
        if total > max_bytes {
            return Some((Err(too_large(&place, max_bytes)), None));
        }
        Some((Ok(data), Some((stream, place, total))))
    })
    .boxed()
}

/// What an answer over its limit is refused with.
pub(crate) fn too_large(place: &str, max_bytes: u64) -> Error {
    let text = format!("{place}: upstream's answer is over the limit of {max_bytes} bytes");
    Error::new(ErrorKind::BadContent, text)
}

/// Reads a bounded stream to its end.
pub(crate) async fn read_all(mut stream: ByteStream) -> Result<Bytes, Error> {
    let Some(first) = stream.next().await.transpose()? else {
        return Ok(Bytes::new());
    };
    let Some(second) = stream.next().await.transpose()? else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    while let Some(data) = stream.next().await.transpose()? {
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

struct Gunzip {
    compressed: ByteStream,
    decoder: MultiGzDecoder<Vec<u8>>,
    input: Bytes,
    place: Arc<str>,
    ended: bool,
}

/// Decodes `Content-Encoding: gzip` as it streams.
pub(crate) fn gunzip(compressed: ByteStream, place: Arc<str>) -> ByteStream {
    let decoder = MultiGzDecoder::new(Vec::new());
    let state = Gunzip { compressed, decoder, input: Bytes::new(), place, ended: false };
    futures::stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(None) => None,
            Ok(Some(data)) => Some((Ok(data), Some(state))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Gunzip {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let decoded = std::mem::take(self.decoder.get_mut());
            if !decoded.is_empty() {
                return Ok(Some(Bytes::from(decoded)));
            }
            if !self.input.is_empty() {
                let piece = self.input.split_to(self.input.len().min(GUNZIP_INPUT_BYTES));
                self.decoder.write_all(&piece).map_err(|error| self.bad(&error))?;
            } else if self.ended {
                return Ok(None);
            } else if let Some(data) = self.compressed.next().await.transpose()? {
                self.input = data;
            } else {
                self.ended = true;
                self.decoder.try_finish().map_err(|error| self.bad(&error))?;
            }
        }
    }

    fn bad(&self, error: &std::io::Error) -> Error {
        let text = format!("{}: upstream's answer is not the gzip it claims: {error}", self.place);
        Error::new(ErrorKind::BadContent, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(data: &[u8], size: usize) -> ByteStream {
        let chunks: Vec<_> = data.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        futures::stream::iter(chunks).boxed()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn gzip_is_decoded_however_it_is_cut() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let compressed = gzip(&plain);
        for size in [1, 7, 4096, compressed.len()] {
            let decoded = read_all(gunzip(chunks(&compressed, size), "x".into())).await.unwrap();
            assert_eq!(decoded, plain, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn truncated_or_foreign_gzip_is_bad_content() {
        let compressed = gzip(b"some text that is cut");
        for body in [&compressed[..compressed.len() - 3], b"<html>", &[]] {
            let got = read_all(gunzip(chunks(body, 5), "x".into())).await;
            match got {
                Err(error) => assert_eq!(error.kind(), ErrorKind::BadContent),
                Ok(bytes) => assert!(body.is_empty() && bytes.is_empty(), "{body:?} was taken"),
            }
        }
    }

    #[tokio::test]
    async fn a_gzip_bomb_stops_at_the_limit_of_the_decoded_bytes() {
        let bomb = gzip(&vec![0; 20 << 20]);
        assert!(bomb.len() < 100_000);
        let mut stream = limited(gunzip(chunks(&bomb, 1 << 20), "x".into()), 1 << 20, "x".into());
        let mut largest = 0;
        let error = loop {
            match stream.next().await.expect("the stream ends with an error") {
                Ok(data) => largest = largest.max(data.len()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BadContent);
        assert!(largest <= 5 << 20, "{largest} bytes at once");
        assert!(stream.next().await.is_none(), "an error ends the stream");
    }

    #[tokio::test]
    async fn exactly_the_limit_is_allowed() {
        let body = limited(chunks(&[7; 10], 3), 10, "x".into());
        assert_eq!(read_all(body).await.unwrap().len(), 10);
    }
}
