//! The composition root: what this program is made of, and in which order a request meets it.
//!
//! Five stacks, outside in: edge, module, stash, storage, upstream. Each `push` is one concern, and the
//! comment above it says why it stands exactly there. A layer in the wrong place does not compile,
//! because each stage has its own request type.

use std::num::NonZeroU32;
use std::sync::Arc;

use dipylon_middleware::ErrorKind;
use dipylon_middleware::access_log::AccessLogLayer;
use dipylon_middleware::admission::AdmissionLayer;
use dipylon_middleware::auth::{AuthLayer, Credentials};
use dipylon_middleware::breaker::BreakerLayer;
use dipylon_middleware::budget::Rate;
use dipylon_middleware::catch_panic::CatchPanicLayer;
use dipylon_middleware::compression::CompressionLayer;
use dipylon_middleware::deadline::DeadlineLayer;
use dipylon_middleware::dispatch::{Background, BackgroundConfig, BackgroundPorts, Dispatch};
use dipylon_middleware::download_mode::DownloadModeLayer;
use dipylon_middleware::filter::FilterLayer;
use dipylon_middleware::force_ssl::ForceSslLayer;
use dipylon_middleware::hot_cache::HotCacheLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::lock::LockLayer;
use dipylon_middleware::lookup::LookupLayer;
use dipylon_middleware::negative::NegativeLayer;
use dipylon_middleware::pool::PoolLayer;
use dipylon_middleware::ports::{Fetched, Lock, Policy, QueueEntry, Storage};
use dipylon_middleware::purge::{Learns, Purges};
use dipylon_middleware::rate_limit::RateLimitLayer;
use dipylon_middleware::request::{FetchRequest, ModuleRequest, StashRequest, SumDbRequest};
use dipylon_middleware::request_context::{RequestContextLayer, TrustedProxies};
use dipylon_middleware::response::{ModuleResponse, Stashed, SumDbResponse};
use dipylon_middleware::retry::RetryLayer;
use dipylon_middleware::route::{AdminPages, Route};
use dipylon_middleware::single_flight::SingleFlightLayer;
use dipylon_middleware::stack::{Border, Stack};
use dipylon_middleware::stash::{Refusals, Stash, StashPorts};
use dipylon_middleware::storage_io::{StorageHandle, StorageIo};
use dipylon_middleware::telemetry::{LayerName, Telemetry};
use dipylon_middleware::validate::ValidateLayer;
use dipylon_middleware::versions::{NetworkMode, VersionsConfig, VersionsLayer};
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use crate::adapters::{Adapters, LockReady};
use crate::config::{self, Config};
use crate::fetch::go_command::Runs;
use crate::fetch::sumdb_proxy::SumDbProxy;
use crate::http::{Admin, AdminConfig, Connections, Edge, Explain, HomePage, Operator, Prefetch};
use crate::lock;

pub(crate) mod upstream;

/// Storage calls at a time: enough to keep a disk or a connection pool busy, few enough that a slow
/// backend does not collect the whole process.
const STORAGE_CALLS_MAX: usize = 512;
/// Attempts of one storage call, where the backend's own client makes but one.
const STORAGE_ATTEMPTS: u32 = 3;

/// The program, put together and ready to serve.
pub struct App {
    /// What the server calls.
    pub edge: Edge,
    /// The places for connections, of which the server takes one for each.
    pub connections: Connections,
    /// Stashes and lists under way; a drain waits for them.
    pub tasks: TaskTracker,
    /// Metrics.
    pub telemetry: Telemetry,
    /// The lock service, to be taken leave of at the end.
    pub lock: Option<Arc<dyn Lock>>,
    /// Ends the `go` commands that a drain does not wait for.
    pub go_runs: Option<Runs>,
    /// Fetches that no request waits for.
    pub background: Background,
    /// Background fetches that an earlier process had accepted.
    recovered: Vec<QueueEntry>,
}

