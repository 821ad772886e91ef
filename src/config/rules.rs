//! What several keys have to fulfil together, and which tables are in use.
//!
//! A rule looks only at values that were read: a refused value has its own error already, and its
//! default would only lead to errors that are none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dipylon_protocol::pattern::Patterns;

use super::keys::Config;
use super::loader::Loader;
use super::problem::{ConfigError, Origin, Warning, quote};
use super::values::{DownloadMode, Mode, SingleFlightType, StorageType, TraceExporter, WebUrl};

/// The number of etcd members from which on the loss of one does not matter.
const MIN_ETCD_MEMBERS: usize = 3;

/// The rules with what they say, gathered over one configuration.
struct Rules<'r, 'e> {
    config: &'r Config,
    loader: &'r Loader<'e>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
}

/// Applies every rule and returns what they say.
pub(super) fn apply(config: &Config, loader: &Loader<'_>) -> (Vec<ConfigError>, Vec<Warning>) {
    let mut rules = Rules { config, loader, errors: Vec::new(), warnings: Vec::new() };
    rules.pairs();
    rules.download_url();
    rules.trace_exporter();
    rules.no_sum_patterns();
    rules.single_flight_fits_the_storage();
    rules.etcd_members();
    rules.storage();
    rules.presigned();
    rules.limits();
    (rules.errors, rules.warnings)
}

