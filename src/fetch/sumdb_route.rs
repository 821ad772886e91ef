//! How a checksum database is reached: through an upstream proxy that carries it, else directly.
//!
//! Source followed: the `go` command's `modfetch.dbClient.initBase`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::{Fetched, Payload};
use dipylon_middleware::request::{Named, RequestContext, SumDbFetch};
use dipylon_middleware::stack::Border;
use dipylon_middleware::{Error, ErrorKind};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::base_url::BaseUrl;
use super::file_tree::FileTree;
use super::goproxy_setting::{EntryKind, GoProxyList, Separator};
use super::http_body::{limited, read_all};
use super::http_client::{Get, HttpClient};
use super::http_status::refusal;
use super::sumdb_site::DatabaseSite;
use super::sumdb_source::{MAX_SUMDB_BODY_BYTES, MAX_SUMDB_FETCH};

/// How long a found way is used before the proxies are asked again.
const ROUTE_TTL: Duration = Duration::from_secs(3600);
/// How long a proxy has to say whether it carries a database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a failure to find one is shared, so that parallel lookups do not each probe.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The ways to upstream proxies that obey the manners of their hosts. A proxy without one is asked at once.
#[derive(Clone, Debug, Default)]
pub struct Carriers(Vec<(EntryKind, Border<SumDbFetch, Fetched>)>);

impl Carriers {
    pub(crate) fn new(ways: Vec<(EntryKind, Border<SumDbFetch, Fetched>)>) -> Self {
        Self(ways)
    }

    fn route(&self, entry: &EntryKind, below: &str) -> Option<Route> {
        let (_, way) = self.0.iter().find(|(kind, _)| kind == entry)?;
        Some(Route::Carried(way.clone(), below.to_owned()))
    }
}

/// What a way to a proxy ends in: a GET below the proxy's URL.
pub(crate) fn end_of_way(http: HttpClient, proxy: BaseUrl) -> Border<SumDbFetch, Fetched> {
    Border::new(tower::service_fn(move |request: SumDbFetch| {
        let (http, proxy) = (http.clone(), proxy.clone());
        async move {
            request.names.as_ref().map_or(Ok(()), Named::check)?;
            let bytes = get(&http, &proxy, &request.path).await?;
            let upstream: Arc<str> = proxy.to_string().into();
            Ok::<_, Error>(Fetched { payload: Payload::Bytes(bytes), upstream, cache_status: None })
        }
    }))
}

async fn get(http: &HttpClient, base: &BaseUrl, path: &str) -> Result<Bytes, Error> {
    let uri = base
        .join(path)
        .ok_or_else(|| Error::new(ErrorKind::Internal, format!("{base}{path} is no URL")))?;
    let authorization = base.authorization().cloned();
    let answer = http.get(Get { authorization, ..Get::new(uri) }).await?;
    if answer.status != StatusCode::OK {
        return Err(refusal(answer).await);
    }
    let place = Arc::clone(&answer.place);
    read_all(limited(answer.body, MAX_SUMDB_BODY_BYTES, place)).await
}

/// The way to one database.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// By an upstream proxy, below this path of it.
    Carried(Border<SumDbFetch, Fetched>, String),
    /// Below this URL.
    Http(BaseUrl),
    /// In a local tree, below this path.
    Tree(FileTree, String),
}

impl Route {
    /// GETs `path`, which begins with a slash and is percent-encoded, where the module that it `names` may be told.
    pub(crate) async fn get(
        &self,
        http: &HttpClient,
        path: &str,
        names: Option<Named>,
    ) -> Result<Bytes, Error> {
        names.as_ref().map_or(Ok(()), Named::check)?;
        match self {
            Self::Tree(tree, base) => {
                tree.read(&format!("{base}{path}"), MAX_SUMDB_BODY_BYTES).await
            }
            Self::Http(base) => get(http, base, path).await,
            Self::Carried(way, below) => {
                let context = RequestContext::detached(Instant::now() + MAX_SUMDB_FETCH);
                let path = format!("{below}{path}").into();
                match way.send(SumDbFetch { context, path, names }).await?.payload {
                    Payload::Bytes(bytes) => Ok(bytes),
                    _ => Err(Error::new(ErrorKind::Internal, "an upstream answered no bytes")),
                }
            }
        }
    }
}

/// A search under way; everybody who needs the way waits for the same one.
type Search = Shared<BoxFuture<'static, Result<Route, Error>>>;

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Searching(Search),
    Known(Result<Route, Error>, Instant),
}

/// Finds the way to a database once in a while.
pub(crate) struct Router {
    proxies: GoProxyList,
    carriers: Carriers,
    probe_timeout: Duration,
    state: Arc<Mutex<State>>,
}

impl Router {
    pub(crate) fn new(proxies: GoProxyList, carriers: Carriers) -> Self {
        Self { proxies, carriers, probe_timeout: PROBE_TIMEOUT, state: Arc::default() }
    }

