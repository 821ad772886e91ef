//! Servers on loopback and clients of them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dipylon::config::{ExternalStorage, UrlText};
use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server in this process; it stops when it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

impl Served {
    pub(crate) async fn start(storage: Arc<dyn Storage>, options: Options) -> Self {
        Self::run(|listener, stop| serve(storage, listener, options, stop)).await
    }

    async fn run<F, S>(start: F) -> Self
    where
        F: FnOnce(Listener, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> S,
        S: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
        let address = listener.address().parse().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = Box::pin(async move { drop(stopped.await) });
        let task = tokio::spawn(start(listener, stopped));
        Self { address, stop: Some(stop), task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> dipylon_testkit::client::Client {
        dipylon_testkit::client::Client::new(&self.url())
    }
}

/// A disk store and a server before it.
pub(crate) async fn served_disk() -> (TempDir, Served) {
    served_disk_with(Options::default()).await
}

pub(crate) async fn served_disk_with(options: Options) -> (TempDir, Served) {
    let root = tempfile::tempdir().unwrap();
    let disk = dipylon::storage::disk(root.path().into()).await.unwrap();
    let options = Options { log_access: false, ..options };
    (root, Served::start(disk, options).await)
}

pub(crate) async fn try_client(url: &str) -> Result<Arc<dyn Storage>, Error> {
    let config = ExternalStorage { url: UrlText::new(url) };
    dipylon::storage::external::open(&config, &|_| None).await
}

pub(crate) async fn client(url: &str) -> Arc<dyn Storage> {
    try_client(url).await.unwrap()
}

pub(crate) async fn fresh() -> Subject {
    let (root, served) = served_disk().await;
    let client = client(&served.url()).await;
    Subject::new(client).refusing_token("no-bar").keep(served).keep(root)
}

pub(crate) async fn example() -> Subject {
    let served = Served::run(crate::example::run).await;
    let client = client(&served.url()).await;
    Subject::new(client).refusing_token("no-bar").keep(served)
}

pub(crate) fn names(module: &FakeModule) -> (ModulePath, Version) {
    (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap())
}

pub(crate) async fn try_read(
    storage: &Arc<dyn Storage>,
    module: &FakeModule,
    kind: FileKind,
) -> Result<Option<Vec<u8>>, Error> {
    let (path, version) = names(module);
    let Some(blob) = storage.read(&path, &version, kind).await? else { return Ok(None) };
    Ok(Some(read_range(&blob, 0..blob.length()).await?.to_vec()))
}

pub(crate) async fn is_stored(storage: &Arc<dyn Storage>, module: &FakeModule) -> bool {
    let read = async |kind| try_read(storage, module, kind).await.unwrap();
    read(FileKind::Info).await == Some(module.info().into_bytes())
        && read(FileKind::Mod).await == Some(module.go_mod_bytes().to_vec())
        && read(FileKind::Zip).await == Some(module.zip().to_vec())
}

pub(crate) async fn is_absent(storage: &Arc<dyn Storage>, module: &FakeModule) -> bool {
    for kind in FileKind::ALL {
        if try_read(storage, module, kind).await.unwrap().is_some() {
            return false;
        }
    }
    true
}

pub(crate) async fn list(storage: &Arc<dyn Storage>, module: &str) -> Vec<String> {
    let listed = storage.list(&ModulePath::parse(module).unwrap()).await.unwrap();
    listed.iter().map(ToString::to_string).collect()
}

/// `!` before each letter that was upper case.
pub(crate) fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(character.to_ascii_lowercase());
    }
    escaped
}

/// The chunks of a zip of so many bytes: one entry of zeros, as it is, and a proper end.
pub(crate) fn sparse_zip(bytes: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    const CHUNK_BYTES: u64 = 256 * 1024;
    const END_BYTES: u64 = 46 + 1 + 22;
    let zeros = bytes - END_BYTES;
    let zero = Bytes::from(vec![0; usize::try_from(CHUNK_BYTES).unwrap()]);
    let pieces = (0..zeros.div_ceil(CHUNK_BYTES)).map(move |piece| {
        let left = (zeros - piece * CHUNK_BYTES).min(CHUNK_BYTES);
        zero.slice(..usize::try_from(left).unwrap())
    });
    let mut end = b"PK\x01\x02".to_vec();
    end.resize(28, 0);
    end.extend_from_slice(&[1, 0]);
    end.resize(46, 0);
    end.extend_from_slice(b"aPK\x05\x06\0\0\0\0\x01\0\x01\0");
    end.extend_from_slice(&47_u32.to_le_bytes());
    end.extend_from_slice(&u32::try_from(zeros).unwrap().to_le_bytes());
    end.extend_from_slice(&[0, 0]);
    assert_eq!(end.len() as u64, END_BYTES);
    pieces.chain([end.into()])
}

/// What Go's multipart writer makes of a version, with Athens's names of the parts, in Athens's order.
pub(crate) fn go_form(boundary: &str, module: &FakeModule) -> Vec<u8> {
    let parts = [
        ("mod.info", module.info().into_bytes()),
        ("mod.mod", module.go_mod_bytes().to_vec()),
        ("mod.zip", module.zip().to_vec()),
    ];
    form_of(boundary, &parts)
}

/// A form of any parts.
pub(crate) fn form_of(boundary: &str, parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, bytes) in parts {
        if !form.is_empty() {
            form.extend_from_slice(b"\r\n");
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(bytes);
    }
    form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    form
}
