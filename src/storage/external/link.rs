//! Requests to the server, over the gateway's own connector, with every wait bounded.
//!
//! GETs follow redirects as Athens's client does. A small request whose connection breaks before an answer comes
//! is sent once more: servers close idle connections, and each of these reads, or writes the same again. A
//! save is not (see `save.rs`).

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::body::{self, Body};
use dipylon_middleware::error::Error;
use dipylon_middleware::storage_io::caller_trace;
use dipylon_middleware::telemetry::trace::Onward;
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::trouble::Failure;
use super::wire::{EXTENSION_HEADER, EXTENSION_VERSION};
use crate::fetch::base_url::BaseUrl;
use crate::fetch::http_client::causes;
use crate::fetch::http_connector::{ProxyRules, TimedConnector};
use crate::fetch::http_redirect::redirect_target;
use crate::fetch::http_tls;

/// Name lookup, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From a request without a zip until its answer's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest silence within an answer's body.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle connection is kept; common servers close theirs after a minute or more.
const IDLE_CONNECTION: Duration = Duration::from_secs(45);
/// Idle connections kept to the server.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// Most bytes of an answer read at once: what one download holds.
const MAX_READ_BUFFER_BYTES: usize = 64 * 1024;
/// Most redirects followed for one answer, as by Go's client.
const MAX_REDIRECTS: usize = 10;
/// Bytes of an error's body that are read for its first line.
const MAX_ERROR_BODY_BYTES: usize = 16 * 1024;
/// How long an error's body is waited for; its text is a courtesy.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest text taken over from the server, in characters.
const MAX_SAID_CHARS: usize = 240;

const USER_AGENT: &str = concat!("dipylon/", env!("CARGO_PKG_VERSION"));

/// Connections to one server.
#[derive(Clone)]
pub(super) struct Link {
    client: Client<TimedConnector, Body>,
    rules: ProxyRules,
    base: BaseUrl,
}

/// An answer: its head, and its body to come.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body's length, where the server says.
    pub(super) length: Option<u64>,
    /// Whether the body ends where the connection does: a cut looks like the end.
    pub(super) ends_by_close: bool,
    body: Incoming,
    what: Arc<str>,
    place: Arc<str>,
}

impl Link {
    /// Reads the trusted roots; connects nowhere.
    pub(super) fn new(
        base: BaseUrl,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let rules = ProxyRules::of_environment(environment);
        let tls = http_tls::trusting(&[])?;
        let connector = TimedConnector::new(&tls, rules.clone(), CONNECT_TIMEOUT);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(MAX_READ_BUFFER_BYTES)
            .build(connector);
        Ok(Self { client, rules, base })
    }

    /// Where the server is, without credentials.
    pub(super) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// An error of an operation on a path.
    pub(super) fn failed(&self, what: &str, path: &str, failure: &Failure) -> Error {
        failure.error(what, &format!("{}{path}", self.base))
    }

    /// Something about an answer is wrong.
    pub(super) fn wrong(&self, what: &str, path: &str, said: &str) -> Error {
        self.failed(what, path, &Failure::of(said))
    }

