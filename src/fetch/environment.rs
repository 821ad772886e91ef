//! The Go settings that govern fetching: where each value comes from, and what follows from it.
//!
//! Order, for each name alone: an entry of `GoBinaryEnvVars`, else the process's environment, else
//! what `go env` says, else the `go` command's default. An empty value counts as not set, as in the
//! `go` command. `GOPROXY` has no default here: no upstream's host is compiled in.
//!
//! The environment is handed in as a function; nothing here reads the process's own.

use std::fmt;

use dipylon_middleware::redact::redact_url;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::sumdb::Database;
use dipylon_protocol::sumdb::note::PUBLIC_DATABASE_NAME;

use super::go_env::{self, GoEnv};
use super::goproxy_setting::{Entry, EntryKind, GoProxyError, GoProxyList};

/// The settings that are resolved, in the order they are shown.
pub const NAMES: [&str; 8] = [
    "GOPROXY",
    "GOPRIVATE",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOINSECURE",
    "GOVCS",
    "GOTOOLCHAIN",
];

/// Settings that the `go` child never gets from a person: the gateway chooses the upstream, verifies
/// itself, and flags would change what a fetch means.
const NOT_FOR_CHILD: [&str; 3] = ["GOPROXY", "GOSUMDB", "GOFLAGS"];

/// An alias that the `go` command knows of the public database, reachable where its own host is not.
const PUBLIC_DATABASE_ALIAS: &str = "sum.golang.google.cn";

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration key `GoBinaryEnvVars`.
    GoBinaryEnvVars,
    /// The environment of this process.
    Environment,
    /// What `go env` printed: Go's environment file, or its distribution's default.
    GoEnv,
    /// Derived from another setting, or the `go` command's built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoBinaryEnvVars => "GoBinaryEnvVars",
            Self::Environment => "environment",
            Self::GoEnv => "go env",
            Self::Default => "default",
        })
    }
}

/// One setting: what `/-/` and `check` show.
#[derive(Clone, PartialEq, Eq)]
pub struct GoSetting {
    /// Its name, such as `GOPROXY`.
    pub name: &'static str,
    /// Its value; may be empty.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

impl GoSetting {
    /// The value without credentials.
    pub fn shown(&self) -> String {
        redact_url(&self.value).into_owned()
    }
}

impl fmt::Debug for GoSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.name, self.shown(), self.origin)
    }
}

/// Whether and by which database downloads are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SumDbSetting {
    /// `GOSUMDB=off`.
    Off,
    /// This database.
    Database(Box<Database>),
}

/// Everything that fetching needs to know of the Go settings.
#[derive(Clone, Debug)]
pub struct GoSettings {
    /// The upstreams; empty when nobody named any, which means "no upstream".
    pub proxies: GoProxyList,
    /// Modules that go `direct`: GONOPROXY, by default GOPRIVATE.
    pub no_proxy: Patterns,
    /// Modules that are never looked up: GONOSUMDB, by default GOPRIVATE, and `NoSumPatterns`.
    pub no_sum: Patterns,
    /// The checksum database.
    pub sumdb: SumDbSetting,
    /// What the `go` child gets beside the closed list of Athens.
    pub child_env: Vec<(String, String)>,
    /// Each setting with its origin, in the order of [`NAMES`].
    pub settings: Vec<GoSetting>,
    /// How asking the `go` command ended.
    pub go_env: GoEnv,
}

/// What the settings are resolved from.
pub struct SettingsSource<'a> {
    /// The configuration's `GoBinaryEnvVars`; of equal names the last counts, as in a process.
    pub go_binary_env_vars: &'a [(String, String)],
    /// The environment of this process.
    pub environment: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The `go` command to ask for what neither has; a name is looked up in `PATH`.
    pub go_binary: &'a str,
    /// The configuration's `NoSumPatterns`.
    pub no_sum_patterns: &'a [String],
    /// The port that this gateway listens on, where it is known: no upstream of ours.
    pub own_port: Option<u16>,
}

