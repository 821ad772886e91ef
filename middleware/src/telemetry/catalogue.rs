//! Every metric, label value and outcome, declared once.
//!
//! The metric structs, the reference page (`docs/reference/telemetry.md`) and the tests that hold a
//! scrape to this list all derive from it. So do the names of spans, and all that they can say.

use dipylon_protocol::route::FileKind;
use prometheus::Registry;

use super::exemplars::Exemplified;
use super::histogram::Histogram;
use super::instruments::{ActiveGauge, Counter, IntCounter, IntGauge};
use super::labels::{Label, LabelInfo, LabelSet, label};
use super::metrics::{Family, Instrument, MetricInfo};
use super::timings::Phase;

mod background;
mod cache;
mod flight;
mod layers;
mod lock;
mod log;
mod outcome;
mod pace;
mod policy;
mod storage;
mod trace;
mod upstream;

pub use background::BackgroundEvent;
pub use cache::{Found, Source, Tier};
pub use flight::{FlightEnd, FlightRole};
pub use layers::LayerName;
pub use lock::{LockAnswer, LockLoss, LockOperation, LockWait};
pub use log::LogFate;
pub use outcome::{Outcome, OutcomeClass};
pub use pace::{PaceReason, Paced};
pub use policy::PolicyReload;
pub use storage::{NearFill, NearRead, Presigned, StorageOperation};
pub use trace::{Kept, SpanAttribute, SpanEvent, SpanFate, SpanName, Work};
pub use upstream::{Answered, BreakerScope, Hedged, UpstreamClass};

label! {
    /// What was asked for: one of the URL templates, never a path.
    RouteName = "route" {
        /// `/{module}/@v/list`
        List = "list",
        /// `/{module}/@latest`
        Latest = "latest",
        /// `/{module}/@v/{version}.info`
        Info = "info",
        /// `/{module}/@v/{version}.mod`
        Mod = "mod",
        /// `/{module}/@v/{version}.zip`
        Zip = "zip",
        /// `/sumdb/…`
        SumDb = "sumdb",
        /// `/index`
        Index = "index",
        /// `/catalog`
        Catalog = "catalog",
        /// `/metrics`, `/healthz`, `/readyz`, `/version`, `/robots.txt`, `/` and `/-/…`
        Admin = "admin",
        /// Nothing we know.
        Unknown = "unknown",
    }
}

impl From<FileKind> for RouteName {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Info => Self::Info,
            FileKind::Mod => Self::Mod,
            FileKind::Zip => Self::Zip,
        }
    }
}

label! {
    /// What an upstream was asked for.
    FetchKind = "kind" {
        /// Versions of a module.
        List = "list",
        /// The newest version.
        Latest = "latest",
        /// `.info` of a version or query.
        Info = "info",
        /// `.mod` of a version.
        Mod = "mod",
        /// `.zip` of a version.
        Zip = "zip",
        /// Anything of the checksum database.
        SumDb = "sumdb",
    }
}

label! {
    /// What the checksum database said of a file.
    Verification = "result" {
        /// The bytes are the ones it knows.
        Verified = "verified",
        /// The settings exempt the module.
        Exempt = "exempt",
        /// It knows other bytes.
        Mismatch = "mismatch",
        /// It does not know the version.
        Unknown = "unknown",
        /// It could not be asked.
        Unavailable = "unavailable",
    }
}

label! {
    /// How saving a version ended.
    Saved = "result" {
        /// The version is new, as far as the store can tell.
        Created = "created",
        /// It was there already; the first stays.
        Existed = "existed",
        /// It was there already with other bytes; the first stays.
        Differed = "differed",
        /// Storage failed.
        Failed = "failed",
    }
}

/// Seconds; from a hit's microseconds to the longest that a fetch and its lock may take by default
/// (`StashTimeout` 600, `TTL` 900), and one bound beyond, so that what went over is told from what did not.
pub const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
];

/// Seconds of a request, by two labels: fewer bounds, over the same range.
pub const REQUEST_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
];

/// Seconds within a layer, of which there are many: fewer bounds, over the same range.
pub const LAYER_SECONDS: &[f64] =
    &[0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];

