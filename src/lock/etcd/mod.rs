//! `SingleFlightType = "etcd"`: a key under the process's lease.
//!
//! The names are those of the mutex that Athens uses: the lock is the prefix `module@version/`, and who
//! has the oldest key below it, named after its lease, has the lock. A transaction creates ours only
//! where there is none: no queue of waiters is left behind by who stops waiting. A process has one
//! lease, kept alive; when it dies all its locks lapse. Who waits watches the prefix. The fencing
//! token is the revision at which the key was created. A verdict is a key of its own under a lease that nobody
//! renews, written as the lock is given back; its revision says whether it is later than a waiter's question.

mod members;
mod passing;
mod session;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_middleware::ports::{
    Acquired, BoxFuture, Held, Lock, LockClaim, LockError, Moment, Verdict,
};
use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, TxnResponse, WatchFilterType, WatchOptions,
};

pub use self::members::Members;
use self::passing::Passing;
use self::session::Sessions;
use super::verdicts;

/// The prefix below which a check creates and deletes a key.
const CHECK_PREFIX: &str = "dipylon:check";

/// Locks in etcd.
pub struct EtcdLock {
    members: Arc<Members>,
    sessions: Sessions,
    /// What verdicts lie under.
    passing: Passing,
}

impl EtcdLock {
    /// Locks that lapse `lease` after the process died. Connects when it is first needed.
    pub fn open(members: Members, lease: Duration) -> Self {
        let members = Arc::new(members);
        let sessions = Sessions::new(Arc::clone(&members), lease);
        let passing = Passing::new(Arc::clone(&members));
        Self { members, sessions, passing }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, LockError> {
        self.txn_counted(txn, &AtomicUsize::new(0)).await
    }

    /// Counts in `asked` how many members were asked: each but the last may have done it without an answer.
    async fn txn_counted(&self, txn: Txn, asked: &AtomicUsize) -> Result<TxnResponse, LockError> {
        let ask = |mut client: Client| {
            asked.fetch_add(1, Ordering::Relaxed);
            let txn = txn.clone();
            async move { client.txn(txn).await }
        };
        self.members.ask(ask).await
    }

    /// The key is created unless there is one below the prefix; then that is read.
    async fn attempt(&self, claim: &LockClaim) -> Result<Txn, LockError> {
        let lease = self.sessions.lease().await?;
        let (prefix, own) = (prefix_of(&claim.key), own_key(&claim.key, lease));
        let none = Compare::create_revision(prefix.as_str(), CompareOp::Equal, 0).with_prefix();
        let put = TxnOp::put(own, &*claim.owner, Some(PutOptions::new().with_lease(lease)));
        let oldest = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Create, SortOrder::Ascend)
            .with_limit(1);
        let get = TxnOp::get(prefix.as_str(), Some(oldest));
        Ok(Txn::new().when([none]).and_then([put]).or_else([get]))
    }

    /// What an attempt came to, at this revision.
    fn judge(&self, claim: &LockClaim, revision: i64, answer: &TxnResponse) -> Acquired {
        if answer.succeeded() {
            return Acquired::Granted { fencing: token(revision) };
        }
        let mut by = None;
        for response in answer.op_responses() {
            let TxnOpResponse::Get(found) = response else { continue };
            let ours = found.kvs().iter().find(|kv| kv.value() == claim.owner.as_bytes());
            if let Some(ours) = ours {
                return Acquired::Granted { fencing: token(ours.create_revision()) };
            }
            by = found.kvs().first().and_then(|kv| kv.value_str().ok()).map(Arc::from);
        }
        let released = self.released(prefix_of(&claim.key), revision);
        Acquired::Held(Held { by, lapses_in: None, released, since: Some(Moment(token(revision))) })
    }

    /// Deletes the claim's key where it lies under our lease, and leaves what was found there.
    async fn give_back(
        &self,
        claim: &LockClaim,
        verdict: Option<TxnOp>,
    ) -> Result<bool, LockError> {
        let Some(lease) = self.sessions.current().await else { return Ok(false) };
        let delete = TxnOp::delete(own_key(&claim.key, lease), None);
        let when_owned = |then: Vec<TxnOp>| Txn::new().when(owned(claim, lease)).and_then(then);
        let asked = AtomicUsize::new(0);
        if let Some(put) = verdict {
            match self.txn_counted(when_owned(vec![delete.clone(), put]), &asked).await {
                Ok(answer) => return given_back(answer.succeeded(), asked.into_inner()),
                Err(error) => tracing::debug!(key = %claim.key, %error,
                    "what a holder found is not told to who waits: its lock is given back without it"),
            }
        }
        let answer = self.txn_counted(when_owned(vec![delete]), &asked).await?;
        given_back(answer.succeeded(), asked.into_inner())
    }

