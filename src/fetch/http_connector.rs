//! How connections are made: straight, or through the HTTP proxy that the environment names.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::Service;

use super::base_url::is_loopback;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Idle time after which the kernel probes a connection.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Which HTTP proxy, in the sense of `HTTP_PROXY`, a connection goes through.
#[derive(Clone)]
pub(crate) struct ProxyRules(Arc<Matcher>);

impl ProxyRules {
    pub(crate) fn new(http: &str, https: &str, no: &str) -> Self {
        Self(Arc::new(Matcher::builder().http(http).https(https).no(no).build()))
    }

    /// Those of an environment's `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    #[cfg(any(feature = "minio", feature = "s3", feature = "gcp", feature = "azureblob"))]
    pub(crate) fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let config = super::http_client::HttpClientConfig::default().with_http_proxies(environment);
        Self::new(&config.http_proxy, &config.https_proxy, &config.no_proxy)
    }

    /// The HTTP proxy for `target`. As in Go, this machine itself is always reached straight.
    pub(crate) fn intercept(&self, target: &Uri) -> Option<Intercept> {
        if target.host().is_none_or(is_loopback) {
            return None;
        }
        self.0.intercept(target)
    }
}

/// TLS over [`Dialer`], with one limit for name lookup, connecting and all handshakes together.
#[derive(Clone)]
pub(crate) struct TimedConnector {
    inner: HttpsConnector<Dialer>,
    timeout: Duration,
}

impl TimedConnector {
    /// `tls` decides which servers are trusted.
    pub(crate) fn new(tls: &ClientConfig, rules: ProxyRules, timeout: Duration) -> Self {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        plain.set_keepalive(Some(TCP_KEEPALIVE));
        plain.set_connect_timeout(Some(timeout));
        // CONNECT is spoken in HTTP/1 to the HTTP proxy, so that hop offers no other protocol.
        let to_proxy = HttpsConnector::from((plain.clone(), Arc::new(tls.clone())));
        let mut offered = tls.clone();
        offered.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let inner = HttpsConnector::from((Dialer { plain, to_proxy, rules }, Arc::new(offered)));
        Self { inner, timeout }
    }
}

impl Service<Uri> for TimedConnector {
    type Response = MaybeHttpsStream<Dialled>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.inner.call(target);
        let timeout = self.timeout;
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting)
                .await
                .unwrap_or_else(|_| Err(Box::new(ConnectTimeout(timeout))))
        })
    }
}

/// No connection within the limit.
#[derive(Debug)]
pub(crate) struct ConnectTimeout(Duration);

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {:?}", self.0)
    }
}

impl std::error::Error for ConnectTimeout {}

/// Opens the stream that TLS, if any, is spoken over.
#[derive(Clone)]
pub(crate) struct Dialer {
    plain: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    rules: ProxyRules,
}

impl Service<Uri> for Dialer {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Connecting<Dialled>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Both connectors share one resolver, which is always ready.
        self.plain.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut dialer = self.clone();
        Box::pin(async move {
            match dialer.rules.intercept(&target) {
                None => dialer.straight(target).await,
                Some(proxy) => dialer.through(&proxy, target).await,
            }
        })
    }
}

impl Dialer {
    async fn straight(&mut self, target: Uri) -> Result<Dialled, BoxError> {
        let socket = self.plain.call(target).await?;
        Ok(Dialled { socket: MaybeHttpsStream::Http(socket), asks_proxy: false })
    }

    /// Plain http is asked of the proxy itself; https goes through a tunnel.
    async fn through(&mut self, proxy: &Intercept, target: Uri) -> Result<Dialled, BoxError> {
        let known = [Some("http"), Some("https")].contains(&proxy.uri().scheme_str());
        if !known {
            let text = "the HTTP proxy's URL has an unknown scheme: want http:// or https://";
            return Err(text.into());
        }
        if target.scheme() != Some(&Scheme::HTTPS) {
            let socket = self.to_proxy.call(proxy.uri().clone()).await?;
            return Ok(Dialled { socket, asks_proxy: true });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let socket = tunnel.call(target).await?;
        Ok(Dialled { socket, asks_proxy: false })
    }
}

/// An open stream, and whether the other end is an HTTP proxy that wants whole URLs.
pub(crate) struct Dialled {
    socket: Socket,
    asks_proxy: bool,
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        self.socket.connected().proxy(self.asks_proxy)
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
