//! How a store is served: limits, credentials, TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::auth::Credentials;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::spool::Spools;
use dipylon_middleware::telemetry::Telemetry;

use crate::http::Tls;
use crate::process_dir::ProcessDir;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 1_024;
/// Bytes of all spools together: every save at a time may be of the largest size.
const MAX_SPOOL_BYTES: u64 = 16 << 30;
/// One call of the store.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Requests that are open at the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How the directory begins that holds the spools of one process.
const SPOOL_PREFIX: &str = "dipylon-external-";

/// How a store is served. The default serves anybody, over plain HTTP.
#[derive(Clone)]
pub struct Options {
    /// The user and password that every request must have, health checks excepted.
    pub credentials: Option<Credentials>,
    /// With it, connections are TLS: see [`crate::http::Tls`].
    pub tls: Option<Tls>,
    /// All paths lie below this one; empty, or it begins with a slash.
    pub path_prefix: String,
    /// Connections at a time; more are closed as they come.
    pub max_connections: usize,
    /// Where zips arrive; a directory of the process's own is made in it.
    pub spool_dir: Option<PathBuf>,
    /// Bytes of zips on their way in, together; beyond it a save is refused (503).
    pub max_spool_bytes: u64,
    /// One call of the store may take this long.
    pub call_timeout: Duration,
    /// Requests that are open at the stop are waited for this long.
    pub drain_timeout: Duration,
    /// Whether each request is a log event (`tracing`).
    pub log_access: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: None,
            tls: None,
            path_prefix: String::new(),
            max_connections: MAX_CONNECTIONS,
            spool_dir: None,
            max_spool_bytes: MAX_SPOOL_BYTES,
            call_timeout: CALL_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            log_access: true,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("tls", &self.tls.is_some())
            .field("path_prefix", &self.path_prefix)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(super) fn spools(
        &self,
        staging: Option<PathBuf>,
        telemetry: &Telemetry,
    ) -> Result<Spools, Error> {
        if let (None, Some(staging)) = (&self.spool_dir, staging) {
            return Ok(Spools::new(&staging, self.max_spool_bytes, telemetry));
        }
        let parent = self.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        let directory = ProcessDir::open(&parent, SPOOL_PREFIX).map_err(|error| {
            let shown = parent.display();
            let text = format!("the spool directory {shown} cannot be used: {error}");
            Error::new(ErrorKind::Storage, text)
        })?;
        let spools = Spools::new(directory.path(), self.max_spool_bytes, telemetry);
        Ok(spools.keeping(Arc::new(directory)))
    }
}
