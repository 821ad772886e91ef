//! What the tests of the layers share: ports that keep things in memory, scripted where a test must
//! say what happens, and real otherwise.

pub(crate) mod below;
pub(crate) mod events;
pub(crate) mod lock;
pub(crate) mod release;
pub(crate) mod spans;
pub(crate) mod storage;
pub(crate) mod upstream;
pub(crate) mod verifier;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tower::Service;
use tower::util::{ServiceExt as _, ServiceFn};

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::explain::{Foretold, Subject, Tells};
use crate::forward::Forward;
use crate::ports::{Decision, Mode, Policy};
use crate::purge::{Modules, Purge};
use crate::request::{
    Ask, EdgeParts, EdgeRequest, FileRequest, HasContext, Missed, ModuleRequest, RequestContext,
};
use crate::response::{Answer, Content, Files, Finished, ModuleResponse, Stashed};
use crate::telemetry::{Outcome, Telemetry};

/// The unit of every paused clock.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A registry of its own.
pub(crate) fn telemetry() -> Telemetry {
    Telemetry::new().expect("the catalogue names no metric twice")
}

/// A module path.
pub(crate) fn module(text: &str) -> ModulePath {
    ModulePath::parse(text).expect("a valid module path")
}

/// A purge of one module, as a whole.
pub(crate) fn purge_of(path: &str) -> Purge {
    Purge { modules: Modules::Exactly(path.to_owned()), version: None }
}

/// A canonical version.
pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).expect("a canonical version")
}

/// A version or a query.
pub(crate) fn query(text: &str) -> VersionQuery {
    VersionQuery::parse(text).expect("a version or a query")
}

/// A context whose caller waits a minute.
pub(crate) fn context() -> RequestContext {
    context_for(60 * SECOND)
}

/// A context whose caller waits so long.
pub(crate) fn context_for(patience: Duration) -> RequestContext {
    RequestContext::detached(Instant::now() + patience)
}

/// A request for a file of `example.com/m`.
pub(crate) fn file_request(version: &str, kind: FileKind) -> FileRequest {
    FileRequest {
        context: context(),
        module: module("example.com/m"),
        version: query(version),
        kind,
    }
}

/// The same, missed.
pub(crate) fn missed(version: &str, kind: FileKind) -> Missed {
    Missed { request: file_request(version, kind) }
}

/// An HTTP request on the edge.
pub(crate) fn edge(method: &str, path: &str) -> EdgeRequest {
    edge_with(method, path, &[])
}

/// An HTTP request on the edge with headers.
pub(crate) fn edge_with(method: &str, path: &str, headers: &[(&str, &str)]) -> EdgeRequest {
    let (head, ()) = http_request(method, path, headers).into_parts();
    let mut context = context();
    context.id = "edge-1".into();
    EdgeParts {
        context,
        head: Box::new(head),
        path: Some(path.to_owned()),
        peer: None,
        secure: false,
    }
    .into()
}

/// An HTTP request without a body.
pub(crate) fn http_request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> http::Request<()> {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a valid request")
}

/// A leaf that answers by a function.
pub(crate) fn leaf<Request, Reply>(
    answer: impl Fn(Request) -> Result<Reply, Error> + Clone + Send + Sync + 'static,
) -> ServiceFn<impl Fn(Request) -> Ready<Result<Reply, Error>> + Clone + Send + Sync + 'static>
where
    Request: HasContext + Send + 'static,
    Reply: Send + 'static,
{
    tower::service_fn(move |request| ready(answer(request)))
}

/// Calls a service once.
pub(crate) async fn call<S, Request>(service: &S, request: Request) -> Result<S::Response, Error>
where
    S: Service<Request, Error = Error> + Clone,
{
    service.clone().oneshot(request).await
}

/// An error of a kind.
pub(crate) fn error(kind: ErrorKind) -> Error {
    Error::new(kind, format!("{kind:?} on purpose"))
}

/// A policy that fetches every module and says nothing else.
pub(crate) fn fetches_all() -> Arc<dyn Policy> {
    Arc::new(Decision::new(Mode::Sync, ""))
}

/// A file in memory as an answer.
pub(crate) fn file_answer(
    kind: FileKind,
    of: &str,
    bytes: impl Into<Bytes>,
    outcome: Outcome,
) -> ModuleResponse {
    let content = Content::Bytes(bytes.into());
    ModuleResponse::new(Answer::File { kind, version: version(of), content }, outcome)
}

/// A stash that is over.
pub(crate) fn stashed(of: &str, files: Files) -> Stashed {
    let (version, outcome) = (version(of), Outcome::MissLeader);
    let (forward, finished) = (Forward::default(), Finished::now());
    Stashed { version, files, outcome, forward, finished }
}

/// The bytes of an answer, wherever they are.
pub(crate) async fn bytes_of(content: &Content) -> Result<Bytes, Error> {
    let body = match content {
        Content::Bytes(bytes) => crate::body::full(bytes.clone()),
        Content::Stored(blob) => crate::body::blob(blob, 0..blob.length()),
        Content::Spooled(spool) => crate::body::stream(spool.stream(0..u64::MAX)),
    };
    Ok(body.collect().await?.to_bytes())
}

/// The bytes of a file that was answered.
pub(crate) async fn answered_file(response: &ModuleResponse) -> Bytes {
    let Answer::File { content, .. } = &response.answer else {
        panic!("not a file: {:?}", response.answer)
    };
    bytes_of(content).await.expect("a whole file")
}

/// The text of an HTTP answer's body.
pub(crate) async fn text_of(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A header of an HTTP answer.
pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("a text header"))
}

/// Lets every task that is ready run: enough turns for some ten thousand of them.
pub(crate) async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// A request for a file of `example.com/m`, before it is known that it is one.
pub(crate) fn asking(version: &str, kind: FileKind) -> ModuleRequest {
    let FileRequest { context, module, version, kind } = file_request(version, kind);
    ModuleRequest { context, module, ask: Ask::File(version, kind) }
}

/// A version of `example.com/m`, for who wants to know about it.
pub(crate) fn subject(version: &str) -> Subject {
    Subject { context: context(), module: module("example.com/m"), version: Some(query(version)) }
}

/// How it is foretold to end there, if it is.
pub(crate) async fn foretold(tells: &dyn Tells, request: &ModuleRequest) -> Option<Outcome> {
    match tells.foretell(request).await {
        Foretold::Ends(ending) => Some(ending.outcome),
        _ => None,
    }
}
