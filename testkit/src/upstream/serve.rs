//! From a request to its answer: record, fault, page.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER,
};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::body::{MAX_HANG, Sending, Stop};
use super::catalogue::{Catalogue, Page, Variant, content_type};
use super::fault::{Fault, Rules};
use super::log::{Flight, Log};
use crate::checksum_db::ChecksumDb;
use crate::server::{Answer, Connection, Handler, ServerBody};

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head>\
    <body><form action=\"/login\"><input name=\"password\"></form></body></html>\n";
/// Answers with a line for each path that was asked for: how often, and the path.
const COUNTS_PATH: &str = "/__counts";
/// Before a path: answers with the length and the SHA-256 of its right answer.
const DIGEST_PREFIX: &str = "/__digest";
/// The version that [`Fault::WrongVersion`] answers with.
const WRONG_VERSION: &str = "v9.9.9";

/// The state behind a fake upstream.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) modules: Mutex<Catalogue>,
    pub(crate) database: Mutex<Option<ChecksumDb>>,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) authorization: Mutex<Option<String>>,
    pub(crate) log: Arc<Log>,
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Answer {
        let raw_path = request.uri().path().to_owned();
        let path = decode_percent(&raw_path);
        if let Some(page) = self.about(&path) {
            return Box::pin(async { Ok(page.into_response()) });
        }
        let flight = self.log.begin(request.method(), (&raw_path, &path), request.headers());
        Box::pin(async move { self.reply(&request, &path, &connection, flight).await })
    }
}

impl Shared {
    /// Pages for who drives a load, which are neither recorded nor broken: what was asked for how
    /// often, and what the right answer to a path is.
    fn about(&self, path: &str) -> Option<Page> {
        if path == COUNTS_PATH {
            let mut text = String::new();
            for (path, count) in self.log.gets_by_path() {
                text += &format!("{count} {path}\n");
            }
            return Some(Page::text(200, text));
        }
        let page = self.modules.lock().page(path.strip_prefix(DIGEST_PREFIX)?, Variant::Right);
        let hex: String =
            Sha256::digest(&page.body).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Page::text(page.status, format!("{} {hex}\n", page.body.len())))
    }

    async fn reply(
        &self,
        request: &Request<Incoming>,
        path: &str,
        connection: &Connection,
        flight: Flight,
    ) -> io::Result<Response<ServerBody>> {
        let latency = *self.latency.lock() + self.modules.lock().late(path);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let fault = self.rules.lock().take(path);
        match &fault {
            Some(Fault::HangBeforeHeaders) => {
                tokio::time::sleep(MAX_HANG).await;
                return Err(io::Error::other("hung as the test asked"));
            }
            Some(Fault::Reset) => {
                connection.reset_on_close();
                return Err(io::Error::other("reset as the test asked"));
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Gate(gate)) => gate.pass().await,
            _ => {}
        }
        let page = self.page(request, path, fault.as_ref());
        Ok(respond(request.method(), page, fault.as_ref(), flight))
    }

    fn page(&self, request: &Request<Incoming>, path: &str, fault: Option<&Fault>) -> Page {
        match fault {
            Some(Fault::Status(code, content_type, body)) => {
                Page { status: *code, content_type, body: body.clone() }
            }
            Some(Fault::RetryAfter(code, _)) => Page::text(*code, "try again later\n"),
            Some(Fault::Redirect(code, _)) => Page::text(*code, ""),
            Some(Fault::HtmlLogin) => Page::ok("text/html; charset=utf-8", LOGIN_PAGE),
            Some(Fault::Body(bytes)) => Page::ok(content_type(path), bytes.clone()),
            Some(Fault::WrongVersion) => {
                self.modules.lock().page(path, Variant::Version(WRONG_VERSION))
            }
            Some(Fault::OtherContent) => self.modules.lock().page(path, Variant::Altered),
            _ => self.right_page(request, path),
        }
    }

    fn right_page(&self, request: &Request<Incoming>, path: &str) -> Page {
        if !self.is_authorized(request) {
            return Page::text(401, "unauthorized: credentials wanted\n");
        }
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return Page::text(405, "method not allowed\n");
        }
        if let Some(rest) = path.strip_prefix("/sumdb/") {
            return self.database_page(rest);
        }
        self.modules.lock().page(path, Variant::Right)
    }

    fn is_authorized(&self, request: &Request<Incoming>) -> bool {
        let wanted = self.authorization.lock();
        let given = request.headers().get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        wanted.as_ref().is_none_or(|wanted| given == Some(wanted.as_bytes()))
    }

    fn database_page(&self, rest: &str) -> Page {
        let database = self.database.lock().clone();
        let found = database.and_then(|database| {
            let rest = rest.strip_prefix(database.name())?;
            Some(match rest {
                "/supported" => Page::ok("text/plain; charset=utf-8", ""),
                _ => database.page(rest),
            })
        });
        found.unwrap_or_else(|| Page::text(404, "not found: no such checksum database here\n"))
    }
}

impl Page {
    /// A response that nobody records.
    fn into_response(self) -> Response<ServerBody> {
        let body = Full::new(self.body).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status of ours");
        response
    }
}

/// A response with a known length and no fault.
pub(crate) fn plain(method: &Method, page: Page, flight: Flight) -> Response<ServerBody> {
    respond(method, page, None, flight)
}

fn respond(
    method: &Method,
    mut page: Page,
    fault: Option<&Fault>,
    mut flight: Flight,
) -> Response<ServerBody> {
    let status = StatusCode::from_u16(page.status).expect("a test asks for a status of 100 to 999");
    flight.status(status);
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, page.content_type);
    if let Some((name, value)) = extra_header(fault) {
        response = response.header(name, value);
    }
    if matches!(fault, Some(Fault::Gzip)) {
        page.body = gzip(&page.body);
        response = response.header(CONTENT_ENCODING, "gzip");
    }
    if !matches!(fault, Some(Fault::NoContentLength)) {
        response = response.header(CONTENT_LENGTH, page.body.len());
    }
    // The answer to HEAD keeps the length and ends with its headers.
    if *method == Method::HEAD {
        flight.complete();
        page.body = Bytes::new();
    }
    let body = Sending::new(page.body, flight);
    let body = match fault {
        Some(Fault::StallAfter(bytes)) => body.stop_after(*bytes, Stop::Hang),
        Some(Fault::TruncateAt(bytes)) => body.stop_after(*bytes, Stop::Cut),
        Some(Fault::Trickle { bytes_per_tick, tick }) => body.pace(*bytes_per_tick, *tick),
        _ => body,
    };
    response.body(body.boxed()).expect("a test's headers are valid")
}

fn extra_header(fault: Option<&Fault>) -> Option<(HeaderName, String)> {
    match fault? {
        Fault::RetryAfter(_, seconds) => Some((RETRY_AFTER, seconds.to_string())),
        Fault::Redirect(_, location) => Some((LOCATION, location.clone())),
        _ => None,
    }
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("compressing to memory");
    Bytes::from(encoder.finish().expect("compressing to memory"))
}

/// Undoes percent-encoding; what is no encoding stays as it is.
pub(crate) fn decode_percent(path: &str) -> String {
    let hex = |byte: Option<&u8>| (*byte? as char).to_digit(16);
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two hex digits are one byte"));
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
