//! Opens what the configuration names: the adapters behind the ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::breaker::{self, BreakerLayer};
use dipylon_middleware::explain::{Facts, Tells};
use dipylon_middleware::filter::Rules;
use dipylon_middleware::lock::LockHealth;
use dipylon_middleware::ports::{
    BoxFuture, Fetched, Fetcher, Index, Lock, Policy, Storage, Validator, Verifier,
};
use dipylon_middleware::request::{FetchRequest, RequestContext};
use dipylon_middleware::spool::Spools;
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::{Error, ErrorKind};
use tokio::time::Instant;

mod go_command;
mod policy;
mod told;
mod upstreams;

use crate::app::upstream::list_stack;
use crate::app::{storage_stack, tier_stack};
use crate::config::{self, Config, Env};
use crate::fetch::ExtraStore;
use crate::fetch::by_policy::ByPolicy;
use crate::fetch::checksum::ChecksumDatabase;
use crate::fetch::environment::{GoSettings, SettingsSource, SumDbSetting};
use crate::fetch::go_command::{GoCommand, Runs};
use crate::fetch::goproxy_list::GoProxyListFetcher;
use crate::fetch::http_client::{HttpClient, HttpClientConfig};
use crate::fetch::sumdb_proxy::SumDbProxy;
use crate::fetch::sumdb_source::{Carriers, DatabaseSite, SumDbSource, SumDbSourceConfig};
use crate::http::Readiness;
use crate::index::memory::MAX_INDEX_ENTRIES;
use crate::index::{MemoryIndex, NoIndex};
use crate::policy::filter_file;
use crate::policy::live::LivePolicy;
use crate::policy::reload::Reload;
use crate::policy::validator_hook::ValidatorHook;
use crate::process_dir::ProcessDir;
use crate::storage::tiered::{self, Tiered};
use crate::{lock, queue, storage};

/// A call of storage that no request waits for may take this long.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(60);

/// Everything outside the layers, opened.
#[derive(Clone)]
pub struct Adapters {
    /// The storage stack.
    pub storage: StorageHandle,
    /// The GOPROXY list, or for a module what the policy names in its place.
    pub list: Arc<dyn Fetcher>,
    /// The same as a stack.
    pub fetched: Border<FetchRequest, Fetched>,
    /// The checksum database as a judge.
    pub verifier: Arc<dyn Verifier>,
    /// The checksum databases as a service to clients.
    pub sumdb: SumDbProxy,
    /// The index.
    pub index: Arc<dyn Index>,
    /// Locks across replicas, where there are any.
    pub lock: Option<Arc<dyn Lock>>,
    /// Where zips arrive.
    pub spools: Spools,
    /// The download mode.
    pub policy: Arc<dyn Policy>,
    /// What is told of the policy, of the Go settings, of the upstreams, and of the checksum database.
    pub told: Told,
    /// How it stands with the store and with the upstreams, of whatever module.
    pub outside: Outside,
    /// Follows the download-mode file, if there is one.
    pub reload: Option<Arc<Reload>>,
    /// The filter file's rules, if there is one.
    pub filter: Option<Arc<Rules>>,
    /// The validator hook, if there is one.
    pub validator: Option<Arc<dyn Validator>>,
    /// Ends the `go` commands under way, where there is a `go` command.
    pub go_runs: Option<Runs>,
    /// The background queue's directory, where there is one.
    pub queue: Option<queue::Opened>,
    /// Says why nothing can be fetched, where nothing can.
    upstream: Arc<Upstreams>,
}

/// Who tells what of adapters.
#[derive(Clone)]
pub struct Told {
    /// Of the download mode.
    pub policy: Arc<dyn Tells>,
    /// Of the Go settings.
    pub patterns: Arc<dyn Tells>,
    /// Of whom a fetch would ask.
    pub upstreams: Arc<dyn Tells>,
    /// Of what the checksum database has said.
    pub checksums: Arc<dyn Tells>,
}

/// How it stands with what is outside.
#[derive(Clone)]
pub struct Outside {
    upstreams: Arc<upstreams::Upstreams>,
    store: Opened,
}

impl Outside {
    /// Each upstream that is opened, the gateway's own first, as `/-/explain` tells of it.
    pub fn upstreams(&self) -> Vec<Facts> {
        self.upstreams.standings()
    }

