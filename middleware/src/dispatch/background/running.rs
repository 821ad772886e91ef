use std::sync::Arc;
use std::time::Duration;

use super::super::state::Key;
use super::Shared;
use crate::telemetry::BackgroundEvent;

/// An entry that runs; without a word about it, it has ended.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Option<Key>,
}

impl Running {
    /// It is to run again at `due`; the attempt counts where somebody was asked.
    pub(super) fn again(mut self, due: Duration, was_asked: bool) {
        if let Some(key) = self.key.take() {
            let mut queue = self.shared.queue.lock();
            if was_asked {
                queue.again(&key, due)
            } else {
                queue.again_unasked(&key, due)
            }
            drop(queue);
            self.shared.show();
        }
    }

    /// What policy forbids leaves the queue.
    pub(super) async fn put_by(self, key: &Key) {
        let shared = Arc::clone(&self.shared);
        if let Some(lost) = self.forbidden() {
            if shared.ports.store.is_some() {
                shared.count(BackgroundEvent::Dropped);
            }
            // While it is still in the queue, so that nobody is promised it anew in between.
            shared.forget(key).await;
            return drop(lost);
        }
        // A policy that came in between has not found it among what is held.
        if shared.may_fetch(key) {
            Shared::reconsider(&shared);
        }
    }

    /// Policy has changed since it was accepted: it leaves the queue and stays on disk. Where there is no disk, or it
    /// would be one too many there, it is given back: nothing is left but to forget it.
    fn forbidden(mut self) -> Option<Self> {
        let key = self.key.take()?;
        let shared = Arc::clone(&self.shared);
        shared.count(BackgroundEvent::Forbidden);
        let mut queue = shared.queue.lock();
        let is_held = shared.ports.store.is_some() && queue.hold(&key);
        let forbidden = queue.forbidden(shared.now());
        drop(queue);
        if let Some(forbidden) = forbidden {
            tracing::warn!(module = %key.module, version = %key.version, forbidden, is_held,
                "background fetches leave the queue: policy forbids to fetch them now");
        }
        shared.show();
        self.key = (!is_held).then_some(key);
        self.key.is_some().then_some(self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shared.queue.lock().end(&key);
            self.shared.show();
        }
    }
}
