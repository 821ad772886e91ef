//! Every metric, label value and outcome, declared once.
//!
//! The metric structs, the reference page (`docs/reference/telemetry.md`) and the tests that hold a
//! scrape to this list all derive from it. Spans are named after [`LayerName`]s.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::labels::{Label, LabelInfo, LabelSet, label};
use super::metrics::{Family, Instrument, MetricInfo};

mod background;
mod lock;
mod pace;
mod policy;
mod storage;
mod upstream;

pub use background::BackgroundEvent;
pub use lock::{LockAnswer, LockLoss, LockOperation, LockWait};
pub use pace::{PaceReason, Paced};
pub use policy::PolicyReload;
pub use storage::{NearFill, NearRead, Presigned, StorageOperation};
pub use upstream::Hedged;

label! {
    /// How a request, or one layer's part in it, ended. One closed list serves the metric label,
    /// the span, the log event, `Cache-Status` and the error text.
    Outcome = "outcome" {
        /// Answered from the hot cache in memory.
        HitMemory = "hit_memory",
        /// Answered from storage.
        HitStorage = "hit_storage",
        /// Answered from memory while a newer answer is fetched.
        StaleRevalidate = "stale_revalidate",
        /// Answered with an older answer because upstream failed.
        StaleError = "stale_error",
        /// Not in storage; this request led the fetch.
        MissLeader = "miss_leader",
        /// Not in storage; this request shared another's fetch.
        MissFollower = "miss_follower",
        /// Not in storage, or storage could not be asked; answered, but nothing could be stored, or
        /// without the lock across replicas.
        MissDegraded = "miss_degraded",
        /// A remembered "does not exist".
        Negative = "negative",
        /// Refused by the filter file.
        DenyFilter = "deny_filter",
        /// Refused by the validator hook.
        DenyValidator = "deny_validator",
        /// The validator hook could not be asked, or gave no clear answer.
        ValidatorFailed = "validator_failed",
        /// Refused for missing or wrong credentials.
        DenyAuth = "deny_auth",
        /// A private path that the checksum database does not know, or must not be asked about.
        DenyPrivate = "deny_private",
        /// Refused by a rate limit.
        Limited = "limited",
        /// Refused because the gateway is at a limit of its own.
        Shed = "shed",
        /// Sent elsewhere.
        Redirected = "redirected",
        /// Not in storage; a fetch goes on in the background.
        AsyncAccepted = "async_accepted",
        /// Not in storage, and the mode forbids to fetch.
        NotStored = "not_stored",
        /// Upstream says that it does not exist.
        UpstreamNotFound = "upstream_not_found",
        /// Upstream refuses us.
        UpstreamRefused = "upstream_refused",
        /// Upstream asks us to slow down.
        UpstreamThrottled = "upstream_throttled",
        /// Upstream did not answer in time.
        UpstreamTimeout = "upstream_timeout",
        /// Upstream failed.
        UpstreamError = "upstream_error",
        /// Upstream is left alone for a while after many failures.
        UpstreamUnavailable = "upstream_unavailable",
        /// Upstream answered with something that is not what was asked for.
        UpstreamBadContent = "upstream_bad_content",
        /// There is no upstream to ask.
        NoUpstream = "no_upstream",
        /// The bytes are not those the checksum database knows.
        ChecksumMismatch = "checksum_mismatch",
        /// The checksum database could not be asked.
        ChecksumUnavailable = "checksum_unavailable",
        /// Storage refuses, or what it has is damaged.
        StorageError = "storage_error",
        /// Storage could not be reached, did not answer in time, or is left alone for a while.
        StorageUnavailable = "storage_unavailable",
        /// The request itself is malformed.
        Invalid = "invalid",
        /// The request's own deadline passed.
        Deadline = "deadline",
        /// Done; for operations that are neither hit nor miss.
        Ok = "ok",
        /// A defect in the gateway.
        Internal = "internal",
        /// The caller went away before the end.
        Dropped = "dropped",
    }
}

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

