//! The pages under `/-/`: for operators, and for the machines that act for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::body::Body;
use dipylon_middleware::dispatch::{Background, Listed};
use dipylon_middleware::purge::{Forgets, Modules, Purge};
use dipylon_middleware::render::whole;
use dipylon_middleware::request::EdgeRequest;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::query::VersionQuery;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::admin::{JSON, bad, number, only_get};
use super::explain::Explain;
use super::prefetch::{self, Line, Prefetch, Report};
use super::status::Status;
use super::{Incoming, RequestBody, query};

/// The header that brings `AdminToken`.
const TOKEN_HEADER: &str = "x-dipylon-token";
/// Where these pages lie.
const ROOT: &str = "/-/";
/// Entries of the queue's page where the client does not say.
const QUEUE_PAGE: usize = 100;
/// Entries of the queue's page at most.
const QUEUE_PAGE_MAX: usize = 1000;
/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The pages.
pub struct Operator {
    /// The digest of `AdminToken`, where there is one.
    token: Option<[u8; 32]>,
    background: Background,
    prefetch: Prefetch,
    memories: Vec<(&'static str, Arc<dyn Forgets>)>,
    explain: Explain,
    status: Status,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Read,
    Change,
}

/// The body of a purge: one of `module`, `prefix` and `pattern`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    module: Option<String>,
    prefix: Option<String>,
    pattern: Option<String>,
    version: Option<String>,
}

impl Operator {
    /// For who has `token`; an empty one is none.
    pub fn new(
        token: &str,
        background: Background,
        prefetch: Prefetch,
        explain: Explain,
        status: Status,
    ) -> Self {
        let token = (!token.is_empty()).then(|| Sha256::digest(token).into());
        Self { token, background, prefetch, memories: Vec::new(), explain, status }
    }

    /// A purge is told to this memory too; `name` is how its answer calls what was forgotten.
    #[must_use]
    pub fn forgetting(mut self, name: &'static str, memory: Arc<dyn Forgets>) -> Self {
        self.memories.push((name, memory));
        self
    }

    /// Whether `path` is one of these pages, or would be.
    pub(super) fn has(path: &str) -> bool {
        path.starts_with(ROOT)
    }

    pub(super) async fn page(
        &self,
        path: &str,
        request: &EdgeRequest,
    ) -> Result<Response<Body>, Error> {
        match path {
            "/-/queue" => {
                self.let_in(request, Wish::Read)?;
                only_get(request)?;
                self.queue(request)
            }
            "/-/explain" => {
                self.let_in(request, Wish::Read)?;
                only_get(request)?;
                Ok(whole(JSON, self.explain.page(request).await?))
            }
            "/-/status" => {
                self.let_in(request, Wish::Read)?;
                only_get(request)?;
                Ok(self.status.page())
            }
            "/-/purge" => {
                self.let_in(request, Wish::Change)?;
                only_post(request)?;
                self.purge(&purge_of(&body_of(request).await?)?)
            }
            "/-/webhook/purge" => {
                self.let_in(request, Wish::Change)?;
                only_post(request)?;
                self.purge(&purge_of_query(request)?)
            }
            "/-/prefetch" => {
                self.let_in(request, Wish::Change)?;
                only_post(request)?;
                Ok(self.prefetch(request, &prefetch::lines(&body_of(request).await?)?).await)
            }
            "/-/webhook/prefetch" => {
                self.let_in(request, Wish::Change)?;
                only_post(request)?;
                Ok(self.prefetch(request, &[prefetch_of_query(request)?]).await)
            }
            _ => {
                self.let_in(request, Wish::Read)?;
                let text = "404 page not found: under /-/ there are explain, status, queue, purge, prefetch, \
                            webhook/purge, webhook/prefetch";
                Err(Error::new(ErrorKind::InvalidPath, text))
            }
        }
    }

    /// With `AdminToken`, who has it; without one, who only wants to look.
    fn let_in(&self, request: &EdgeRequest, wish: Wish) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::new(ErrorKind::AdminRefused, text));
        let Some(token) = &self.token else {
            return match wish {
                Wish::Read => Ok(()),
                Wish::Change => refuse(
                    "changes are off: set AdminToken in [Dipylon], or DIPYLON_ADMIN_TOKEN, and send it in \
                     the header X-Dipylon-Token",
                ),
            };
        };
        // Digests are as long as each other, whatever was sent.
        let given = request.head.headers.get(TOKEN_HEADER).map(HeaderValue::as_bytes);
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        if token.ct_eq(&given).into() {
            return Ok(());
        }
        refuse("this page needs the gateway's AdminToken in the header X-Dipylon-Token")
    }

    fn queue(&self, request: &EdgeRequest) -> Result<Response<Body>, Error> {
        let parameters = query::parse(request.head.uri.query());
        let limit = match parameters.get("limit").map(String::as_str) {
            None | Some("") => QUEUE_PAGE,
            Some(text) => number("limit", text)?,
        };
        let seen = self.background.snapshot(limit.min(QUEUE_PAGE_MAX));
        let listed = |entry: &Listed| {
            json!({
                "module": entry.module.as_str(),
                "version": entry.version.as_str(),
                "state": entry.standing.as_str(),
                "age_seconds": entry.age.as_secs(),
                "attempts": entry.attempts,
            })
        };
        let left_out = (seen.queued + seen.running).saturating_sub(seen.entries.len());
        let page = json!({
            "queued": seen.queued,
            "running": seen.running,
            "held": seen.held,
            "capacity": self.background.capacity(),
            "oldest_seconds": seen.oldest.map(|age| age.as_secs()),
            "on_disk": self.background.is_kept(),
            "entries": seen.entries.iter().map(listed).collect::<Vec<_>>(),
            "left_out": left_out,
        });
        Ok(whole(JSON, format!("{page}\n")))
    }

    fn purge(&self, purge: &Purge) -> Result<Response<Body>, Error> {
        let mut forgotten = 0;
        let mut answer = Map::new();
        for (name, memory) in &self.memories {
            let count = memory.forget(purge);
            forgotten += count;
            answer.insert((*name).to_owned(), count.into());
        }
        answer.insert("forgotten".to_owned(), forgotten.into());
        tracing::info!(
            ?purge,
            forgotten,
            "remembered refusals are forgotten, as an operator asked"
        );
        Ok(whole(JSON, format!("{}\n", Value::Object(answer))))
    }
}

