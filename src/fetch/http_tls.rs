//! Which servers are trusted: the system's roots and the configured ones, by ring alone.

use std::sync::{Arc, OnceLock};

use dipylon_middleware::{Error, ErrorKind};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// The system's certificates, read once: it takes tens of milliseconds.
static NATIVE_ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

fn native_roots() -> &'static [CertificateDer<'static>] {
    NATIVE_ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::warn!(%error, "a trusted root certificate could not be read");
        }
        if loaded.certs.is_empty() {
            tracing::warn!(
                "no trusted root certificates found: https upstreams will fail; install \
                 ca-certificates or set SSL_CERT_FILE"
            );
        }
        loaded.certs
    })
}

/// A configuration that trusts the system's roots and `extra` ones.
pub(crate) fn trusting(extra: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // Systems carry a few certificates no library reads; the rest still serves.
    roots.add_parsable_certificates(native_roots().iter().cloned());
    for certificate in extra {
        roots.add(certificate.clone()).map_err(|error| refused("an extra root", &error))?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("the protocol versions", &error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn refused(what: &str, error: &rustls::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("TLS refuses {what}: {error}"))
}
