//! Every key, declared once: the tables below are the struct the program reads, the loader's list
//! of what to look for, and the reference page `docs/reference/configuration.md`.

mod dipylon;
mod index;
mod single_flight;
mod storage;

use std::path::PathBuf;
use std::time::Duration;

pub use dipylon::{DipylonConfig, LockKeys, PresignedKeys, RateLimitKeys, TieredKeys};
pub use index::{IndexConfig, MysqlIndex, PostgresIndex};
pub use single_flight::{
    EtcdLock, GcpLock, LockConfig, RedisLock, RedisSentinelLock, S3Lock, SingleFlightConfig,
};
pub use storage::{
    AzureBlobStorage, DiskStorage, ExternalStorage, GcpStorage, MinioStorage, MongoStorage,
    S3Storage, StorageConfig,
};

use super::key::EmptyVariable::{Ignored, LastResort};
use super::key::{count, fraction, positive_seconds, table, web_url};
use super::values::{
    CloudRuntime, DownloadMode, EnvVars, IndexType, ListenAddress, LogFormat, LogLevel, Mode,
    NetworkMode, PathPrefix, Secret, SingleFlightType, StatsExporter, StorageType, SumDb,
    TraceExporter, UrlText,
};

/// The most workers of a kind.
const MAX_WORKERS: u32 = 100_000;

/// The checksum database that the `go` command uses by default.
const DEFAULT_SUM_DB: &str = "https://sum.golang.org";

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn url(text: &str) -> UrlText {
    UrlText::new(text)
}

fn default_sum_dbs() -> Vec<SumDb> {
    use super::values::Item as _;
    vec![SumDb::parse(DEFAULT_SUM_DB).expect("the built-in database is an https URL")]
}

