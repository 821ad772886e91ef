use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Response};

use super::forwarded::TrustedProxies;
use super::ids;
use crate::body::Body;
use crate::error::Error;
use crate::render::{self, Served};
use crate::request::{EdgeParts, EdgeRequest, RequestContext};
use crate::stack::{Stage, stage};
use crate::telemetry::trace::{Parent, current};
use crate::telemetry::{Kept, Timings, Tracer};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const ATHENS_REQUEST_ID: HeaderName = HeaderName::from_static("athens-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A request as it comes: its head, and the connection that it comes by. Where somebody reads the body, the server has
/// put it among the extensions.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Method, headers, URI.
    pub head: Box<http::request::Parts>,
    /// The connection.
    pub connection: Connection,
}

impl From<Request<()>> for Arrival {
    /// By a connection of which nothing is known.
    fn from(request: Request<()>) -> Self {
        let (head, ()) = request.into_parts();
        Self { head: Box::new(head), connection: Connection::default() }
    }
}

/// What the server knows of the connection a request came by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    /// The other end; nothing for a unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether it is TLS.
    pub secure: bool,
}

/// Gives each request its context, and each answer its headers.
#[derive(Clone, Debug)]
pub struct RequestContextService<S> {
    pub(super) inner: S,
    pub(super) prefix: Arc<str>,
    pub(super) patience: Duration,
    pub(super) trusted: Option<TrustedProxies>,
    pub(super) tracer: Tracer,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> RequestContextService<S> {
    async fn handle(&self, arrival: Arrival) -> Result<Response<Body>, Error> {
        let started = Instant::now();
        let Arrival { mut head, connection } = arrival;
        let context = RequestContext {
            id: ids::request_id(&head.headers),
            trace: self.tracer.request(Parent::of(&head.headers), started),
            deadline: tokio::time::Instant::now() + self.patience,
            timings: Arc::new(Timings::new(started)),
        };
        let path = below_prefix(head.uri.path(), &self.prefix);
        let Connection { peer, secure } = connection;
        let peer = match &self.trusted {
            Some(trusted) => trusted.client(peer, &mut head.headers),
            None => peer,
        };
        let edge = EdgeParts { context: context.clone(), head, path, peer, secure };
        let trace = context.trace.id();
        let answered = current::within(trace, self.inner.run(edge.into())).await;
        let mut response = answered.unwrap_or_else(|error| render::error(&error));
        finish(&mut response, &context);
        Ok(response)
    }
}

/// The path a route sees. `/metrics` and the bare `/` stay where they are, as in Athens.
fn below_prefix(path: &str, prefix: &str) -> Option<String> {
    if prefix.is_empty() || path == "/metrics" || path == "/" {
        return Some(path.to_owned());
    }
    path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).map(str::to_owned)
}

/// Puts the headers of every answer on. A client that keeps traces is told of a miss that this one is kept.
fn finish(response: &mut Response<Body>, context: &RequestContext) {
    let unknown = Served::default();
    let served = response.extensions().get::<Served>().unwrap_or(&unknown);
    if served.outcome.is_miss() {
        context.trace.keep(Kept::Miss);
    }
    let cache_status = render::cache_status(served, response.status());
    let traceparent = context.trace.traceparent();
    let timing = context.timings.spent(Instant::now()).server_timing();
    let id = HeaderValue::from_str(&context.id).ok();
    let headers = [
        (X_REQUEST_ID, id.clone()),
        (ATHENS_REQUEST_ID, id),
        (TRACEPARENT, traceparent.and_then(|text| text.try_into().ok())),
        (CACHE_STATUS, cache_status.try_into().ok()),
        (SERVER_TIMING, timing.try_into().ok()),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
}

stage!(RequestContextService<S>: Arrival => Response<Body>, over EdgeRequest => Response<Body>);
