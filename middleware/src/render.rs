//! Typed answers and errors into HTTP: status, headers, body. The only place that does.

mod tag;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::blob::{BlobSource, PresignedUrl, StoreTier};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind, Severity};
use crate::forward::Forward;
use crate::response::{Answer, Content, HasOutcome, ModuleResponse, SumDbResponse};
use crate::telemetry::{Outcome, RouteName};
use tag::entity_tag;

/// What became of a request: travels with the answer to the log, the metrics and the span.
#[derive(Clone, Debug)]
pub struct Served {
    /// What was asked for.
    pub route: RouteName,
    /// How it ended.
    pub outcome: Outcome,
    /// How loud the log event is.
    pub severity: Severity,
    /// Module path, where there is one.
    pub module: Option<Arc<str>>,
    /// Version, where there is one.
    pub version: Option<Arc<str>>,
    /// The error's text, where there is one.
    pub error: Option<String>,
    /// Which of two stores had the file.
    pub tier: Option<StoreTier>,
    /// What the upstream that it comes from said in `Cache-Status`.
    pub cache_status: Option<Arc<str>>,
    /// For how many seconds the answer stays fresh, where that is known of one that may change.
    pub ttl: Option<i64>,
    /// How far the request went, where the outcome does not say it.
    pub forward: Forward,
    /// Whether what was fetched for it is kept, or about to be.
    pub stored: bool,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            route: RouteName::Unknown,
            outcome: Outcome::Ok,
            severity: Severity::Info,
            module: None,
            version: None,
            error: None,
            tier: None,
            cache_status: None,
            ttl: None,
            forward: Forward::default(),
            stored: false,
        }
    }
}

impl HasOutcome for Response<Body> {
    fn outcome(&self) -> Outcome {
        self.extensions().get::<Served>().map_or(Outcome::Ok, |served| served.outcome)
    }
}

/// Never changes: what an outer cache may keep for ever.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// May change: an outer cache asks again.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache, no-store, must-revalidate");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// `Cache-Status` (RFC 9211) of an answer: what each cache on its way says, the nearest to the origin first. An
/// upstream's own words come as they are; of two stores each has its say; the last word is the gateway's.
///
/// `hit` and `fwd` exclude each other, and what ends before anybody was asked has neither: the gateway has made that
/// answer itself. `bypass` is for what goes on without a look at what is kept, which nothing here does.
pub fn cache_status(served: &Served, status: StatusCode) -> String {
    let mut own = String::with_capacity(64);
    own.push_str("dipylon");
    own.push_str(match way(served) {
        Way::Hit => "; hit",
        Way::Forwarded if served.forward.stale => "; fwd=stale",
        Way::Forwarded => "; fwd=uri-miss",
        Way::Neither => "",
    });
    // Writing to a text cannot fail.
    if let Some(status) = forwarded_status(served, status) {
        let _ = write!(own, "; fwd-status={}", status.as_u16());
    }
    if let Some(ttl) = served.ttl {
        let _ = write!(own, "; ttl={ttl}");
    }
    own.push_str(match way(served) {
        Way::Forwarded if served.stored => "; stored",
        Way::Forwarded if is_collapsed(served) => "; collapsed",
        _ => "",
    });
    own.push_str("; detail=");
    own.push_str(served.outcome.as_str());
    let stores = match served.tier {
        Some(StoreTier::Near) => "dipylon-near; hit, ",
        Some(StoreTier::Far) => "dipylon-far; hit, dipylon-near; fwd=uri-miss, ",
        None => "",
    };
    match &served.cache_status {
        Some(upstream) => format!("{upstream}, {stores}{own}"),
        None if stores.is_empty() => own,
        None => format!("{stores}{own}"),
    }
}

/// Which of the two a member says, if any.
#[derive(Clone, Copy)]
enum Way {
    Hit,
    Forwarded,
    Neither,
}

fn way(served: &Served) -> Way {
    match served.outcome {
        // A remembered "no" still says how far the request went that it was first said to; and what is asked behind an
        // answer is not asked for it.
        Outcome::Negative | Outcome::StaleRevalidate => Way::Hit,
        Outcome::MissLeader | Outcome::MissFollower | Outcome::MissDegraded => Way::Forwarded,
        // However it ended: what upstream said may be that what is here is the answer.
        _ if served.forward.asked => Way::Forwarded,
        // Of the last one upstream has failed a moment ago, and is left alone: nobody was asked for this one.
        Outcome::HitMemory | Outcome::HitStorage | Outcome::StaleError => Way::Hit,
        _ => Way::Neither,
    }
}

fn is_collapsed(served: &Served) -> bool {
    served.outcome == Outcome::MissFollower || served.forward.collapsed
}

