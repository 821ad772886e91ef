//! A server of somebody else's: Athens's protocol and nothing more. It keeps files in memory, overwrites,
//! and breaks where a test says so.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon_testkit::module::FakeModule;
use futures::StreamExt as _;
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::bench::{escaped, sparse_zip};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is to go wrong with requests whose path ends so.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answer with this status and text.
    Status(u16, &'static str),
    /// Close the connection without an answer, so many times.
    Hangup(usize),
    /// Send half of the body and close.
    Cut,
    /// Send half of the body and nothing more.
    Stall,
    /// Send it without its length, in chunks.
    NoLength,
    /// The same, in four parts, each after such a pause.
    Trickle(Duration),
    /// Send it without its length as HTTP/1.0 does: it ends where the connection ends.
    UntilClose,
    /// The same, and only half of it: what a server that dies in the middle leaves.
    CutUntilClose,
    /// Send a zip of so many bytes that is all zeros but for its end, with or without its length.
    Sparse(u64, bool),
    /// Understand `Range`.
    Ranges,
    /// Refuse every `Range` with this status.
    NoRange(u16),
    /// Send the client to where the file lies on this very server.
    Redirect,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct State {
    /// By path, escaped as in URLs.
    files: Mutex<BTreeMap<String, Bytes>>,
    log: Mutex<Vec<Recorded>>,
    faults: Mutex<Vec<(&'static str, Fault)>>,
    hangups: AtomicUsize,
}

pub(crate) struct Foreign {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Foreign {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let serving =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(serving.await);
                });
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this goes wrong with paths that end with `suffix`; the last fault counts.
    pub(crate) fn fault(&self, suffix: &'static str, fault: Fault) {
        if let Fault::Hangup(times) = fault {
            self.state.hangups.store(times, Ordering::SeqCst);
        }
        self.state.faults.lock().insert(0, (suffix, fault));
    }

    pub(crate) fn mend(&self) {
        self.state.faults.lock().clear();
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.log.lock().clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.state.log.lock().clear();
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        self.state.files.lock().insert(path.to_owned(), bytes.into());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.files.lock().remove(path);
    }

    /// Puts a version in, as if somebody else had saved it.
    pub(crate) fn lay_out(&self, module: &FakeModule) {
        let base = format!("/{}/@v/{}", escaped(module.path()), module.version());
        self.put(&format!("{base}.info"), module.info());
        self.put(&format!("{base}.mod"), module.go_mod_bytes());
        self.put(&format!("{base}.zip"), module.zip());
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    state.log.lock().push(Recorded {
        method: head.method.clone(),
        path: path.clone(),
        headers: head.headers.clone(),
        body: body.clone(),
    });
    let fault = state.faults.lock().iter().find(|(end, _)| path.ends_with(end)).cloned();
    let fault = fault.map(|(_, fault)| fault);
    if let Some(Fault::Hangup(_)) = fault
        && state
            .hangups
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
    {
        return Err(std::io::Error::other("hung up on purpose"));
    }
    if let Some(Fault::Status(status, text)) = fault {
        let mut response = full(text);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        return Ok(response);
    }
    if head.method == Method::POST {
        return Ok(save(&state, &path, &head.headers, &body));
    }
    if path.ends_with("/@v/list") {
        let list = Bytes::from(list(&state, &path));
        return Ok(match fault {
            Some(Fault::UntilClose) => until_close(list),
            _ => full(list),
        });
    }
    let moved = path.strip_prefix("/moved");
    let found = state.files.lock().get(moved.unwrap_or(&path)).cloned();
    let Some(bytes) = found else {
        let mut response = full("not found");
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let range = head.headers.get("range").and_then(|range| range.to_str().ok());
    Ok(broken(fault, bytes, range, moved.is_none().then(|| format!("/moved{path}"))))
}

fn broken(
    fault: Option<Fault>,
    bytes: Bytes,
    range: Option<&str>,
    moved: Option<String>,
) -> Response<Body> {
    let half = bytes.slice(..bytes.len() / 2);
    let length = bytes.len();
    match (fault, range, moved) {
        (Some(Fault::Redirect), _, Some(to)) => {
            let mut response = full("");
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert("location", to.parse().unwrap());
            response
        }
        (Some(Fault::NoLength), _, _) => streamed(bytes, None, End::Good),
        (Some(Fault::Trickle(pause)), _, _) => {
            let part = length.div_ceil(4);
            let parts: Vec<Bytes> = bytes.chunks(part).map(Bytes::copy_from_slice).collect();
            let parts = stream::iter(parts).then(move |part| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(part))
            });
            Response::new(StreamBody::new(parts).boxed_unsync())
        }
        (Some(Fault::UntilClose), _, _) => until_close(bytes),
        (Some(Fault::CutUntilClose), _, _) => until_close(half),
        (Some(Fault::Sparse(bytes, told)), _, _) => {
            let chunks = stream::iter(sparse_zip(bytes)).map(|chunk| Ok(Frame::data(chunk)));
            let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
            if told {
                response.headers_mut().insert("content-length", bytes.into());
            }
            response
        }
        (Some(Fault::Cut), _, _) => streamed(half, Some(length), End::Cut),
        (Some(Fault::Stall), _, _) => streamed(half, Some(length), End::Never),
        (Some(Fault::NoRange(status)), Some(_), _) => {
            let mut response = full("no");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        (Some(Fault::Ranges), Some(range), _) if length > 0 => {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, last) = match first {
                "" => (length.saturating_sub(last.parse().unwrap()), length - 1),
                _ => (first.parse().unwrap(), last.parse().unwrap()),
            };
            let mut response = full(bytes.slice(first..=last));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let part = format!("bytes {first}-{last}/{length}");
            response.headers_mut().insert("content-range", part.parse().unwrap());
            response
        }
        _ => full(bytes),
    }
}

fn until_close(bytes: Bytes) -> Response<Body> {
    let mut response = streamed(bytes, None, End::Good);
    *response.version_mut() = Version::HTTP_10;
    response
}

/// How a body that streams ends.
enum End {
    Good,
    /// The connection breaks, after what was sent is on its way.
    Cut,
    Never,
}

fn streamed(bytes: Bytes, length: Option<usize>, end: End) -> Response<Body> {
    let end = async move {
        match end {
            End::Good => None,
            End::Cut => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(Err(std::io::Error::other("cut on purpose")))
            }
            End::Never => std::future::pending().await,
        }
    };
    let end = stream::once(end).filter_map(std::future::ready);
    let chunks = stream::iter([Ok(bytes)]).chain(end).map(|chunk| chunk.map(Frame::data));
    let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
    if let Some(length) = length {
        response.headers_mut().insert("content-length", length.into());
    }
    response
}

