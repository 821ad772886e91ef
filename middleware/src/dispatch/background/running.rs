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

    /// Policy has changed since it was accepted: it leaves the queue, and stays on disk where there is one; unless
    /// it is one too many there, which is `false`.
    pub(super) fn forbidden(mut self) -> bool {
        let Some(key) = self.key.take() else { return true };
        let shared = &self.shared;
        shared.count(BackgroundEvent::Forbidden);
        let is_kept = shared.ports.store.is_some();
        let mut queue = shared.queue.lock();
        let forbidden = queue.forbidden(shared.now());
        if let Some(forbidden) = forbidden {
            tracing::warn!(module = %key.module, version = %key.version, forbidden, is_kept,
                "background fetches leave the queue: policy forbids to fetch them now");
        }
        let stays = if is_kept {
            queue.hold(key)
        } else {
            queue.end(&key);
            true
        };
        drop(queue);
        if !stays {
            shared.count(BackgroundEvent::Dropped);
        }
        shared.show();
        stays
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