    /// Where what a holder found is put; `None` where it cannot be.
    async fn verdict(&self, claim: &LockClaim, verdict: &Verdict) -> Option<TxnOp> {
        let written = verdicts::write(verdict)?;
        match self.passing.lease().await {
            Ok(lease) => {
                let passing = Some(PutOptions::new().with_lease(lease));
                Some(TxnOp::put(verdict_key(&claim.key), written, passing))
            }
            Err(error) => {
                tracing::debug!(key = %claim.key, %error,
                    "what a holder found is not told to who waits: there is no lease for it");
                None
            }
        }
    }

    /// Resolves when a key below the prefix is deleted after this revision.
    fn released(&self, prefix: String, revision: i64) -> BoxFuture<'static, ()> {
        let members = Arc::clone(&self.members);
        Box::pin(async move {
            let options = WatchOptions::new()
                .with_prefix()
                .with_start_revision(revision + 1)
                .with_filters([WatchFilterType::NoPut]);
            let Ok(mut client) = members.any().await else { return pending().await };
            let Ok(mut watch) = client.watch(prefix, Some(options)).await else {
                return pending().await;
            };
            loop {
                match watch.message().await {
                    Ok(Some(message)) => {
                        let mut events = message.events().iter();
                        // A watch that is cancelled has missed something: better to look.
                        if message.canceled()
                            || events.any(|event| event.event_type() == EventType::Delete)
                        {
                            return;
                        }
                    }
                    // Who waits polls.
                    Ok(None) | Err(_) => return pending().await,
                }
            }
        })
    }
}

/// That the claim's key lies under our lease.
fn owned(claim: &LockClaim, lease: i64) -> [Compare; 2] {
    let key = own_key(&claim.key, lease);
    [
        Compare::value(key.as_str(), CompareOp::Equal, &*claim.owner),
        Compare::lease(key.as_str(), CompareOp::Equal, lease),
    ]
}

/// The prefix of all keys of a lock.
fn prefix_of(key: &str) -> String {
    format!("{key}/")
}

fn own_key(key: &str, lease: i64) -> String {
    format!("{key}/{lease:x}")
}

/// Where the verdict about a key lies: not below its prefix, which only locks lie below.
fn verdict_key(key: &str) -> String {
    format!("{}/{key}", verdicts::NAME)
}

fn revision_of(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, |header| header.revision())
}

impl Lock for EtcdLock {
    fn kind(&self) -> &'static str {
        "etcd"
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(async move {
            let answer = self.txn(self.attempt(claim).await?).await?;
            Ok(self.judge(claim, revision_of(&answer), &answer))
        })
    }

    fn ask_again<'a>(
        &'a self,
        claim: &'a LockClaim,
        Moment(since): Moment,
    ) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(async move {
            let (name, attempt) = (verdict_key(&claim.key), self.attempt(claim).await?);
            let since = i64::try_from(since).unwrap_or(i64::MAX);
            let later = Compare::mod_revision(name.as_str(), CompareOp::Greater, since);
            let either = Txn::new()
                .when([later])
                .and_then([TxnOp::get(name, None)])
                .or_else([TxnOp::txn(attempt)]);
            let answer = self.txn(either).await?;
            match answer.op_responses().into_iter().next() {
                Some(TxnOpResponse::Txn(attempted)) => {
                    Ok(self.judge(claim, revision_of(&answer), &attempted))
                }
                Some(TxnOpResponse::Get(found)) => {
                    match found.kvs().first().and_then(|kv| verdicts::read(kv.value())) {
                        Some(verdict) => Ok(Acquired::Settled(verdict)),
                        None => self.acquire(claim).await,
                    }
                }
                _ => Err(LockError::new("it answered something else than was asked")),
            }
        })
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        // The session's own task keeps the lease alive; whether the lock is still ours is asked here.
        Box::pin(async move {
            let Some(lease) = self.sessions.current().await else { return Ok(false) };
            Ok(self.txn(Txn::new().when(owned(claim, lease))).await?.succeeded())
        })
    }

    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.give_back(claim, None))
    }

    fn settle<'a>(
        &'a self,
        claim: &'a LockClaim,
        verdict: &'a Verdict,
    ) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(async move {
            let put = self.verdict(claim, verdict).await;
            self.give_back(claim, put).await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(async move {
            let lease = self.sessions.lease().await?;
            let key = own_key(CHECK_PREFIX, lease);
            let put = TxnOp::put(key.as_str(), "", Some(PutOptions::new().with_lease(lease)));
            self.txn(Txn::new().and_then([put])).await?;
            self.txn(Txn::new().and_then([TxnOp::delete(key, None)])).await?;
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.sessions.end().await;
            self.passing.end().await;
        })
    }
}

fn token(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

/// What the member says that answered in the end. Where nothing is there and another did not answer, that one may
/// have deleted it, or may come only now to an attempt to take it: nobody knows, and it is to be asked again.
fn given_back(was_there: bool, members_asked: usize) -> Result<bool, LockError> {
    if !was_there && members_asked > 1 {
        return Err(LockError::new(
            "a member of etcd did not answer, and no lock of ours is there",
        ));
    }
    Ok(was_there)
}
