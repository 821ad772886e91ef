//! How requests reach an object store: over the gateway's own connector, with every wait bounded.
//!
//! The crate that signs the requests would bring a second HTTP client and a second way to TLS; this is
//! the seam it offers instead. A body that stalls ends with an error, which makes the crate ask for the
//! rest by a range; a request whose head does not come counts as timed out and is asked again only
//! where that is safe.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::error::Error;
use dipylon_middleware::storage_io::caller_trace;
use http::header::{HeaderValue, IF_NONE_MATCH};
use http::{Method, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::{Instant, Sleep};

use crate::fetch::http_connector::{ProxyRules, TimedConnector};
use crate::fetch::http_tls;

/// Name lookup, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From a request until its answer's head. A part of an upload, sent at 150 kB/s, fits in.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest silence within an answer's body.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle connection is kept; common servers close theirs after a minute or more.
const IDLE_CONNECTION: Duration = Duration::from_secs(45);
/// Idle connections kept to the store.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// Most bytes of an answer read at once: what one download holds.
const MAX_READ_BUFFER_BYTES: usize = 64 * 1024;

/// Whether the store understands conditional writes. Some that speak S3 do not; the first refusal is
/// remembered here, for the client and for its connection alike.
#[derive(Clone, Debug)]
pub(super) struct Conditions(Arc<AtomicBool>);

impl Default for Conditions {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Conditions {
    pub(super) fn are_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says that they are not. `true` the first time.
    pub(super) fn are_unknown(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Connections to one store.
#[derive(Clone, Debug)]
pub struct Connector {
    client: Client<TimedConnector, HttpRequestBody>,
    conditions: Conditions,
}

impl Connector {
    /// Reads the trusted roots; connects nowhere. `environment` names the HTTP proxies.
    ///
    /// # Errors
    /// `Internal` when TLS cannot be set up.
    pub fn new(environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let rules = ProxyRules::of_environment(environment);
        let connector = TimedConnector::new(&http_tls::trusting(&[])?, rules, CONNECT_TIMEOUT);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(MAX_READ_BUFFER_BYTES)
            .build(connector);
        Ok(Self { client, conditions: Conditions::default() })
    }

    pub(super) fn conditions(&self) -> Conditions {
        self.conditions.clone()
    }

    /// Sends one request.
    ///
    /// # Errors
    /// What kept the answer's head from coming; any status is an answer.
    pub async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if ends_an_upload(request.method(), request.uri()) && self.conditions.are_known() {
            // The crate has no conditional end of an upload in parts; the header is no signed one.
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        // Nor are these.
        if let Some(trace) = caller_trace() {
            trace.put(request.headers_mut());
        }
        let answer = tokio::time::timeout(HEAD_TIMEOUT, self.client.request(request));
        match answer.await {
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                let body = HttpResponseBody::new(Watched::new(body));
                Ok(HttpResponse::from_parts(head, body))
            }
            Ok(Err(error)) if error.is_connect() => {
                Err(HttpError::new(HttpErrorKind::Connect, error))
            }
            Ok(Err(error)) => Err(HttpError::new(kind_without_answer(&error), error)),
            Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Silent(HEAD_TIMEOUT))),
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Connector {
    fn call<'life0, 'async_trait>(&'life0 self, request: HttpRequest) -> Answering<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

/// `CompleteMultipartUpload` of S3.
fn ends_an_upload(method: &Method, uri: &Uri) -> bool {
    method == Method::POST && uri.query().is_some_and(|query| query.starts_with("uploadId="))
}

/// A connection that breaks before an answer's head was closed while it lay idle, nearly always: servers
/// close theirs after as little as five seconds. Every write of ours can be sent again, because it is
/// conditional or writes the same, and what it meets is looked at.
fn kind_without_answer(error: &(dyn StdError + 'static)) -> HttpErrorKind {
    match kind_of(error) {
        HttpErrorKind::Interrupted => HttpErrorKind::Request,
        kind => kind,
    }
}

/// How a failure is to be taken: `Request` is sent again, `Interrupted` and `Timeout` only where the
/// request reads or writes the same again.
fn kind_of(error: &(dyn StdError + 'static)) -> HttpErrorKind {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            if hyper.is_timeout() {
                return HttpErrorKind::Timeout;
            }
            if hyper.is_canceled()
                || hyper.is_closed()
                || hyper.is_incomplete_message()
                || hyper.is_body_write_aborted()
            {
                return HttpErrorKind::Request;
            }
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind;
            match io.kind() {
                ErrorKind::TimedOut => return HttpErrorKind::Timeout,
                ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => return HttpErrorKind::Interrupted,
                _ => {}
            }
        }
        source = cause.source();
    }
    HttpErrorKind::Unknown
}

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Silent(Duration);

/// A body that fails when nothing comes for [`IDLE_TIMEOUT`].
struct Watched {
    body: Incoming,
    patience: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(body: Incoming) -> Self {
        Self { body, patience: Box::pin(tokio::time::sleep(IDLE_TIMEOUT)) }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = pin!(&mut self.body).poll_frame(context) {
            self.patience.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            let failed = |error: hyper::Error| HttpError::new(kind_of(&error), error);
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        match self.patience.as_mut().poll(context) {
            Poll::Ready(()) => {
                let error = HttpError::new(HttpErrorKind::Timeout, Silent(IDLE_TIMEOUT));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