impl App {
    /// Puts the five stacks together.
    pub fn new(config: &Config, adapters: Adapters, telemetry: Telemetry) -> Self {
        let tasks = TaskTracker::new();
        let build = Build { config, telemetry: &telemetry, tasks: &tasks };
        let Adapters { storage, policy, list, fetched, verifier, sumdb, index, spools, .. } =
            adapters.clone();
        let ports = StashPorts {
            upstream: fetched.clone(),
            verifier,
            storage: storage.clone(),
            index: Arc::clone(&index),
            spools,
            hold_back_bytes: config.dipylon.hold_back_bytes,
            tasks: tasks.clone(),
            telemetry: telemetry.clone(),
        };
        let versions = build.versions_layer(&storage, fetched, Arc::clone(&policy));
        let purges = versions.missing().purges().clone();
        let lock = build.lock_layer(&ports, purges.clone(), adapters.lock.clone());
        let flights = build.flights(purges.clone());
        let stash = build.stash_stack(ports, flights.clone(), lock.clone(), purges);
        let recovered = adapters.queue.as_ref().map(|queue| queue.recovered.clone());
        let guards = build.guards(&adapters);
        let version_ttl = config.dipylon.negative_version_ttl;
        let negative = NegativeLayer::new(
            version_ttl,
            versions.missing(),
            Arc::clone(&policy),
            build.telemetry,
        );
        let background = build.background(&adapters, stash.clone(), negative.learns());
        let (lists, files) = (versions.forgets(), negative.forgets());
        let dispatch = Dispatch::new(stash, list, background.clone());
        let known = build.known(&storage, versions, negative);
        let status = status::Parts {
            connections: Connections::new(config.dipylon.max_connections as usize),
            admission: AdmissionLayer::new(config.dipylon.max_connections as usize),
            flights: flights.clone(),
            lock: lock.clone(),
            background: background.clone(),
            outside: adapters.outside.clone(),
        };
        let (connections, admission) = (status.connections.clone(), status.admission.clone());
        let explain = build
            .explain(&adapters, &guards, &known)
            .then("flights", Arc::new(flights))
            .then("queue", Arc::new(background.clone()))
            .passing(Arc::new(Refusals::new(storage.clone())));
        let explain = match &lock {
            Some(lock) => explain.then("lock", Arc::new(lock.clone())),
            None => explain,
        };
        let explain = explain.then("upstreams", Arc::clone(&adapters.told.upstreams));
        let modules = build.module_stack(guards, known, policy, dispatch);
        let refuses = background::refuses_ahead(&adapters);
        let prefetch = Prefetch::new(modules.clone(), storage, background.clone(), refuses);
        let token = config.dipylon.admin_token.expose();
        let operator = Operator::new(token, background.clone(), prefetch, explain, status.page())
            .forgetting("lists", lists)
            .forgetting("files", files);
        let admin = build.admin(&adapters, operator, lock.as_ref());
        let edge = build.edge_stack(admission, modules, build.sumdb_stack(sumdb), admin);
        let Adapters { lock, go_runs, .. } = adapters;
        let recovered = recovered.unwrap_or_default();
        Self { edge, connections, tasks, telemetry, lock, go_runs, background, recovered }
    }
}

/// What stands before every answer about a module, where it is configured.
struct Guards {
    filter: Option<FilterLayer>,
    validate: Option<ValidateLayer>,
}

/// What answers from what is known already.
struct Known {
    versions: VersionsLayer,
    hot_cache: HotCacheLayer,
    lookup: LookupLayer,
    negative: NegativeLayer,
}

struct Build<'a> {
    config: &'a Config,
    telemetry: &'a Telemetry,
    tasks: &'a TaskTracker,
}

/// Storage: every call of the backend, from whichever layer, passes here.
pub(crate) fn storage_stack(
    config: &Config,
    storage: Arc<dyn Storage>,
    breaker: BreakerLayer,
    telemetry: &Telemetry,
) -> StorageHandle {
    let retry = storage.wants_retries().then(|| RetryLayer::new(STORAGE_ATTEMPTS, telemetry));
    let stack = Stack::new(telemetry)
        // Outermost, so that waiting for a slot, and between attempts, counts: a caller is never held
        // longer than this.
        .push(
            LayerName::StorageDeadline,
            DeadlineLayer::new("storage", config.timeout, ErrorKind::StorageUnavailable),
        )
        // Above the rest: while storage is left alone, a call costs neither an attempt nor a slot.
        .push(LayerName::StorageBreaker, breaker)
        // Above the slots: a call that waits before its next attempt gives its slot back.
        .push_if(LayerName::StorageRetry, retry)
        // Next to the backend: only calls that really reach it take a slot.
        .push(
            LayerName::StorageLimit,
            LimitLayer::new("storage calls", STORAGE_CALLS_MAX, config.timeout),
        )
        // Gives up what hangs before the deadline does: a call that is only dropped tells the breaker nothing.
        .over(LayerName::StorageIo, StorageIo::new(storage, telemetry).within(config.timeout));
    StorageHandle::new(stack)
}

