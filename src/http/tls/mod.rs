//! TLS towards clients (`TLSCertFile`, `TLSKeyFile`).
//!
//! # What it does
//! Takes the handshake of each connection and says which HTTP was agreed on: HTTP/2 where the client
//! offers it, else HTTP/1.1. TLS 1.2 and 1.3, no client certificates.
//!
//! # Where it sits
//! Below the edge stack, between the listener and the server: a layer sees requests, and this sees
//! connections. What a request has to know of it, that it came by TLS, is in its `Connection`; `force_ssl`
//! decides by that.
//!
//! # Telemetry
//! A handshake that fails is a line in the log at level debug; any port scan causes some. It counts as an open
//! connection from its first byte.
//!
//! # Failure modes
//! A certificate or key that cannot be used ends the start, with the file's name. They are read once.
//!
//! # Limits
//! [`HANDSHAKE_TIMEOUT`] for a handshake; in a drain, no longer than a connection without a request.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[cfg(test)]
mod tests;

/// A TLS handshake may take this long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// A certificate and its key, ready for connections.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// A connection whose handshake has succeeded.
pub(super) struct Secured<S> {
    pub(super) stream: TlsStream<S>,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, holds nothing usable, or the two do not fit.
    pub fn open(certificate: &Path, key: &Path) -> io::Result<Self> {
        let at = |path: &Path, error: &dyn Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| at(certificate, &error))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| at(key, &error))?;
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| at(certificate, &error))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(Self(Arc::new(config).into()))
    }

    /// Takes the handshake; nothing where it fails or takes too long.
    pub(super) async fn accept<S>(&self, stream: S) -> Option<Secured<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
                Some(Secured { stream, http2 })
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                None
            }
        }
    }
}
