//! The one HTTP client: HTTP/1.1 and HTTP/2 over ring TLS, with every wait bounded.
//!
//! Limits: connecting (names, TCP, TLS and tunnels together), the wait for the answer's head, and
//! the silence between two pieces of a body have each their own timeout; a large zip may take as long
//! as it moves. Redirects are followed like the `go` command does. Retries are not made here: the
//! retry layer of the upstream stack does that.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::telemetry::trace::Onward;
use dipylon_middleware::{Error, ErrorKind};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;

use super::http_body;
use super::http_connector::{ConnectTimeout, ProxyRules, TimedConnector};
use super::http_redirect::redirect_target;
use super::http_tls;

/// Most redirects followed for one answer, as in the `go` command.
pub const MAX_REDIRECTS: usize = 10;
/// Idle connections kept for one host.
pub const MAX_IDLE_CONNECTIONS_PER_HOST: usize = 32;
/// Most bytes of an answer's head, and of a body's piece read at once.
const MAX_READ_BUFFER_BYTES: usize = 256 * 1024;
/// How far an HTTP/2 upstream may run ahead of one reader.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// How far an HTTP/2 upstream may run ahead of all readers of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// An HTTP/2 connection in use is probed this often, and given up after as long without an answer.
const HTTP2_PROBE: Duration = Duration::from_secs(15);
/// How long an idle connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

const USER_AGENT: &str = concat!("dipylon/", env!("CARGO_PKG_VERSION"));

/// Timeouts, HTTP proxies and trust.
#[derive(Clone, Debug)]
pub struct HttpClientConfig {
    /// Name lookup, TCP and TLS together; half of `header_timeout` at most, so that who cannot be reached is told from
    /// who is silent.
    pub connect_timeout: Duration,
    /// From a request until its answer's head, connecting included.
    pub header_timeout: Duration,
    /// The longest silence within a body.
    pub idle_timeout: Duration,
    /// The HTTP proxy for http URLs (`HTTP_PROXY`); empty for none.
    pub http_proxy: String,
    /// The HTTP proxy for https URLs (`HTTPS_PROXY`); empty for none.
    pub https_proxy: String,
    /// Hosts that are reached straight (`NO_PROXY`).
    pub no_proxy: String,
    /// Trusted roots beside the system's, in DER.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            extra_roots: Vec::new(),
        }
    }
}

impl HttpClientConfig {
    /// Takes `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in capitals first, from an environment.
    #[must_use]
    pub fn with_http_proxies(mut self, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&str; 2]| {
            names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()))
        };
        self.http_proxy = first(["HTTP_PROXY", "http_proxy"]).unwrap_or_default();
        self.https_proxy = first(["HTTPS_PROXY", "https_proxy"]).unwrap_or_default();
        self.no_proxy = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        self
    }
}

/// A GET.
#[derive(Clone, Debug)]
pub struct Get {
    /// Where to.
    pub uri: Uri,
    /// `Authorization`, sent to this host only.
    pub authorization: Option<HeaderValue>,
    /// The trace to hand on.
    pub trace: Option<Onward>,
    /// Whether to offer gzip: worth it for lists, never for zips.
    pub accept_gzip: bool,
}

impl Get {
    /// A plain GET of `uri`.
    pub fn new(uri: Uri) -> Self {
        Self { uri, authorization: None, trace: None, accept_gzip: false }
    }
}

/// The head of an answer that is no redirect, and its body to come.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Length of the decoded body, where upstream says.
    pub length: Option<u64>,
    /// The body, decoded.
    pub body: ByteStream,
    /// The URL asked first, without credentials and query: for messages.
    pub place: Arc<str>,
    /// Whether a redirect led to another host, which speaks for itself alone.
    pub is_from_elsewhere: bool,
}

/// Which host a URL is of, whatever is asked of it: its name and port. A step from http to https is one to the same
/// host where the ports are those that go without saying.
fn host_of(uri: &Uri) -> (String, Option<u16>) {
    let name = uri.host().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().filter(|port| {
        !matches!((uri.scheme_str(), port), (Some("https"), 443) | (Some("http"), 80))
    });
    (name, port)
}

type HyperClient = Client<TimedConnector, Full<Bytes>>;

