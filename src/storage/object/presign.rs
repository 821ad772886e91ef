//! Sending clients to the store itself for large zips.
//!
//! The URL is signed with the store's own credentials, for one object, for reading alone, and for a short
//! while. It is a secret: nothing here shows it. Where none can be signed, the zip goes through the gateway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::blob::PresignedUrl;
use dipylon_middleware::telemetry::{Presigned, Telemetry};
use http::Method;
use object_store::signer::Signer;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::client::Client;
use crate::config::PresignedKeys;

/// The longest that signing may take; some credentials ask a server for it.
pub const SIGN_TIMEOUT: Duration = Duration::from_secs(2);
/// For how long nothing is signed after it failed.
pub const SIGN_REST: Duration = Duration::from_secs(15);

/// For which zips, and for how long, clients are sent to the store.
#[derive(Clone)]
pub struct Presigning {
    min_bytes: u64,
    lifetime: Duration,
    endpoint: String,
    telemetry: Telemetry,
}

impl Presigning {
    /// As configured; `None` where clients are never sent anywhere.
    pub fn new(keys: &PresignedKeys, telemetry: &Telemetry) -> Option<Self> {
        (keys.min_bytes > 0).then(|| Self {
            min_bytes: keys.min_bytes,
            lifetime: keys.lifetime,
            endpoint: keys.endpoint.as_str().trim_end_matches('/').to_owned(),
            telemetry: telemetry.clone(),
        })
    }

    /// Where clients reach the store, if not where the gateway does.
    pub(in crate::storage) fn endpoint(&self) -> Option<&str> {
        Some(self.endpoint.as_str()).filter(|endpoint| !endpoint.is_empty())
    }

    /// With what signs.
    pub(in crate::storage) fn by(self, signer: Arc<dyn Signer>) -> Signing {
        Signing { rules: self, signer, rest: Mutex::default() }
    }
}

impl fmt::Debug for Presigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presigning(from {} bytes, for {:?})", self.min_bytes, self.lifetime)
    }
}

/// What signs URLs of one store.
#[derive(Debug)]
pub(in crate::storage) struct Signing {
    rules: Presigning,
    pub(in crate::storage) signer: Arc<dyn Signer>,
    rest: Mutex<Option<Instant>>,
}

impl Signing {
    /// A URL for an object of this length. What is small goes through the gateway, and so does what cannot
    /// be signed.
    pub(super) async fn url(
        &self,
        client: &Client,
        key: &str,
        length: u64,
    ) -> Option<PresignedUrl> {
        if length < self.rules.min_bytes || self.is_resting() {
            return None;
        }
        let path = client.path(key).ok()?;
        let signed = self.signer.signed_url(Method::GET, &path, self.rules.lifetime);
        let why = match tokio::time::timeout(SIGN_TIMEOUT, signed).await {
            Ok(Ok(url)) => {
                let metrics = &self.rules.telemetry.metrics;
                metrics.presigned.get((Presigned::Sent,)).inc();
                metrics.presigned_bytes.get(()).inc_by(length);
                return Some(PresignedUrl::new(String::from(url)));
            }
            Ok(Err(error)) => client.failed("sign a URL for", key, &error).to_string(),
            Err(_) => format!("no URL for {key} is signed within {SIGN_TIMEOUT:?}"),
        };
        *self.rest.lock() = Some(Instant::now() + SIGN_REST);
        self.rules.telemetry.metrics.presigned.get((Presigned::Failed,)).inc();
        tracing::warn!(why, "large zips go through the gateway for a while: no URL can be signed");
        None
    }

    fn is_resting(&self) -> bool {
        self.rest.lock().is_some_and(|until| Instant::now() < until)
    }
}