/// The age of an answer that is given again, in seconds: from fresh to the longest that an older one may stand in.
pub const AGE_SECONDS: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 1_500.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident<$labels:ty>
        = $name:literal $(within $bounds:ident)?;)+
     collected: $($(#[doc = $collected_help:literal])+ $collected_kind:ident
        = $collected_name:literal $(of $label:ident)?;)+) => {
        /// Handles to every metric that layers write; resolved once, shared by all layers.
        pub struct Metrics { $($(#[doc = $help])+ pub $field: Family<$kind, $labels>,)+ }

        impl std::fmt::Debug for Metrics {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Metrics")
            }
        }

        impl Metrics {
            /// Registers every metric of the catalogue that layers write.
            ///
            /// # Errors
            /// When a name is registered already.
            pub fn register(registry: Option<&Registry>) -> prometheus::Result<Self> {
                Ok(Self { $($field: Family::register(
                    registry, $name, concat!($($help),+).trim(), bounds!($kind $($bounds)?))?,)+ })
            }

            /// The exemplars of every histogram, by its name.
            pub fn exemplars(&self) -> std::collections::BTreeMap<&'static str, Vec<Exemplified>> {
                [$(($name, self.$field.exemplified())),+].into_iter()
                    .filter(|(_, exemplified)| !exemplified.is_empty()).collect()
            }
        }

        /// Every metric this program exposes.
        pub const METRICS: &[MetricInfo] = &[$(MetricInfo {
            name: $name,
            help: concat!($($help),+),
            kind: <$kind as Instrument>::TYPE,
            labels: <$labels as LabelSet>::NAMES,
            label_infos: <$labels as LabelSet>::INFOS,
            combinations: <$labels as LabelSet>::COUNT,
            bounds: bounds!($kind $($bounds)?),
        },)+ $(MetricInfo {
            name: $collected_name,
            help: concat!($($collected_help),+),
            kind: super::metrics::MetricType::$collected_kind,
            labels: &[$($label.name)?],
            label_infos: &[$($label)?],
            combinations: 1,
            bounds: &[],
        },)+];
    };
}

/// The bounds of a histogram: its own, or those of most; a metric of another kind has none.
macro_rules! bounds {
    (Histogram) => {
        SECONDS
    };
    (Histogram $bounds:ident) => {
        $bounds
    };
    ($kind:ident) => {
        &[]
    };
}