/// The client. Clones share the connections.
#[derive(Clone)]
pub struct HttpClient {
    client: HyperClient,
    rules: ProxyRules,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl HttpClient {
    /// Reads the trusted roots and sets the pool up; connects nowhere.
    ///
    /// # Errors
    /// `Internal` when an extra root is no certificate.
    pub fn new(config: &HttpClientConfig) -> Result<Self, Error> {
        let rules = ProxyRules::new(&config.http_proxy, &config.https_proxy, &config.no_proxy);
        let tls = http_tls::trusting(&config.extra_roots)?;
        let connect_timeout = config.connect_timeout.min(config.header_timeout / 2);
        let connector = TimedConnector::new(&tls, rules.clone(), connect_timeout);
        Ok(Self {
            client: pooled(connector),
            rules,
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
        })
    }

    /// Asks, following redirects.
    ///
    /// # Errors
    /// `UpstreamTimeout` and `UpstreamFailed`; any status but a redirect is an answer.
    pub async fn get(&self, mut get: Get) -> Result<Answer, Error> {
        let place: Arc<str> = place_of(&get.uri).into();
        let asked = host_of(&get.uri);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&get, None, &place).await;
            let is_elsewhere = host_of(&get.uri) != asked;
            let response = response.map_err(|error| match is_elsewhere {
                true => error.from_elsewhere(),
                false => error,
            })?;
            let Some(next) = redirect_target(&get.uri, &response, &place)? else {
                return Ok(Answer {
                    is_from_elsewhere: is_elsewhere,
                    ..self.answer(response, place)
                });
            };
            if next.authority() != get.uri.authority() {
                get.authorization = None;
            }
            get.uri = next;
        }
        let text = format!("{place}: upstream redirects more than {MAX_REDIRECTS} times");
        Err(Error::new(ErrorKind::UpstreamFailed, text))
    }

    /// Sends JSON with POST to where a GET like `to` would go. Redirects are answers: repeating a POST
    /// elsewhere is nothing that a client does unasked.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn post(&self, to: &Get, json: Bytes) -> Result<Answer, Error> {
        let place: Arc<str> = place_of(&to.uri).into();
        let response = self.send(to, Some(json), &place).await?;
        Ok(self.answer(response, place))
    }

    async fn send(&self, get: &Get, json: Option<Bytes>, place: &str) -> Result<Response, Error> {
        let request = self.request(get, json).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("{place}: cannot be asked: {error}"))
        })?;
        match tokio::time::timeout(self.header_timeout, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(failed(&error, place).unreachable()),
            Ok(Err(error)) => Err(failed(&error, place)),
            Err(_) => {
                let timeout = self.header_timeout;
                let text = format!("{place}: upstream did not begin to answer within {timeout:?}");
                let cause = format!("it did not begin to answer within {timeout:?}");
                Err(Error::new(ErrorKind::UpstreamTimeout, text).with_cause(cause))
            }
        }
    }

    fn request(&self, get: &Get, json: Option<Bytes>) -> http::Result<Request<Full<Bytes>>> {
        let method = if json.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(&get.uri);
        request = request.header(header::USER_AGENT, USER_AGENT);
        if json.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(value) = &get.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if get.accept_gzip {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        // A tunnel carries the proxy's credentials itself; a plain request must.
        if get.uri.scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.rules.intercept(&get.uri)
            && let Some(value) = proxy.basic_auth()
        {
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        let mut request = request.body(json.map_or_else(Full::default, Full::new))?;
        if let Some(trace) = &get.trace {
            trace.put(request.headers_mut());
        }
        Ok(request)
    }

    fn answer(&self, response: Response, place: Arc<str>) -> Answer {
        let (head, body) = response.into_parts();
        let gzip = head
            .headers
            .get(header::CONTENT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("gzip"));
        let length = http_body::announced_length(&body);
        let body = http_body::received(body, self.idle_timeout, Arc::clone(&place));
        let (length, body) =
            if gzip { (None, http_body::gunzip(body, Arc::clone(&place))) } else { (length, body) };
        let (status, headers, is_from_elsewhere) = (head.status, head.headers, false);
        Answer { status, headers, length, body, place, is_from_elsewhere }
    }
}

pub(crate) type Response = http::Response<hyper::body::Incoming>;

fn pooled(connector: TimedConnector) -> HyperClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS_PER_HOST)
        .http1_max_buf_size(MAX_READ_BUFFER_BYTES)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(HTTP2_PROBE)
        .http2_keep_alive_timeout(HTTP2_PROBE)
        .build(connector)
}

/// A URL as messages show it: a query may be a signature, so it is left out.
fn place_of(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{}", uri.path())
}

fn failed(error: &(dyn StdError + 'static), place: &str) -> Error {
    let mut source = Some(error);
    let mut kind = ErrorKind::UpstreamFailed;
    while let Some(cause) = source {
        let timed_out = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if timed_out || cause.is::<ConnectTimeout>() {
            kind = ErrorKind::UpstreamTimeout;
        }
        source = cause.source();
    }
    let why = causes(error);
    Error::new(kind, format!("{place}: cannot reach upstream: {why}")).with_cause(why)
}

/// An error and its causes in one line, repetitions left out.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
