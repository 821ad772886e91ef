//! Opens what the configuration names: the adapters behind the ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::{
    BoxFuture, Decision, Fetched, Fetcher, Index, Mode, Policy, Verifier,
};
use dipylon_middleware::request::{FetchRequest, RequestContext};
use dipylon_middleware::spool::Spools;
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use tokio::time::Instant;

use crate::app::{list_stack, storage_stack, upstream_stack};
use crate::config::{self, Config, Env};
use crate::fetch::ExtraStore;
use crate::fetch::checksum::ChecksumDatabase;
use crate::fetch::environment::{GoSettings, SettingsSource, SumDbSetting};
use crate::fetch::file_tree::FileTree;
use crate::fetch::go_command::{DEFAULT_CLONE_CACHE_LIMIT_BYTES, GoCommand, GoCommandConfig};
use crate::fetch::goproxy_list::{GoProxyListFetcher, ListEntry};
use crate::fetch::goproxy_setting::EntryKind;
use crate::fetch::http_client::{HttpClient, HttpClientConfig};
use crate::fetch::proxy_client::ProxyClient;
use crate::fetch::sumdb_proxy::SumDbProxy;
use crate::fetch::sumdb_source::{DatabaseSite, SumDbSource, SumDbSourceConfig};
use crate::http::Readiness;
use crate::index::memory::MAX_INDEX_ENTRIES;
use crate::index::{MemoryIndex, NoIndex};
use crate::storage;

/// Variables of our own environment that the `go` command sees: Athens's closed list.
const INHERITED: [&str; 12] = [
    "PATH", "HOME", "GIT_SSH", "GIT_SSH_COMMAND", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "GOROOT",
    "http_proxy", "https_proxy", "no_proxy", "SSH_AUTH_SOCK",
];

/// A call of storage that no request waits for may take this long.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(60);

/// Everything outside the layers, opened.
#[derive(Clone)]
pub struct Adapters {
    /// The storage stack.
    pub storage: StorageHandle,
    /// The GOPROXY list.
    pub list: Arc<dyn Fetcher>,
    /// The GOPROXY list as a stack.
    pub fetched: Border<FetchRequest, Fetched>,
    /// The checksum database as a judge.
    pub verifier: Arc<dyn Verifier>,
    /// The checksum databases as a service to clients.
    pub sumdb: SumDbProxy,
    /// The index.
    pub index: Arc<dyn Index>,
    /// Where zips arrive.
    pub spools: Spools,
    /// The download mode.
    pub policy: Arc<dyn Policy>,
    /// Says why nothing can be fetched, where nothing can.
    upstream: Arc<Upstreams>,
}

struct Upstreams {
    list: Arc<GoProxyListFetcher>,
    offline: bool,
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
        let backend = open_storage(config).await?;
        let spools = open_spools(config, backend.staging_directory(), telemetry)?;
        let storage = storage_stack(config, backend, telemetry);
        let settings = settings(config, &variable).await?;
        let http = http_client(config, &variable)?;
        let list = Arc::new(open_list(config, &settings, &http, &variable, telemetry).await?);
        let extras: Arc<dyn ExtraStore> = Arc::new(Extras(storage.clone()));
        let source = sumdb_source(config, &settings, http, Arc::clone(&extras), telemetry)?;
        let names: Vec<String> =
            config.sum_dbs.iter().map(|database| database.name().to_owned()).collect();
        let sumdb = SumDbProxy::new(source.clone(), &names, settings.no_sum.clone());
        let verifier = Arc::new(ChecksumDatabase::new(&settings, source, extras));
        let fetcher: Arc<dyn Fetcher> = list.clone();
        let offline = config.network_mode == config::NetworkMode::Offline;
        Ok(Self {
            fetched: list_stack(Arc::clone(&fetcher), telemetry),
            list: fetcher,
            storage,
            verifier,
            sumdb,
            index: open_index(config)?,
            spools,
            policy: policy(config)?,
            upstream: Arc::new(Upstreams { list, offline }),
        })
    }
}