/// Versions with an `.info`, as Athens's own server joins them: no line end behind the last.
fn list(state: &State, path: &str) -> String {
    let base = path.strip_suffix("list").unwrap();
    let files = state.files.lock();
    let versions: Vec<&str> = files
        .keys()
        .filter_map(|key| key.strip_prefix(base)?.strip_suffix(".info"))
        .filter(|version| !version.contains('/'))
        .collect();
    versions.join("\n")
}

/// Takes a form apart, and overwrites.
fn save(state: &State, path: &str, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let kind = headers.get("content-type").unwrap().to_str().unwrap();
    let boundary = kind.split_once("boundary=").unwrap().1;
    let delimiter = format!("\r\n--{boundary}");
    let base = path.strip_suffix(".save").unwrap();
    let whole = [b"\r\n", &body[..]].concat();
    let starts: Vec<usize> = memchr::memmem::find_iter(&whole, delimiter.as_bytes()).collect();
    for pair in starts.windows(2) {
        let part = &whole[pair[0] + delimiter.len() + 2..pair[1]];
        let end = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&part[..end]).unwrap();
        let name = head.split_once("name=\"mod.").unwrap().1.split_once('"').unwrap().0;
        let bytes = Bytes::copy_from_slice(&part[end + 4..]);
        state.files.lock().insert(format!("{base}.{name}"), bytes);
    }
    full("")
}

fn full(bytes: impl Into<Bytes>) -> Response<Body> {
    Response::new(
        Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync(),
    )
}