/// The near tier, above the storage stack: what is near passes no breaker and takes no slot.
pub(crate) fn tier_stack(tiered: Arc<dyn Storage>, telemetry: &Telemetry) -> StorageHandle {
    let stack = Stack::new(telemetry);
    StorageHandle::new(stack.over(LayerName::StorageTier, StorageIo::over_stacks(tiered)))
}

impl Build<'_> {
    /// Locks across replicas, where there are any.
    fn lock_layer(
        &self,
        ports: &StashPorts,
        purges: Purges,
        lock: Option<Arc<dyn Lock>>,
    ) -> Option<LockLayer> {
        let Self { config, telemetry, tasks } = self;
        let (limits, storage) = (lock::limits(config), ports.storage.clone());
        let (timeout, tasks) = (config.stash_timeout, (*tasks).clone());
        lock.map(|lock| LockLayer::new(lock, limits, timeout, storage, purges, tasks, telemetry))
    }

    /// Who is fetched now. Who comes after a purge asks anew.
    fn flights(&self, purges: Purges) -> SingleFlightLayer {
        let Self { config, telemetry, tasks } = self;
        SingleFlightLayer::new(config.stash_timeout, (*tasks).clone(), telemetry).anew_after(purges)
    }

    fn known(
        &self,
        storage: &StorageHandle,
        versions: VersionsLayer,
        negative: NegativeLayer,
    ) -> Known {
        let bytes = self.config.dipylon.hot_cache_bytes;
        let hot_cache = HotCacheLayer::new(bytes, self.telemetry);
        let lookup = LookupLayer::new(storage.clone(), self.telemetry);
        Known { versions, hot_cache, lookup, negative }
    }

    /// Who tells what, in the order in which a request meets them.
    fn explain(&self, adapters: &Adapters, guards: &Guards, known: &Known) -> Explain {
        let mut explain = Explain::new(self.telemetry.events.clone());
        if let Some(filter) = &guards.filter {
            let file = self.config.filter_file.as_ref().map(|file| file.display().to_string());
            explain = explain.then("filter", Arc::new(filter.clone())).with("filter_file", file);
        }
        let Adapters { policy, told, .. } = adapters;
        let Known { versions, hot_cache, lookup, negative } = known;
        explain
            .with("validator", guards.validate.is_some())
            .then("lists", Arc::new(versions.clone()))
            .then("memory", Arc::new(hot_cache.clone()))
            .then("storage", Arc::new(lookup.clone()))
            .then("remembered", Arc::new(negative.clone()))
            .passing(Arc::new(DownloadModeLayer::new(Arc::clone(policy))))
            .then("policy", Arc::clone(&told.policy))
            .then("patterns", Arc::clone(&told.patterns))
            .then("checksums", Arc::clone(&told.checksums))
    }

    /// Stash: fetch, verify, save, index; once for each version, however many ask.
    fn stash_stack(
        &self,
        ports: StashPorts,
        flights: SingleFlightLayer,
        lock: Option<LockLayer>,
        purges: Purges,
    ) -> Border<StashRequest, Stashed> {
        let Self { config, telemetry, .. } = self;
        Stack::new(telemetry)
            // Outermost: everything below runs once per key; followers cost nothing further down.
            .push(LayerName::SingleFlight, flights)
            // Below single flight: one question for each key. Above the pool: who waits for another
            // replica takes no slot from those who fetch.
            .push_if(LayerName::Lock, lock)
            // Below single flight: only leaders take a fetch slot, and they keep it to the commit.
            .push(LayerName::Pool, PoolLayer::new(config.go_get_workers as usize))
            .over(LayerName::Stash, Stash::new(ports).anew_after(purges))
    }

    /// Module: what to answer, and from where.
    fn module_stack(
        &self,
        guards: Guards,
        known: Known,
        policy: Arc<dyn Policy>,
        dispatch: Dispatch,
    ) -> Border<ModuleRequest, ModuleResponse> {
        let Self { config, telemetry, .. } = self;
        let ours = &config.dipylon;
        let Known { versions, hot_cache, lookup, negative } = known;
        Stack::new(telemetry)
            // Outermost: what is excluded touches nothing, not even the validator.
            .push_if(LayerName::Filter, guards.filter)
            // Above all that could answer: a hit is asked about too, as in Athens.
            .push_if(LayerName::Validate, guards.validate)
            // Answers list and latest, so that below it there are only files.
            .push(LayerName::Versions, versions)
            // Above storage: a hit in memory touches no disk.
            .push(LayerName::HotCache, hot_cache)
            // Hit or missed: everything below is the slow path.
            .push(LayerName::Lookup, lookup)
            // Below lookup, so that however slow upstream is, no hit waits behind a miss.
            .push(
                LayerName::MissLimit,
                LimitLayer::new(
                    "misses in hand (ProtocolWorkers)",
                    config.protocol_workers as usize,
                    ours.miss_queue_timeout,
                ),
            )
            // Above the mode: a remembered "no" needs no plan. Below lookup: what was stored since wins.
            .push(LayerName::Negative, negative)
            // Policy only; what it plans is done below.
            .push(LayerName::DownloadMode, DownloadModeLayer::new(policy))
            .over(LayerName::Dispatch, dispatch)
    }

    /// Answers list and latest, and learns which paths do not exist.
    fn versions_layer(
        &self,
        storage: &StorageHandle,
        upstream: Border<FetchRequest, Fetched>,
        policy: Arc<dyn Policy>,
    ) -> VersionsLayer {
        let (storage, tasks) = (storage.clone(), self.tasks.clone());
        VersionsLayer::new(self.versions(), upstream, storage, policy, tasks, self.telemetry)
    }

    /// Fetches that no request waits for: at most half of the fetch slots, so that who waits is not kept
    /// waiting by who does not.
    fn background(
        &self,
        adapters: &Adapters,
        stash: Border<StashRequest, Stashed>,
        negatives: Arc<dyn Learns>,
    ) -> Background {
        let config = BackgroundConfig {
            timeout: self.config.stash_timeout,
            entries_max: self.config.dipylon.queue_max_entries as usize,
            workers_max: (self.config.go_get_workers as usize).div_ceil(2),
        };
        let ports = BackgroundPorts {
            stash,
            fetcher: Arc::clone(&adapters.list),
            storage: adapters.storage.clone(),
            store: adapters.queue.as_ref().map(|queue| Arc::clone(&queue.store)),
            may_fetch: background::may_fetch(adapters),
            negatives,
            tasks: self.tasks.clone(),
            telemetry: self.telemetry.clone(),
        };
        Background::new(config, ports)
    }

    fn guards(&self, adapters: &Adapters) -> Guards {
        let endpoint = self.config.global_endpoint.as_str();
        // A hook has as long as an upstream has to begin its answer.
        let timeout = self.config.dipylon.upstream_header_timeout;
        let filter = adapters.filter.clone().map(|rules| FilterLayer::new(rules, endpoint));
        let validator = adapters.validator.clone();
        let validate =
            validator.map(|validator| ValidateLayer::new(validator, timeout, self.tasks.clone()));
        Guards { filter, validate }
    }

    fn versions(&self) -> VersionsConfig {
        let ours = &self.config.dipylon;
        VersionsConfig {
            network_mode: match self.config.network_mode {
                config::NetworkMode::Strict => NetworkMode::Strict,
                config::NetworkMode::Fallback => NetworkMode::Fallback,
                config::NetworkMode::Offline => NetworkMode::Offline,
            },
            fresh_for: ours.fresh_for,
            stale_while_revalidate: ours.stale_while_revalidate,
            stale_if_error: ours.stale_if_error,
            negative_for: ours.negative_path_ttl,
            negative_version_for: ours.negative_version_ttl,
            timeout: self.config.timeout,
        }
    }

    fn sumdb_stack(&self, sumdb: SumDbProxy) -> Border<SumDbRequest, SumDbResponse> {
        Stack::new(self.telemetry).over(LayerName::SumDb, sumdb)
    }

    /// Edge: HTTP in, HTTP out; `route` is where typed requests begin.
    fn edge_stack(
        &self,
        admission: AdmissionLayer,
        modules: Border<ModuleRequest, ModuleResponse>,
        sumdb: Border<SumDbRequest, SumDbResponse>,
        admin: Arc<dyn AdminPages>,
    ) -> Edge {
        let Self { config, telemetry, .. } = self;
        let ours = &config.dipylon;
        let prefixed = !config.path_prefix.as_str().is_empty();
        let rate = rate_of_a_client(&ours.rate_limit);
        let (user, password) = (&config.basic_auth_user, &config.basic_auth_pass);
        let credentials = (!user.is_empty() && !password.is_empty())
            .then(|| Credentials::new(user, password.expose()));
        let inside = Stack::new(telemetry)
            // Outermost with a context: its clock and its count cover everything, refusals included.
            .push(LayerName::AccessLog, AccessLogLayer::new(ours.log_access, telemetry))
            // Below the log, so that a panic is still an answer with a log line.
            .push(LayerName::CatchPanic, CatchPanicLayer)
            // Before any work: what is beyond the limit costs next to nothing.
            .push(LayerName::Admission, admission)
            // Everything below has one deadline, shared through the context.
            .push(
                LayerName::Deadline,
                DeadlineLayer::new("request", ours.request_timeout, ErrorKind::DeadlineExceeded),
            )
            // Above auth: guesses at credentials are counted too.
            .push_if(
                LayerName::RateLimit,
                rate.map(|rate| RateLimitLayer::new(rate, prefixed, telemetry)),
            )
            // Above auth: nobody is asked for credentials over plain http.
            .push_if(LayerName::ForceSsl, config.force_ssl.then(|| ForceSslLayer::new(prefixed)))
            // The last before the routes: whatever they are, nothing is reached without it.
            .push_if(LayerName::Auth, credentials.map(|pair| AuthLayer::new(pair, prefixed)))
            // Directly above the pages: what others refuse or redirect is as short as it is.
            .push(LayerName::Compression, CompressionLayer)
            .over(LayerName::Route, Route::new(modules, sumdb, admin, &config.cache_control));
        // Makes the context that all layers, and `observe` around them, need: so it stands outside.
        let prefix = config.path_prefix.as_str();
        let context = RequestContextLayer::new(prefix, ours.request_timeout, telemetry)
            .trusting(trusted_proxies(&ours.trusted_proxies));
        Border::new(context.layer(inside))
    }

    fn admin(
        &self,
        adapters: &Adapters,
        operator: Operator,
        lock: Option<&LockLayer>,
    ) -> Arc<dyn AdminPages> {
        let config = self.config;
        let prefix = config.path_prefix.as_str().trim_end_matches('/').to_owned();
        let pages = AdminConfig {
            path_prefix: prefix,
            home: HomePage {
                template: config.home_template_path.clone(),
                no_sum_patterns: config.no_sum_patterns.join(","),
            },
            robots_file: config.robots_file.clone(),
            metrics: config.stats_exporter == config::StatsExporter::Prometheus,
        };
        let Adapters { storage, index, .. } = adapters;
        let mut parts = adapters.readiness();
        if let Some(lock) = lock {
            parts.push(Arc::new(LockReady(lock.health())));
        }
        let admin = Admin::new(pages, storage.clone(), Arc::clone(index), parts, self.telemetry);
        Arc::new(admin.with_operator(operator))
    }
}

/// How many requests a client may send; nothing where there is no limit.
fn rate_of_a_client(keys: &config::RateLimitKeys) -> Option<Rate> {
    Some(Rate {
        per_second: NonZeroU32::new(keys.requests_per_second)?,
        burst: NonZeroU32::new(keys.burst)?,
    })
}

fn trusted_proxies(networks: &[config::IpNet]) -> Option<TrustedProxies> {
    let networks = networks.to_vec();
    let any = !networks.is_empty();
    any.then(|| {
        TrustedProxies::new(move |address| networks.iter().any(|network| network.contains(address)))
    })
}

mod background;
mod status;
#[cfg(test)]
mod tests;
