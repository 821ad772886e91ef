//! `[Dipylon]`: what Athens does not have. Athens ignores the table, so one file serves both.

use std::path::PathBuf;
use std::time::Duration;

use dipylon_middleware::budget::{BURST_MAX, RATE_MAX};

use super::super::key::{bytes, count, positive_seconds, seconds_within, table, web_url};
use super::super::values::{GoDuration, IpNet, OtlpProtocol, Secret, SecretMap, UrlText};
use super::{seconds, url};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The most that a key about memory or disk takes, in bytes: 1 PiB.
const MAX_BYTES: u64 = 1024 * 1024 * GIB;

/// The most connections at the same time.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// The most background fetches that may wait or run.
const MAX_QUEUE_ENTRIES: u32 = 1_000_000;

/// The most attempts at one upstream request.
const MAX_UPSTREAM_ATTEMPTS: u32 = 20;

/// The most requests to one upstream host at a time.
const MAX_UPSTREAM_CONCURRENCY: u32 = 10_000;

/// The shortest and the longest that a lock may outlive its holder, in seconds.
const LEASE_SECONDS: (u64, u64) = (1, 3600);

/// The least and the most milliseconds between two looks of who waits for a lock: 250 is what a waiter
/// may lose at most where no release is pushed.
const POLL_MILLIS: (u32, u32) = (10, 250);

/// The shortest and the longest that a signed URL can be used, in seconds.
const PRESIGNED_SECONDS: (u64, u64) = (5, 3600);

/// The highest rate that a client may be held to, in requests a second; 0 is no limit.
const MAX_CLIENT_RATE: u32 = 1_000_000;

/// The most requests that a client may send at once.
const MAX_CLIENT_BURST: u32 = 1_000_000;

