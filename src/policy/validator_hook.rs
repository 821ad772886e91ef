//! The validator hook: one POST of `{"Module":…,"Version":…}` for each question, as in Athens.
//!
//! 200 allows, 403 refuses with the first line of the hook's answer as the reason, everything else is
//! no answer. The request carries `traceparent`; a user and password in the hook's URL become
//! `Authorization`. What went wrong is told in the log; the client is not told where the hook is.
//!
//! Limits: the HTTP client's timeouts, the context's deadline around all of it, and
//! [`MAX_REASON_BYTES`] of an answer.

use std::fmt;

use bytes::Bytes;
use dipylon_middleware::blob::ByteStream;
use dipylon_middleware::ports::{BoxFuture, Validator};
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use futures::StreamExt as _;
use http::{StatusCode, Uri};
use serde::Serialize;
use tokio::time::timeout_at;

use crate::fetch::base_url::basic_authorization;
use crate::fetch::http_client::{Get, HttpClient};

/// Bytes read of a hook's answer; its first line is the reason.
pub const MAX_REASON_BYTES: usize = 4096;

/// The operator's service behind `ValidatorHook`.
#[derive(Clone)]
pub struct ValidatorHook {
    http: HttpClient,
    to: Get,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question<'a> {
    module: &'a str,
    version: &'a str,
}

impl ValidatorHook {
    /// Asks the service at `url` through `http`; connects nowhere yet.
    ///
    /// # Errors
    /// When `url` is no http(s) URL.
    pub fn new(http: HttpClient, url: &str) -> Result<Self, Error> {
        let to = target(url).ok_or_else(|| {
            let text = "ValidatorHook is no URL: want http(s)://[USER:PASSWORD@]HOST[:PORT]/PATH";
            Error::new(ErrorKind::Unsupported, text)
        })?;
        Ok(Self { http, to })
    }

    /// The status, and the first line of the answer.
    async fn ask(
        &self,
        context: &RequestContext,
        question: &Question<'_>,
    ) -> Result<(StatusCode, String), String> {
        let json = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let to = Get { trace: context.trace.onward(), ..self.to.clone() };
        let answer =
            self.http.post(&to, Bytes::from(json)).await.map_err(|error| error.to_string())?;
        Ok((answer.status, first_line(answer.body).await))
    }
}

impl Validator for ValidatorHook {
    fn validate<'a>(
        &'a self,
        context: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let question = Question { module: module.as_str(), version: version.as_str() };
            let asking = timeout_at(context.deadline, self.ask(context, &question));
            let why = match asking.await {
                Ok(Ok((StatusCode::OK, said))) => {
                    tracing::debug!(%module, version = question.version, said, "validated");
                    return Ok(());
                }
                Ok(Ok((StatusCode::FORBIDDEN, said))) => return Err(refused(&question, &said)),
                Ok(Ok((status, said))) => format!("it answered {status} {said}"),
                Ok(Err(why)) => why,
                Err(_) => "it did not answer in time".to_owned(),
            };
            tracing::warn!(request_id = %context.id, %module, version = question.version,
                reason = why.trim_end(), "the validator hook gave no answer");
            Err(failed(&question))
        })
    }
}

fn refused(Question { module, version }: &Question<'_>, said: &str) -> Error {
    let reason = if said.is_empty() { "it gave no reason" } else { said };
    let text = format!("{module}@{version} is refused by the gateway's validator: {reason}");
    Error::new(ErrorKind::DeniedByValidator, text)
}

fn failed(Question { module, version }: &Question<'_>) -> Error {
    let text = format!(
        "{module}@{version}: the gateway's validator gave no clear answer: ask again, or see the \
         gateway's log"
    );
    Error::new(ErrorKind::ValidatorFailed, text)
}

/// The first line of a body. A body that breaks off says what it said until then: the status has
/// decided already.
async fn first_line(mut body: ByteStream) -> String {
    let mut said = Vec::new();
    while said.len() < MAX_REASON_BYTES && !said.contains(&b'\n') {
        match body.next().await {
            Some(Ok(chunk)) => said.extend_from_slice(&chunk[..chunk.len().min(MAX_REASON_BYTES)]),
            Some(Err(_)) | None => break,
        }
    }
    let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim().to_owned()
}

/// Where to POST; user and password move from the URL into the header.
fn target(url: &str) -> Option<Get> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let uri: Uri = format!("{scheme}://{host}{path}").parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.host().is_none_or(str::is_empty) {
        return None;
    }
    let authorization = userinfo.map(basic_authorization).transpose().ok()?;
    Some(Get { authorization, ..Get::new(uri) })
}

impl fmt::Debug for ValidatorHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidatorHook({:?})", self.to.uri)
    }
}

#[cfg(test)]
mod tests;