    /// The `StorageType`.
    pub fn storage_kind(&self) -> &'static str {
        self.store.kind
    }

    /// The breaker before the store, or before the far one of two.
    pub fn storage(&self) -> breaker::Standing {
        self.store.breaker.standing()
    }

    /// The near tier, where there is one.
    pub fn near(&self) -> Option<tiered::Standing> {
        self.store.near.as_deref().map(Tiered::standing)
    }
}

/// The store, opened.
#[derive(Clone)]
struct Opened {
    kind: &'static str,
    breaker: BreakerLayer,
    near: Option<Arc<Tiered>>,
}

struct Upstreams {
    own: GoProxyListFetcher,
    policy: Arc<LivePolicy>,
    offline: bool,
}

impl Upstreams {
    /// The modules that no block of the policy matches count: theirs are the top level's upstreams, if it
    /// has some.
    fn check(&self) -> Result<(), Error> {
        if self.offline || self.policy.otherwise().upstreams.is_some() {
            return Ok(());
        }
        self.own.check()
    }
}

impl Adapters {
    /// Opens everything. `env` is the process's environment.
    ///
    /// # Errors
    /// What cannot be opened, with what to do about it.
    pub async fn open(
        config: &Config,
        env: &(dyn Env + Sync),
        telemetry: &Telemetry,
    ) -> Result<Self, Error> {
        let variable = |name: &str| env.get(name).and_then(|value| value.into_string().ok());
        // First, because nothing is opened yet that a mistake in a file would leave behind.
        let (read, filter) = (policy::read(config)?, filter(config)?);
        let backend = storage::open(config, &variable, telemetry).await?;
        // Behind the store, which makes the bucket that a lock may lie in.
        let lock = lock::open(config, &variable).await?;
        let spools = open_spools(config, backend.staging_directory(), telemetry)?;
        let (storage, store) = open_storage(config, backend, telemetry).await?;
        let settings = settings(config, &variable).await?;
        let http = http_client(config, &variable)?;
        let validator = validator(config, &http)?;
        let go = go_command::open(config, &settings, &variable).await?;
        let go_runs = go.as_deref().map(GoCommand::runs);
        let upstreams = upstreams::Upstreams::new(config, &settings, &http, go, telemetry);
        let (own, carriers) = (upstreams.own_list(&settings), upstreams.carriers());
        let upstreams = Arc::new(upstreams);
        let outside = Outside { upstreams: Arc::clone(&upstreams), store };
        let (policy, reload) = policy::open(read, config, upstreams, telemetry);
        let extras: Arc<dyn ExtraStore> = Arc::new(Extras(storage.clone()));
        let store = Arc::clone(&extras);
        let known = policy.clone();
        let source = sumdb_source(config, &settings, (http, carriers), (store, known), telemetry)?;
        let names: Vec<String> =
            config.sum_dbs.iter().map(|database| database.name().to_owned()).collect();
        let sumdb = SumDbProxy::new(
            source.clone(),
            &names,
            settings.no_sum.clone(),
            Arc::clone(&policy) as _,
        );
        let verifier = Arc::new(ChecksumDatabase::new(&settings, source, extras));
        let list: Arc<dyn Fetcher> = Arc::new(ByPolicy::new(policy.clone(), Arc::new(own.clone())));
        let told = Told {
            policy: policy.clone(),
            patterns: Arc::new(told::GoPatterns::new(config, &settings)),
            upstreams: Arc::new(told::Asked(Arc::clone(&list))),
            checksums: verifier.clone(),
        };
        let offline = config.network_mode == config::NetworkMode::Offline;
        // Last: whoever holds the directory should be a gateway that starts.
        let queue = config.dipylon.queue_directory.as_deref().map(queue::open).transpose()?;
        Ok(Self {
            fetched: list_stack(Arc::clone(&list), telemetry),
            list,
            storage,
            verifier,
            sumdb,
            index: open_index(config)?,
            lock,
            spools,
            policy: policy.clone(),
            told,
            outside,
            reload,
            filter,
            validator,
            go_runs,
            queue,
            upstream: Arc::new(Upstreams { own, policy, offline }),
        })
    }

