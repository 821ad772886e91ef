//! An HTTP client that reports how an answer ended: whole, or cut.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// The longest that one whole request may take unless [`Client::limit`] says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);
/// The most of an answer that is kept in memory.
const MAX_BODY_BYTES: usize = 1 << 30;

/// A client of one address. Every request has a connection of its own, follows no redirect and
/// adds no header but Host.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    prefix: String,
    headers: HeaderMap,
    limit: Duration,
}

/// A whole answer, or what came of it.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// What came of the body.
    pub body: Bytes,
    /// The connection was cut before the body's end.
    pub truncated: bool,
    /// From the request to the first byte of the body, or to the end of an empty one.
    pub first_byte: Duration,
    /// From the request to the end.
    pub total: Duration,
}

impl Response {
    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// A header as text; `None` when it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// A client of `http://ADDRESS:PORT[/prefix]`.
    ///
    /// # Panics
    /// When `url` is not of this form with a numeric address: tests talk to this machine.
    pub fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}: not http://"));
        let (host, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let address: SocketAddr =
            host.parse().unwrap_or_else(|_| panic!("{url}: {host} is no ADDRESS:PORT"));
        assert!(address.ip().is_loopback(), "{url}: tests talk to loopback only");
        let prefix = prefix.trim_end_matches('/').to_owned();
        Self { address, prefix, headers: HeaderMap::new(), limit: DEFAULT_LIMIT }
    }

    /// A header for every request.
    ///
    /// # Panics
    /// When it is no valid header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Changes the bound on each request's time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Where it connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// GET, to the end.
    ///
    /// # Panics
    /// As all requests here: when there is no HTTP answer at all (use [`Client::try_request`] where
    /// that is expected) or when the limit passes.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// HEAD.
    pub async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path, &[], Bytes::new()).await
    }

    /// Any request, to the end.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let shown = format!("{method} {path}");
        self.try_request(method, path, headers, body)
            .await
            .unwrap_or_else(|error| panic!("{shown} at {}: {error}", self.address))
    }

    /// Any request, to the end; an error when there is no answer.
    ///
    /// # Errors
    /// Refused or reset connections, and an end before the headers.
    ///
    /// # Panics
    /// When the limit passes.
    pub async fn try_request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> io::Result<Response> {
        let whole = async {
            let mut streaming = self.open(method, path, headers, body.into()).await?;
            Ok(streaming.collect().await)
        };
        let answer = tokio::time::timeout(self.limit, whole).await;
        answer.unwrap_or_else(|_| panic!("{path}: no end of the answer within {:?}", self.limit))
    }

    /// GET up to the headers; the body comes chunk by chunk, when it is asked for.
    ///
    /// # Errors
    /// As [`Client::try_request`].
    pub async fn get_streaming(&self, path: &str) -> io::Result<Streaming> {
        let open = self.open(Method::GET, path, &[], Bytes::new());
        let answer = tokio::time::timeout(self.limit, open).await;
        answer.unwrap_or_else(|_| panic!("{path}: no headers within {:?}", self.limit))
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<Streaming> {
        let began = Instant::now();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // The connection's own error is seen by the body as well.
        let task = tokio::spawn(async move { drop(connection.await) });
        let task = AbortOnDrop(task.abort_handle());
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        request = request.header("host", self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = answer.into_parts();
        Ok(Streaming { status: head.status, headers: head.headers, body, began, _task: task })
    }
}

/// A connection's task ends with the last use of its answer: the server sees a client go away.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose body is read by the test, as slowly as it likes. Dropping it disconnects.
#[derive(Debug)]
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    began: Instant,
    _task: AbortOnDrop,
}

impl Streaming {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection was cut before the end.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => {
                    // Trailers carry no bytes.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Reads to the end, whole or cut.
    pub async fn collect(&mut self) -> Response {
        let mut body = BytesMut::new();
        let mut first_byte = None;
        let truncated = loop {
            let next = self.chunk().await;
            first_byte.get_or_insert_with(|| self.began.elapsed());
            match next {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
            assert!(body.len() <= MAX_BODY_BYTES, "an answer of more than {MAX_BODY_BYTES} bytes");
        };
        Response {
            status: self.status,
            headers: self.headers.clone(),
            body: body.freeze(),
            truncated,
            first_byte: first_byte.unwrap_or_default(),
            total: self.began.elapsed(),
        }
    }
}

/// Sends `text` as it is and reads until the server ends the connection: for requests that no
/// proper client would write. Put `Connection: close` into HTTP/1.1 requests.
///
/// # Panics
/// When the connection fails or does not end within 60 s.
pub async fn raw_get(address: SocketAddr, text: &str) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        let limit = u64::try_from(MAX_BODY_BYTES).expect("fits");
        (&mut stream).take(limit).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(DEFAULT_LIMIT, talk).await;
    let answer = answer.unwrap_or_else(|_| panic!("no end of the answer to {text:?}"));
    let answer = answer.unwrap_or_else(|error| panic!("{address}: {error} after {text:?}"));
    String::from_utf8_lossy(&answer).into_owned()
}