    /// The way to `site`. Concurrent callers wait for one search, which goes on without them.
    ///
    /// # Errors
    /// What a proxy failed with, when the list's separator forbids to pass it over.
    pub(crate) async fn route(
        &self,
        site: &DatabaseSite,
        http: &HttpClient,
    ) -> Result<Route, Error> {
        let search = {
            let mut state = self.state.lock();
            match &*state {
                State::Known(route, until) if Instant::now() < *until => return route.clone(),
                State::Searching(search) => search.clone(),
                _ => {
                    let search = self.search(site, http);
                    *state = State::Searching(search.clone());
                    search
                }
            }
        };
        search.await
    }

    /// Searches in a task of its own: what is learnt is remembered although nobody waits any more.
    fn search(&self, site: &DatabaseSite, http: &HttpClient) -> Search {
        let (site, http) = (site.clone(), http.clone());
        let (proxies, carriers) = (self.proxies.clone(), self.carriers.clone());
        let timeout = self.probe_timeout;
        let search = async move { find(&proxies, &carriers, &site, &http, timeout).await };
        let task = tokio::spawn(search);
        let state = Arc::clone(&self.state);
        let ended = tokio::spawn(async move {
            let route = task.await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Internal, format!("the search was ended: {error}")))
            });
            let ttl = if route.is_ok() { ROUTE_TTL } else { FAILURE_TTL };
            *state.lock() = State::Known(route.clone(), Instant::now() + ttl);
            route
        });
        let ended = ended.map(|ended| {
            ended.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, error.to_string())))
        });
        ended.boxed().shared()
    }
}

async fn find(
    proxies: &GoProxyList,
    carriers: &Carriers,
    site: &DatabaseSite,
    http: &HttpClient,
    timeout: Duration,
) -> Result<Route, Error> {
    if site.is_pinned() {
        return Ok(Route::Http(site.url().clone()));
    }
    let below = format!("/sumdb/{}", site.name());
    let mut failure = None;
    for entry in proxies.entries() {
        let route = match &entry.kind {
            EntryKind::Proxy(base) => carriers
                .route(&entry.kind, &below)
                .unwrap_or_else(|| Route::Http(base.below(&below))),
            EntryKind::Tree(root) => Route::Tree(FileTree::new(root), below.clone()),
            EntryKind::Direct => return Ok(Route::Http(site.url().clone())),
            EntryKind::Off => break,
        };
        let probe = tokio::time::timeout(timeout, route.get(http, "/supported", None)).await;
        let probed = probe.unwrap_or_else(|_| {
            let text = format!(
                "a proxy did not say within {timeout:?} whether it carries {}",
                site.name()
            );
            Err(Error::new(ErrorKind::UpstreamTimeout, text))
        });
        match probed {
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

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use dipylon_testkit::checksum_db::ChecksumDb;
    use dipylon_testkit::upstream::{Fault, Upstream, When};

    use super::*;
    use crate::fetch::http_client::HttpClientConfig;

    const SHORT: Duration = Duration::from_millis(200);

    /// A proxy that never answers, one that carries the database, and a router over both.
    async fn world(separator: &str) -> (Upstream, Upstream, Router) {
        let (silent, carrier) = (Upstream::start().await, Upstream::start().await);
        silent.fault(When::any(), Fault::HangBeforeHeaders);
        carrier.attach(&ChecksumDb::new("sum.test", 1));
        let list = format!("{}{separator}{}", silent.url(), carrier.url());
        let proxies = GoProxyList::parse(&list).unwrap();
        let router = Router { probe_timeout: SHORT, ..Router::new(proxies, Carriers::default()) };
        (silent, carrier, router)
    }

    fn site() -> DatabaseSite {
        DatabaseSite::of_url("https://sum.test").unwrap()
    }

    fn http() -> HttpClient {
        HttpClient::new(&HttpClientConfig::default()).unwrap()
    }

    #[tokio::test]
    async fn a_silent_proxy_is_passed_over_where_the_separator_allows_it() {
        let (_silent, carrier, router) = world("|").await;
        let began = Clock::now();
        let route = router.route(&site(), &http()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let Route::Http(base) = route else { panic!("{route:?}") };
        assert_eq!(base.to_string(), format!("{}/sumdb/sum.test", carrier.url()));

        let (_silent, _carrier, router) = world(",").await;
        let error = router.route(&site(), &http()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpstreamTimeout, "{error}");
    }

    #[tokio::test]
    async fn what_is_learnt_is_remembered_although_nobody_waits_any_more() {
        let (silent, carrier, router) = world("|").await;
        let site = site();
        let http = http();
        let given_up = tokio::time::timeout(SHORT / 4, router.route(&site, &http)).await;
        assert!(given_up.is_err(), "the first proxy is silent");
        router.route(&site, &http).await.unwrap();
        assert_eq!((silent.total(), carrier.total()), (1, 1), "one search");
        assert!(matches!(&*router.state.lock(), State::Known(Ok(_), _)));
    }
}