impl Rules<'_, '_> {
    fn sound(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.loader.is_sound(key))
    }

    fn conflict(&mut self, key: &str, reason: impl Into<String>) {
        self.errors.push(ConfigError::Conflict {
            key: key.to_owned(),
            shown: self.loader.shown(key),
            origin: self.loader.origin(key),
            reason: reason.into(),
        });
    }

    fn warn(&mut self, key: &str, text: &str) {
        let shown = self.loader.shown(key);
        let origin = self.loader.origin(key);
        self.warnings.push(Warning(format!("{key} = {shown} (from {origin}): {text}")));
    }

    /// Keys that need, or exclude, each other.
    fn pairs(&mut self) {
        let config = self.config;
        self.both_or_none(
            ("BasicAuthUser", !config.basic_auth_user.is_empty()),
            ("BasicAuthPass", !config.basic_auth_pass.is_empty()),
            "authentication would be off",
        );
        self.both_or_none(
            ("TLSCertFile", config.tls_cert_file.is_some()),
            ("TLSKeyFile", config.tls_key_file.is_some()),
            "the server would speak plain http",
        );
        let both = !config.github_token.is_empty() && config.netrc_path.is_some();
        if both && self.sound(&["GithubToken", "NETRCPath"]) {
            self.conflict("GithubToken", "NETRCPath is set too and both write ~/.netrc; set one");
        }
    }

    fn both_or_none(&mut self, one: (&str, bool), other: (&str, bool), else_what: &str) {
        if one.1 == other.1 || !self.sound(&[one.0, other.0]) {
            return;
        }
        let (set, empty) = if one.1 { (one.0, other.0) } else { (other.0, one.0) };
        self.conflict(set, format!("{empty} is empty, so {else_what}; set both or none"));
    }

    fn download_url(&mut self) {
        let redirects = matches!(
            self.config.download_mode,
            DownloadMode::Mode(Mode::Redirect | Mode::AsyncRedirect)
        );
        let empty = self.config.download_url.is_empty();
        if redirects && empty && self.sound(&["DownloadMode", "DownloadURL"]) {
            self.conflict(
                "DownloadMode",
                "DownloadURL is empty, so clients would be sent in a circle; \
                 set DownloadURL in the file, or ATHENS_DOWNLOAD_URL",
            );
        }
    }

    fn trace_exporter(&mut self) {
        let url = &self.config.trace_exporter_url;
        let used = self.config.trace_exporter == TraceExporter::Otlp && !url.is_empty();
        if used && WebUrl::parse(url.as_str()).is_none() {
            self.conflict(
                "TraceExporterURL",
                "accepted is a URL that begins with http:// or https://, such as \
                 http://localhost:4317",
            );
        }
    }

    /// A malformed pattern never matches, so the name it should keep private is not kept.
    fn no_sum_patterns(&mut self) {
        let list: Patterns = self.config.no_sum_patterns.iter().map(String::as_str).collect();
        for pattern in list.malformed() {
            let text = format!("the pattern {} is malformed and never matches", quote(pattern));
            self.warn("NoSumPatterns", &text);
        }
    }

    /// A lock that lives in the store needs that store.
    fn single_flight_fits_the_storage(&mut self) {
        let storage = self.config.storage_type;
        let (fits, wanted) = match self.config.single_flight_type {
            SingleFlightType::Gcp => (storage == StorageType::Gcp, "\"gcp\""),
            SingleFlightType::AzureBlob => (storage == StorageType::AzureBlob, "\"azureblob\""),
            SingleFlightType::S3 => {
                (matches!(storage, StorageType::S3 | StorageType::Minio), "\"s3\" or \"minio\"")
            }
            SingleFlightType::Memory
            | SingleFlightType::Etcd
            | SingleFlightType::Redis
            | SingleFlightType::RedisSentinel => return,
        };
        if !fits && self.sound(&["SingleFlightType", "StorageType"]) {
            let reason = format!(
                "works only with StorageType {wanted}, and that is \"{storage}\" (from {})",
                self.loader.origin("StorageType")
            );
            self.conflict("SingleFlightType", reason);
        }
    }

    fn etcd_members(&mut self) {
        let members = self.config.single_flight.etcd.endpoints.0.len();
        let used = self.config.single_flight_type == SingleFlightType::Etcd;
        if used && (1..MIN_ETCD_MEMBERS).contains(&members) {
            self.warn(
                "SingleFlight.Etcd.Endpoints",
                "three or more endpoints are wanted: with fewer, the loss of one stops the locks",
            );
        }
    }

    /// What the store in use needs beyond non-empty keys.
    fn storage(&mut self) {
        match self.config.storage_type {
            StorageType::Minio => self.minio(),
            StorageType::S3 => self.s3(),
            StorageType::Gcp => self.gcp(),
            StorageType::AzureBlob => self.azure_blob(),
            StorageType::Memory
            | StorageType::Disk
            | StorageType::Mongo
            | StorageType::External => {}
        }
    }

    fn minio(&mut self) {
        const SSL: &str = "Storage.Minio.EnableSSL";
        let has_scheme = self.config.storage.minio.endpoint.as_str().contains("://");
        if !has_scheme && self.sound(&[SSL]) && self.loader.origin(SSL) == Origin::Default {
            self.warn(
                SSL,
                "Athens took false where this is left out, against its documentation; \
                 here the documented true holds: write the one you mean",
            );
        }
    }

    fn s3(&mut self) {
        let s3 = &self.config.storage.s3;
        let elsewhere = s3.use_default_configuration || !s3.credentials_endpoint.is_empty();
        let one = ("Storage.S3.Key", !s3.key.is_empty());
        let other = ("Storage.S3.Secret", !s3.secret.is_empty());
        if !elsewhere {
            self.both_or_none(one, other, "the store would refuse every request");
        }
    }

    fn gcp(&mut self) {
        const KEY: &str = "Storage.GCP.JSONKey";
        let key = &self.config.storage.gcp.json_key;
        let text: String = key.expose().chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if !text.is_empty() && STANDARD.decode(text).is_err() {
            self.conflict(KEY, "not base64; encode the credentials' JSON with `base64`");
        }
    }

    fn azure_blob(&mut self) {
        const KEY: &str = "Storage.AzureBlob.AccountKey";
        let azure = &self.config.storage.azure_blob;
        let identity =
            !azure.managed_identity_resource_id.is_empty() && !azure.credential_scope.is_empty();
        if azure.account_key.is_empty() && !identity && self.sound(&[KEY]) {
            self.conflict(
                KEY,
                "no credentials: set it (or ATHENS_AZURE_ACCOUNT_KEY), or both \
                 ManagedIdentityResourceId and CredentialScope",
            );
        }
    }

    /// Only an object store can be asked by clients themselves.
    fn presigned(&mut self) {
        const KEY: &str = "Dipylon.Presigned.MinBytes";
        let storage = self.config.storage_type;
        let is_object_store = matches!(
            storage,
            StorageType::S3 | StorageType::Minio | StorageType::Gcp | StorageType::AzureBlob
        );
        let used = self.config.dipylon.presigned.min_bytes > 0;
        if used && !is_object_store && self.sound(&[KEY, "StorageType"]) {
            let reason = format!(
                "works only with StorageType s3, minio, gcp or azureblob, and that is \"{storage}\" \
                 (from {})",
                self.loader.origin("StorageType")
            );
            self.conflict(KEY, reason);
        }
    }

    /// Limits that make no sense against one another.
    fn limits(&mut self) {
        let ours = &self.config.dipylon;
        if ours.hold_back_bytes > ours.max_spool_bytes
            && self.sound(&["Dipylon.HoldBackBytes", "Dipylon.MaxSpoolBytes"])
        {
            self.conflict("Dipylon.HoldBackBytes", "must not exceed Dipylon.MaxSpoolBytes");
        }
        if ours.lock.renewal * 2 > ours.lock.lease
            && self.sound(&["Dipylon.Lock.Lease", "Dipylon.Lock.Renewal"])
        {
            let reason =
                "must not exceed half of Dipylon.Lock.Lease: one lost renewal would be a lost lock";
            self.conflict("Dipylon.Lock.Renewal", reason);
        }
        self.rate_limit();
        if ours.request_timeout < self.config.stash_timeout {
            self.warn(
                "Dipylon.RequestTimeout",
                "shorter than StashTimeout: clients are told to come back before a fetch may end",
            );
        }
    }

    /// What comes by a Unix socket has no address but the one that a proxy is believed to name.
    fn rate_limit(&mut self) {
        const RATE: &str = "Dipylon.RateLimit.RequestsPerSecond";
        let ours = &self.config.dipylon;
        let limited = ours.rate_limit.requests_per_second > 0;
        let nameless = self.config.unix_socket.is_some() && ours.trusted_proxies.is_empty();
        if limited && nameless && self.sound(&[RATE, "UnixSocket", "Dipylon.TrustedProxies"]) {
            self.conflict(
                RATE,
                "UnixSocket is set and Dipylon.TrustedProxies is empty, so all clients would count as \
                 one; set TrustedProxies, and the proxy at the socket is believed",
            );
        }
    }
}