metrics! {
    /// Seconds from a request's head to the end of its answer's body.
    request_seconds: Histogram<(RouteName, OutcomeClass)> = "dipylon_http_server_request_duration_seconds"
        within REQUEST_SECONDS;
    /// Requests answered, by route and outcome.
    requests: IntCounter<(RouteName, Outcome)> = "dipylon_http_server_requests_total";
    /// Requests whose answer has not ended.
    requests_active: ActiveGauge<()> = "dipylon_http_server_active_requests";
    /// Bytes of bodies sent to clients.
    sent_bytes: IntCounter<(RouteName,)> = "dipylon_http_server_response_body_bytes_total";
    /// Connections open.
    connections: ActiveGauge<()> = "dipylon_http_server_connections";
    /// Connections refused because the limit was reached.
    connections_shed: IntCounter<()> = "dipylon_http_server_connections_shed_total";

    /// Clients whose requests the rate limit counts now.
    rate_limit_clients: IntGauge<()> = "dipylon_rate_limit_clients";
    /// Requests that were counted together with those of other clients, because there were too many.
    rate_limit_together: IntCounter<()> = "dipylon_rate_limit_counted_together_total";

    /// Calls of each layer, by outcome.
    layer_calls: IntCounter<(LayerName, Outcome)> = "dipylon_layer_calls_total";
    /// Seconds spent in each layer and all below it.
    layer_seconds: Histogram<(LayerName,)> = "dipylon_layer_duration_seconds" within LAYER_SECONDS;
    /// Calls of each layer that have not ended.
    layer_active: ActiveGauge<(LayerName,)> = "dipylon_layer_active_calls";

    /// Seconds of requests, each moment in one phase: together they are the requests' durations.
    phase_seconds: Counter<(RouteName, Phase)> = "dipylon_http_server_phase_seconds_total";
    /// Bytes of modules that clients got, by where they came from; but for `upstream`, no upstream sent them again.
    served_bytes: IntCounter<(Source,)> = "dipylon_served_bytes_total";
    /// Age of what was given again, in seconds: lists, latest versions, and files of queries.
    served_age_seconds: Histogram<(RouteName,)> = "dipylon_served_age_seconds" within AGE_SECONDS;

    /// Looks for what is known already, by where and what they brought.
    lookups: IntCounter<(Tier, Found)> = "dipylon_cache_lookups_total";
    /// Bytes that small files take in memory, keys included.
    memory_bytes: IntGauge<()> = "dipylon_cache_memory_bytes";
    /// Small files in memory.
    memory_files: IntGauge<()> = "dipylon_cache_memory_files";

    /// Seconds that requests waited for a stash until its answer began, by their part in it.
    flight_wait_seconds: Histogram<(FlightRole,)> = "dipylon_single_flight_wait_duration_seconds"
        within LAYER_SECONDS;
    /// Requests that waited for a stash, by their part in it and how that ended.
    flights: IntCounter<(FlightRole, FlightEnd)> = "dipylon_single_flight_requests_total";
    /// Keys being stashed now.
    flights_active: ActiveGauge<()> = "dipylon_single_flight_active";
    /// Seconds from the wish for a lock until the fetch began or was not needed any more.
    lock_wait_seconds: Histogram<(LockWait,)> = "dipylon_lock_wait_duration_seconds";
    /// Seconds that locks were held.
    lock_hold_seconds: Histogram<()> = "dipylon_lock_hold_duration_seconds";
    /// Locks held now.
    locks_held: ActiveGauge<()> = "dipylon_lock_held";
    /// Misses that wait for a lock now.
    locks_awaited: ActiveGauge<()> = "dipylon_lock_waiting";
    /// Locks lost before the end of the work under them.
    locks_lost: IntCounter<(LockLoss,)> = "dipylon_lock_lost_total";
    /// 1 while the lock service counts as down and misses go on without it.
    lock_degraded: IntGauge<()> = "dipylon_lock_degraded";
    /// Questions to the lock service, by its answer; renewals among them.
    lock_calls: IntCounter<(LockOperation, LockAnswer)> = "dipylon_lock_operations_total";
    /// Seconds until the lock service answered.
    lock_call_seconds: Histogram<(LockOperation,)> = "dipylon_lock_operation_duration_seconds";

    /// Times that the download-mode file was read again.
    policy_reloads: IntCounter<(PolicyReload,)> = "dipylon_policy_reloads_total";
    /// 1 while the download-mode file as it stands is refused and an older one is in force.
    policy_file_refused: IntGauge<()> = "dipylon_policy_file_refused";

    /// Background stashes that wait, pauses between attempts included.
    background_queued: IntGauge<()> = "dipylon_dispatch_background_queued";
    /// Stashes running in the background now.
    background_active: IntGauge<()> = "dipylon_dispatch_background_active";
    /// Background stashes refused because the limit was reached.
    background_refused: IntCounter<()> = "dipylon_dispatch_background_refused_total";
    /// Seconds from when a background stash was accepted until its first attempt began.
    background_wait_seconds: Histogram<()> = "dipylon_dispatch_background_wait_duration_seconds"
        within LAYER_SECONDS;
    /// What became of background stashes.
    background_events: IntCounter<(BackgroundEvent,)> = "dipylon_dispatch_background_events_total";

    /// Bytes held in spool files now.
    spool_bytes: IntGauge<()> = "dipylon_spool_bytes";
    /// Versions saved, by how it ended.
    saves: IntCounter<(Saved,)> = "dipylon_stash_saves_total";
    /// Files compared with the checksum database.
    verifications: IntCounter<(Verification,)> = "dipylon_stash_verifications_total";
    /// Bytes received from upstreams.
    fetched_bytes: IntCounter<()> = "dipylon_upstream_received_bytes_total";
    /// Seconds until an upstream's answer began, by what was asked.
    fetch_seconds: Histogram<(FetchKind,)> = "dipylon_upstream_request_duration_seconds";
    /// Answers of upstreams, by what was asked and how it ended.
    fetches: IntCounter<(FetchKind, Outcome)> = "dipylon_upstream_requests_total";
    /// Requests to upstreams, by what kind of upstream it is and how it answered.
    class_fetches: IntCounter<(UpstreamClass, Answered)> = "dipylon_upstream_class_requests_total";
    /// Seconds until an upstream's answer began, by what kind of upstream it is.
    class_fetch_seconds: Histogram<(UpstreamClass,)> = "dipylon_upstream_class_duration_seconds"
        within LAYER_SECONDS;
    /// Attempts made again after a failure.
    retries: IntCounter<(FetchKind,)> = "dipylon_upstream_retries_total";
    /// Small files that were late and were to be asked for once more, by what came of it.
    hedges: IntCounter<(Hedged,)> = "dipylon_upstream_hedges_total";
    /// Breakers open now.
    breakers_open: IntGauge<(BreakerScope,)> = "dipylon_upstream_breakers_open";
    /// Requests to upstreams that could not go at once, by what they had to wait for.
    paced: IntCounter<(PaceReason, Paced)> = "dipylon_upstream_paced_total";
    /// Upstream hosts that are left alone now because they asked for it (`Retry-After`).
    hosts_paused: IntGauge<()> = "dipylon_upstream_hosts_paused";

    /// Seconds of storage operations.
    storage_seconds: Histogram<(StorageOperation,)> = "dipylon_storage_operation_duration_seconds";
    /// Storage operations, by how they ended.
    storage_calls: IntCounter<(StorageOperation, Outcome)> = "dipylon_storage_operations_total";
    /// Storage operations made again after a failure; a backend whose client repeats has none here.
    storage_retries: IntCounter<(StorageOperation,)> = "dipylon_storage_retries_total";
    /// 1 while storage is left alone because it keeps failing.
    storage_breaker_open: IntGauge<()> = "dipylon_storage_breaker_open";

    /// Files looked for in the near tier.
    tier_reads: IntCounter<(NearRead,)> = "dipylon_tier_reads_total";
    /// Bytes of the files found in the near tier.
    tier_found_bytes: IntCounter<()> = "dipylon_tier_found_bytes_total";
    /// Copies for the near tier that were begun or refused.
    tier_fills: IntCounter<(NearFill,)> = "dipylon_tier_fills_total";
    /// Copies that went to make room.
    tier_evictions: IntCounter<()> = "dipylon_tier_evictions_total";
    /// Bytes of disk that the near tier takes, copies on their way in included.
    tier_bytes: IntGauge<()> = "dipylon_tier_bytes";
    /// Copies in the near tier.
    tier_files: IntGauge<()> = "dipylon_tier_files";
    /// 1 while the near tier's disk is left alone because it was full or failed.
    tier_paused: IntGauge<()> = "dipylon_tier_paused";
    /// 1 while the far store cannot be reached: what is near is served, and upstreams answer for the rest.
    tier_far_failing: IntGauge<()> = "dipylon_tier_far_failing";

    /// Zips for which a client was to be sent to the object store.
    presigned: IntCounter<(Presigned,)> = "dipylon_presigned_total";
    /// Bytes of the zips that clients were sent to the object store for.
    presigned_bytes: IntCounter<()> = "dipylon_presigned_bytes_total";

    /// Lines of the log, by what became of them.
    log_lines: IntCounter<(LogFate,)> = "dipylon_log_lines_total";
    /// Traces kept, by why.
    traces_kept: IntCounter<(Kept,)> = "dipylon_traces_kept_total";
    /// Spans of traces that are kept, by what became of them.
    trace_spans: IntCounter<(SpanFate,)> = "dipylon_trace_spans_total";

    collected:
    /// 1; its label says which version of the program runs.
    Gauge = "dipylon_build_info" of VERSION;
    /// Threads that run tasks.
    Gauge = "dipylon_runtime_workers";
    /// Tasks that have not ended.
    Gauge = "dipylon_runtime_alive_tasks";
    /// Tasks that are ready and wait for a worker, beside the workers' own lines.
    Gauge = "dipylon_runtime_queue_depth";
    /// Seconds that workers were busy, together.
    Counter = "dipylon_runtime_busy_seconds_total";
    /// Times that workers had nothing to do and slept.
    Counter = "dipylon_runtime_parks_total";
    /// Total user and system CPU time spent in seconds.
    Counter = "process_cpu_seconds_total";
    /// Number of open file descriptors.
    Gauge = "process_open_fds";
    /// Maximum number of open file descriptors.
    Gauge = "process_max_fds";
    /// Resident memory size in bytes.
    Gauge = "process_resident_memory_bytes";
    /// Virtual memory size in bytes.
    Gauge = "process_virtual_memory_bytes";
    /// Start time of the process since unix epoch in seconds.
    Gauge = "process_start_time_seconds";
    /// Number of OS threads in the process.
    Gauge = "process_threads";
}