    /// What can be said of a configuration without opening a store or a connection, and without
    /// writing anything.
    ///
    /// # Errors
    /// What [`Adapters::open`] would refuse.
    pub async fn check(config: &Config, env: &(dyn Env + Sync)) -> Result<(), Error> {
        let variable = |name: &str| env.get(name).and_then(|value| value.into_string().ok());
        policy::read(config)?;
        filter(config)?;
        storage::is_built(config.storage_type)?;
        if config.storage_type == config::StorageType::Disk {
            storage::disk::Disk::check_root(&config.storage.disk.root_path)?;
        }
        #[cfg(feature = "external")]
        if config.storage_type == config::StorageType::External {
            storage::external::check_settings(&config.storage.external)?;
        }
        #[cfg(feature = "mongo")]
        if config.storage_type == config::StorageType::Mongo {
            storage::mongo::check_settings(&config.storage.mongo)?;
        }
        let ours = &config.dipylon;
        for (key, directory) in [
            ("GoGetDir", &config.go_get_dir),
            ("SpoolDir", &ours.spool_dir),
            ("Dipylon.Tiered.Directory", &ours.tiered.directory),
            ("Dipylon.QueueDirectory", &ours.queue_directory),
        ] {
            directory.as_deref().map_or(Ok(()), |directory| may_hold(key, directory))?;
        }
        lock::check(config, &variable)?;
        open_index(config)?;
        let settings = settings(config, &variable).await?;
        go_command::probe(config, &settings, &variable).await?;
        validator(config, &http_client(config, &variable)?)?;
        Ok(())
    }

    /// Whether anything can be fetched; offline nothing needs to be.
    ///
    /// # Errors
    /// Why nothing can.
    pub fn check_upstream(&self) -> Result<(), Error> {
        self.upstream.check()
    }

    /// The parts that `/readyz` asks.
    pub fn readiness(&self) -> Vec<Arc<dyn Readiness>> {
        vec![
            Arc::new(StorageReady(self.storage.clone())),
            Arc::new(UpstreamReady(Arc::clone(&self.upstream))),
        ]
    }
}

/// Whether `directory` can be written, or could be once it is made.
fn may_hold(key: &str, directory: &Path) -> Result<(), Error> {
    let refuse = |found: &Path, why: &dyn std::fmt::Display| {
        let text =
            format!("{key}: {} cannot be used: {}: {why}", directory.display(), found.display());
        Err(Error::new(ErrorKind::Storage, text))
    };
    let Some(found) = directory.ancestors().find(|path| path.exists()) else { return Ok(()) };
    if !found.is_dir() {
        return refuse(found, &"is not a directory");
    }
    match rustix::fs::access(found, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(error) => refuse(found, &std::io::Error::from(error)),
    }
}

