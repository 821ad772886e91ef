//! A collector for tests: it takes spans by OTLP over HTTP, and keeps them to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use parking_lot::Mutex;
use prost::Message as _;

use crate::server::{Answer, Connection, Handler, Server, ServerBody};

/// The path of the protocol.
const PATH: &str = "/v1/traces";
/// The media type of the protocol's binary form, and the only one that is taken.
const PROTOBUF: &str = "application/x-protobuf";
/// The largest message that is taken.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Spans that are kept; a message beyond them is refused.
const SPANS_MAX: usize = 65_536;

/// A span as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The trace's id in hexadecimal digits.
    pub trace: String,
    /// Its own id, likewise.
    pub id: String,
    /// The id of its parent; empty where it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// It is the server's side of a call: the root of a request.
    pub is_server: bool,
    /// What its status says where that is an error: the text, which may be empty.
    pub error: Option<String>,
    /// Its status is `Ok`, which is for who wrote a program to say, and not for a library.
    pub is_ok: bool,
    /// What it tells, as text.
    pub attributes: BTreeMap<String, String>,
}

impl Received {
    /// An attribute as text; empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A running collector. Dropping it closes its port.
pub struct Traces {
    spans: Arc<Spans>,
    server: Server,
}

impl Traces {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let spans = Arc::new(Spans::default());
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), spans.clone());
        Self { spans, server }
    }

    /// `http://127.0.0.1:PORT`, below which the protocol's path lies.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The names of all spans that have come.
    pub fn names(&self) -> BTreeSet<String> {
        self.spans.0.lock().iter().map(|span| span.name.clone()).collect()
    }

    /// The spans of a trace, in the order in which they came.
    pub fn of(&self, trace: &str) -> Vec<Received> {
        let spans = self.spans.0.lock();
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

/// What has been received.
#[derive(Default)]
struct Spans(Mutex<Vec<Received>>);

impl Handler for Spans {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Answer {
        Box::pin(async move { Ok(self.take(request).await) })
    }
}

impl Spans {
    async fn take(&self, request: Request<Incoming>) -> Response<ServerBody> {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "spans go to /v1/traces");
        }
        if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != PROTOBUF) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only protobuf is understood");
        }
        let body = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect().await;
        let Ok(body) = body else { return plain(StatusCode::BAD_REQUEST, "no whole message") };
        let Ok(message) = ExportTraceServiceRequest::decode(body.to_bytes()) else {
            return plain(StatusCode::BAD_REQUEST, "no message of the protocol");
        };
        let scopes = message.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let new: Vec<Received> = scopes.flat_map(|scope| scope.spans).map(received).collect();
        let mut spans = self.0.lock();
        if spans.len() + new.len() > SPANS_MAX {
            return plain(StatusCode::INSUFFICIENT_STORAGE, "too many spans for one test");
        }
        spans.extend(new);
        // The empty message says that all were taken.
        answer(StatusCode::OK, PROTOBUF, "")
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<ServerBody> {
    answer(status, "text/plain", text)
}

fn answer(status: StatusCode, kind: &'static str, text: &'static str) -> Response<ServerBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let body = body.map_err(|never| -> io::Error { match never {} }).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn received(span: Span) -> Received {
    let is_server = span.kind() == span::SpanKind::Server;
    let status = span.status.unwrap_or_default();
    let (is_ok, is_error) = (status.code() == SpanStatus::Ok, status.code() == SpanStatus::Error);
    Received {
        trace: digits(&span.trace_id),
        id: digits(&span.span_id),
        parent: digits(&span.parent_span_id),
        name: span.name,
        is_server,
        error: is_error.then_some(status.message),
        is_ok,
        attributes: span.attributes.into_iter().filter_map(pair).collect(),
    }
}

fn digits(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The gateway has attributes of these kinds only; another one is seen by its absence.
fn pair(attribute: KeyValue) -> Option<(String, String)> {
    let text = match attribute.value?.value? {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(flag) => flag.to_string(),
        _ => return None,
    };
    Some((attribute.key, text))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};

    use super::*;
    use crate::client::Client;

    fn message() -> Vec<u8> {
        let value = Some(AnyValue { value: Some(any_value::Value::IntValue(404)) });
        let attribute = KeyValue { key: "status".to_owned(), value, ..KeyValue::default() };
        let span = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            name: "zip".to_owned(),
            kind: span::SpanKind::Server.into(),
            attributes: vec![attribute],
            status: Some(Status { message: "why".to_owned(), code: SpanStatus::Error.into() }),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    #[tokio::test]
    async fn what_is_sent_is_kept_by_its_trace_and_what_is_no_message_is_refused() {
        let traces = Traces::start();
        let client = Client::new(&traces.url());
        let send = async |path: &str, kind: &str, body: Vec<u8>| {
            let answer = client.request(Method::POST, path, &[("content-type", kind)], body).await;
            answer.status.as_u16()
        };
        assert_eq!(send("/v1/logs", PROTOBUF, message()).await, 404);
        assert_eq!(send(PATH, "application/json", message()).await, 415);
        assert_eq!(send(PATH, PROTOBUF, vec![0xff; 8]).await, 400);
        let trace = "ab".repeat(16);
        assert_eq!(traces.of(&trace), []);
        assert_eq!(send(PATH, PROTOBUF, message()).await, 200);
        let span = &traces.of(&trace)[0];
        assert_eq!((span.name.as_str(), span.attribute("status")), ("zip", "404"));
        assert_eq!((span.error.as_deref(), span.is_server), (Some("why"), true));
        assert_eq!((span.id.as_str(), span.parent.as_str()), ("0101010101010101", ""));
    }
}