/// What `dipylon_build_info` says.
pub const VERSION: LabelInfo = LabelInfo {
    set: "Version",
    name: "version",
    about: "The program.",
    values: &[(env!("CARGO_PKG_VERSION"), "The version of this build.")],
};

/// The most series of the whole catalogue.
pub fn series_max() -> usize {
    METRICS.iter().map(MetricInfo::series_max).sum()
}

/// Every label of the catalogue: for the reference page and the tests.
pub const LABELS: &[LabelInfo] = &[
    Outcome::INFO,
    OutcomeClass::INFO,
    RouteName::INFO,
    LayerName::INFO,
    StorageOperation::INFO,
    FetchKind::INFO,
    BreakerScope::INFO,
    Hedged::INFO,
    Verification::INFO,
    Saved::INFO,
    BackgroundEvent::INFO,
    LockWait::INFO,
    LockOperation::INFO,
    LockAnswer::INFO,
    LockLoss::INFO,
    NearRead::INFO,
    NearFill::INFO,
    Presigned::INFO,
    PolicyReload::INFO,
    PaceReason::INFO,
    Paced::INFO,
    LogFate::INFO,
    Kept::INFO,
    SpanFate::INFO,
    VERSION,
    Phase::INFO,
    Source::INFO,
    Tier::INFO,
    Found::INFO,
    FlightRole::INFO,
    FlightEnd::INFO,
    UpstreamClass::INFO,
    Answered::INFO,
];

