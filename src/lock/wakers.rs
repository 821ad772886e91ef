//! Who waits for which key in this process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Keys that are waited for. As many as the misses that wait for a lock.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    waiting: Mutex<HashMap<Arc<str>, watch::Sender<()>>>,
}

impl Wakers {
    /// From now on no wake of this key is missed.
    pub(super) fn register(self: &Arc<Self>, key: &Arc<str>) -> Waker {
        let mut waiting = self.waiting.lock();
        let sender = waiting.entry(Arc::clone(key)).or_insert_with(|| watch::Sender::new(()));
        let receiver = Some(sender.subscribe());
        Waker { wakers: Arc::clone(self), key: Arc::clone(key), receiver }
    }

    /// Wakes all that wait for a key.
    pub(super) fn wake(&self, key: &str) {
        if let Some(sender) = self.waiting.lock().get(key) {
            sender.send_replace(());
        }
    }

    /// Wakes all: something may have been missed.
    pub(super) fn wake_all(&self) {
        for sender in self.waiting.lock().values() {
            sender.send_replace(());
        }
    }

    /// Keys that are waited for now.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

/// Waits for one key.
pub(super) struct Waker {
    wakers: Arc<Wakers>,
    key: Arc<str>,
    /// Taken when this is dropped, before the count of those who wait.
    receiver: Option<watch::Receiver<()>>,
}

impl Waker {
    /// Resolves at the first wake since it was registered.
    pub(super) async fn woken(mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender stays as long as anybody waits.
            let _ = receiver.changed().await;
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        let mut waiting = self.wakers.waiting.lock();
        drop(self.receiver.take());
        if waiting.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_missed_and_another_key_is_not_woken() {
        let wakers = Arc::new(Wakers::default());
        let (one, other) = (wakers.register(&"one".into()), wakers.register(&"other".into()));
        wakers.wake("one");
        assert!(one.woken().now_or_never().is_some());
        assert!(other.woken().now_or_never().is_none());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_forgotten() {
        let wakers = Arc::new(Wakers::default());
        let (one, two) = (wakers.register(&"key".into()), wakers.register(&"key".into()));
        drop(one);
        assert_eq!(wakers.len(), 1);
        drop(two.woken());
        assert_eq!(wakers.len(), 0);
    }

    #[test]
    fn all_are_woken_at_once() {
        let wakers = Arc::new(Wakers::default());
        let waiting: Vec<_> =
            ["a", "b", "b"].map(|key| wakers.register(&key.into())).into_iter().collect();
        wakers.wake_all();
        assert!(waiting.into_iter().all(|waker| waker.woken().now_or_never().is_some()));
    }
}
