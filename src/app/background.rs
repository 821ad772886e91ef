//! What becomes of background fetches from one process to the next.

use dipylon_middleware::dispatch::Left;
use tokio::sync::watch;

use super::App;

impl App {
    /// Goes on with the background fetches that an earlier process had accepted.
    pub fn resume(&mut self) {
        let recovered = self.background.recover(std::mem::take(&mut self.recovered));
        if recovered > 0 {
            tracing::info!(recovered, "goes on with background fetches of before the start");
        }
    }

    /// Takes back, at each of these changes of the policy, the background fetches that it had forbidden.
    pub fn follow(&self, mut changes: watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
        let background = self.background.clone();
        async move {
            while changes.changed().await.is_ok() {
                background.reconsider();
            }
        }
    }

    /// Says what becomes of background fetches that a drain has not ended.
    pub async fn leave(&self) {
        let Left { kept, lost } = self.background.leave().await;
        if kept > 0 {
            tracing::info!(left = kept, "background fetches wait on disk for the next start");
        }
        match (lost, self.background.is_kept()) {
            (0, _) => {}
            (left, true) => {
                tracing::error!(
                    left,
                    "background fetches are lost: Dipylon.QueueDirectory did not take them"
                );
            }
            (left, false) => {
                tracing::warn!(
                    left,
                    "background fetches are lost: Dipylon.QueueDirectory would keep them"
                );
            }
        }
    }
}