/// Divides errors by whether their table is in use. What is wrong in a table that is not in use
/// does not stop the program: a forbidden value becomes a warning, an empty one is nothing at all.
/// What cannot be read is an error everywhere, as in Athens.
pub(super) fn set_aside_unused(
    config: &Config,
    errors: Vec<ConfigError>,
    warnings: &mut Vec<Warning>,
) -> Vec<ConfigError> {
    let mut kept = Vec::new();
    for error in errors {
        let table = error.key().and_then(|key| Selector::of(key, config));
        match (table, error) {
            (Some(table), error) if table.used => kept.push(table.explain(error)),
            (Some(_), ConfigError::Missing { .. }) => {}
            (Some(table), error @ ConfigError::Range { .. }) => {
                let why = format!("{} is \"{}\"", table.key, table.value);
                warnings.push(Warning(format!("{error}; ignored, because {why}")));
            }
            (_, error) => kept.push(error),
        }
    }
    kept
}

/// The key that chooses among the tables to which some key belongs.
struct Selector {
    key: &'static str,
    value: &'static str,
    used: bool,
}

impl Selector {
    fn of(key: &str, config: &Config) -> Option<Self> {
        let (family, rest) = key.split_once('.')?;
        let (table, _) = rest.split_once('.')?;
        let (key, value) = match family {
            "Storage" => ("StorageType", config.storage_type.as_str()),
            "SingleFlight" => ("SingleFlightType", config.single_flight_type.as_str()),
            "Index" => ("IndexType", config.index_type.as_str()),
            _ => return None,
        };
        // `redis-sentinel` is the table `RedisSentinel`; all others differ in letter case only.
        Some(Self { key, value, used: value.replace('-', "").eq_ignore_ascii_case(table) })
    }

    /// Says who needs an empty value.
    fn explain(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Missing { key, origin, variable, .. } => {
                let why = format!("; {} = \"{}\" needs it", self.key, self.value);
                ConfigError::Missing { key, origin, variable, why }
            }
            other => other,
        }
    }
}
