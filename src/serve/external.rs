//! `dipylon external-storage`: the configured store, served over Athens's external storage protocol.

use dipylon_middleware::auth::Credentials;
use dipylon_middleware::breaker::BreakerLayer;

use super::{hangups, listen, reload, signals, tcp, tls_config};
use crate::adapters::open_spools;
use crate::app::storage_stack;
use crate::config::{Config, Env, StorageType};
use crate::external_storage::{ExternalStorage, Options};
use crate::storage;

/// Serves the store of `StorageType` until SIGINT or SIGTERM, then drains within `ShutdownTimeout`. It
/// listens at `address`, else where the gateway of this configuration would, with its TLS, its basic auth
/// and its path prefix.
///
/// # Errors
/// One line: what could not be opened, or that the drain took too long.
pub async fn external_storage(
    config: &Config,
    address: Option<&str>,
    env: &(dyn Env + Sync),
) -> Result<(), String> {
    if config.storage_type == StorageType::External {
        return Err("StorageType external is served by another server already: external-storage \
                    needs a store of its own"
            .to_owned());
    }
    let (stop, hangups) = (signals()?, hangups()?);
    let (telemetry, traces) = super::telemetry(config, env)?;
    let variable = |name: &str| env.get(name).and_then(|value| value.into_string().ok());
    let said = |error: dipylon_middleware::Error| error.to_string();
    let backend = storage::open(config, &variable, &telemetry).await.map_err(said)?;
    let spools = open_spools(config, backend.staging_directory(), &telemetry).map_err(said)?;
    let kind = backend.kind();
    let breaker = BreakerLayer::storage(kind, &telemetry);
    let storage = storage_stack(config, backend, breaker, &telemetry);
    let options = options(config)?;
    let service = ExternalStorage::over(storage, spools, &options, &telemetry);
    let listener = match address {
        Some(address) => tcp(address).await?,
        None => listen(config).await?,
    };
    let tls = options.tls.is_some();
    let hangups = tokio::spawn(reload(None, hangups));
    tracing::info!(address = listener.address(), tls, storage = kind, "Serving external storage");
    let drained = service.run(listener, &options, stop.wait()).await;
    tracing::info!("Shutting down server");
    hangups.abort();
    traces.flush().await;
    drained.map_err(|error| format!("Could not shut down server: {error}"))
}

fn options(config: &Config) -> Result<Options, String> {
    let (user, password) = (&config.basic_auth_user, &config.basic_auth_pass);
    let credentials = (!user.is_empty() && !password.is_empty())
        .then(|| Credentials::new(user, password.expose()));
    Ok(Options {
        credentials,
        tls: tls_config(config)?,
        path_prefix: config.path_prefix.as_str().trim_end_matches('/').to_owned(),
        max_connections: config.dipylon.max_connections as usize,
        max_spool_bytes: config.dipylon.max_spool_bytes,
        call_timeout: config.timeout,
        drain_timeout: config.shutdown_timeout,
        log_access: config.dipylon.log_access,
        spool_dir: None,
    })
}