impl Operator {
    /// 202, because nobody waits for what is in the queue now; the answer says what is not.
    async fn prefetch(&self, request: &EdgeRequest, lines: &[Line]) -> Response<Body> {
        let report = self.prefetch.run(&request.context, lines).await;
        let Report { accepted, stored, queued, refused, left_out, .. } = report;
        tracing::info!(
            accepted,
            stored,
            queued,
            refused,
            left_out,
            "versions are to be fetched before a client asks for them, as an operator asked"
        );
        let mut response = whole(JSON, format!("{}\n", report.json()));
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    }
}

/// The body, whole.
async fn body_of(request: &EdgeRequest) -> Result<Bytes, Error> {
    let body = request.head.extensions.get::<RequestBody>().and_then(RequestBody::take);
    let Some(body) = body else { return Err(bad("the request has no body")) };
    let Ok(read) = timeout(BODY_TIMEOUT, collected(body)).await else {
        let seconds = BODY_TIMEOUT.as_secs();
        return Err(bad(&format!("the body did not come within {seconds} s")));
    };
    read
}

async fn collected(mut body: Incoming) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Err(bad(&format!("the body ended too soon: {error}"))),
        };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(bad(&format!(
                "the body is too large: {BODY_BYTES_MAX} bytes are the most"
            )));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn purge_of(body: &[u8]) -> Result<Purge, Error> {
    const WANTED: &str =
        r#"want {"module": "…"}, {"prefix": "…"} or {"pattern": "…"}, and "version" if you like"#;
    let body: PurgeBody = serde_json::from_slice(body)
        .map_err(|error| bad(&format!("the body is refused: {error}; {WANTED}")))?;
    let PurgeBody { module, prefix, pattern, version } = body;
    let modules = match (module, prefix, pattern) {
        (Some(module), None, None) => Modules::Exactly(path("module", &module)?),
        (None, Some(prefix), None) => Modules::Below(path("prefix", &prefix)?),
        (None, None, Some(pattern)) => Modules::Matching(patterns(&pattern)?),
        _ => return Err(bad(&format!("the body names no modules, or several times; {WANTED}"))),
    };
    Ok(Purge { modules, version: version.as_deref().map(version_of).transpose()? })
}

/// What a forge can be told to call when something is pushed: the module is in the URL, with whatever lies
/// below it, because a repository may hold many; the body is the forge's own and not looked at.
fn purge_of_query(request: &EdgeRequest) -> Result<Purge, Error> {
    let mut parameters = query::parse(request.head.uri.query());
    let module = parameters.remove("module").ok_or_else(|| {
        bad("which module? Call /-/webhook/purge?module=PATH, with &version=VERSION if you like")
    })?;
    let version = parameters.get("version").map(|text| version_of(text)).transpose()?;
    Ok(Purge { modules: Modules::Below(path("module", &module)?), version })
}

/// The same for who has tagged a version: the module, and the version if you like, are in the URL.
fn prefetch_of_query(request: &EdgeRequest) -> Result<Line, Error> {
    let parameters = query::parse(request.head.uri.query());
    let module = parameters.get("module").ok_or_else(|| {
        bad("which module? Call /-/webhook/prefetch?module=PATH, with &version=VERSION if you like")
    })?;
    Ok(match parameters.get("version") {
        Some(version) => Line::parse(1, &format!("{module}@{version}")),
        None => Line::parse(1, module),
    })
}

fn path(name: &str, text: &str) -> Result<String, Error> {
    match text.trim_end_matches('/') {
        "" => Err(bad(&format!("{name} is empty: name a module path, or the beginning of one"))),
        path => match ModulePath::parse(path) {
            Ok(path) => Ok(path.to_string()),
            Err(error) => Err(bad(&format!("{name} {text:?} is refused: {error}"))),
        },
    }
}

fn patterns(text: &str) -> Result<Patterns, Error> {
    let patterns = Patterns::parse(text);
    if patterns.is_empty() || !patterns.malformed().is_empty() {
        let text = format!("pattern {text:?} is refused: want patterns as in GOPRIVATE");
        return Err(bad(&text));
    }
    Ok(patterns)
}

fn version_of(text: &str) -> Result<VersionQuery, Error> {
    VersionQuery::parse(text).map_err(|error| bad(&format!("version {text:?} is refused: {error}")))
}

fn only_post(request: &EdgeRequest) -> Result<(), Error> {
    let method = &request.head.method;
    if method == Method::POST {
        return Ok(());
    }
    let text = format!("method {method} is not allowed here: use POST");
    Err(Error::new(ErrorKind::MethodNotAllowed, text))
}
