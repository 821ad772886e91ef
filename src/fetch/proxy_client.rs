//! One upstream module proxy, asked over HTTP.

use std::sync::Arc;

use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest};
use dipylon_middleware::{Error, ErrorKind};
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
            Error::new(ErrorKind::Internal, text)
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
        // What is wrong with it is wrong with what came with that status.
        let payload = payload(&request, answer).await.map_err(|error| match error.kind() {
            ErrorKind::BadContent => error.answered(StatusCode::OK),
            _ => error,
        })?;
        Ok(Fetched { payload, upstream: Arc::clone(&self.name), cache_status })
    }
}

/// What the upstream says of its own caches; nothing where it says too much, or what is no list of caches: such a field
/// is read whole or not at all (RFC 9651, section 4.2), and ours stands behind it.
fn cache_status(headers: &HeaderMap) -> Option<Arc<str>> {
    let said: Result<Vec<&str>, _> =
        headers.get_all("cache-status").iter().map(http::HeaderValue::to_str).collect();
    let said = said.ok()?.join(", ");
    let caches = sfv::Parser::new(&said).parse::<sfv::List>().ok()?;
    let is_cache = |member: &sfv::ListEntry| match member {
        sfv::ListEntry::Item(item) => {
            matches!(item.bare_item, sfv::BareItem::Token(_) | sfv::BareItem::String(_))
        }
        sfv::ListEntry::InnerList(_) => false,
    };
    let is_short = said.len() <= CACHE_STATUS_BYTES_MAX;
    (is_short && !caches.is_empty() && caches.iter().all(is_cache)).then(|| said.trim().into())
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

#[cfg(test)]
mod cache_status_tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_cache_says_is_handed_on_as_it_is_and_nothing_that_would_swallow_our_own_word() {
        let long = format!("cdn; hit; detail={}", "x".repeat(CACHE_STATUS_BYTES_MAX));
        let rows: &[(&[&str], Option<&str>)] = &[
            (&["cdn; hit"], Some("cdn; hit")),
            (
                &["  \"a cache\"; fwd=miss; key=\"k, \\\"l\" "],
                Some("\"a cache\"; fwd=miss; key=\"k, \\\"l\""),
            ),
            (
                &["origin; hit; ttl=-10", "cdn; fwd=stale; stored"],
                Some("origin; hit; ttl=-10, cdn; fwd=stale; stored"),
            ),
            (&[], None),
            (&[""], None),
            (&["cdn; hit; key=\"abc"], None),
            (&["cdn; hit,"], None),
            (&["cdn; hit,, edge; hit"], None),
            (&["cdn; ;hit"], None),
            (&["cdn hit"], None),
            (&["(a b); hit"], None),
            (&["1; hit"], None),
            (&["cdn; hit; Detail=x"], None),
            (&["c\u{fc}"], None),
            (&[&long], None),
        ];
        for (lines, wanted) in rows {
            let mut headers = HeaderMap::new();
            for line in *lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).expect("a legal value");
                headers.append("cache-status", line);
            }
            assert_eq!(cache_status(&headers).as_deref(), *wanted, "{lines:?}");
        }
    }
}
