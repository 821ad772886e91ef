//! One lease for the whole process, kept alive while the process lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dipylon_middleware::ports::LockError;
use etcd_client::Error as EtcdError;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::members::Members;

/// The shortest lease that a server grants, in seconds, with its default election timeout.
const MIN_LEASE_SECS: i64 = 2;

/// The session of this process, made when it is first needed and again after it was lost.
pub(super) struct Sessions {
    members: Arc<Members>,
    lease: Duration,
    current: Mutex<Option<Session>>,
}

/// A lease and the task that keeps it alive.
struct Session {
    id: i64,
    is_lost: Arc<AtomicBool>,
    keeper: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Sessions {
    /// No session yet.
    pub(super) fn new(members: Arc<Members>, lease: Duration) -> Self {
        Self { members, lease, current: Mutex::new(None) }
    }

    /// The lease of this process.
    pub(super) async fn lease(&self) -> Result<i64, LockError> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current
            && !session.is_lost.load(Ordering::Acquire)
        {
            return Ok(session.id);
        }
        let seconds = i64::try_from(self.lease.as_secs()).unwrap_or(i64::MAX).max(MIN_LEASE_SECS);
        let asked = Instant::now();
        let grant = |mut client: etcd_client::Client| async move {
            client.lease_grant(seconds, None).await
        };
        let id = self.members.ask(grant).await?.id();
        let is_lost = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            members: Arc::clone(&self.members),
            id,
            lease: self.lease,
            kept: asked,
            is_lost: Arc::clone(&is_lost),
        };
        let keeper = tokio::spawn(keeper.keep()).abort_handle();
        *current = Some(Session { id, is_lost, keeper });
        Ok(id)
    }

    /// The lease of this process, if it has one.
    pub(super) async fn current(&self) -> Option<i64> {
        let current = self.current.lock().await;
        let session = current.as_ref()?;
        (!session.is_lost.load(Ordering::Acquire)).then_some(session.id)
    }

    /// Gives the lease back; its locks are free at once.
    pub(super) async fn end(&self) {
        let Some(session) = self.current.lock().await.take() else { return };
        let id = session.id;
        drop(session);
        let revoke = |mut client: etcd_client::Client| async move { client.lease_revoke(id).await };
        if let Err(error) = self.members.ask(revoke).await {
            tracing::debug!(%error, "the session in etcd could not be ended: it lapses");
        }
    }
}

/// Keeps one lease alive until it is lost.
struct Keeper {
    members: Arc<Members>,
    id: i64,
    lease: Duration,
    /// When the lease last began, as far as we can be sure.
    kept: Instant,
    is_lost: Arc<AtomicBool>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut pause = self.lease / 3;
        loop {
            sleep(pause).await;
            let asked = Instant::now();
            match self.ask().await {
                Ok(true) => {
                    self.kept = asked;
                    pause = self.lease / 3;
                }
                Ok(false) => break,
                Err(error) => {
                    if self.kept.elapsed() >= self.lease {
                        break;
                    }
                    tracing::debug!(%error, "the session in etcd could not be kept alive yet");
                    pause = self.lease / 10;
                }
            }
        }
        tracing::warn!(
            "the session in etcd is lost, and the locks with it: the next lock has a new one"
        );
        self.is_lost.store(true, Ordering::Release);
    }

    /// Whether the lease lives on. A stream for each question: it goes to whichever member answers.
    async fn ask(&self) -> Result<bool, LockError> {
        let id = self.id;
        let keep = |mut client: etcd_client::Client| async move {
            match client.lease_keep_alive(id).await {
                Ok(_streams) => Ok(true),
                // What the library says of a lease that has no time left.
                Err(EtcdError::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.members.ask(keep).await
    }
}