fn open_index(config: &Config) -> Result<Arc<dyn Index>, Error> {
    match config.index_type {
        config::IndexType::None => Ok(Arc::new(NoIndex)),
        config::IndexType::Memory => Ok(Arc::new(MemoryIndex::new(MAX_INDEX_ENTRIES))),
        other => {
            let text = format!(
                "IndexType {:?} is not in this build: built are none, memory",
                other.as_str()
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
    }
}

/// How the directory begins that holds the spools of one process.
const SPOOL_PREFIX: &str = "dipylon-spool-";

/// The storage stack, and a near tier above it where there is one.
async fn open_storage(
    config: &Config,
    backend: Arc<dyn Storage>,
    telemetry: &Telemetry,
) -> Result<(StorageHandle, Opened), Error> {
    let (kind, staging) = (backend.kind(), backend.staging_directory());
    let breaker = BreakerLayer::storage(kind, telemetry);
    let opened = Opened { kind, breaker: breaker.clone(), near: None };
    let stack = storage_stack(config, backend, breaker, telemetry);
    let keys = &config.dipylon.tiered;
    if keys.directory.is_none() {
        return Ok((stack, opened));
    }
    let far = Arc::new(tiered::Far::over(stack, kind, staging));
    let whose = storage::identity(config);
    let tiered = tiered::open(far, &whose, keys, telemetry).await?;
    let near = Some(Arc::clone(&tiered));
    Ok((tier_stack(tiered, telemetry), Opened { near, ..opened }))
}

/// `SpoolDir`, else beside the store where that is a local disk: a finished zip is then taken over
/// without copying. The store sweeps its own directory; in any other the spools have one for this
/// process, which the next process removes where this one is killed.
pub(crate) fn open_spools(
    config: &Config,
    staging: Option<PathBuf>,
    telemetry: &Telemetry,
) -> Result<Spools, Error> {
    let ours = &config.dipylon;
    if let (None, Some(staging)) = (&ours.spool_dir, staging) {
        return Ok(Spools::new(&staging, ours.max_spool_bytes, telemetry));
    }
    let parent = ours.spool_dir.clone().unwrap_or_else(|| temp_parent(config));
    let directory = ProcessDir::open(&parent, SPOOL_PREFIX).map_err(|error| {
        let shown = parent.display();
        let text = format!("the spool directory {shown} (SpoolDir) cannot be used: {error}");
        Error::new(ErrorKind::Storage, text)
    })?;
    let spools = Spools::new(directory.path(), ours.max_spool_bytes, telemetry);
    Ok(spools.keeping(Arc::new(directory)))
}

fn temp_parent(config: &Config) -> PathBuf {
    config.go_get_dir.clone().unwrap_or_else(std::env::temp_dir)
}

async fn settings(
    config: &Config,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<GoSettings, Error> {
    let source = SettingsSource {
        go_binary_env_vars: &config.go_binary_env_vars,
        environment: variable,
        go_binary: &config.go_binary,
        no_sum_patterns: &config.no_sum_patterns,
        own_port: config.unix_socket.is_none().then_some(config.port.port).filter(|port| *port > 0),
    };
    let settings = GoSettings::resolve(&source)
        .await
        .map_err(|error| Error::new(ErrorKind::Unsupported, error.to_string()))?;
    for setting in &settings.settings {
        tracing::debug!(name = setting.name, value = setting.shown(), origin = %setting.origin,
            "go setting");
    }
    Ok(settings)
}

fn http_client(
    config: &Config,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<HttpClient, Error> {
    let ours = &config.dipylon;
    let http = HttpClientConfig {
        connect_timeout: ours.upstream_connect_timeout,
        header_timeout: ours.upstream_header_timeout,
        idle_timeout: ours.upstream_idle_timeout,
        ..HttpClientConfig::default()
    };
    HttpClient::new(&http.with_http_proxies(variable))
}

fn sumdb_source(
    config: &Config,
    settings: &GoSettings,
    (http, carriers): (HttpClient, Carriers),
    (store, policy): (Arc<dyn ExtraStore>, Arc<dyn Policy>),
    telemetry: &Telemetry,
) -> Result<SumDbSource, Error> {
    let bad = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unsupported, format!("a checksum database is refused: {error}"))
    };
    let mut databases = Vec::new();
    if let SumDbSetting::Database(database) = &settings.sumdb {
        databases.push(DatabaseSite::of_database(database).map_err(|error| bad(&error))?);
    }
    for database in &config.sum_dbs {
        databases.push(DatabaseSite::of_url(database.as_str()).map_err(|error| bad(&error))?);
    }
    let offline = config.network_mode == config::NetworkMode::Offline;
    let proxies = settings.proxies.clone();
    let source = SumDbSourceConfig { http, proxies, carriers, databases, store, policy, offline };
    Ok(SumDbSource::new(source, telemetry))
}

/// The filter file's rules, if there is one.
fn filter(config: &Config) -> Result<Option<Arc<Rules>>, Error> {
    let rules = config.filter_file.as_deref().map(filter_file::read).transpose()?;
    Ok(rules.map(Arc::new))
}

/// The validator hook, if there is one.
fn validator(config: &Config, http: &HttpClient) -> Result<Option<Arc<dyn Validator>>, Error> {
    let url = config.validator_hook.as_str();
    if url.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ValidatorHook::new(http.clone(), url)?)))
}

/// Storage's own files, for callers outside a request.
struct Extras(StorageHandle);

impl ExtraStore for Extras {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.0.read_extra(&background(), key).await })
    }
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.0.write_extra(&background(), key, bytes).await })
    }
}

fn background() -> RequestContext {
    RequestContext::detached(Instant::now() + BACKGROUND_PATIENCE)
}

struct StorageReady(StorageHandle);

impl Readiness for StorageReady {
    fn part(&self) -> &'static str {
        "storage"
    }
    fn check<'a>(&'a self, context: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.check(context))
    }
}

/// Locks across replicas: without them each replica fetches for itself.
pub(crate) struct LockReady(pub(crate) LockHealth);

impl Readiness for LockReady {
    fn part(&self) -> &'static str {
        "lock"
    }
    fn check<'a>(&'a self, _: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>> {
        let checked = self.0.check().map_err(|error| {
            let text = format!("degraded, each replica fetches for itself: {error}");
            Error::new(ErrorKind::Internal, text)
        });
        Box::pin(std::future::ready(checked))
    }
    fn is_vital(&self) -> bool {
        false
    }
}

struct UpstreamReady(Arc<Upstreams>);

impl Readiness for UpstreamReady {
    fn part(&self) -> &'static str {
        "upstream"
    }
    fn check<'a>(&'a self, _: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(self.0.check()))
    }
}
