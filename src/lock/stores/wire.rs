//! Requests to a bucket, each bounded, with answers told apart.

use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::LockError;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use object_store::client::HttpRequestBody;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::clock::Clock;
use crate::storage::object::{Access, Answer, cause, is_broken_connection};

/// How long the store may take to answer one request, the wait for a permit included; less than what the
/// layer waits, so that the error is ours.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Requests under way on behalf of who waits for a lock.
const MAX_QUESTIONS: usize = 32;
/// Requests under way on behalf of who holds one. They have permits of their own: no renewal is late because
/// many wait.
const MAX_UPKEEP: usize = 32;
/// Longest name of an object in bytes, in every store.
const MAX_NAME_BYTES: usize = 1024;
/// Longest element of a name in bytes: some servers keep objects as files.
const MAX_ELEMENT_BYTES: usize = 200;
/// Longest code of a server's that a message repeats.
const MAX_CODE_CHARS: usize = 60;

/// On whose behalf a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Who waits.
    Question,
    /// Who holds.
    Upkeep,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn request(&self) -> Result<Request<HttpRequestBody>, http::Error> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.url);
        if self.method == Method::PUT || self.method == Method::POST {
            request = request.header(CONTENT_LENGTH, self.body.len());
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(HttpRequestBody::from(self.body.clone()))
    }
}

/// A bucket in which locks lie.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) access: Access,
    pub(super) clock: Clock,
    questions: Semaphore,
    upkeep: Semaphore,
}

impl Wire {
    pub(super) fn new(access: Access) -> Self {
        let (questions, upkeep) = (Semaphore::new(MAX_QUESTIONS), Semaphore::new(MAX_UPKEEP));
        Self { access, clock: Clock::default(), questions, upkeep }
    }

    /// The answer, whatever its status.
    pub(super) async fn send(&self, lane: Lane, call: &Call) -> Result<Answer, LockError> {
        let answered = timeout(REQUEST_TIMEOUT, self.answer(lane, call)).await;
        let answer = answered.unwrap_or_else(|_| {
            Err(LockError::new(format!("the store gave no answer within {REQUEST_TIMEOUT:?}")))
        })?;
        self.clock.hear(&answer.headers);
        Ok(answer)
    }

    async fn answer(&self, lane: Lane, call: &Call) -> Result<Answer, LockError> {
        let permits = match lane {
            Lane::Question => &self.questions,
            Lane::Upkeep => &self.upkeep,
        };
        // Nobody closes a semaphore here.
        let _permit = permits.acquire().await.map_err(|_| LockError::new("the lock is closed"))?;
        match self.once(call).await {
            // Every request here may be sent again: what it writes has a condition, and what that meets is
            // looked at.
            Err(error) if is_broken_connection(&error) => self.once(call).await,
            answered => answered,
        }
        .map_err(|error| LockError::new(format!("the store cannot be asked: {}", cause(&error))))
    }

    async fn once(&self, call: &Call) -> object_store::Result<Answer> {
        let request = call.request().map_err(|error| object_store::Error::Generic {
            store: "lock",
            source: Box::new(error),
        })?;
        self.access.send(request).await
    }

    /// The name of the object that is a lock, below `prefix`: the key itself, and of one that no store could
    /// have as a name its hash.
    pub(super) fn name(&self, prefix: &str, key: &str) -> String {
        let plain = format!("{}{prefix}{key}", self.access.folder);
        let is_storable = plain.len() <= MAX_NAME_BYTES
            && plain
                .split('/')
                .all(|part| !matches!(part, "" | "." | "..") && part.len() <= MAX_ELEMENT_BYTES);
        if is_storable {
            return plain;
        }
        format!("{}{prefix}long/{}", self.access.folder, super::hash::hex(key))
    }
}

/// A name as a part of a URL; slashes stay.
pub(super) fn in_path(name: &str) -> String {
    escaped(name, true)
}

/// A name as one element of a URL, or a value of its query.
pub(super) fn in_query(name: &str) -> String {
    escaped(name, false)
}

fn escaped(name: &str, keeps_slashes: bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len() + 16);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            b'/' if keeps_slashes => text.push('/'),
            // Writing into a string cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

/// A status that says neither yes nor no.
pub(super) fn refused(what: &str, answer: &Answer) -> LockError {
    let status = answer.status;
    let code = code_of(&answer.body).map(|code| format!(" {code}")).unwrap_or_default();
    let advice = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            ": it is busy, and says of the lock nothing"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; check the credentials and what they permit"
        }
        StatusCode::NOT_FOUND => "; is the bucket there?",
        _ => "",
    };
    LockError::new(format!(
        "the store cannot {what}: it answered {}{code}{advice}",
        status.as_u16()
    ))
}

/// The server's own name for what is wrong. Never its sentence, which may repeat what was signed.
pub(super) fn code_of(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && code.len() <= MAX_CODE_CHARS).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn a_throttled_answer_says_that_it_is_one() {
        let text = refused("write a lock", &answer(503, "<Error><Code>SlowDown</Code></Error>"));
        let want = "the store cannot write a lock: it answered 503 SlowDown: it is busy, and says of the \
                    lock nothing";
        assert_eq!(text.to_string(), want);
    }

    #[test]
    fn a_servers_sentence_is_not_repeated() {
        let body = "<Code>SignatureDoesNotMatch</Code><Message>AWS4-HMAC AKIDEXAMPLE</Message>";
        let text = refused("read a lock", &answer(403, body)).to_string();
        assert!(text.contains("SignatureDoesNotMatch") && !text.contains("AKID"), "{text}");
        assert_eq!(code_of(b"<Code>not a code, a sentence</Code>"), None);
    }

    #[test]
    fn names_are_escaped_for_paths_and_for_queries() {
        assert_eq!(in_path("lock/a~b/c@v1.0.0+x#"), "lock/a~b/c%40v1.0.0%2Bx%23");
        assert_eq!(in_query("lock/a"), "lock%2Fa");
    }
}
