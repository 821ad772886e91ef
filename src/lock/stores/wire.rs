//! Requests to a bucket, each bounded, with answers told apart.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::LockError;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::clock::Clock;
use crate::storage::object::{Access, Answer, Signed, Unanswered};

/// How long all requests of one question may take, with the waits for credentials and permits; less than what
/// the layer waits, so that the error is ours.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1_800);
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

impl Lane {
    fn most(self) -> usize {
        match self {
            Self::Question => MAX_QUESTIONS,
            Self::Upkeep => MAX_UPKEEP,
        }
    }
}

/// One question of the layer's, which may take several requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    lane: Lane,
    until: Instant,
}

impl Errand {
    /// One that begins now.
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, until: Instant::now() + QUESTION_TIMEOUT }
    }

    /// The same, with less time.
    pub(super) fn until(self, end: Instant) -> Self {
        Self { until: self.until.min(end), ..self }
    }

    /// What is asked for, if it comes in time.
    ///
    /// # Errors
    /// It did not: `what` says for what the time was spent.
    pub(super) async fn in_time<T>(
        self,
        asked: impl Future<Output = T>,
        what: impl FnOnce() -> String,
    ) -> Result<T, LockError> {
        timeout_at(self.until, asked).await.map_err(|_| LockError::new(what()))
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Whether it is sent again where its connection breaks before the answer.
    is_repeatable: bool,
}

impl Call {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: Vec::new(), body: Bytes::new(), is_repeatable: true }
    }

    /// One that changes the store whatever lies there: the first may have been done, and by the time of a
    /// second another may have the lock.
    pub(super) fn once(self) -> Self {
        Self { is_repeatable: false, ..self }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    fn request(&self) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.url);
        if self.method == Method::PUT || self.method == Method::POST {
            request = request.header(CONTENT_LENGTH, self.body.len());
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone())
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
    pub(super) async fn send(&self, errand: Errand, call: &Call) -> Result<Answer, LockError> {
        self.send_noting(errand, call).await.map(|(answer, _)| answer)
    }

    /// The answer, whatever its status, and whether it is one to a second sending: then the first may have been
    /// done, and the second have met what it left.
    pub(super) async fn send_noting(
        &self,
        errand: Errand,
        call: &Call,
    ) -> Result<(Answer, bool), LockError> {
        let permits = match errand.lane {
            Lane::Question => &self.questions,
            Lane::Upkeep => &self.upkeep,
        };
        let first = self.signed(errand, call).await?;
        let began = Instant::now();
        // Nobody closes a semaphore here.
        let permit = errand.in_time(permits.acquire(), || crowded(errand.lane)).await?;
        let _permit = permit.map_err(|_| LockError::new("the lock is closed"))?;
        // The store is not to blame for a question that had its permit when its time was over.
        let was_kept = began.elapsed() > QUESTION_TIMEOUT / 2;
        let (answered, is_repeat) = match self.answer(errand, first, was_kept).await? {
            // What it writes has a condition, and what that meets is looked at.
            Err(error) if call.is_repeatable && error.is_broken_connection => {
                let second = self.signed(errand, call).await?;
                (self.answer(errand, second, was_kept).await?, true)
            }
            answered => (answered, false),
        };
        let answer = answered.map_err(|error| unasked(&error))?;
        self.clock.hear(&answer.headers);
        Ok((answer, is_repeat))
    }

    async fn signed(&self, errand: Errand, call: &Call) -> Result<Signed, LockError> {
        let request = call.request().map_err(|error| {
            LockError::new(format!("the store cannot be asked: no such request: {error}"))
        })?;
        let late = || "the credentials for the store have not come yet".to_owned();
        let signed = errand.in_time(self.access.sign(request), late).await?;
        signed.map_err(|error| unasked(&error))
    }

    async fn answer(
        &self,
        errand: Errand,
        request: Signed,
        was_kept: bool,
    ) -> Result<Result<Answer, Unanswered>, LockError> {
        let silent = || match was_kept {
            true => crowded(errand.lane),
            false => format!("the store gave no answer within {QUESTION_TIMEOUT:?}"),
        };
        errand.in_time(self.access.send(request), silent).await
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

fn crowded(lane: Lane) -> String {
    let most = lane.most();
    format!("{most} requests of this gateway for locks kept another one waiting for too long")
}

fn unasked(error: &Unanswered) -> LockError {
    LockError::new(format!("the store cannot be asked: {}", error.cause))
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
