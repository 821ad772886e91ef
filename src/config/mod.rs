//! Configuration: Athens's file and environment, and our own `[Dipylon]` table.
//!
//! Every key is declared once, in `keys/`: its path in the file, its variables, its type, default,
//! conditions and meaning. Loading, messages, `dipylon check` and the reference page all come from
//! that declaration.
//!
//! * `keys/` the declarations, and the typed structs that the rest of the program reads
//! * `key.rs` what a declaration can say · `values/` the types of values
//! * `loader.rs` default → file → environment · `file.rs` TOML · `env.rs` the environment
//! * `gotext.rs`, `go_duration.rs` values as Go reads them
//! * `rules.rs` conditions over several keys · `permissions.rs`, `unknown.rs` further checks
//! * `problem.rs` errors and warnings · `effective.rs`, `reference.rs` what is printed
//!
//! Failure: every wrong value is reported at once, one line each, naming the key, where the value
//! comes from, the value (secrets hidden) and what is accepted.
//! Limits: a file of 1 MiB, a secret's file of 64 KiB, durations of a year.

mod effective;
mod env;
mod file;
pub(crate) mod go_duration;
mod gotext;
mod key;
mod keys;
mod loader;
mod permissions;
mod problem;
mod redact;
mod reference;
mod rules;
mod suggest;
#[cfg(test)]
mod tests;
mod unknown;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use effective::{Effective, EffectiveEntry};
pub use env::{Env, ProcessEnv};
pub use key::{Catalogue, KeyInfo, TableInfo};
pub use keys::{
    AzureBlobStorage, Config, DipylonConfig, DiskStorage, EtcdLock, ExternalStorage, GcpLock,
    GcpStorage, IndexConfig, LockConfig, LockKeys, MinioStorage, MongoStorage, MysqlIndex,
    PostgresIndex, PresignedKeys, RateLimitKeys, RedisLock, RedisSentinelLock, S3Lock, S3Storage,
    SingleFlightConfig, StorageConfig, TieredKeys,
};
pub use problem::{ConfigError, ConfigErrors, Origin, Warning};
pub use redact::{HIDDEN, redact_url};
pub use values::{
    CloudRuntime, DownloadMode, Endpoints, EnvVars, GoDuration, IndexType, IpNet, ListenAddress,
    LogFormat, LogLevel, Mode, NetworkMode, OtlpProtocol, Params, PathPrefix, Secret, SecretMap,
    SingleFlightType, StatsExporter, StorageType, SumDb, TraceExporter, UrlText,
};

use file::ConfigFile;
use key::Table as _;
use loader::Loader;

/// The value of `GoEnv` that turns the permission check on.
const PRODUCTION: &str = "production";

/// Where to look for the configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadArgs {
    /// The file of `-config_file`; `None` or empty means `athens.toml` in `cwd`, if it exists.
    pub config_file: Option<PathBuf>,
    /// The working directory.
    pub cwd: PathBuf,
}

/// A configuration that passed every check.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What to look at, one line each.
    pub warnings: Vec<Warning>,
    /// Each value with its origin, for print.
    pub effective: Effective,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Config {
    /// Loads the configuration: defaults, then the file, then the environment.
    ///
    /// # Errors
    /// All that is wrong at once. A file that cannot be read, or is not TOML, is reported alone.
    pub fn load(args: LoadArgs, env: &dyn Env) -> Result<Loaded, ConfigErrors> {
        let path = file::find(args.config_file, &args.cwd);
        let catalogue = Self::catalogue();
        let read = |path: &PathBuf| ConfigFile::read(path, &catalogue);
        let file = path.as_ref().map(read).transpose()?;
        let mut loader = Loader::new(env, file.as_ref());
        let config = Self::load_table(&mut loader);
        let (config, warnings) = check(config, &mut loader, path.as_deref())?;
        let strange = file.iter().flat_map(|file| unknown::keys(file, &catalogue));
        let warnings =
            warnings.into_iter().chain(strange).chain(unknown::variables(env, &catalogue));
        let warnings = warnings.collect();
        Ok(Loaded { config, warnings, effective: loader.effective, file: path })
    }

    /// Every key there is, without any configuration.
    pub fn catalogue() -> Catalogue {
        let nothing = BTreeMap::new();
        let mut loader = Loader::new(&nothing, None);
        Self::load_table(&mut loader);
        loader.catalogue
    }

    /// The reference page `docs/reference/configuration.md`, in Markdown.
    pub fn reference_page() -> String {
        reference::page(&Self::catalogue())
    }
}

/// Applies what concerns several keys, and decides which errors count.
fn check(
    config: Config,
    loader: &mut Loader<'_>,
    file: Option<&Path>,
) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let (conflicts, cautions) = rules::apply(&config, loader);
    let mut warnings = std::mem::take(&mut loader.warnings);
    warnings.extend(cautions);
    let errors = std::mem::take(&mut loader.errors);
    let mut errors = rules::set_aside_unused(&config, errors, &mut warnings);
    errors.extend(conflicts);
    if config.go_env == PRODUCTION {
        let files = [file, config.filter_file.as_deref()];
        errors.extend(files.into_iter().flatten().filter_map(permissions::check));
    }
    if errors.is_empty() { Ok((config, warnings)) } else { Err(ConfigErrors(errors)) }
}
