//! A lock service in memory, on the clock of the test, that fails where a test says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::ports::{
    Acquired, BoxFuture, Held, Lock, LockClaim, LockError, Moment, VERDICT_LIFE, Verdict,
};

/// How the service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It works.
    Works,
    /// It refuses every question at once.
    Refuses,
    /// It never answers.
    Hangs,
    /// It answers late by so much.
    Late(Duration),
    /// It does what it is told, but the answer never arrives.
    Mute,
    /// It works, but takes no verdict.
    Unsettled,
}

/// The service. What holds a lock holds it until its lease lapses by the test's clock. One that pushes
/// carries verdicts too.
pub(crate) struct MemoryLock {
    lease: Duration,
    pushes: bool,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

struct State {
    mood: Mood,
    held: HashMap<Arc<str>, (Arc<str>, Instant)>,
    granted: u64,
    /// Verdicts with their moments, and when they are forgotten.
    verdicts: HashMap<Arc<str>, (Verdict, Moment, Instant)>,
    moments: u64,
    calls: Vec<(&'static str, LockClaim)>,
}

impl MemoryLock {
    /// A service that tells of releases.
    pub(crate) fn new(lease: Duration) -> Arc<Self> {
        Self::with_pushes(lease, true)
    }

    /// A service that does not: who waits has to look.
    pub(crate) fn silent(lease: Duration) -> Arc<Self> {
        Self::with_pushes(lease, false)
    }

    fn with_pushes(lease: Duration, pushes: bool) -> Arc<Self> {
        let state = Mutex::new(State {
            mood: Mood::Works,
            held: HashMap::new(),
            granted: 0,
            verdicts: HashMap::new(),
            moments: 0,
            calls: Vec::new(),
        });
        Arc::new(Self { lease, pushes, state, changed: watch::Sender::new(0) })
    }

    /// From now on it behaves so.
    pub(crate) fn set(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    /// Another program holds this key for so long, past the port.
    pub(crate) fn hold_elsewhere(&self, key: &str, lasts: Duration) {
        let lapses = Instant::now() + lasts;
        self.state.lock().held.insert(key.into(), ("another program".into(), lapses));
    }

    /// Grants a claim that was asked about long ago, past the port.
    pub(crate) fn grant_late(&self, claim: &LockClaim, lasts: Duration) {
        let held = (claim.owner.clone(), Instant::now() + lasts);
        self.state.lock().held.insert(claim.key.clone(), held);
    }

    /// Gives a key back, past the port.
    pub(crate) fn free(&self, key: &str) {
        self.state.lock().held.remove(key);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Whether a key is held now.
    pub(crate) fn is_held(&self, key: &str) -> bool {
        self.state.lock().held.get(key).is_some_and(|(_, lapses)| *lapses > Instant::now())
    }

    /// How often it was asked to do this.
    pub(crate) fn calls(&self, what: &str) -> usize {
        self.state.lock().calls.iter().filter(|(called, _)| *called == what).count()
    }

    /// The claims that it was asked about so.
    pub(crate) fn claims(&self, what: &str) -> Vec<LockClaim> {
        let state = self.state.lock();
        let of_kind = state.calls.iter().filter(|(called, _)| *called == what);
        of_kind.map(|(_, claim)| claim.clone()).collect()
    }

    /// Takes the question, and answers as the mood has it.
    async fn answer<T>(
        &self,
        what: &'static str,
        claim: &LockClaim,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T, LockError> {
        self.state.lock().calls.push((what, claim.clone()));
        let mood = self.state.lock().mood;
        match mood {
            Mood::Works | Mood::Unsettled => {}
            Mood::Refuses => return Err(LockError::new("refused on purpose")),
            Mood::Hangs => std::future::pending().await,
            Mood::Late(late) => sleep(late).await,
            Mood::Mute => {
                drop(act(&mut self.state.lock()));
                return std::future::pending().await;
            }
        }
        Ok(act(&mut self.state.lock()))
    }
}

impl MemoryLock {
    async fn try_acquire(
        &self,
        claim: &LockClaim,
        since: Option<Moment>,
    ) -> Result<Acquired, LockError> {
        let mut changed = self.changed.subscribe();
        let pushes = self.pushes;
        let answer =
            self.answer("acquire", claim, |state| state.try_acquire(claim, since, self.lease));
        let mut acquired = answer.await?;
        if let Acquired::Held(held) = &mut acquired {
            held.since = held.since.filter(|_| pushes);
            held.released = Box::pin(async move {
                if !pushes || changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
        }
        Ok(acquired)
    }

    async fn give_back(
        &self,
        claim: &LockClaim,
        verdict: Option<&Verdict>,
    ) -> Result<bool, LockError> {
        let released = self.answer("release", claim, |state| {
            let owns = state.owns(claim);
            if owns {
                state.held.remove(&claim.key);
                let moment = state.moment();
                if let Some(verdict) = verdict.cloned() {
                    let standing = (verdict, moment, Instant::now() + VERDICT_LIFE);
                    state.verdicts.insert(Arc::clone(&claim.key), standing);
                }
            }
            owns
        });
        let owned = released.await?;
        self.changed.send_modify(|changes| *changes += 1);
        Ok(owned)
    }
}

impl State {
    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment(self.moments)
    }

    fn try_acquire(
        &mut self,
        claim: &LockClaim,
        since: Option<Moment>,
        lease: Duration,
    ) -> Acquired {
        let now = Instant::now();
        if let Some((owner, lapses)) = self.held.get(&claim.key)
            && *lapses > now
            && !self.owns(claim)
        {
            let (by, lapses_in) = (Some(Arc::clone(owner)), Some(*lapses - now));
            let (released, since) = (Box::pin(std::future::pending()), Some(self.moment()));
            return Acquired::Held(Held { by, lapses_in, released, since });
        }
        if let (Some(since), Some((verdict, moment, forgotten))) =
            (since, self.verdicts.get(&claim.key))
            && *moment > since
            && *forgotten > now
        {
            return Acquired::Settled(verdict.clone());
        }
        self.held.insert(claim.key.clone(), (claim.owner.clone(), now + lease));
        self.granted += 1;
        Acquired::Granted { fencing: self.granted }
    }

    fn owns(&self, claim: &LockClaim) -> bool {
        let held = self.held.get(&claim.key);
        held.is_some_and(|(owner, lapses)| *owner == claim.owner && *lapses > Instant::now())
    }
}

impl Lock for MemoryLock {
    fn kind(&self) -> &'static str {
        "in memory"
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim, None))
    }

    fn ask_again<'a>(
        &'a self,
        claim: &'a LockClaim,
        since: Moment,
    ) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim, Some(since)))
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.answer("renew", claim, |state| {
            let owns = state.owns(claim);
            if owns {
                let lapses = Instant::now() + self.lease;
                state.held.insert(claim.key.clone(), (claim.owner.clone(), lapses));
            }
            owns
        }))
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
            if self.state.lock().mood == Mood::Unsettled {
                self.state.lock().calls.push(("settle", claim.clone()));
                return Err(LockError::new("no verdict is taken, on purpose"));
            }
            self.give_back(claim, Some(verdict).filter(|_| self.pushes)).await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        let claim = LockClaim { key: "check".into(), owner: "check".into() };
        Box::pin(async move { self.answer("check", &claim, |_| ()).await })
    }
}