    /// GETs a path, or the part of it that `range` says as the header has it, following redirects.
    pub(super) async fn get(
        &self,
        what: &str,
        path: &str,
        range: Option<&str>,
    ) -> Result<Reply, Failure> {
        let mut uri = self.uri(path)?;
        let trace = caller_trace();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self
                .sent_twice(|| {
                    let mut request = self.request(Method::GET, &uri, trace.as_ref())?;
                    if let Some(range) = range {
                        put(request.headers_mut(), header::RANGE, range);
                    }
                    Ok(request)
                })
                .await?;
            let target = redirect_target(&uri, &answer, "the server")
                .map_err(|error| Failure::of(error.message()))?;
            let Some(target) = target else { return Ok(self.reply(answer, what, path)) };
            uri = target;
        }
        Err(Failure::of(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Sends a small request that is no GET.
    pub(super) async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        bytes: Bytes,
    ) -> Result<Reply, Failure> {
        let uri = self.uri(path)?;
        let trace = caller_trace();
        let answer = self
            .sent_twice(|| {
                let mut request = self.request(method.clone(), &uri, trace.as_ref())?;
                *request.body_mut() = body::full(bytes.clone());
                Ok(request)
            })
            .await?;
        Ok(self.reply(answer, what, path))
    }

    async fn sent_twice(
        &self,
        request: impl Fn() -> Result<Request<Body>, Failure>,
    ) -> Result<Response<Incoming>, Failure> {
        for is_last in [false, true] {
            let sent = tokio::time::timeout(HEAD_TIMEOUT, self.send(request()?)).await;
            match sent {
                Ok(Err(failure)) if failure.broke && !is_last => {}
                Ok(sent) => return sent,
                Err(_) => {
                    let said = format!("no answer within {HEAD_TIMEOUT:?}");
                    return Err(Failure::of_transport(said));
                }
            }
        }
        Err(Failure::of("it was asked twice"))
    }

    /// A request without a body; credentials go to the server's own host only.
    pub(super) fn request(
        &self,
        method: Method,
        uri: &Uri,
        trace: Option<&Onward>,
    ) -> Result<Request<Body>, Failure> {
        let mut request = Request::new(body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        put(headers, header::USER_AGENT, USER_AGENT);
        if let Some(value) = self.base.authorization()
            && uri.authority().is_some_and(|authority| authority.as_str() == self.base.host())
        {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        if let Some(trace) = trace {
            trace.put(headers);
        }
        // A tunnel carries the HTTP proxy's credentials itself; a plain request must.
        if uri.scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.rules.intercept(uri)
            && let Some(value) = proxy.basic_auth()
        {
            headers.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    pub(super) fn uri(&self, path: &str) -> Result<Uri, Failure> {
        self.base.join(path).ok_or_else(|| Failure::of("the path makes no URL"))
    }

    /// Sends one request; the caller bounds the wait.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        self.client.request(request).await.map_err(|error| Failure {
            broke: !error.is_connect() && is_broken(&error),
            ..Failure::of_transport(causes(&error))
        })
    }

    pub(super) fn reply(&self, answer: Response<Incoming>, what: &str, path: &str) -> Reply {
        let (head, body) = answer.into_parts();
        let place = format!("{}{path}", self.base);
        let length = body.size_hint().exact();
        let is_framed = length.is_some()
            || head.version > Version::HTTP_11
            || head.headers.contains_key(header::TRANSFER_ENCODING);
        Reply {
            status: head.status,
            headers: head.headers,
            length,
            ends_by_close: !is_framed,
            body,
            what: what.into(),
            place: place.into(),
        }
    }
}

impl Reply {
    /// Whether the server has our extension.
    pub(super) fn is_of_ours(&self) -> bool {
        self.headers.get(EXTENSION_HEADER).is_some_and(|value| value == EXTENSION_VERSION)
    }

    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the server says that there is no such thing.
    pub(super) fn is_absent(&self) -> bool {
        self.status == StatusCode::NOT_FOUND || self.status == StatusCode::GONE
    }

    /// The body, of at most `bytes_max` bytes. One that ends with the connection is refused: nothing in a
    /// list or a `.mod` says where it ends, so a part would pass for the whole.
    pub(super) async fn bytes(self, bytes_max: usize) -> Result<Bytes, Error> {
        match self.ends_by_close {
            true => Err(self.without_an_end()),
            false => self.gathered(bytes_max).await,
        }
    }

    /// The error of an answer whose end cannot be told from a cut.
    pub(super) fn without_an_end(&self) -> Error {
        let said = "the answer ends with the connection, so that a part would pass for the whole: the server \
                    must send Content-Length, or chunks";
        Failure::of(said).error(&self.what, &self.place)
    }

    async fn gathered(self, bytes_max: usize) -> Result<Bytes, Error> {
        let too_large = Failure::of(format!("the answer is larger than {bytes_max} bytes"))
            .error(&self.what, &self.place);
        if self.length.is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large);
        }
        let mut stream = self.stream();
        let mut whole = BytesMut::new();
        while let Some(chunk) = stream.next().await.transpose()? {
            if whole.len() + chunk.len() > bytes_max {
                return Err(too_large);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The body as it comes; it fails when it is cut, or stalls for [`IDLE_TIMEOUT`].
    pub(super) fn stream(self) -> ByteStream {
        let state = Some((self.body, self.what, self.place));
        futures::stream::unfold(state, |state| async move {
            let (mut body, what, place) = state?;
            match next_chunk(&mut body).await {
                Ok(chunk) => Some((Ok(chunk?), Some((body, what, place)))),
                Err(failure) => Some((Err(failure.error(&what, &place)), None)),
            }
        })
        .boxed()
    }

    /// An answer that is not the wanted one, as an error; of a text, the first line is repeated.
    pub(super) async fn refusal(self) -> Error {
        let (what, place) = (Arc::clone(&self.what), Arc::clone(&self.place));
        self.failure().await.error(&what, &place)
    }

    pub(super) async fn failure(self) -> Failure {
        let status = self.status;
        let mut said = format!("it answered {status}");
        let is_text =
            self.header(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
        let line = tokio::time::timeout(ERROR_BODY_TIMEOUT, self.gathered(MAX_ERROR_BODY_BYTES));
        if let Ok(Ok(text)) = line.await
            && is_text
            && let Some(line) = first_line(&text)
        {
            said.push_str(": ");
            said.push_str(&line);
        }
        Failure { status: Some(status), ..Failure::of(said) }
    }
}

async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        let Ok(frame) = tokio::time::timeout(IDLE_TIMEOUT, body.frame()).await else {
            return Err(Failure::of_transport(format!("it sent nothing for {IDLE_TIMEOUT:?}")));
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers and empty frames carry nothing for us.
                _ => {}
            },
            Some(Err(error)) => {
                return Err(Failure::of_transport(format!("it broke off: {}", causes(&error))));
            }
        }
    }
}

fn first_line(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_SAID_CHARS).collect())
}

/// Whether a connection was there, and went away before an answer's head.
fn is_broken(error: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut cause = Some(error);
    while let Some(error) = cause {
        let hyper = error.downcast_ref::<hyper::Error>();
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if hyper.is_some_and(|error| {
            error.is_canceled() || error.is_closed() || error.is_incomplete_message()
        }) || matches!(io, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Puts a header whose value is made of legal characters.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