/// The status that came from below, where it is known. A miss is always fetched whole, whatever part of it is
/// answered: of one that is answered whole it goes without saying. Where upstream's answer is the reason of another it
/// is said even if the two are the same, because a reader cannot know that they are.
fn forwarded_status(served: &Served, status: StatusCode) -> Option<StatusCode> {
    match (way(served), served.outcome) {
        (Way::Forwarded, Outcome::MissLeader | Outcome::MissFollower | Outcome::MissDegraded) => {
            Some(StatusCode::OK).filter(|below| *below != status)
        }
        (Way::Forwarded, _) => served.forward.status,
        _ => None,
    }
}

/// An error as an answer: one line of plain text, which the `go` command shows.
pub fn error(error: &Error) -> Response<Body> {
    let row = error.kind().row();
    let mut response = with_room(body::full(format!("{}\n", error.message())));
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    say(headers, CACHE_CONTROL, row.cache_control);
    say(headers, HeaderName::from_static("x-content-type-options"), "nosniff");
    if let Some(after) = error.retry_after() {
        headers.insert(RETRY_AFTER, seconds_rounded_up(after).into());
    }
    if error.kind() == ErrorKind::Unauthorized {
        say(headers, WWW_AUTHENTICATE, "Basic realm=\"basic auth required\"");
    }
    if error.kind() == ErrorKind::MethodNotAllowed {
        say(headers, http::header::ALLOW, "GET, HEAD");
    }
    response.extensions_mut().insert(Served {
        outcome: error.outcome(),
        severity: row.severity,
        error: Some(error.message().to_owned()),
        ttl: error.fresh_for().map(whole_seconds),
        forward: error.forward(),
        ..Served::default()
    });
    response
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Who asks again a moment too early is refused again.
fn seconds_rounded_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

/// A small answer that is complete. Its length is a header, so that HEAD keeps it.
pub fn whole(content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    whole_of(HeaderValue::from_static(content_type), bytes.into())
}

fn whole_of(content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let mut response = with_room(body::full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// What of a client's request decides how a file is sent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// Headers: `Range`, `If-Range`, `If-None-Match`.
    pub headers: &'a HeaderMap,
}

/// The answer of the module stack.
///
/// # Errors
/// What a spool fails with before its first byte: a refusal is still a status then.
pub async fn module(response: ModuleResponse, wanted: Wanted<'_>) -> Result<Response<Body>, Error> {
    let ModuleResponse { answer, age, asked, outcome, cache_status, ttl, forward } = response;
    let tier = match &answer {
        Answer::File { content: Content::Stored(blob), .. } => blob.tier(),
        _ => None,
    };
    let mut named = None;
    let mut response = match answer {
        Answer::List(bytes) => {
            let mut response = whole_of(TEXT, bytes);
            response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
            response
        }
        Answer::Latest(bytes) => {
            let mut response = whole_of(JSON, bytes);
            response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
            response
        }
        Answer::Redirect { location, status } => redirect(&location, status)?,
        Answer::File { kind, version, content } => {
            let immutable = asked.is_none();
            named = Some(version.shared());
            match elsewhere(kind, &content, immutable, wanted).await {
                Some(location) => redirect(location.expose(), StatusCode::FOUND)?,
                None => file(kind, version.as_str(), content, immutable, wanted).await?,
            }
        }
    };
    if let Some(age) = age {
        response.headers_mut().insert(http::header::AGE, age.as_secs().into());
    }
    let is_redirected = response.status() == StatusCode::FOUND;
    let served = response.extensions_mut().get_or_insert_default::<Served>();
    served.version = named;
    served.outcome = if is_redirected { Outcome::Redirected } else { outcome };
    (served.tier, served.cache_status) = (tier, cache_status);
    (served.ttl, served.forward) = (ttl, forward);
    served.stored = outcome == Outcome::MissLeader;
    Ok(response)
}

/// Sends the client elsewhere, never cacheable: Athens's bare 301 is kept by clients for ever.
///
/// # Errors
/// `Internal` where `location` cannot stand in a header.
pub fn redirect(location: &str, status: StatusCode) -> Result<Response<Body>, Error> {
    let value = HeaderValue::from_str(location).map_err(|_| {
        Error::new(ErrorKind::Internal, "the redirect's location is no header value")
    })?;
    let mut response = with_room(body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, value);
    say(response.headers_mut(), CACHE_CONTROL, "no-store");
    let served = Served { outcome: Outcome::Redirected, ..Served::default() };
    response.extensions_mut().insert(served);
    Ok(response)
}

/// The answer of the checksum database's path.
pub fn sumdb(answer: SumDbResponse) -> Response<Body> {
    let SumDbResponse { body, immutable, stored, outcome, forward } = answer;
    let mut response = whole_of(TEXT, body);
    let caching = if immutable { IMMUTABLE } else { REVALIDATE };
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response.extensions_mut().insert(Served { outcome, forward, stored, ..Served::default() });
    response
}

/// What a client sends that wants a part of a file, or has something of it already. The store's tags are not
/// ours, so it would judge a condition wrongly.
const OF_A_PART_OR_CONDITIONAL: [HeaderName; 6] =
    [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// Where the client may fetch a stored zip itself: only who wants all of it, and has none of it yet, is
/// sent there.
async fn elsewhere(
    kind: FileKind,
    content: &Content,
    immutable: bool,
    wanted: Wanted<'_>,
) -> Option<PresignedUrl> {
    let Content::Stored(blob) = content else { return None };
    let wants_all = || {
        wanted.method == Method::GET
            && !OF_A_PART_OR_CONDITIONAL.iter().any(|name| wanted.headers.contains_key(name))
    };
    match blob.source() {
        BlobSource::Remote(source) if kind == FileKind::Zip && immutable && wants_all() => {
            source.presigned().await
        }
        _ => None,
    }
}

async fn file(
    kind: FileKind,
    version: &str,
    content: Content,
    immutable: bool,
    wanted: Wanted<'_>,
) -> Result<Response<Body>, Error> {
    // A range is defined for GET alone (RFC 9110 §14.2).
    let ranged = wanted.method == Method::GET && wanted.headers.contains_key(RANGE);
    if let Content::Spooled(spool) = &content {
        // Nothing is answered before a byte may be shown: until then a refusal is a status.
        spool.ready().await?;
        if immutable && ranged {
            spool.complete().await?;
        }
    }
    let length = length(&content);
    let mut response = with_room(body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(kind));
    headers.insert(CACHE_CONTROL, if immutable { IMMUTABLE } else { REVALIDATE });
    let tag = length.map(|length| entity_tag(version, kind, length));
    if immutable {
        headers.insert(ACCEPT_RANGES, BYTES);
        if let Some(tag) = &tag {
            put(headers, ETAG, tag);
        }
        if matches_tag(wanted.headers, tag.as_deref()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
    }
    let range = match length {
        Some(length) if immutable && ranged => {
            requested_range(wanted.headers, length, tag.as_deref())
        }
        _ => Requested::Whole,
    };
    let part = match (range, length) {
        (Requested::Unsatisfiable, length) => {
            return Ok(unsatisfiable(response, length.unwrap_or_default()));
        }
        (Requested::Part(part), Some(length)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            put(response.headers_mut(), CONTENT_RANGE, &text);
            part
        }
        _ => 0..length.unwrap_or(u64::MAX),
    };
    if length.is_some() {
        response.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
    }
    if wanted.method != Method::HEAD {
        *response.body_mut() = body_of(&content, part);
    }
    Ok(response)
}

/// [`FileKind::content_type`].
fn content_type(kind: FileKind) -> HeaderValue {
    const INFO: HeaderValue = HeaderValue::from_static(FileKind::Info.content_type());
    const MOD: HeaderValue = HeaderValue::from_static(FileKind::Mod.content_type());
    const ZIP: HeaderValue = HeaderValue::from_static(FileKind::Zip.content_type());
    match kind {
        FileKind::Info => INFO,
        FileKind::Mod => MOD,
        FileKind::Zip => ZIP,
    }
}

fn unsatisfiable(mut response: Response<Body>, length: u64) -> Response<Body> {
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    put(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{length}"));
    say(response.headers_mut(), CACHE_CONTROL, "no-store");
    response
}

fn length(content: &Content) -> Option<u64> {
    match content {
        Content::Bytes(bytes) => Some(bytes.len() as u64),
        Content::Stored(blob) => Some(blob.length()),
        Content::Spooled(spool) => spool.length(),
    }
}

fn body_of(content: &Content, range: Range<u64>) -> Body {
    match content {
        Content::Bytes(bytes) => body::blob(&crate::blob::Blob::from_bytes(bytes.clone()), range),
        Content::Stored(blob) => body::blob(blob, range),
        Content::Spooled(spool) => body::stream(spool.stream(range)),
    }
}

fn matches_tag(headers: &HeaderMap, tag: Option<&str>) -> bool {
    let asked = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let (Some(asked), Some(tag)) = (asked, tag) else { return false };
    asked.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

#[derive(Debug, PartialEq, Eq)]
enum Requested {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// One byte range (RFC 9110 §14). Several ranges, other units and malformed ones get the whole file,
/// as that section allows.
fn requested_range(headers: &HeaderMap, length: u64, tag: Option<&str>) -> Requested {
    let Some(text) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Requested::Whole;
    };
    if let Some(condition) = headers.get(IF_RANGE)
        && condition.to_str().ok() != tag
    {
        return Requested::Whole;
    }
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'))
    else {
        return Requested::Whole;
    };
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            Some(suffix) => length.saturating_sub(suffix)..length,
            None => return Requested::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..length,
            None => return Requested::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            _ => return Requested::Whole,
        },
    };
    if range.start < range.end { Requested::Part(range) } else { Requested::Unsatisfiable }
}

/// Headers for which an answer has room from the start: those of a file, and those that each answer is given. One more
/// makes it hash all of them again.
const HEADERS_OF_AN_ANSWER: usize = 12;

fn with_room(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().reserve(HEADERS_OF_AN_ANSWER);
    response
}

/// A header whose value is known when the program is built.
fn say(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// `Retry-After` and friends are made of values that are always legal; a value that is not, is left
/// out rather than sent broken.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
