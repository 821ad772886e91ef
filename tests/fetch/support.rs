//! What the tests share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon::fetch::ExtraStore;
use dipylon::fetch::base_url::BaseUrl;
use dipylon::fetch::goproxy_list::UpstreamStack;
use dipylon::fetch::http_client::{HttpClient, HttpClientConfig};
use dipylon::fetch::proxy_client::ProxyClient;
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest, RequestContext};
use dipylon_middleware::stack::Border;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use dipylon_testkit::upstream::Upstream;
use futures::StreamExt as _;

/// The timeout under test is this short; what must not time out takes far less.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// A timeout that is not under test.
const LONG: Duration = Duration::from_secs(20);

pub(crate) const MODULE: &str = "example.com/a/B";
pub(crate) const VERSION: &str = "v1.2.3";
/// The module's path as it stands in URLs.
pub(crate) const ESCAPED: &str = "/example.com/a/!b";

pub(crate) fn config() -> HttpClientConfig {
    HttpClientConfig {
        connect_timeout: LONG,
        header_timeout: LONG,
        idle_timeout: LONG,
        ..HttpClientConfig::default()
    }
}

pub(crate) fn http() -> HttpClient {
    HttpClient::new(&config()).unwrap()
}

pub(crate) fn proxy_with(http: HttpClient, url: &str) -> ProxyClient {
    ProxyClient::new(http, BaseUrl::parse(url).unwrap())
}

pub(crate) fn proxy(upstream: &Upstream) -> ProxyClient {
    proxy_with(http(), &upstream.url())
}

pub(crate) fn context() -> RequestContext {
    RequestContext::detached(tokio::time::Instant::now() + LONG)
}

pub(crate) fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

pub(crate) fn request(path: &str, ask: FetchAsk) -> FetchRequest {
    FetchRequest::new(context(), module(path), ask)
}

pub(crate) fn info(text: &str) -> FetchAsk {
    FetchAsk::Info(VersionQuery::parse(text).unwrap())
}

pub(crate) fn go_mod() -> FetchAsk {
    FetchAsk::Mod(version(VERSION))
}

pub(crate) fn zip() -> FetchAsk {
    FetchAsk::Zip(version(VERSION))
}

/// Every ask about [`MODULE`]@[`VERSION`].
pub(crate) fn every_ask() -> [FetchAsk; 5] {
    [FetchAsk::List, FetchAsk::Latest, info(VERSION), go_mod(), zip()]
}

/// Fetches something about [`MODULE`] and reads it to its end.
pub(crate) async fn fetch(fetcher: &dyn Fetcher, ask: FetchAsk) -> Result<Bytes, Error> {
    read(fetcher.fetch(request(MODULE, ask)).await?).await
}

/// The error of a fetch that must fail before its body is shown.
pub(crate) async fn refused(fetcher: &dyn Fetcher, ask: FetchAsk) -> Error {
    match fetcher.fetch(request(MODULE, ask.clone())).await {
        Ok(_) => panic!("{ask:?} was answered"),
        Err(error) => error,
    }
}

/// Reads an answer to its end; a zip must have the length it announced.
pub(crate) async fn read(fetched: Fetched) -> Result<Bytes, Error> {
    let body = match fetched.payload {
        Payload::Bytes(bytes) => return Ok(bytes),
        Payload::Zip(body) => body,
        Payload::Version { .. } => panic!("an HTTP upstream answers one file"),
    };
    let mut whole = Vec::new();
    let mut stream = body.stream;
    while let Some(chunk) = stream.next().await {
        whole.extend_from_slice(&chunk?);
    }
    if let Some(length) = body.length {
        assert_eq!(length, whole.len() as u64, "the announced length");
    }
    Ok(whole.into())
}

/// A stack of nothing but `fetcher`.
pub(crate) fn stack(fetcher: impl Fetcher) -> UpstreamStack {
    let fetcher = Arc::new(fetcher);
    Border::new(tower::service_fn(move |request| {
        let fetcher = Arc::clone(&fetcher);
        async move { fetcher.fetch(request).await }
    }))
}

/// [`ExtraStore`] in memory, which can be made to fail.
#[derive(Default)]
pub(crate) struct MemoryStore {
    files: parking_lot::Mutex<BTreeMap<String, Bytes>>,
    broken: AtomicBool,
}

impl MemoryStore {
    pub(crate) fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::Release);
    }

    pub(crate) fn file(&self, key: &str) -> Option<Bytes> {
        self.files.lock().get(key).cloned()
    }

    pub(crate) fn set(&self, key: &str, bytes: impl Into<Bytes>) {
        self.files.lock().insert(key.to_owned(), bytes.into());
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.files.lock().keys().cloned().collect()
    }

    fn check(&self) -> Result<(), Error> {
        let broken = self.broken.load(Ordering::Acquire);
        if broken { Err(Error::new(ErrorKind::Storage, "the disk is on fire")) } else { Ok(()) }
    }
}

impl ExtraStore for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.check().map(|()| self.file(key)) })
    }

    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.check().map(|()| self.set(key, bytes)) })
    }
}