label! {
    /// The layers and leaves, outside in. A span has its layer's name.
    LayerName = "layer" {
        /// Ids, `traceparent` and the root span.
        RequestContext = "request_context",
        /// One event when the body ends.
        AccessLog = "access_log",
        /// A panic becomes a 500.
        CatchPanic = "catch_panic",
        /// Connection and request limits; sheds.
        Admission = "admission",
        /// The request's deadline.
        Deadline = "deadline",
        /// Requests of each client.
        RateLimit = "rate_limit",
        /// Sends plain requests to https.
        ForceSsl = "force_ssl",
        /// Credentials.
        Auth = "auth",
        /// Pages of operators, compressed.
        Compression = "compression",
        /// Parses the path; typed requests begin.
        Route = "route",
        /// The filter file.
        Filter = "filter",
        /// The validator hook.
        Validate = "validate",
        /// List, latest and resolved queries.
        Versions = "versions",
        /// Small immutable files in memory.
        HotCache = "hot_cache",
        /// Hit or missed.
        Lookup = "lookup",
        /// How many misses may be in hand.
        MissLimit = "miss_limit",
        /// Remembered "does not exist".
        Negative = "negative",
        /// What the download mode says of a miss.
        DownloadMode = "download_mode",
        /// Does what the mode says.
        Dispatch = "dispatch",
        /// One stash per key in this process.
        SingleFlight = "single_flight",
        /// One stash per key among the replicas.
        Lock = "lock",
        /// Fetch slots.
        Pool = "pool",
        /// Fetch, verify, save, index.
        Stash = "stash",
        /// Looks for a near copy before the far store is asked.
        StorageTier = "storage_tier",
        /// Deadline of a storage call.
        StorageDeadline = "storage_deadline",
        /// Leaves a failing storage alone for a while.
        StorageBreaker = "storage_breaker",
        /// Tries again what may succeed the next time.
        StorageRetry = "storage_retry",
        /// Concurrent storage calls.
        StorageLimit = "storage_limit",
        /// The storage call itself.
        StorageIo = "storage_io",
        /// Leaves a failing upstream alone for a while.
        UpstreamBreaker = "upstream_breaker",
        /// Tries again what may succeed the next time.
        UpstreamRetry = "upstream_retry",
        /// Asks once more for a small file that is late.
        UpstreamHedge = "upstream_hedge",
        /// The pace at which one upstream host is asked.
        UpstreamPace = "upstream_pace",
        /// Deadline of one attempt.
        UpstreamDeadline = "upstream_deadline",
        /// Concurrent requests to one upstream host.
        UpstreamLimit = "upstream_limit",
        /// The upstream call itself.
        Upstream = "upstream",
        /// The walk over the GOPROXY list.
        GoproxyList = "goproxy_list",
        /// The checksum databases, for clients.
        SumDb = "sumdb",
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

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident<$labels:ty> = $name:literal;)+) => {
        /// Handles to every metric; resolved once, shared by all layers.
        pub struct Metrics { $($(#[doc = $help])+ pub $field: Family<$kind, $labels>,)+ }

        impl Metrics {
            /// Registers every metric of the catalogue.
            ///
            /// # Errors
            /// When a name is registered already.
            pub fn register(registry: &Registry) -> prometheus::Result<Self> {
                Ok(Self { $($field: Family::register(
                    registry, $name, concat!($($help),+).trim(), SECONDS)?,)+ })
            }
        }

        /// Every metric this program exposes, process metrics aside.
        pub const METRICS: &[MetricInfo] = &[$(MetricInfo {
            name: $name,
            help: concat!($($help),+),
            kind: <$kind as Instrument>::TYPE,
            labels: <$labels as LabelSet>::NAMES,
            label_infos: <$labels as LabelSet>::INFOS,
            combinations: <$labels as LabelSet>::COUNT,
        },)+];
    };
}

metrics! {
    /// Seconds from a request's head to the end of its answer's body.
    request_seconds: Histogram<(RouteName,)> = "dipylon_http_server_request_duration_seconds";
    /// Requests answered, by route and outcome.
    requests: IntCounter<(RouteName, Outcome)> = "dipylon_http_server_requests_total";
    /// Requests whose answer has not ended.
    requests_active: IntGauge<()> = "dipylon_http_server_active_requests";
    /// Bytes of bodies sent to clients.
    sent_bytes: IntCounter<(RouteName,)> = "dipylon_http_server_response_body_bytes_total";
    /// Connections open.
    connections: IntGauge<()> = "dipylon_http_server_connections";
    /// Connections refused because the limit was reached.
    connections_shed: IntCounter<()> = "dipylon_http_server_connections_shed_total";

    /// Clients whose requests the rate limit counts now.
    rate_limit_clients: IntGauge<()> = "dipylon_rate_limit_clients";
    /// Requests that were counted together with those of other clients, because there were too many.
    rate_limit_together: IntCounter<()> = "dipylon_rate_limit_counted_together_total";

    /// Calls of each layer, by outcome.
    layer_calls: IntCounter<(LayerName, Outcome)> = "dipylon_layer_calls_total";
    /// Seconds spent in each layer and all below it.
    layer_seconds: Histogram<(LayerName,)> = "dipylon_layer_duration_seconds";
    /// Calls of each layer that have not ended.
    layer_active: IntGauge<(LayerName,)> = "dipylon_layer_active_calls";

    /// Keys being stashed now.
    flights_active: IntGauge<()> = "dipylon_single_flight_active";
    /// Seconds from the wish for a lock until the fetch began or was not needed any more.
    lock_wait_seconds: Histogram<(LockWait,)> = "dipylon_lock_wait_duration_seconds";
    /// Seconds that locks were held.
    lock_hold_seconds: Histogram<()> = "dipylon_lock_hold_duration_seconds";
    /// Locks held now.
    locks_held: IntGauge<()> = "dipylon_lock_held";
    /// Misses that wait for a lock now.
    locks_awaited: IntGauge<()> = "dipylon_lock_waiting";
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
    /// Attempts made again after a failure.
    retries: IntCounter<(FetchKind,)> = "dipylon_upstream_retries_total";
    /// Small files that were late and were to be asked for once more, by what came of it.
    hedges: IntCounter<(Hedged,)> = "dipylon_upstream_hedges_total";
    /// Breakers open now.
    breakers_open: IntGauge<()> = "dipylon_upstream_breakers_open";
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
}

/// The most series of the whole catalogue; a histogram counts one per bucket, sum and count.
pub fn series_max() -> usize {
    METRICS
        .iter()
        .map(|metric| match metric.kind {
            super::MetricType::Histogram => metric.combinations * (SECONDS.len() + 3),
            _ => metric.combinations,
        })
        .sum()
}

/// Every label of the catalogue: for the reference page and the tests.
pub const LABELS: &[LabelInfo] = &[
    Outcome::INFO,
    RouteName::INFO,
    LayerName::INFO,
    StorageOperation::INFO,
    FetchKind::INFO,
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
];

/// A field of the log event `request`, or an attribute of a span, and what it holds.
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
    ("client?", "The address of the other end; none for a unix socket."),
    ("sent_bytes", "Bytes of the body sent."),
    ("cut", "Whether the body ended before its end."),
    ("duration_ms", "Milliseconds from the request's head to the last byte of the answer."),
    ("error?", "The error's text, as the client got it."),
];

/// The attributes of the root span, whose name is the route. A span for each layer lies below it, with
/// the layer's name.
pub const ROOT_SPAN: &[FieldInfo] = &[
    ("http.request.method", "The method."),
    ("url.path", "The path as it came."),
    ("http.route", "What was asked for: the label `route`."),
    ("http.response.status_code", "The status."),
    ("dipylon.request_id", "The id of the request, as in the log."),
    ("dipylon.outcome", "How it ended; every layer's span has it too."),
];