/// Why the settings are refused; one line that names the setting and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// GOPROXY.
    #[error("{error} (GOPROXY is from {origin})")]
    GoProxy {
        /// What is wrong.
        error: GoProxyError,
        /// Where the value comes from.
        origin: Origin,
    },
    /// GOPROXY names this gateway.
    #[error(
        "GOPROXY has {entry} (from {origin}), which is this gateway itself: name the proxies that it \
         shall ask in GOPROXY, in its environment or in GoBinaryEnvVars"
    )]
    OwnAddress {
        /// The entry without credentials.
        entry: String,
        /// Where it comes from.
        origin: Origin,
    },
    /// GOSUMDB.
    #[error(
        "GOSUMDB {value:?} (from {origin}) is refused: {reason}; accepted are off, \
         sum.golang.org, or NAME+HASH+KEY, the latter two optionally with a URL"
    )]
    GoSumDb {
        /// The value.
        value: String,
        /// Where it comes from.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
}

impl GoSettings {
    /// Resolves every setting. The `go` command is run at most once, for at most
    /// [`go_env::MAX_RUN`], and only when a setting is still open; that there is none is no error.
    ///
    /// # Errors
    /// [`SettingsError`] for a value that cannot be used.
    pub async fn resolve(source: &SettingsSource<'_>) -> Result<Self, SettingsError> {
        let mut settings: Vec<GoSetting> =
            NAMES.iter().filter_map(|name| source.find(name)).collect();
        let open: Vec<&str> = NAMES.into_iter().filter(|name| !has(&settings, name)).collect();
        let go_env = if open.is_empty() {
            GoEnv::NotAsked
        } else {
            let known: Vec<(&str, &str)> =
                settings.iter().map(|setting| (setting.name, setting.value.as_str())).collect();
            go_env::ask(source.go_binary, &open, &known, source.environment).await
        };
        for name in open {
            let answered = go_env.value(name).filter(|value| !value.is_empty());
            let setting = match answered {
                Some(value) => GoSetting { name, value: value.to_owned(), origin: Origin::GoEnv },
                None => default_of(name, &settings),
            };
            settings.push(setting);
        }
        source.without_ourselves(&mut settings).await?;
        settings.sort_by_key(|setting| NAMES.iter().position(|name| *name == setting.name));
        Self::derive(source, settings, go_env)
    }

    fn derive(
        source: &SettingsSource<'_>,
        settings: Vec<GoSetting>,
        go_env: GoEnv,
    ) -> Result<Self, SettingsError> {
        let value = |name| value_of(&settings, name).map_or("", |setting| setting.value.as_str());
        let no_sum = value("GONOSUMDB")
            .split(',')
            .chain(source.no_sum_patterns.iter().flat_map(|pattern| pattern.split(',')));
        Ok(Self {
            proxies: parse_proxies(value_of(&settings, "GOPROXY"))?,
            no_proxy: Patterns::parse(value("GONOPROXY")),
            no_sum: no_sum.collect(),
            sumdb: parse_sumdb(value_of(&settings, "GOSUMDB"))?,
            child_env: child_env(source, &settings),
            settings,
            go_env,
        })
    }
}