/// A field of the log event `request`, and what it holds.
pub type FieldInfo = (&'static str, &'static str);

/// The fields of the log event `request`, which is written once for each request. Those marked with
/// `?` are left out where there is nothing to say. JSON logs have `-` in place of `_`.
pub const REQUEST_EVENT: &[FieldInfo] = &[
    ("request_id", "The id of the request, as in the answer's `X-Request-Id`."),
    ("trace_id?", "The trace, as in the answer's `traceparent`."),
    ("http_method", "The method."),
    ("http_path", "The path as it came, cut at 512 bytes."),
    ("http_status", "The status; 499 where the client left before there was one."),
    ("route", "What was asked for: the label `route`."),
    ("outcome", "How it ended: the label `outcome`."),
    ("module?", "The module path, decoded."),
    ("version?", "The version, decoded; of a query, what it resolved to."),
    (
        "client?",
        "The address of the client: of the other end, or as trusted proxies (`TrustedProxies`) have it.",
    ),
    ("sent_bytes", "Bytes of the body sent."),
    ("cut", "Whether the body ended before its end."),
    ("duration_ms", "Milliseconds from the request's head to the last byte of the answer."),
    (
        "gateway_ms?",
        "Of these, in the label `phase`'s `gateway`; the phases add up to the duration.",
    ),
    ("stash_ms?", "In `stash`."),
    ("policy_ms?", "In `policy`."),
    ("storage_ms?", "In `storage`."),
    ("queue_ms?", "In `queue`."),
    ("lock_ms?", "In `lock`."),
    ("verify_ms?", "In `verify`."),
    ("upstream_ms?", "In `upstream`."),
    ("send_ms?", "In `send`."),
    ("error?", "The error's text, as the client got it."),
];
