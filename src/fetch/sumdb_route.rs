//! How a checksum database is reached: through an upstream proxy that carries it, else directly.
//!
//! Source followed: the `go` command's `modfetch.dbClient.initBase`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::{Error, ErrorKind};
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::base_url::BaseUrl;
use super::file_tree::FileTree;
use super::goproxy_setting::{EntryKind, GoProxyList, Separator};
use super::http_body::{limited, read_all};
use super::http_client::{Get, HttpClient};
use super::http_status::refusal;
use super::sumdb_source::{DatabaseSite, MAX_SUMDB_BODY_BYTES};

/// How long a found way is used before the proxies are asked again.
const ROUTE_TTL: Duration = Duration::from_secs(3600);
/// How long a failure to find one is shared, so that parallel lookups do not each probe.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The way to one database.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Below this URL.
    Http(BaseUrl),
    /// In a local tree, below this path.
    Tree(FileTree, String),
}

impl Route {
    /// GETs `path`, which begins with a slash and is percent-encoded.
    pub(crate) async fn get(
        &self,
        http: &HttpClient,
        path: &str,
        traceparent: Option<String>,
    ) -> Result<Bytes, Error> {
        match self {
            Self::Tree(tree, base) => {
                tree.read(&format!("{base}{path}"), MAX_SUMDB_BODY_BYTES).await
            }
            Self::Http(base) => {
                let uri = base.join(path).ok_or_else(|| {
                    Error::new(ErrorKind::Internal, format!("{base}{path} is no URL"))
                })?;
                let authorization = base.authorization().cloned();
                let answer = http.get(Get { authorization, traceparent, ..Get::new(uri) }).await?;
                if answer.status != StatusCode::OK {
                    return Err(refusal(answer).await);
                }
                let place = Arc::clone(&answer.place);
                read_all(limited(answer.body, MAX_SUMDB_BODY_BYTES, place)).await
            }
        }
    }
}

/// Finds the way to a database once in a while.
pub(crate) struct Router {
    proxies: GoProxyList,
    known: Mutex<Option<(Result<Route, Error>, Instant)>>,
}

impl Router {
    pub(crate) fn new(proxies: GoProxyList) -> Self {
        Self { proxies, known: Mutex::new(None) }
    }

    /// The way to `site`. Concurrent callers wait for one probe.
    ///
    /// # Errors
    /// What a proxy failed with, when the list's separator forbids to pass it over.
    pub(crate) async fn route(
        &self,
        site: &DatabaseSite,
        http: &HttpClient,
    ) -> Result<Route, Error> {
        let mut known = self.known.lock().await;
        if let Some((route, until)) = known.as_ref()
            && Instant::now() < *until
        {
            return route.clone();
        }
        let route = self.find(site, http).await;
        let ttl = if route.is_ok() { ROUTE_TTL } else { FAILURE_TTL };
        *known = Some((route.clone(), Instant::now() + ttl));
        route
    }

    async fn find(&self, site: &DatabaseSite, http: &HttpClient) -> Result<Route, Error> {
        if site.is_pinned() {
            return Ok(Route::Http(site.url().clone()));
        }
        let below = format!("/sumdb/{}", site.name());
        let mut failure = None;
        for entry in self.proxies.entries() {
            let route = match &entry.kind {
                EntryKind::Proxy(base) => Route::Http(base.below(&below)),
                EntryKind::Tree(root) => Route::Tree(FileTree::new(root), below.clone()),
                EntryKind::Direct => return Ok(Route::Http(site.url().clone())),
                EntryKind::Off => break,
            };
            match route.get(http, "/supported", None).await {
                Ok(_) => return Ok(route),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if entry.separator == Separator::NotFound => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(Route::Http(site.url().clone())),
        }
    }
}
