//! Calls of Google's JSON API, with its errors in the words that the engine reads.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use object_store::{Error as StoreError, PutPayload, Result};
use tokio::time::Instant;

use super::super::object::{BACKOFF, BACKOFF_MAX, Connector, MAX_RETRIES, RETRY_TIMEOUT};

pub(super) const STORE: &str = "GCS";

/// Largest answer: a page of 1,000 names and their properties.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Longest piece of an error's body that is kept.
const MAX_ERROR_CHARS: usize = 2_000;

/// One request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// A whole URL.
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: PutPayload,
    /// The object, for errors.
    pub(super) path: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, url: String, path: &'a str) -> Self {
        let (headers, content_type, body) = (Vec::new(), None, PutPayload::default());
        Self { method, url, headers, content_type, body, path }
    }
}

/// A server said no.
#[derive(Debug, thiserror::Error)]
#[error("Server returned non-2xx status code: {status}: {body}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    body: String,
}

/// Sends calls, each up to four times where the trouble may pass. Every call here may be sent again: what
/// it writes has a condition, or is the same again.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) connector: Connector,
    pub(super) credentials: GcpCredentialProvider,
}

impl Api {
    /// The answer, if its status is a success or 308, which is "go on" in an upload.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Response<Bytes>> {
        let (begin, mut pause, mut retries) = (Instant::now(), BACKOFF, 0);
        loop {
            let result = self.once(call).await;
            let may_pass = match &result {
                Ok(answer) if is_good(answer.status()) => return result,
                Ok(answer) => may_pass(answer.status()),
                Err(_) => true,
            };
            if !may_pass || retries == MAX_RETRIES || begin.elapsed() > RETRY_TIMEOUT {
                return result.and_then(|answer| Err(refused(call.path, &answer)));
            }
            retries += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Response<Bytes>> {
        let credential = self.credentials.get_credential().await?;
        let answer = self.connector.send(request(call, &credential)?).await.map_err(generic)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body =
            body.map_err(|error| generic(HttpError::new_boxed(HttpErrorKind::Unknown, error)));
        Ok(Response::from_parts(head, body?.to_bytes()))
    }
}

fn request(call: &Call<'_>, credential: &Arc<GcpCredential>) -> Result<Request<HttpRequestBody>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.url)
        .header(CONTENT_LENGTH, call.body.content_length());
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    if let Some(kind) = call.content_type {
        request = request.header(CONTENT_TYPE, kind);
    }
    if !credential.bearer.is_empty() {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", credential.bearer))
            .map_err(|error| generic(HttpError::new(HttpErrorKind::Unknown, error)))?;
        bearer.set_sensitive(true);
        request = request.header(AUTHORIZATION, bearer);
    }
    let request = request.body(HttpRequestBody::from(call.body.clone()));
    request.map_err(|error| generic(HttpError::new(HttpErrorKind::Unknown, error)))
}

fn is_good(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::PERMANENT_REDIRECT
}

fn may_pass(status: StatusCode) -> bool {
    let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
    status.is_server_error() || again.contains(&status)
}

pub(super) fn generic(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Generic { store: STORE, source: Box::new(error) }
}

fn refused(path: &str, answer: &Response<Bytes>) -> StoreError {
    let status = answer.status();
    let body = String::from_utf8_lossy(answer.body()).chars().take(MAX_ERROR_CHARS).collect();
    let (path, source) = (path.to_owned(), Box::new(Refused { status, body }));
    match status {
        StatusCode::NOT_FOUND => StoreError::NotFound { path, source },
        StatusCode::PRECONDITION_FAILED => StoreError::Precondition { path, source },
        StatusCode::FORBIDDEN => StoreError::PermissionDenied { path, source },
        StatusCode::UNAUTHORIZED => StoreError::Unauthenticated { path, source },
        _ => StoreError::Generic { store: STORE, source },
    }
}
