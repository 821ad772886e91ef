//! From the files of `go mod download` to a payload.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{Payload, ZipBody};
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use futures::stream;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::answer::Download;

/// How much of a zip is read at once.
const ZIP_CHUNK_BYTES: usize = 128 << 10;

/// A downloaded version: small files read, the zip open.
pub(super) struct Opened {
    version: Version,
    info: Bytes,
    go_mod: Bytes,
    zip: File,
    zip_bytes: u64,
    subject: String,
}

impl Opened {
    /// Reads the files that `answer` names.
    pub(super) async fn open(
        subject: &str,
        answer: &Download,
        asked: &VersionQuery,
    ) -> Result<Self, Error> {
        let version = Version::parse(&answer.version).map_err(|error| {
            let text = format!("{subject}: the go command answered with no version: {error}");
            Error::new(ErrorKind::BadContent, text)
        })?;
        if let Some(canonical) = asked.canonical().filter(|canonical| **canonical != version) {
            let text = format!(
                "{subject}: there is no {canonical}, the version is {version}; ask for that"
            );
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let (Some(info), Some(go_mod), Some(zip)) = (&answer.info, &answer.go_mod, &answer.zip)
        else {
            let text = format!("{subject}: the go command named no info, mod or zip file");
            return Err(Error::new(ErrorKind::BadContent, text));
        };
        let unreadable = |error: io::Error| {
            let text = format!("{subject}: cannot read what the go command downloaded: {error}");
            Error::new(ErrorKind::Internal, text)
        };
        let zip = File::open(zip).await.map_err(unreadable)?;
        Ok(Self {
            info: read_small(info, MAX_INFO_BYTES).await.map_err(unreadable)?,
            go_mod: read_small(go_mod, MAX_GO_MOD_BYTES).await.map_err(unreadable)?,
            zip_bytes: zip.metadata().await.map_err(unreadable)?.len(),
            zip,
            version,
            subject: subject.to_owned(),
        })
    }

    /// The payload; the zip is read as its stream is polled.
    pub(super) fn into_payload(self) -> Payload {
        let stream = stream_of(self.zip, self.zip_bytes, self.subject);
        Payload::Version {
            version: self.version,
            info: self.info,
            go_mod: self.go_mod,
            zip: ZipBody { length: Some(self.zip_bytes), stream },
        }
    }
}

async fn read_small(path: &Path, limit_bytes: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    let limit = limit_bytes as u64;
    File::open(path).await?.take(limit + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > limit_bytes {
        return Err(io::Error::other(format!("a file is longer than {limit_bytes} bytes")));
    }
    Ok(bytes.into())
}

/// Exactly `length` bytes of a file, or an error at the end.
fn stream_of(file: File, length: u64, subject: String) -> ByteStream {
    Box::pin(stream::try_unfold((file, length, subject), |(mut file, left, subject)| async move {
        if left == 0 {
            return Ok(None);
        }
        let room = usize::try_from(left).unwrap_or(ZIP_CHUNK_BYTES).min(ZIP_CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(room);
        let result = (&mut file).take(room as u64).read_buf(&mut chunk).await;
        let read = result.and_then(|count| match count {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            count => Ok(count as u64),
        });
        match read {
            Ok(count) => Ok(Some((chunk.freeze(), (file, left - count, subject)))),
            Err(error) => {
                let text = format!("{subject}: cannot read the zip that go downloaded: {error}");
                Err(Error::new(ErrorKind::Internal, text))
            }
        }
    }))
}
