//! Saving: one POST with the three files, in constant memory.
//!
//! A server of ours creates the version where there is none, and says what became of it. Any other is
//! looked at first, so that what it has stays; what happens between the look and the POST is the server's
//! affair, so its 200 says that it took the version and not that ours was the first.
//!
//! A save is sent once: where only its answer was lost, the second would meet the first and pass for
//! somebody else's. A connection that lay idle and was closed before anything of the save went over it is
//! replaced all the same, by the HTTP client.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::body;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_middleware::telemetry::trace::Onward;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::whole::refuse_torn;
use super::Engine;
use super::form;
use super::link::Reply;
use super::trouble::Failure;
use super::wire::{SAVED_CREATED, SAVED_DIFFERENT, SAVED_HEADER, SAVED_SAME, version_path};

/// A server may take nothing of a save for this long: one of ours lets a save wait for a place.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// From the last byte of a save until its answer: what the server's own store may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

impl Engine {
    /// Saves a version whose zip is complete, unless it is there.
    pub(super) async fn save(
        &self,
        new: &NewVersion,
        trace: Option<Onward>,
    ) -> Result<SaveResult, Error> {
        refuse_torn(new)?;
        self.saves.run(self.save_once(new, trace)).await
    }

    async fn save_once(
        &self,
        new: &NewVersion,
        trace: Option<Onward>,
    ) -> Result<SaveResult, Error> {
        if !self.is_ours().await?
            && let Some(existed) = self.existing(new).await?
        {
            return Ok(existed);
        }
        self.send(new, trace.as_ref()).await
    }

    /// `Existed` where a server that is not ours has the version whole.
    async fn existing(&self, new: &NewVersion) -> Result<Option<SaveResult>, Error> {
        let Some(whole) = self.look(&new.module, &new.version).await? else { return Ok(None) };
        let same_mod = whole.go_mod == new.go_mod;
        let length = self.zip_length(&new.module, &new.version, whole.zip).await?;
        Ok(length
            .map(|length| SaveResult::Existed { same: same_mod && length == new.zip.written() }))
    }

    async fn send(&self, new: &NewVersion, trace: Option<&Onward>) -> Result<SaveResult, Error> {
        let what = format!("save {}@{}", new.module, new.version);
        let path = version_path(&new.module, &new.version, "save");
        let posted = self.post(new, &what, &path, trace).await;
        let reply = posted.map_err(|failure| self.link.failed(&what, &path, &failure))?;
        if reply.status != StatusCode::OK {
            return Err(reply.refusal().await);
        }
        // What was known of a torn version is so no more.
        self.forget(&new.module, &new.version);
        Ok(match reply.header(SAVED_HEADER) {
            Some(SAVED_CREATED) => SaveResult::Created,
            Some(SAVED_SAME) => SaveResult::Existed { same: true },
            Some(SAVED_DIFFERENT) => SaveResult::Existed { same: false },
            _ => SaveResult::Taken,
        })
    }

    /// Sends the form, of unknown length as Athens does, and waits for the answer's head.
    async fn post(
        &self,
        new: &NewVersion,
        what: &str,
        path: &str,
        trace: Option<&Onward>,
    ) -> Result<Reply, Failure> {
        let uri = self.link.uri(path)?;
        let mut request = self.link.request(Method::POST, &uri, trace)?;
        let boundary = form::boundary();
        let kind = HeaderValue::from_str(&form::content_type(&boundary))
            .map_err(|error| Failure::of(error.to_string()))?;
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let progress = Arc::new(Progress::begin());
        *request.body_mut() = body::stream(progress.watch(form::body(new, &boundary)));
        tokio::select! {
            answer = self.link.send(request) => Ok(self.link.reply(answer?, what, path)),
            stalled = progress.stall() => Err(stalled),
        }
    }
}

/// How far the sending of a body has got.
struct Progress(Mutex<State>);

struct State {
    /// When the server last took something.
    at: Instant,
    is_sent: bool,
}

impl Progress {
    fn begin() -> Self {
        Self(Mutex::new(State { at: Instant::now(), is_sent: false }))
    }

    fn note(&self, is_sent: bool) {
        *self.0.lock() = State { at: Instant::now(), is_sent };
    }

    /// Notes each chunk that is taken, and the end.
    fn watch(
        self: &Arc<Self>,
        body: dipylon_middleware::blob::ByteStream,
    ) -> dipylon_middleware::blob::ByteStream {
        let (taken, ended) = (Arc::clone(self), Arc::clone(self));
        let end = futures::stream::poll_fn(move |_| {
            ended.note(true);
            std::task::Poll::Ready(None)
        });
        body.inspect(move |_| taken.note(false)).chain(end).boxed()
    }

    /// Resolves when the server takes nothing, or does not answer, for too long.
    async fn stall(&self) -> Failure {
        loop {
            let (quiet, is_sent) = {
                let state = self.0.lock();
                (state.at.elapsed(), state.is_sent)
            };
            let limit = if is_sent { ANSWER_TIMEOUT } else { STALL_TIMEOUT };
            let Some(left) = limit.checked_sub(quiet).filter(|left| !left.is_zero()) else {
                let said = match is_sent {
                    true => format!("no answer within {ANSWER_TIMEOUT:?} of the last byte"),
                    false => format!("it took nothing for {STALL_TIMEOUT:?}"),
                };
                return Failure::of_transport(said);
            };
            tokio::time::sleep(left).await;
        }
    }
}