table! {
    /// Keys that Athens does not have and ignores, so that one file serves both programs.
    pub struct DipylonConfig {
        /// Mode `none` holds for list and latest too: they answer from storage only.
        list_follows_mode: bool = "ListFollowsMode", ["DIPYLON_LIST_FOLLOWS_MODE"], false;
        /// What Athens does not know is refused in the download-mode file, so that it is sure to work there.
        strict_download_file: bool = "StrictDownloadFile", ["DIPYLON_STRICT_DOWNLOAD_FILE"], false;
        /// How long an answer to list or latest, or what a branch stands for, counts as fresh, in seconds.
        fresh_for: Duration = "FreshFor", ["DIPYLON_FRESH_FOR"], seconds(60);
        /// For how long after that it is still served while a new one is fetched, in seconds.
        stale_while_revalidate: Duration = "StaleWhileRevalidate",
            ["DIPYLON_STALE_WHILE_REVALIDATE"],
            seconds(1_500);
        /// For how long it is served when the upstream fails, in seconds.
        stale_if_error: Duration = "StaleIfError", ["DIPYLON_STALE_IF_ERROR"], seconds(604_800);
        /// How long it is remembered that a version does not exist, in seconds.
        negative_version_ttl: Duration = "NegativeVersionTTL", ["DIPYLON_NEGATIVE_VERSION_TTL"],
            seconds(60);
        /// How long it is remembered that a module path does not exist, in seconds.
        negative_path_ttl: Duration = "NegativePathTTL", ["DIPYLON_NEGATIVE_PATH_TTL"],
            seconds(600);
        /// How long connecting to an upstream may take, in seconds; half of `UpstreamHeaderTimeout` at most.
        upstream_connect_timeout: Duration = "UpstreamConnectTimeout",
            ["DIPYLON_UPSTREAM_CONNECT_TIMEOUT"],
            seconds(10), check(positive_seconds());
        /// How long an upstream may take until its headers arrive, in seconds.
        upstream_header_timeout: Duration = "UpstreamHeaderTimeout",
            ["DIPYLON_UPSTREAM_HEADER_TIMEOUT"],
            seconds(60), check(positive_seconds());
        /// How long an upstream may send nothing within a body, in seconds.
        upstream_idle_timeout: Duration = "UpstreamIdleTimeout", ["DIPYLON_UPSTREAM_IDLE_TIMEOUT"],
            seconds(30), check(positive_seconds());
        /// How often an upstream request is attempted, the first time included.
        upstream_attempts: u32 = "UpstreamAttempts", ["DIPYLON_UPSTREAM_ATTEMPTS"], 3,
            check(count(1, MAX_UPSTREAM_ATTEMPTS));
        /// Requests at a time to one upstream host, whichever lists and paths name it.
        upstream_concurrency: u32 = "UpstreamConcurrency", ["DIPYLON_UPSTREAM_CONCURRENCY"], 64,
            check(count(1, MAX_UPSTREAM_CONCURRENCY));
        /// Requests a second to one upstream host in the long run, attempts made again included. What must
        /// wait more than 5 s is answered 503. 0: no limit but `Retry-After`.
        upstream_rate: u32 = "UpstreamRate", ["DIPYLON_UPSTREAM_RATE"], 0,
            check(count(0, RATE_MAX));
        /// Requests at once to one upstream host after a pause, where `UpstreamRate` is set.
        upstream_burst: u32 = "UpstreamBurst", ["DIPYLON_UPSTREAM_BURST"], 20,
            check(count(1, BURST_MAX));
        /// After how long without an answer a list, latest, info or mod file is asked of the upstream once
        /// more; the first answer counts. `0s`: never.
        hedge_after: GoDuration = "HedgeAfter", ["DIPYLON_HEDGE_AFTER"], GoDuration::ZERO;
        /// How many clients may be connected at the same time.
        max_connections: u32 = "MaxConnections", ["DIPYLON_MAX_CONNECTIONS"], 20_000,
            check(count(1, MAX_CONNECTIONS));
        /// How long a miss waits for one of the `ProtocolWorkers`, in seconds.
        miss_queue_timeout: Duration = "MissQueueTimeout", ["DIPYLON_MISS_QUEUE_TIMEOUT"],
            seconds(30),
            check(positive_seconds());
        /// How long a request may take until its answer begins, in seconds.
        request_timeout: Duration = "RequestTimeout", ["DIPYLON_REQUEST_TIMEOUT"], seconds(900),
            check(positive_seconds());
        /// How much of a zip is held back until its checks are done, in bytes.
        hold_back_bytes: u64 = "HoldBackBytes", ["DIPYLON_HOLD_BACK_BYTES"],
            MIB, check(bytes(1, GIB));
        /// How much memory recently served info and mod files and small zips may take, in bytes. 0: none are kept.
        hot_cache_bytes: u64 = "HotCacheBytes", ["DIPYLON_HOT_CACHE_BYTES"], 64 * MIB,
            check(bytes(0, MAX_BYTES));
        /// How much disk the zips in hand may take, in bytes.
        max_spool_bytes: u64 = "MaxSpoolBytes", ["DIPYLON_MAX_SPOOL_BYTES"], 20 * GIB,
            check(bytes(MIB, MAX_BYTES));
        /// The directory for the zips in hand. Empty: beside the store where that is a local disk,
        /// else `GoGetDir`, or the system's temporary directory.
        spool_dir: Option<PathBuf> = "SpoolDir", ["DIPYLON_SPOOL_DIR"], None;
        /// The directory in which accepted background fetches outlive a restart, which one gateway has for
        /// itself. Empty: they are lost with the process.
        queue_directory: Option<PathBuf> = "QueueDirectory", ["DIPYLON_QUEUE_DIRECTORY"], None;
        /// How many background fetches may wait or run; the newest are left out of a full queue.
        queue_max_entries: u32 = "QueueMaxEntries", ["DIPYLON_QUEUE_MAX_ENTRIES"], 10_000,
            check(count(1, MAX_QUEUE_ENTRIES));
        /// What every page under `/-/` wants in the header `X-Dipylon-Token`. Empty: those that only tell
        /// something are as open as `/metrics`, and those that change something are refused.
        admin_token: Secret = "AdminToken", ["DIPYLON_ADMIN_TOKEN"], Secret::default();
        /// Exposes Athens's own three metrics, `proxy_…`, beside ours: for dashboards that were made for Athens.
        athens_metrics: bool = "AthensMetrics", ["DIPYLON_ATHENS_METRICS"], false;
        /// Logs one line for each request.
        log_access: bool = "LogAccess", ["DIPYLON_LOG_ACCESS"], true;
        /// The proxies in front, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Who comes
        /// by `UnixSocket` is then believed too.
        trusted_proxies: Vec<IpNet> = "TrustedProxies", ["DIPYLON_TRUSTED_PROXIES"], Vec::new();
        /// The directory for the Go command's own caches, which must belong to this user and be
        /// writable by nobody else. Empty: `dipylon/go` under `XDG_CACHE_HOME` or `HOME/.cache`, or a
        /// directory named after the user under `GoGetDir` or the system's temporary directory.
        go_cache_dir: Option<PathBuf> = "GoCacheDir", ["DIPYLON_GO_CACHE_DIR"], None;
        /// How the collector of traces is spoken to.
        otlp_protocol: OtlpProtocol = "OtlpProtocol", ["DIPYLON_OTLP_PROTOCOL"], OtlpProtocol::Grpc;
        /// Headers for the collector of traces, such as the one that authenticates.
        trace_headers: SecretMap = "TraceHeaders", ["DIPYLON_TRACE_HEADERS"], SecretMap::default();
        /// Keeps the traces of misses, of slow answers and of what is logged as a warning or an error, whatever
        /// `TraceSamplingFraction` and the caller say.
        trace_keep_notable: bool = "TraceKeepNotable", ["DIPYLON_TRACE_KEEP_NOTABLE"], true;
        /// From when on an answer is slow: how long it took to begin. `0s`: none is.
        trace_slow: GoDuration = "TraceSlow", ["DIPYLON_TRACE_SLOW"], GoDuration::SECOND;
        /// Another blob endpoint than the account's own, for emulators and private clouds; with the
        /// account in the path where an emulator wants it.
        azure_endpoint: UrlText = "AzureEndpoint", ["DIPYLON_AZURE_ENDPOINT"],
            url(""), check(web_url());
        /// Creates the container at start if it does not exist.
        azure_create_container: bool = "AzureCreateContainer", ["DIPYLON_AZURE_CREATE_CONTAINER"],
            false;
        /// An emulator in place of Google Cloud Storage: host and port, or a URL. The variable is
        /// the one that Google's own clients read.
        storage_emulator_host: UrlText = "StorageEmulatorHost", ["STORAGE_EMULATOR_HOST"], url("");
        tables {
            /// Locks across replicas, of whatever `SingleFlightType`.
            lock: LockKeys = "Lock";
            /// How many requests one client may send.
            rate_limit: RateLimitKeys = "RateLimit";
            /// A local disk in front of the store.
            tiered: TieredKeys = "Tiered";
            /// Clients sent to the object store for large zips.
            presigned: PresignedKeys = "Presigned";
        }
    }
}

