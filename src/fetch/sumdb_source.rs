//! Fetches what checksum databases say, and keeps it: one source for our own verification and for
//! clients.
//!
//! Kept for ever are lookups and tiles, in memory and below `.dipylon/sumdb/`; never the newest tree
//! head, which changes. With the database down, what is kept still answers. Equal requests at one time
//! share one fetch, and all fetches together are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::telemetry::{FetchKind, Outcome, Telemetry};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::note::{Note, Verifier};
use dipylon_protocol::sumdb::tlog::parse_record;
use dipylon_protocol::sumdb::{Database, Tile};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::ExtraStore;
use super::base_url::{BadBaseUrl, BaseUrl};
use super::goproxy_setting::GoProxyList;
use super::http_client::HttpClient;
use super::sumdb_cache::SumDbCache;
use super::sumdb_route::Router;

/// Longest answer taken from a checksum database, in bytes.
pub const MAX_SUMDB_BODY_BYTES: u64 = 1 << 20;
/// Most requests to checksum databases under way at one time.
pub const MAX_SUMDB_REQUESTS: usize = 32;
/// Longest fetch of one answer: waiting for a slot, finding the way and reading together.
pub const MAX_SUMDB_FETCH: Duration = Duration::from_secs(60);
/// How long "does not exist" is remembered. Seconds only, since a lookup creates the record.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Most lookups remembered as "does not exist".
const MAX_NEGATIVES: usize = 1024;

/// A checksum database: its name, where it is, and its key where that is known.
#[derive(Clone, Debug)]
pub struct DatabaseSite {
    name: String,
    url: BaseUrl,
    pinned: bool,
    verifier: Option<Verifier>,
}

impl DatabaseSite {
    /// The database that GOSUMDB names. A URL in GOSUMDB is used as it is, past all proxies.
    ///
    /// # Errors
    /// When its URL or name is none.
    pub fn of_database(database: &Database) -> Result<Self, BadBaseUrl> {
        let url = match &database.url {
            Some(url) => BaseUrl::parse(url)?,
            None => BaseUrl::parse(&format!("https://{}", database.name))?,
        };
        let verifier = Some(database.verifier.clone());
        Ok(Self { name: database.name.clone(), url, pinned: database.url.is_some(), verifier })
    }

    /// An entry of the configuration's `SumDBs`: the host is the name, and a path is ignored.
    ///
    /// # Errors
    /// When it is no http(s) URL.
    pub fn of_url(url: &str) -> Result<Self, BadBaseUrl> {
        let url = BaseUrl::parse(url)?.at_root();
        Ok(Self { name: url.host().to_owned(), url, pinned: false, verifier: None })
    }

    /// The name, as it stands in `/sumdb/NAME/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &BaseUrl {
        &self.url
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }
}

/// What a [`SumDbSource`] is made of.
pub struct SumDbSourceConfig {
    /// The client for upstreams.
    pub http: HttpClient,
    /// The GOPROXY list: its proxies are asked first whether they carry a database.
    pub proxies: GoProxyList,
    /// Every database that may be asked. Of equal names the first counts, so the one with a key
    /// (of GOSUMDB) comes before those of `SumDBs`.
    pub databases: Vec<DatabaseSite>,
    /// Where answers are kept.
    pub store: Arc<dyn ExtraStore>,
    /// Whether nothing may be asked: what is kept still answers.
    pub offline: bool,
}

/// An answer, and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The body.
    pub bytes: Bytes,
    /// From memory, from storage, or fetched.
    pub outcome: Outcome,
}

/// Whether kept answers may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Yes: they never change.
    Kept,
    /// No: what was kept led to a failed proof, so it is fetched again.
    Fetched,
}

struct Site {
    site: DatabaseSite,
    router: Router,
}

type Fetching = Shared<BoxFuture<'static, Result<Bytes, Error>>>;
type Flights = Mutex<HashMap<String, WeakShared<BoxFuture<'static, Result<Bytes, Error>>>>>;

struct Inner {
    http: HttpClient,
    sites: Vec<Site>,
    cache: SumDbCache,
    slots: Semaphore,
    flights: Arc<Flights>,
    negatives: Cache<String, (Error, Instant)>,
    offline: bool,
    telemetry: Telemetry,
}

/// The source; clones share everything.
#[derive(Clone)]
pub struct SumDbSource {
    inner: Arc<Inner>,
}