async fn open_storage(
    config: &Config,
) -> Result<Arc<dyn dipylon_middleware::ports::Storage>, Error> {
    match config.storage_type {
        config::StorageType::Memory => storage::memory().await,
        config::StorageType::Disk => {
            let root = config.storage.disk.root_path.clone();
            storage::disk(root).await
        }
        other => Err(storage::not_built(other.as_str())),
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

/// Beside the store where that is a local disk: a finished zip is then taken over without copying.
fn open_spools(
    config: &Config,
    staging: Option<PathBuf>,
    telemetry: &Telemetry,
) -> Result<Spools, Error> {
    let ours = &config.dipylon;
    let directory = ours.spool_dir.clone().or(staging).unwrap_or_else(|| temp_parent(config));
    std::fs::create_dir_all(&directory).map_err(|error| {
        let text = format!("the spool directory {} cannot be made: {error}", directory.display());
        Error::new(ErrorKind::Storage, text)
    })?;
    Ok(Spools::new(&directory, ours.max_spool_bytes, telemetry))
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

/// Each entry of the GOPROXY list behind a stack of its own.
async fn open_list(
    config: &Config,
    settings: &GoSettings,
    http: &HttpClient,
    variable: &dyn Fn(&str) -> Option<String>,
    telemetry: &Telemetry,
) -> Result<GoProxyListFetcher, Error> {
    // The walk's own header timeout ends an attempt; redirects may each take as long.
    let attempt = config.dipylon.upstream_header_timeout * 2;
    let stack = |fetcher| upstream_stack(config, attempt, fetcher, telemetry);
    let mut entries = Vec::new();
    for entry in settings.proxies.entries() {
        entries.push(match &entry.kind {
            EntryKind::Proxy(base) => {
                let client =
                    ProxyClient::new(http.clone(), base.clone(), settings.insecure.clone());
                ListEntry::Proxy(stack(Arc::new(client)), entry.separator)
            }
            EntryKind::Tree(root) => {
                ListEntry::Proxy(stack(Arc::new(FileTree::new(root))), entry.separator)
            }
            EntryKind::Direct => ListEntry::Direct,
            EntryKind::Off => ListEntry::Off,
        });
    }
    let direct = open_go_command(config, settings, variable).await?.map(|go| {
        // A clone takes as long as a stash may.
        upstream_stack(config, config.stash_timeout, go, telemetry)
    });
    Ok(GoProxyListFetcher::new(entries, settings.no_proxy.clone(), direct))
}

/// The `go` command, if there is one. Missing, it is fatal only where nothing else can fetch.
async fn open_go_command(
    config: &Config,
    settings: &GoSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Arc<dyn Fetcher>>, Error> {
    let inherited: Vec<(String, String)> = INHERITED
        .iter()
        .filter_map(|name| variable(name).map(|value| ((*name).to_owned(), value)))
        .filter(|(name, value)| name != "SSH_AUTH_SOCK" || is_socket(Path::new(value)))
        .collect();
    let binary = PathBuf::from(&config.go_binary);
    if let Err(error) = GoCommand::probe(&binary, &inherited).await {
        if settings.proxies.is_only_direct() {
            return Err(error);
        }
        tracing::info!(%error, "direct fetches are off");
        return Ok(None);
    }
    let cache = config.dipylon.go_cache_dir.clone();
    let go = GoCommandConfig {
        binary,
        child_env: settings.child_env.clone(),
        inherited,
        temp_parent: temp_parent(config),
        cache_dir: cache.unwrap_or_else(|| temp_parent(config).join("dipylon-go-cache")),
        fetch_timeout: config.stash_timeout,
        list_timeout: config.timeout,
        clone_cache_limit_bytes: DEFAULT_CLONE_CACHE_LIMIT_BYTES,
    };
    let opened = tokio::task::spawn_blocking(move || GoCommand::new(go)).await;
    let go = opened.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))??;
    Ok(Some(Arc::new(go)))
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn sumdb_source(
    config: &Config,
    settings: &GoSettings,
    http: HttpClient,
    store: Arc<dyn ExtraStore>,
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
    let source = SumDbSourceConfig { http, proxies, databases, store, offline };
    Ok(SumDbSource::new(source, telemetry))
}

/// The download mode. Offline, no upstream is called for any reason, whatever the mode.
fn policy(config: &Config) -> Result<Arc<dyn Policy>, Error> {
    let download_url = config.download_url.as_str().trim_end_matches('/').to_owned();
    if config.network_mode == config::NetworkMode::Offline {
        return Ok(Arc::new(Decision { mode: Mode::None, download_url }));
    }
    let mode = match &config.download_mode {
        config::DownloadMode::Mode(mode) => match mode {
            config::Mode::Sync => Mode::Sync,
            config::Mode::Async => Mode::Async,
            config::Mode::None => Mode::None,
            config::Mode::Redirect => Mode::Redirect,
            config::Mode::AsyncRedirect => Mode::AsyncRedirect,
        },
        _ => {
            let text = "DownloadMode as a file is not in this build: use sync, async, none, \
                        redirect or async_redirect";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
    };
    let redirects = matches!(mode, Mode::Redirect | Mode::AsyncRedirect);
    if redirects && download_url.is_empty() {
        let text = "DownloadMode redirects, but DownloadURL is empty: set it";
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    Ok(Arc::new(Decision { mode, download_url }))
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

/// The parts that `/readyz` asks.
pub(crate) struct Readable;

impl Readable {
    pub(crate) fn parts(adapters: &Adapters) -> Vec<Arc<dyn Readiness>> {
        vec![
            Arc::new(StorageReady(adapters.storage.clone())),
            Arc::new(UpstreamReady(Arc::clone(&adapters.upstream))),
        ]
    }
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

struct UpstreamReady(Arc<Upstreams>);

impl Readiness for UpstreamReady {
    fn part(&self) -> &'static str {
        "upstream"
    }
    fn check<'a>(&'a self, _: &'a RequestContext) -> BoxFuture<'a, Result<(), Error>> {
        // Offline nothing is ever asked, so nothing can be missing.
        Box::pin(async { if self.0.offline { Ok(()) } else { self.0.list.check() } })
    }
}

/// Whether any upstream is known; for the log at start.
impl Adapters {
    /// # Errors
    /// Why nothing can be fetched.
    pub fn check_upstream(&self) -> Result<(), Error> {
        if self.upstream.offline { Ok(()) } else { self.upstream.list.check() }
    }

    /// Whether a module comes as a whole version; for tests and messages.
    pub fn fetches_whole_versions(&self, module: &ModulePath) -> bool {
        self.list.fetches_whole_versions(module)
    }
}
