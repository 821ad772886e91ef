//! The newest tree head that was proven: what every later answer of the database must extend.
//!
//! It is kept in memory and below `.dipylon/sumdb/NAME/head`, shared by all replicas. It only ever
//! advances; two heads that contradict each other are a fork, whoever saw them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::sumdb::TreeHead;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ExtraStore;

/// How often the stored head is read again, to learn what other replicas have seen.
const REREAD_INTERVAL: Duration = Duration::from_secs(30);
/// How often an advanced head is written. What a crash loses is seconds of advance, never a fork:
/// the next head must extend the one written before.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// What an answer must agree with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest head this process has proven, or found stored at its start.
    pub(crate) trusted: Option<TreeHead>,
    /// A head another replica has stored, not yet compared with ours.
    pub(crate) other: Option<TreeHead>,
}

#[derive(Default)]
struct State {
    known: Known,
    read_at: Option<Instant>,
    /// What the store has, as far as seen: written by us, or handed on to be compared.
    stored: Option<TreeHead>,
    write_tried_at: Option<Instant>,
}

/// The head of one database.
pub(crate) struct TrustedHead {
    key: String,
    store: Arc<dyn ExtraStore>,
    state: Mutex<State>,
}

impl TrustedHead {
    pub(crate) fn new(database: &str, store: Arc<dyn ExtraStore>) -> Self {
        let key = format!("sumdb/{database}/head");
        Self { key, store, state: Mutex::default() }
    }

    /// What the next answer must agree with.
    ///
    /// # Errors
    /// `ChecksumUnavailable` when the stored head is unreadable and none is in memory: without it a
    /// fork could not be seen.
    pub(crate) async fn known(&self) -> Result<Known, Error> {
        let mut state = self.state.lock().await;
        let is_due = state.read_at.is_none_or(|read| read.elapsed() >= REREAD_INTERVAL);
        if is_due {
            match self.read().await {
                Ok(stored) => {
                    state.read_at = Some(Instant::now());
                    state.take_in(stored);
                }
                Err(error) if state.known.trusted.is_none() => return Err(error),
                Err(error) => tracing::warn!(key = self.key, %error, "using the head in memory"),
            }
        }
        Ok(state.known)
    }

    /// Takes a head that was proven to agree with `before`. `false` when another lookup has advanced
    /// the head meanwhile in a way this one was not compared with: the proof must be made again.
    pub(crate) async fn advance(&self, before: Known, proven: TreeHead) -> bool {
        let mut state = self.state.lock().await;
        let unchanged = state.known.trusted == before.trusted;
        // Heads only advance by proof, so what agrees with an older head and brings nothing newer
        // than it agrees with the newest too.
        let brings_nothing = before.trusted == Some(proven) || state.known.trusted == Some(proven);
        if !unchanged && !brings_nothing {
            return false;
        }
        if state.known.other == before.other {
            state.known.other = None;
        }
        if state.known.trusted.is_none_or(|trusted| trusted.size < proven.size) {
            state.known.trusted = Some(proven);
        }
        self.write(&mut state).await;
        true
    }

    /// Stores the trusted head, unless that was done, or is not due yet.
    async fn write(&self, state: &mut State) {
        let Some(head) = state.known.trusted else { return };
        let is_early = state.write_tried_at.is_some_and(|at| at.elapsed() < WRITE_INTERVAL);
        if state.stored == Some(head) || is_early {
            return;
        }
        state.write_tried_at = Some(Instant::now());
        // Another replica may be further; the store must not go back.
        match self.read().await {
            Ok(Some(stored)) if stored.size >= head.size => return state.take_in(Some(stored)),
            Ok(_) => {}
            Err(error) => return tracing::warn!(key = self.key, %error, "head not written"),
        }
        match self.store.put(&self.key, Bytes::from(head.format())).await {
            Ok(()) => state.stored = Some(head),
            Err(error) => tracing::warn!(key = self.key, %error, "head not written"),
        }
    }

    async fn read(&self) -> Result<Option<TreeHead>, Error> {
        let unavailable = |why: &dyn std::fmt::Display| {
            let text = format!("the trusted tree head .dipylon/{} is unreadable: {why}", self.key);
            Error::new(ErrorKind::ChecksumUnavailable, text)
        };
        let Some(bytes) = self.store.get(&self.key).await.map_err(|error| unavailable(&error))?
        else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| unavailable(&error))?;
        TreeHead::parse(text).map(Some).map_err(|error| unavailable(&error))
    }
}

impl State {
    /// Notes a stored head: ours if we have none, else one to compare with.
    fn take_in(&mut self, stored: Option<TreeHead>) {
        let Some(stored) = stored else { return };
        match self.known.trusted {
            None => self.known.trusted = Some(stored),
            Some(trusted) if trusted == stored || self.stored == Some(stored) => {}
            Some(_) => self.known.other = Some(stored),
        }
        self.stored = Some(stored);
    }
}

#[cfg(test)]
mod tests;