impl SumDbSource {
    /// A source that has asked nobody yet.
    pub fn new(config: SumDbSourceConfig, telemetry: &Telemetry) -> Self {
        let mut sites: Vec<Site> = Vec::new();
        for site in config.databases {
            if !sites.iter().any(|known| known.site.name == site.name) {
                sites.push(Site { site, router: Router::new(config.proxies.clone()) });
            }
        }
        let inner = Inner {
            http: config.http,
            sites,
            cache: SumDbCache::new(config.store),
            slots: Semaphore::new(MAX_SUMDB_REQUESTS),
            flights: Arc::default(),
            negatives: Cache::new(MAX_NEGATIVES),
            offline: config.offline,
            telemetry: telemetry.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the database `name` answers to `path`.
    ///
    /// # Errors
    /// `NotFound` where it says that there is no such thing, `NotStored` when offline, and
    /// `ChecksumUnavailable` for everything else.
    pub async fn get(
        &self,
        name: &str,
        path: &SumDbPath,
        freshness: Freshness,
        traceparent: Option<String>,
    ) -> Result<Found, Error> {
        let key = key_of(name, path);
        let immutable = is_immutable(path);
        if immutable
            && freshness == Freshness::Kept
            && let Some((bytes, outcome)) = self.inner.kept(&key, path).await
        {
            return Ok(Found { bytes, outcome });
        }
        if self.inner.offline {
            let text = format!("checksum database {name}: {path} is not stored, and offline");
            return Err(Error::new(ErrorKind::NotStored, text));
        }
        if let Some((error, until)) = self.inner.negatives.get(&key)
            && Instant::now() < until
        {
            return Err(error.remembered());
        }
        let (flight, outcome) = self.fetching(&key, name, path, traceparent);
        Ok(Found { bytes: flight.await?, outcome })
    }

    /// Keeps a fetched answer: for a caller who has looked at it. Does nothing for what may change.
    pub async fn keep(&self, name: &str, path: &SumDbPath, bytes: &Bytes) {
        if is_immutable(path) {
            self.inner.cache.keep(&key_of(name, path), bytes).await;
        }
    }

    /// Joins the fetch under way for `key`, or begins one.
    fn fetching(
        &self,
        key: &str,
        name: &str,
        path: &SumDbPath,
        traceparent: Option<String>,
    ) -> (Fetching, Outcome) {
        let mut flights = self.inner.flights.lock();
        if let Some(flight) = flights.get(key).and_then(WeakShared::upgrade) {
            return (flight, Outcome::MissFollower);
        }
        let inner = Arc::clone(&self.inner);
        let landing = Landing { flights: Arc::downgrade(&inner.flights), key: key.to_owned() };
        let (name, path) = (name.to_owned(), path.clone());
        let flight = async move {
            let result = inner.fetch(&name, &path, traceparent).await;
            inner.remember(&landing.key, &path, &result);
            drop(landing);
            result
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key.to_owned(), weak);
        }
        (flight, Outcome::MissLeader)
    }
}

/// Takes a flight off the list when it ends, or when everybody who waited has gone.
struct Landing {
    flights: Weak<Flights>,
    key: String,
}

impl Drop for Landing {
    fn drop(&mut self) {
        // In the rare race with a newer flight of the same key, that one merely is not joined.
        if let Some(flights) = self.flights.upgrade() {
            flights.lock().remove(&self.key);
        }
    }
}

impl Inner {
    /// A kept answer. Of a partial tile, the beginning of the full one will do.
    async fn kept(&self, key: &str, path: &SumDbPath) -> Option<(Bytes, Outcome)> {
        if let Some(found) = self.cache.read(key).await {
            return Some(found);
        }
        let SumDbPath::Tile(text) = path else { return None };
        let tile = Tile::parse(text).ok().filter(|tile| tile.level.is_some() && !tile.is_full())?;
        let full = key.strip_suffix(text.as_str())?.to_owned() + &tile.full().to_string();
        let (bytes, outcome) = self.cache.read(&full).await?;
        (bytes.len() >= tile.len_bytes()).then(|| (bytes.slice(..tile.len_bytes()), outcome))
    }

