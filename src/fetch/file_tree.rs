//! A `file:///` entry of the GOPROXY list: a tree in the layout of a module cache's
//! `cache/download`, which is that of the protocol's paths.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest};
use dipylon_middleware::{Error, ErrorKind, body};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;

use super::content;
use super::http_body::too_large;

/// Fetches from a local tree. Reads happen on blocking threads.
#[derive(Clone, Debug)]
pub struct FileTree {
    root: PathBuf,
    name: Arc<str>,
}

impl FileTree {
    /// The tree below `root`; it need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), name: format!("file://{}", root.display()).into() }
    }

    /// A file of at most `max_bytes`; `path` begins with a slash and is a protocol path, so it can
    /// not lead out of the tree.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, `BadContent` where it is over the limit, and
    /// `UpstreamFailed` where it cannot be read.
    pub(crate) async fn read(&self, path: &str, max_bytes: u64) -> Result<Bytes, Error> {
        let (file, length, place) = self.open(path, max_bytes).await?;
        let read = move || {
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            // The file may grow while it is read: its length was checked, so that much is taken.
            (&file).take(length).read_to_end(&mut bytes).map(|_| Bytes::from(bytes))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(unreadable(&place, &error)),
            Err(error) => Err(unreadable(&place, &std::io::Error::other(error))),
        }
    }

    async fn open(&self, path: &str, max_bytes: u64) -> Result<(File, u64, Arc<str>), Error> {
        let full = self.root.join(path.trim_start_matches('/'));
        let place: Arc<str> = format!("{}{path}", self.name).into();
        let open = move || {
            let file = File::open(full)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let opened: std::io::Result<(File, std::fs::Metadata)> = tokio::task::spawn_blocking(open)
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (file, metadata) = opened.map_err(|error| unreadable(&place, &error))?;
        if !metadata.is_file() {
            let text = format!("{place}: not found: it is no file");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        if metadata.len() > max_bytes {
            return Err(too_large(&place, max_bytes));
        }
        Ok((file, metadata.len(), place))
    }

    async fn ask(&self, request: FetchRequest) -> Result<Fetched, Error> {
        let path = request.ask.route(&request.module).path();
        let max_bytes = content::max_bytes(&request.ask);
        let payload = if matches!(request.ask, FetchAsk::Zip(_)) {
            let (file, length, place) = self.open(&path, max_bytes).await?;
            let file = body::blob(&Blob::from_file(file, length), 0..length);
            let stream = file.into_data_stream().boxed();
            Payload::Zip(content::zip(stream, Some(length), place).await?)
        } else {
            let bytes = self.read(&path, max_bytes).await?;
            let place = format!("{}{path}", self.name);
            content::check(&request.ask, &request.module, &bytes, &place)?;
            Payload::Bytes(bytes)
        };
        Ok(Fetched { payload, upstream: Arc::clone(&self.name), cache_status: None })
    }
}

fn unreadable(place: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let (kind, what) = match error.kind() {
        NotFound | NotADirectory => (ErrorKind::NotFound, "not found"),
        _ => (ErrorKind::UpstreamFailed, "cannot be read"),
    };
    Error::new(kind, format!("{place}: {what}: {error}"))
}

impl Fetcher for FileTree {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.ask(request))
    }
}
