//! The lease under which verdicts lie: nobody renews it, and they go with it.

use std::sync::Arc;

use dipylon_middleware::ports::{LockError, VERDICT_LIFE};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::members::Members;

/// How long a lease lasts: one that has taken its last verdict has half of that before it.
const LEASE_SECS: u64 = 2 * VERDICT_LIFE.as_secs();

/// Takes verdicts for [`VERDICT_LIFE`], and then another lease does: a process has two at most.
pub(super) struct Passing {
    members: Arc<Members>,
    current: Mutex<Option<(i64, Instant)>>,
}

impl Passing {
    /// No lease yet.
    pub(super) fn new(members: Arc<Members>) -> Self {
        Self { members, current: Mutex::new(None) }
    }

    /// A lease that lasts for [`VERDICT_LIFE`] at least.
    pub(super) async fn lease(&self) -> Result<i64, LockError> {
        let mut current = self.current.lock().await;
        if let Some((id, asked)) = *current
            && asked.elapsed() < VERDICT_LIFE
        {
            return Ok(id);
        }
        let (asked, seconds) = (Instant::now(), i64::try_from(LEASE_SECS).unwrap_or(i64::MAX));
        let grant = |mut client: etcd_client::Client| async move {
            client.lease_grant(seconds, None).await
        };
        let id = self.members.ask(grant).await?.id();
        *current = Some((id, asked));
        Ok(id)
    }

    /// Gives back what would go by itself.
    pub(super) async fn end(&self) {
        let Some((id, _)) = self.current.lock().await.take() else { return };
        let revoke = |mut client: etcd_client::Client| async move { client.lease_revoke(id).await };
        if let Err(error) = self.members.ask(revoke).await {
            tracing::debug!(%error, "the lease of verdicts in etcd could not be ended: it lapses");
        }
    }
}