    async fn fetch(
        &self,
        name: &str,
        path: &SumDbPath,
        traceparent: Option<String>,
    ) -> Result<Bytes, Error> {
        let started = std::time::Instant::now();
        let asked = tokio::time::timeout(MAX_SUMDB_FETCH, self.ask(name, path, traceparent)).await;
        let result = asked.unwrap_or_else(|_| {
            let text = format!("no answer to {path} within {MAX_SUMDB_FETCH:?}");
            Err(Error::new(ErrorKind::UpstreamTimeout, text))
        });
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        let metrics = &self.telemetry.metrics;
        metrics.fetches.get((FetchKind::SumDb, outcome)).inc();
        metrics.fetch_seconds.get((FetchKind::SumDb,)).observe(started.elapsed().as_secs_f64());
        if let Ok(bytes) = &result {
            metrics.fetched_bytes.get(()).inc_by(bytes.len() as u64);
        }
        result.map_err(|error| unavailable(name, &error))
    }

    async fn ask(
        &self,
        name: &str,
        path: &SumDbPath,
        traceparent: Option<String>,
    ) -> Result<Bytes, Error> {
        let site = self.sites.iter().find(|site| site.site.name == name).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "it is not configured: add it to SumDBs")
        })?;
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "the source is closed"))?;
        let route = site.router.route(&site.site, &self.http).await.map_err(|error| {
            // That a proxy cannot say whether it carries the database does not make the record missing.
            Error::new(ErrorKind::UpstreamFailed, error.message())
        })?;
        let bytes = route.get(&self.http, &format!("/{path}"), traceparent).await?;
        check(path, site.site.verifier.as_ref(), &bytes)?;
        Ok(bytes)
    }

    /// Remembers a "does not exist", for seconds.
    fn remember(&self, key: &str, path: &SumDbPath, result: &Result<Bytes, Error>) {
        if let (SumDbPath::Lookup { .. }, Err(error)) = (path, result)
            && error.kind() == ErrorKind::NotFound
        {
            let until = Instant::now() + NEGATIVE_TTL;
            self.negatives.insert(key.to_owned(), (error.clone(), until));
        }
    }
}

fn key_of(name: &str, path: &SumDbPath) -> String {
    format!("sumdb/{name}/{path}")
}

fn is_immutable(path: &SumDbPath) -> bool {
    matches!(path, SumDbPath::Lookup { .. } | SumDbPath::Tile(_))
}

fn unavailable(name: &str, error: &Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        return error.clone();
    }
    let text = format!("checksum database {name} cannot be asked: {}", error.message());
    let unavailable = Error::new(ErrorKind::ChecksumUnavailable, text);
    match error.retry_after() {
        Some(after) => unavailable.with_retry_after(after),
        None => unavailable,
    }
}

/// Is an answer what it should look like? A login page must not be kept for ever. The proof that a
/// tile or record belongs to the log is the asker's.
fn check(path: &SumDbPath, verifier: Option<&Verifier>, bytes: &[u8]) -> Result<(), Error> {
    let bad = |reason: &dyn std::fmt::Display| {
        let text = format!("the answer to {path} is refused: {reason}");
        Err(Error::new(ErrorKind::BadContent, text))
    };
    match path {
        SumDbPath::Tile(text) => match Tile::parse(text) {
            Ok(tile) if tile.level.is_none() => {
                let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                if first.is_none_or(|byte| *byte == b'<') {
                    bad(&"it has no records")
                } else {
                    Ok(())
                }
            }
            Ok(tile) if bytes.len() == tile.len_bytes() => Ok(()),
            Ok(tile) => bad(&format_args!("{} bytes instead of {}", bytes.len(), tile.len_bytes())),
            Err(error) => bad(&error),
        },
        SumDbPath::Lookup { .. } => {
            let signed = match parse_record(bytes) {
                Ok((_, _, signed)) => signed,
                Err(error) => return bad(&error),
            };
            check_signature(signed, verifier).or_else(|error| bad(&error))
        }
        SumDbPath::Latest => check_signature(bytes, verifier).or_else(|error| bad(&error)),
        SumDbPath::Supported => Ok(()),
    }
}

/// With a key the signature must be good; without one, it must at least be a tree head.
fn check_signature(signed: &[u8], verifier: Option<&Verifier>) -> Result<(), String> {
    match verifier {
        Some(verifier) => Note::open(signed, std::slice::from_ref(verifier))
            .map(|_| ())
            .map_err(|error| error.to_string()),
        None if signed.starts_with(b"go.sum database tree\n") => Ok(()),
        None => Err("it is no signed tree head".to_owned()),
    }
}