table! {
    /// How many requests one client may send to one gateway. A client is an address, or the first 64 bits
    /// of an IPv6 address, behind `TrustedProxies`. Health checks and `/metrics` are not limited, unless the
    /// request brings credentials, as every request does where basic auth is on.
    pub struct RateLimitKeys {
        /// Requests a second in the long run; what comes faster is answered 429. 0: no limit.
        requests_per_second: u32 = "RequestsPerSecond",
            ["DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND"], 0, check(count(0, MAX_CLIENT_RATE));
        /// Requests at once after a pause. A build with 200 new modules sends some 1,000.
        burst: u32 = "Burst", ["DIPYLON_RATE_LIMIT_BURST"], 2_000,
            check(count(1, MAX_CLIENT_BURST));
    }
}

table! {
    /// A near tier: copies of what the store has, on a local disk, within a limit.
    pub struct TieredKeys {
        /// The directory, which one gateway has for itself. Empty: no near tier.
        directory: Option<PathBuf> = "Directory", ["DIPYLON_TIERED_DIRECTORY"], None;
        /// How much disk the copies may take, in bytes. No copy takes more than half of it.
        max_bytes: u64 = "MaxBytes", ["DIPYLON_TIERED_MAX_BYTES"], 10 * GIB,
            check(bytes(MIB, MAX_BYTES));
    }
}

table! {
    /// Large zips that clients fetch from the object store themselves, by a URL that is signed for a short
    /// while. With `StorageType` `s3`, `minio`, `gcp` or `azureblob`.
    pub struct PresignedKeys {
        /// Zips of at least so many bytes. 0: clients are never sent anywhere.
        min_bytes: u64 = "MinBytes", ["DIPYLON_PRESIGNED_MIN_BYTES"], 0,
            check(bytes(0, MAX_BYTES));
        /// For how long a URL can be used, in seconds.
        lifetime: Duration = "Lifetime", ["DIPYLON_PRESIGNED_LIFETIME"], seconds(60),
            check(seconds_within(PRESIGNED_SECONDS));
        /// The store as clients reach it, where that is another address than the gateway's. The URLs are
        /// signed for it. Empty: the gateway's own.
        endpoint: UrlText = "Endpoint", ["DIPYLON_PRESIGNED_ENDPOINT"], url(""), check(web_url());
    }
}

table! {
    /// Locks across replicas: what Athens's own keys under `SingleFlight` do not say.
    pub struct LockKeys {
        /// How long a lock outlives its last renewal, and so a holder that died, in seconds.
        lease: Duration = "Lease", ["DIPYLON_LOCK_LEASE"], seconds(10),
            check(seconds_within(LEASE_SECONDS));
        /// How often a holder renews its lock, in seconds; at most half of `Lease`.
        renewal: Duration = "Renewal", ["DIPYLON_LOCK_RENEWAL"], seconds(3),
            check(seconds_within(LEASE_SECONDS));
        /// How often who waits for a lock looks for itself, in milliseconds. Where the service pushes
        /// a release, who waits is woken sooner.
        poll_millis: u32 = "PollMillis", ["DIPYLON_LOCK_POLL_MILLIS"], 250,
            check(count(POLL_MILLIS.0, POLL_MILLIS.1));
    }
}