impl SettingsSource<'_> {
    /// A person who points `go` at this gateway with `go env -w` points the gateway at itself: then
    /// what `go` uses without that file counts. Anywhere else it is a mistake.
    async fn without_ourselves(&self, settings: &mut [GoSetting]) -> Result<(), SettingsError> {
        let Some(found) = settings.iter_mut().find(|setting| setting.name == "GOPROXY") else {
            return Ok(());
        };
        let Some(entry) = self.ourselves_in(found) else { return Ok(()) };
        if found.origin == Origin::GoEnv {
            let without_file = [("GOENV", "off")];
            let asked =
                go_env::ask(self.go_binary, &["GOPROXY"], &without_file, self.environment).await;
            let value = asked.value("GOPROXY").unwrap_or_default().to_owned();
            tracing::warn!(%entry, "go env names this gateway as GOPROXY: what go uses without its \
                environment file is asked instead");
            *found = GoSetting { name: "GOPROXY", value, origin: Origin::GoEnv };
            if self.ourselves_in(found).is_none() {
                return Ok(());
            }
        }
        Err(SettingsError::OwnAddress { entry, origin: found.origin })
    }

    /// The entry that leads back here. What is malformed is refused elsewhere.
    fn ourselves_in(&self, setting: &GoSetting) -> Option<String> {
        let own_port = self.own_port?;
        let list = GoProxyList::parse(&setting.value).ok()?;
        let leads_here = |entry: &&Entry| match &entry.kind {
            EntryKind::Proxy(base) => base.is_loopback() && base.port() == own_port,
            _ => false,
        };
        list.entries().iter().find(leads_here).map(ToString::to_string)
    }

    /// A setting that the configuration or the environment has.
    fn find(&self, name: &'static str) -> Option<GoSetting> {
        let mut entries = self.go_binary_env_vars.iter().rev();
        if let Some((_, value)) = entries.find(|(key, value)| key == name && !value.is_empty()) {
            let value = value.clone();
            return Some(GoSetting { name, value, origin: Origin::GoBinaryEnvVars });
        }
        let value = (self.environment)(name).filter(|value| !value.is_empty())?;
        Some(GoSetting { name, value, origin: Origin::Environment })
    }
}

fn has(settings: &[GoSetting], name: &str) -> bool {
    value_of(settings, name).is_some()
}

fn value_of<'a>(settings: &'a [GoSetting], name: &str) -> Option<&'a GoSetting> {
    settings.iter().find(|setting| setting.name == name)
}

/// The `go` command's own defaults; `settings` has those that come earlier in [`NAMES`], or that were
/// set.
fn default_of(name: &'static str, settings: &[GoSetting]) -> GoSetting {
    let value = match name {
        "GONOPROXY" | "GONOSUMDB" => {
            value_of(settings, "GOPRIVATE").map_or("", |setting| setting.value.as_str())
        }
        "GOSUMDB" => PUBLIC_DATABASE_NAME,
        _ => "",
    };
    GoSetting { name, value: value.to_owned(), origin: Origin::Default }
}

fn parse_proxies(setting: Option<&GoSetting>) -> Result<GoProxyList, SettingsError> {
    let Some(setting) = setting else { return Ok(GoProxyList::default()) };
    GoProxyList::parse(&setting.value)
        .map_err(|error| SettingsError::GoProxy { error, origin: setting.origin })
}

fn parse_sumdb(setting: Option<&GoSetting>) -> Result<SumDbSetting, SettingsError> {
    let Some(setting) = setting else { return Ok(SumDbSetting::Off) };
    let value = match setting.value.trim() {
        "off" => return Ok(SumDbSetting::Off),
        PUBLIC_DATABASE_ALIAS => format!("{PUBLIC_DATABASE_NAME} https://{PUBLIC_DATABASE_ALIAS}"),
        value => value.to_owned(),
    };
    match Database::parse(&value) {
        Ok(database) => Ok(SumDbSetting::Database(Box::new(database))),
        Err(error) => Err(SettingsError::GoSumDb {
            value: redact_url(&value).into_owned(),
            origin: setting.origin,
            reason: error.to_string(),
        }),
    }
}

/// The resolved settings that have a value, then whatever else `GoBinaryEnvVars` has.
fn child_env(source: &SettingsSource<'_>, settings: &[GoSetting]) -> Vec<(String, String)> {
    let resolved = settings
        .iter()
        .filter(|setting| !setting.value.is_empty())
        .map(|setting| (setting.name.to_owned(), setting.value.clone()));
    let others = source
        .go_binary_env_vars
        .iter()
        .filter(|(name, _)| !NAMES.contains(&name.as_str()))
        .cloned();
    resolved.chain(others).filter(|(name, _)| !NOT_FOR_CHILD.contains(&name.as_str())).collect()
}