table! {
    /// Athens's top-level keys. They stand before the first table header of the file.
    pub struct Config {
        /// The Go command: a name to be found in `PATH`, or a path. It is run only for what the
        /// upstream list sends `direct`.
        go_binary: String = "GoBinary", ["GO_BINARY_PATH"], text("go"), required();
        /// The kind of deployment. `production` refuses a configuration or filter file that others
        /// may write or execute; `development` records every trace; any other word does neither.
        go_env: String = "GoEnv", ["GO_ENV"], text("development"), required();
        /// Variables for the Go command and for choosing the upstream: `GOPROXY`, `GOSUMDB`,
        /// `GOPRIVATE`, … An entry here wins over the process's own variable. Athens's built-in
        /// default is `GOPROXY=direct`; here it is empty.
        go_binary_env_vars: EnvVars = "GoBinaryEnvVars", ["ATHENS_GO_BINARY_ENV_VARS"],
            EnvVars::default(), empty_variable(Ignored);
        /// How many versions are fetched and saved at the same time.
        go_get_workers: u32 = "GoGetWorkers", ["ATHENS_GOGET_WORKERS"],
            10, check(count(1, MAX_WORKERS));
        /// The directory under which fetches make their temporary directories. Empty: the
        /// system's temporary directory.
        go_get_dir: Option<PathBuf> = "GoGetDir", ["ATHENS_GOGET_DIR"], None;
        /// How many misses are in hand at the same time. What is in storage is served outside this
        /// limit.
        protocol_workers: u32 = "ProtocolWorkers", ["ATHENS_PROTOCOL_WORKERS"],
            30, check(count(1, MAX_WORKERS));
        /// The least severe event that is logged. `trace` means debug; `fatal` and `panic` mean
        /// error. Letter case does not matter.
        log_level: LogLevel = "LogLevel", ["ATHENS_LOG_LEVEL"], LogLevel::Debug;
        /// The form of log lines. Empty means plain.
        log_format: LogFormat = "LogFormat", ["ATHENS_LOG_FORMAT"], LogFormat::Plain;
        /// The cloud whose log schema is used; `GCP` wins over `LogFormat`. Another word means
        /// none, with a warning.
        cloud_runtime: CloudRuntime = "CloudRuntime", ["ATHENS_CLOUD_RUNTIME"], CloudRuntime::None;
        /// Serves profiles on `PprofPort`.
        enable_pprof: bool = "EnablePprof", ["ATHENS_ENABLE_PPROF"], false;
        /// The address of the profile server. It has no authentication.
        pprof_port: ListenAddress = "PprofPort", ["ATHENS_PPROF_PORT"],
            ListenAddress::on_port(3001),
            empty_is_default();
        /// The filter file. Empty: no filter.
        filter_file: Option<PathBuf> = "FilterFile", ["ATHENS_FILTER_FILE"], None;
        /// Where traces go. Empty: nowhere. Names of exporters that no longer exist mean nowhere,
        /// with a warning.
        trace_exporter: TraceExporter = "TraceExporter", ["ATHENS_TRACE_EXPORTER"],
            TraceExporter::Off;
        /// The collector. `https://` means TLS. Empty, or the default: the standard
        /// `OTEL_EXPORTER_OTLP_*` variables come first.
        trace_exporter_url: UrlText = "TraceExporterURL", ["ATHENS_TRACE_EXPORTER_URL"],
            url("http://localhost:4317");
        /// The share of traces that is kept when the caller has not decided. In development all are. At the
        /// default the standard `OTEL_TRACES_SAMPLER` comes first.
        trace_sampling_fraction: f64 = "TraceSamplingFraction", ["ATHENS_TRACE_SAMPLING_FRACTION"],
            1.0,
            check(fraction());
        /// Who reads metrics. Empty, and names of exporters that no longer exist: `/metrics` is not
        /// served.
        stats_exporter: StatsExporter = "StatsExporter", ["ATHENS_STATS_EXPORTER"],
            StatsExporter::Prometheus;
        /// Where modules are stored.
        storage_type: StorageType = "StorageType", ["ATHENS_STORAGE_TYPE"], StorageType::Memory;
        /// Where the filter's rule `D` sends clients.
        global_endpoint: UrlText = "GlobalEndpoint", ["ATHENS_GLOBAL_ENDPOINT"],
            url("http://localhost:3001"),
            check(web_url());
        /// The address to listen on. `PORT` counts when `ATHENS_PORT` is not set or empty. Empty
        /// means the default.
        port: ListenAddress = "Port", ["ATHENS_PORT", "PORT"], ListenAddress::on_port(3000),
            empty_variable(LastResort), empty_is_default();
        /// A Unix socket to listen on in place of `Port`.
        unix_socket: Option<PathBuf> = "UnixSocket", ["ATHENS_UNIX_SOCKET"], None;
        /// The user of basic authentication, which is on when user and password are given.
        basic_auth_user: String = "BasicAuthUser", ["BASIC_AUTH_USER"], String::new();
        /// The password of basic authentication.
        basic_auth_pass: Secret = "BasicAuthPass", ["BASIC_AUTH_PASS"], Secret::default();
        /// The template of the home page. If the file is missing, the built-in page is served.
        home_template_path: PathBuf = "HomeTemplatePath", ["ATHENS_HOME_TEMPLATE_PATH"],
            PathBuf::from("/var/lib/athens/home.html");
        /// Sends plain requests to https, unless a proxy says in `X-Forwarded-Proto` that the
        /// client spoke https.
        force_ssl: bool = "ForceSSL", ["PROXY_FORCE_SSL"], false;
        /// A URL that is asked whether a version may be served.
        validator_hook: UrlText = "ValidatorHook", ["ATHENS_PROXY_VALIDATOR"],
            url(""), check(web_url());
        /// The path under which all routes lie, except `/metrics` and the health check `/`.
        path_prefix: PathPrefix = "PathPrefix", ["ATHENS_PATH_PREFIX"], PathPrefix::default();
        /// A file to be copied to `~/.netrc` at start. Excludes `GithubToken`.
        netrc_path: Option<PathBuf> = "NETRCPath", ["ATHENS_NETRC_PATH"], None;
        /// A token for github.com, written to `~/.netrc` at start. Excludes `NETRCPath`.
        github_token: Secret = "GithubToken", ["ATHENS_GITHUB_TOKEN"], Secret::default();
        /// A Mercurial configuration to be copied to the home directory at start.
        hgrc_path: Option<PathBuf> = "HGRCPath", ["ATHENS_HGRC_PATH"], None;
        /// The certificate chain in PEM; with `TLSKeyFile` it turns https on.
        tls_cert_file: Option<PathBuf> = "TLSCertFile", ["ATHENS_TLSCERT_FILE"], None;
        /// The certificate's private key in PEM.
        tls_key_file: Option<PathBuf> = "TLSKeyFile", ["ATHENS_TLSKEY_FILE"], None;
        /// The checksum databases served under `/sumdb/`.
        sum_dbs: Vec<SumDb> = "SumDBs", ["ATHENS_SUM_DBS"], default_sum_dbs();
        /// Patterns of modules that are not looked up in a checksum database.
        no_sum_patterns: Vec<String> = "NoSumPatterns", ["ATHENS_GONOSUM_PATTERNS"], Vec::new();
        /// What happens when a version is not in storage: one mode for all modules, `file:` and the
        /// path of an HCL file, or `custom:` and the HCL text in base64.
        download_mode: DownloadMode = "DownloadMode", ["ATHENS_DOWNLOAD_MODE"],
            DownloadMode::Mode(Mode::Sync);
        /// Where the redirect modes send clients. An HCL file has its own.
        download_url: UrlText = "DownloadURL", ["ATHENS_DOWNLOAD_URL"], url(""), check(web_url());
        /// How list and latest use the upstream: it must answer (`strict`), storage stands in for
        /// it (`fallback`), or it is never called (`offline`).
        network_mode: NetworkMode = "NetworkMode", ["ATHENS_NETWORK_MODE"], NetworkMode::Strict;
        /// What keeps replicas from fetching the same version at the same time. Empty means memory.
        single_flight_type: SingleFlightType = "SingleFlightType", ["ATHENS_SINGLE_FLIGHT_TYPE"],
            SingleFlightType::Memory;
        /// The file served as `/robots.txt`, relative to the working directory.
        robots_file: PathBuf = "RobotsFile", ["ATHENS_ROBOTS_FILE"], PathBuf::from("robots.txt");
        /// Where the index of stored versions is kept. Empty means none.
        index_type: IndexType = "IndexType", ["ATHENS_INDEX_TYPE"], IndexType::None;
        /// The `Cache-Control` header of info, mod and zip. Empty: the program's own choice.
        cache_control: String = "CacheControl", ["ATHENS_CACHE_CONTROL"], String::new();
        /// How long requests may go on after a signal to stop, in seconds.
        shutdown_timeout: Duration = "ShutdownTimeout", ["ATHENS_SHUTDOWN_TIMEOUT"], seconds(60);
        /// How long a fetch with its save may take, in seconds.
        stash_timeout: Duration = "StashTimeout", ["ATHENS_STASH_TIMEOUT"], seconds(600),
            check(positive_seconds());
        /// How long a list, a latest query or a call to a store may take, in seconds.
        timeout: Duration = "Timeout", ["ATHENS_TIMEOUT"], seconds(300), check(positive_seconds());
        tables {
            /// The tables of the stores.
            storage: StorageConfig = "Storage";
            /// The tables of the locks.
            single_flight: SingleFlightConfig = "SingleFlight";
            /// The tables of the index databases.
            index: IndexConfig = "Index";
            /// What Athens does not have.
            dipylon: DipylonConfig = "Dipylon";
        }
    }
}
