//! Fetches what checksum databases say, and keeps it: one source for our own verification and for
//! clients.
//!
//! Kept for ever are proven lookups and tiles, in memory and below `.dipylon/sumdb/`; what was fetched
//! for a client and is not proven is held in memory for a while; the newest tree head, which changes,
//! is never kept. With the database down, what is kept or held still answers. Equal requests at one
//! time share one fetch, and all fetches together are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::forward::Forward;
use dipylon_middleware::ports::Policy;
use dipylon_middleware::request::Named;
use dipylon_middleware::telemetry::{Answered, FetchKind, Outcome, Telemetry, UpstreamClass};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::Tile;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::ExtraStore;
use super::goproxy_setting::GoProxyList;
use super::http_client::HttpClient;
use super::sumdb_answer::check;
use super::sumdb_cache::{Cached, SumDbCache};
use super::sumdb_prover::Prover;
pub use super::sumdb_route::Carriers;
use super::sumdb_route::Router;
pub use super::sumdb_site::DatabaseSite;
use super::trusted_head::TrustedHead;

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

/// What a [`SumDbSource`] is made of.
pub struct SumDbSourceConfig {
    /// The client for upstreams.
    pub http: HttpClient,
    /// The GOPROXY list: its proxies are asked first whether they carry a database.
    pub proxies: GoProxyList,
    /// How those are asked: what they carry of a database is one more request to their hosts.
    pub carriers: Carriers,
    /// Every database that may be asked. Of equal names the first counts, so the one with a key
    /// (of GOSUMDB) comes before those of `SumDBs`.
    pub databases: Vec<DatabaseSite>,
    /// Where answers are kept.
    pub store: Arc<dyn ExtraStore>,
    /// Whose names no database may be asked about.
    pub policy: Arc<dyn Policy>,
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
    /// Whether it was proven against the trusted tree.
    pub proven: bool,
    /// How far the request went, where the outcome does not say it.
    pub forward: Forward,
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
    /// Of a database whose key is known.
    head: Option<Arc<TrustedHead>>,
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
    policy: Arc<dyn Policy>,
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
            if !sites.iter().any(|known| known.site.name() == site.name()) {
                let head = site
                    .verifier()
                    .map(|_| Arc::new(TrustedHead::new(site.name(), Arc::clone(&config.store))));
                sites.push(Site {
                    site,
                    router: Router::new(config.proxies.clone(), config.carriers.clone()),
                    head,
                });
            }
        }
        let inner = Inner {
            http: config.http,
            sites,
            cache: SumDbCache::new(config.store),
            slots: Semaphore::new(MAX_SUMDB_REQUESTS),
            flights: Arc::default(),
            negatives: Cache::new(MAX_NEGATIVES),
            policy: config.policy,
            offline: config.offline,
            telemetry: telemetry.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the database `name` answers to `path`.
    ///
    /// # Errors
    /// `NotFound` where it says that there is no such thing, `NotStored` when offline and where it must not be told
    /// the name, and `ChecksumUnavailable` for everything else.
    pub async fn get(
        &self,
        name: &str,
        path: &SumDbPath,
        freshness: Freshness,
    ) -> Result<Found, Error> {
        let key = key_of(name, path);
        let immutable = is_immutable(path);
        if immutable
            && freshness == Freshness::Kept
            && let Some(Cached { bytes, outcome, proven }) = self.inner.kept(&key, path).await
        {
            return Ok(Found { bytes, outcome, proven, forward: Forward::default() });
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
        let (flight, outcome) = self.fetching(&key, name, path);
        let proven = false;
        let error = match flight.await {
            Ok(bytes) => return Ok(Found { bytes, outcome, proven, forward: Forward::default() }),
            Err(error) if outcome == Outcome::MissFollower => error.collapsed(),
            Err(error) => error,
        };
        let may_stand_in = immutable
            && freshness == Freshness::Kept
            && error.kind() == ErrorKind::ChecksumUnavailable;
        let Some(bytes) = self.inner.cache.seen(&key).filter(|_| may_stand_in) else {
            return Err(error);
        };
        // The database was asked for this one too.
        let (outcome, forward) = (Outcome::StaleError, Forward { stale: true, ..error.forward() });
        Ok(Found { bytes, outcome, proven, forward })
    }

    /// What is kept of an answer, or held; nobody is asked.
    pub(crate) async fn known(&self, name: &str, path: &SumDbPath) -> Option<(Bytes, bool)> {
        let Cached { bytes, proven, .. } = self.inner.kept(&key_of(name, path), path).await?;
        Some((bytes, proven))
    }

    /// Holds a fetched answer in memory for a while: for a caller who has not proven it. Does nothing
    /// for what may change. Whether it is held.
    pub(crate) fn hold(&self, name: &str, path: &SumDbPath, bytes: &Bytes) -> bool {
        is_immutable(path) && self.inner.cache.hold(&key_of(name, path), bytes)
    }

    /// What proves the records of a database, where its key is known.
    pub(crate) fn prover(&self, name: &str) -> Option<Prover> {
        let site = self.site(name)?;
        let head = Arc::clone(site.head.as_ref()?);
        Some(Prover { database: site.site.database()?, head, source: self.clone() })
    }

    /// The trusted head of a database whose key is known.
    pub(crate) fn head_of(&self, name: &str) -> Option<Arc<TrustedHead>> {
        self.site(name)?.head.clone()
    }

    fn site(&self, name: &str) -> Option<&Site> {
        self.inner.sites.iter().find(|site| site.site.name() == name)
    }

    /// Keeps an answer for ever: for a caller who has proven it. Does nothing for what may change.
    pub async fn keep(&self, name: &str, path: &SumDbPath, bytes: &Bytes) {
        if is_immutable(path) {
            self.inner.cache.keep(&key_of(name, path), bytes).await;
        }
    }

    /// Joins the fetch under way for `key`, or begins one.
    fn fetching(&self, key: &str, name: &str, path: &SumDbPath) -> (Fetching, Outcome) {
        let mut flights = self.inner.flights.lock();
        if let Some(flight) = flights.get(key).and_then(WeakShared::upgrade) {
            return (flight, Outcome::MissFollower);
        }
        let inner = Arc::clone(&self.inner);
        let landing = Landing { flights: Arc::downgrade(&inner.flights), key: key.to_owned() };
        let (name, path) = (name.to_owned(), path.clone());
        let flight = async move {
            let result = inner.fetch(&name, &path).await;
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
    async fn kept(&self, key: &str, path: &SumDbPath) -> Option<Cached> {
        if let Some(found) = self.cache.read(key).await {
            return Some(found);
        }
        let SumDbPath::Tile(text) = path else { return None };
        let tile = Tile::parse(text).ok().filter(|tile| tile.level.is_some() && !tile.is_full())?;
        let full = key.strip_suffix(text.as_str())?.to_owned() + &tile.full().to_string();
        let mut found = self.cache.read(&full).await?;
        let length = tile.len_bytes();
        (found.bytes.len() >= length).then(|| {
            found.bytes.truncate(length);
            found
        })
    }

    async fn fetch(&self, name: &str, path: &SumDbPath) -> Result<Bytes, Error> {
        let started = std::time::Instant::now();
        let asked = tokio::time::timeout(MAX_SUMDB_FETCH, self.ask(name, path)).await;
        let result = asked.unwrap_or_else(|_| {
            let text = format!("no answer to {path} within {MAX_SUMDB_FETCH:?}");
            Err(Error::new(ErrorKind::UpstreamTimeout, text))
        });
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        let metrics = &self.telemetry.metrics;
        metrics.fetches.get((FetchKind::SumDb, outcome)).inc();
        let seconds = started.elapsed().as_secs_f64();
        metrics.fetch_seconds.get((FetchKind::SumDb,)).observe(seconds);
        let class = UpstreamClass::ChecksumDatabase;
        metrics.class_fetch_seconds.get((class,)).observe(seconds);
        metrics.class_fetches.get((class, Answered::of(outcome))).inc();
        if let Ok(bytes) = &result {
            metrics.fetched_bytes.get(()).inc_by(bytes.len() as u64);
        }
        result.map_err(|error| unavailable(name, &error))
    }

    async fn ask(&self, name: &str, path: &SumDbPath) -> Result<Bytes, Error> {
        let site = self.sites.iter().find(|site| site.site.name() == name).ok_or_else(|| {
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
        let names = match path {
            SumDbPath::Lookup { module, .. } => {
                Some(Named::new(Arc::clone(&self.policy), module.clone()))
            }
            SumDbPath::Supported | SumDbPath::Latest | SumDbPath::Tile(_) => None,
        };
        let bytes = route.get(&self.http, &format!("/{path}"), names).await?;
        check(path, site.site.verifier(), &bytes)?;
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
    // The second where a reload has the name kept from everybody: that is no trouble of the database.
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotStored) {
        return error.clone();
    }
    let text = format!("checksum database {name} cannot be asked: {}", error.message());
    let unavailable = Error::new(ErrorKind::ChecksumUnavailable, text);
    match error.retry_after() {
        Some(after) => unavailable.with_retry_after(after),
        None => unavailable,
    }
}
