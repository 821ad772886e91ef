//! One upstream module proxy, asked over HTTP.

use std::sync::Arc;

use dipylon_middleware::Error;
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest};
use http::StatusCode;
use http::header::HeaderMap;

use super::base_url::BaseUrl;
use super::content;
use super::http_body::{limited, read_all, too_large};
use super::http_client::{Answer, Get, HttpClient};
use super::http_status::refusal;

/// Bytes of an upstream's `Cache-Status` that are handed on.
const CACHE_STATUS_BYTES_MAX: usize = 512;

/// Fetches from one entry of the GOPROXY list. It is named after its URL without credentials.
///
/// Lists, infos and mods are read whole, up to the limits of the protocol crate, and checked; a zip
/// streams, and fails with `BadContent` before its first byte is shown if it does not begin as one.
#[derive(Clone)]
pub struct ProxyClient {
    http: HttpClient,
    base: BaseUrl,
    name: Arc<str>,
}

impl ProxyClient {
    /// A client for the proxy at `base`. Its certificate is always checked: GOINSECURE is about
    /// `direct` alone, as in the `go` command.
    pub fn new(http: HttpClient, base: BaseUrl) -> Self {
        let name = base.to_string().into();
        Self { http, base, name }
    }

    async fn ask(&self, request: FetchRequest) -> Result<Fetched, Error> {
        let path = request.ask.route(&request.module).path();
        let uri = self.base.join(&path).ok_or_else(|| {
            let text = format!("{}{path} is no URL: shorten the GOPROXY entry", self.name);
            Error::new(dipylon_middleware::ErrorKind::Internal, text)
        })?;
        let answer = self
            .http
            .get(Get {
                uri,
                authorization: self.base.authorization().cloned(),
                trace: request.context.trace.onward_if_kept(),
                accept_gzip: request.ask == FetchAsk::List,
            })
            .await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        let cache_status = cache_status(&answer.headers);
        let payload = payload(&request, answer).await?;
        Ok(Fetched { payload, upstream: Arc::clone(&self.name), cache_status })
    }
}

/// What the upstream says of its own caches; nothing where it says too much, or what is no text.
fn cache_status(headers: &HeaderMap) -> Option<Arc<str>> {
    let said: Result<Vec<&str>, _> =
        headers.get_all("cache-status").iter().map(http::HeaderValue::to_str).collect();
    let said = said.ok()?.join(", ");
    (!said.is_empty() && said.len() <= CACHE_STATUS_BYTES_MAX).then(|| said.into())
}

async fn payload(request: &FetchRequest, answer: Answer) -> Result<Payload, Error> {
    let Answer { body, length, place, .. } = answer;
    if matches!(request.ask, FetchAsk::Zip(_)) {
        return content::zip(body, length, place).await.map(Payload::Zip);
    }
    let max_bytes = content::max_bytes(&request.ask);
    if length.is_some_and(|length| length > max_bytes) {
        return Err(too_large(&place, max_bytes));
    }
    let bytes = read_all(limited(body, max_bytes, Arc::clone(&place))).await?;
    content::check(&request.ask, &request.module, &bytes, &place)?;
    Ok(Payload::Bytes(bytes))
}

impl Fetcher for ProxyClient {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.ask(request))
    }
}
