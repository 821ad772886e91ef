//! A lock that is an object: in S3 and in Google Cloud Storage.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::{Acquired, BoxFuture, Held, Lock, LockClaim, LockError};
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::super::wakers::{Waker, Wakers};
use super::mark::{Mark, Sightings};
use super::objects::{Objects, Removal, Seen, Tag, Write};
use super::probe::Probe;
use super::removals::Removals;
use super::wire::{Errand, Lane, Wire};
use crate::storage::object::Access;

/// Where Athens has its locks in S3.
const ATHENS: &str = "lock/";
/// Where ours lie where Athens has none.
const OURS: &str = ".dipylon/lock/";
/// Locks of ours whose tags are remembered. One that is forgotten is read again.
const MAX_KNOWN: usize = 4_096;
/// The part of a lease, after a lock was marked as given back, in which it may be removed without a condition.
const LEAVING_SHARE: u32 = 3;
/// How often one question looks again because what it saw was another by then.
const MAX_ROUNDS: usize = 4;

/// How long locks stand.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long one of ours outlives its last renewal.
    pub lease: Duration,
    /// How long one that is none of ours stands, from when it was written: Athens does not renew.
    pub foreign: Duration,
    /// The longest that any stands that is not renewed, whatever its holder wrote.
    pub longest: Duration,
}

/// Locks in a bucket.
pub struct ObjectLock {
    kind: &'static str,
    prefix: &'static str,
    terms: Terms,
    objects: Arc<Objects>,
    probe: Probe,
    /// What others have.
    sightings: Sightings,
    /// What we wrote last, by key and owner.
    known: Cache<LockClaim, (Tag, Mark)>,
    /// What we tried to remove.
    removals: Removals,
    /// Those of this process that wait for another of this process.
    wakers: Arc<Wakers>,
}

impl ObjectLock {
    /// Locks in S3, under Athens's names.
    #[cfg(any(feature = "s3", feature = "minio"))]
    pub fn s3(access: Access, terms: Terms) -> Self {
        Self::new("s3", ATHENS, access, terms)
    }

    /// Locks in Google Cloud Storage.
    #[cfg(feature = "gcp")]
    pub fn gcp(access: Access, terms: Terms) -> Self {
        Self::new("gcp", OURS, access, terms)
    }

    fn new(kind: &'static str, prefix: &'static str, access: Access, terms: Terms) -> Self {
        let objects = Arc::new(Objects { wire: Wire::new(access) });
        let (sightings, known) = (Sightings::default(), Cache::new(MAX_KNOWN));
        let (probe, wakers) = (Probe::new(Arc::clone(&objects)), Arc::default());
        let removals = Removals::default();
        Self { kind, prefix, terms, objects, probe, sightings, known, removals, wakers }
    }

    fn name(&self, key: &str) -> String {
        self.objects.wire.name(self.prefix, key)
    }

    fn token(&self, after: u64) -> u64 {
        self.objects.wire.clock.token(after)
    }

    async fn try_acquire(&self, claim: &LockClaim) -> Result<Acquired, LockError> {
        let errand = Errand::new(Lane::Question);
        let waker = self.wakers.register(&claim.key);
        self.probe.able(errand).await?;
        let name = self.name(&claim.key);
        // What another had a moment ago is looked at first: a look costs less than a write.
        let mut looks_first = self.sightings.knows(&claim.key);
        let (mut was_seen, mut refused) = (false, None);
        for _ in 0..MAX_ROUNDS {
            if !std::mem::replace(&mut looks_first, false) {
                let mark = Mark::new(&claim.owner, self.token(0), self.terms.lease);
                let created = self.objects.create(errand, &name, mark.bytes()).await?;
                match created {
                    Write::Done(tag) => return Ok(self.granted(claim, tag, mark)),
                    Write::Refused | Write::Contended => {}
                    Write::Unknown => return Err(forgetful()),
                }
            }
            let Some(seen) = self.objects.read(errand, &name).await? else { continue };
            was_seen = true;
            match self.judge(claim, &seen) {
                Judged::Ours(mark) => {
                    return self.again(errand, claim, &name, seen.tag, mark).await;
                }
                Judged::Stands(left, by) => return Ok(held(Some(left), by, waker)),
                Judged::Lapsed(after) => {
                    let mark = Mark::new(&claim.owner, self.token(after), self.terms.lease);
                    let body = mark.bytes();
                    match self.objects.replace(errand, &name, body, &seen.tag).await? {
                        Write::Done(tag) => return Ok(self.granted(claim, tag, mark)),
                        // Nobody was sooner: it lies there as before.
                        Write::Refused if refused.as_ref() == Some(&seen.tag) => {
                            return Err(LockError::new(
                                "the store refuses to replace a lock that it shows unchanged",
                            ));
                        }
                        // Another was sooner: what it wrote is looked at.
                        Write::Refused => (looks_first, refused) = (true, Some(seen.tag)),
                        Write::Contended => looks_first = true,
                        Write::Unknown => return Err(forgetful()),
                    }
                }
            }
        }
        match was_seen {
            // It changes all the time: somebody has it.
            true => Ok(held(None, None, waker)),
            // What nobody was seen to hold shall not be waited for.
            false => Err(LockError::new("the store refuses to write a lock where it shows none")),
        }
    }

    fn granted(&self, claim: &LockClaim, tag: Tag, mark: Mark) -> Acquired {
        let fencing = mark.fencing;
        self.sightings.forget(&claim.key);
        self.removals.are_over(claim);
        self.known.insert(claim.clone(), (tag, mark));
        Acquired::Granted { fencing }
    }

    /// An attempt whose answer was lost had succeeded: its lease begins anew.
    async fn again(
        &self,
        errand: Errand,
        claim: &LockClaim,
        name: &str,
        tag: Tag,
        mark: Mark,
    ) -> Result<Acquired, LockError> {
        let mark = Mark { is_leaving: false, ..mark.renewed() };
        match self.objects.replace(errand, name, mark.bytes(), &tag).await? {
            Write::Done(tag) => Ok(self.granted(claim, tag, mark)),
            _ => Err(LockError::new("a lock of ours changed while it was asked for again")),
        }
    }

    fn judge(&self, claim: &LockClaim, seen: &Seen) -> Judged {
        let mark = Mark::read(&seen.body);
        let by = mark.as_ref().map(|mark| Arc::from(&*mark.owner));
        let (lease, age, fencing) = match mark {
            Some(mark) if *mark.owner == *claim.owner => return Judged::Ours(mark),
            Some(mark) => (mark.lease().min(self.terms.longest), Duration::ZERO, mark.fencing),
            None => (self.terms.foreign, seen.age, 0),
        };
        let since = self.sightings.look(&claim.key, &seen.tag, Instant::now(), age);
        match lease.checked_sub(since).filter(|left| !left.is_zero()) {
            Some(left) => Judged::Stands(left, by),
            None => Judged::Lapsed(fencing),
        }
    }

    /// What lies there as ours: as it was written last, or as it is read now.
    async fn own(
        &self,
        errand: Errand,
        claim: &LockClaim,
        name: &str,
    ) -> Result<Option<(Tag, Mark)>, LockError> {
        if let Some((_, known)) = self.known.remove(claim) {
            return Ok(Some(known));
        }
        self.read_own(errand, claim, name).await
    }

    async fn read_own(
        &self,
        errand: Errand,
        claim: &LockClaim,
        name: &str,
    ) -> Result<Option<(Tag, Mark)>, LockError> {
        let Some(seen) = self.objects.read(errand, name).await? else { return Ok(None) };
        let mark = Mark::read(&seen.body).filter(|mark| *mark.owner == *claim.owner);
        Ok(mark.map(|mark| (seen.tag, mark)))
    }

    async fn try_renew(&self, claim: &LockClaim) -> Result<bool, LockError> {
        let (errand, name) = (Errand::new(Lane::Upkeep), self.name(&claim.key));
        let mut own = self.own(errand, claim, &name).await?;
        for _ in 0..MAX_ROUNDS {
            let Some((tag, mark)) = own.filter(|(_, mark)| !mark.is_leaving) else {
                return Ok(false);
            };
            let mark = mark.renewed();
            match self.objects.replace(errand, &name, mark.bytes(), &tag).await? {
                Write::Done(tag) => {
                    self.known.insert(claim.clone(), (tag, mark));
                    return Ok(true);
                }
                // A renewal whose answer was lost may have changed it, and then it is ours still.
                Write::Refused | Write::Contended => {
                    own = self.read_own(errand, claim, &name).await?;
                }
                Write::Unknown => return Err(forgetful()),
            }
        }
        Err(LockError::new("a lock of ours changes while it is renewed"))
    }

    async fn try_release(&self, claim: &LockClaim) -> Result<bool, LockError> {
        let (errand, name) = (Errand::new(Lane::Upkeep), self.name(&claim.key));
        let able = self.probe.able(errand).await?;
        let mut own = self.own(errand, claim, &name).await?;
        for _ in 0..MAX_ROUNDS {
            let is_gone = match own {
                // A removal whose answer was lost has done it.
                None if self.removals.were_sent(claim) => true,
                None => return Ok(false),
                Some((tag, _)) if able.to_remove => self.remove(errand, claim, &name, &tag).await?,
                Some((tag, mark)) => self.leave(errand, claim, &name, &tag, &mark).await?,
            };
            if is_gone {
                self.removals.are_over(claim);
                self.wakers.wake(&claim.key);
                return Ok(true);
            }
            own = self.read_own(errand, claim, &name).await?;
        }
        Err(LockError::new("a lock of ours changes while it is given back"))
    }

    async fn remove(
        &self,
        errand: Errand,
        claim: &LockClaim,
        name: &str,
        tag: &str,
    ) -> Result<bool, LockError> {
        let is_first = self.removals.send(claim);
        match self.objects.remove(errand, name, Some(tag)).await? {
            Removal::Done => Ok(true),
            Removal::Unsure => Ok(false),
            Removal::Refused | Removal::Contended => {
                if is_first {
                    self.removals.are_over(claim);
                }
                Ok(false)
            }
            Removal::Unknown => Err(forgetful()),
        }
    }

    /// Where a removal asks for no condition: the mark that comes before it has one, and nobody takes that for a
    /// lease. The removal is sent once, early in that time, so that it is not late when it comes.
    async fn leave(
        &self,
        errand: Errand,
        claim: &LockClaim,
        name: &str,
        tag: &str,
        mark: &Mark,
    ) -> Result<bool, LockError> {
        // Also where it is marked so already: nobody knows any more since when.
        let began = Instant::now();
        match self.objects.replace(errand, name, mark.leaving().bytes(), tag).await? {
            Write::Done(_) => {}
            Write::Refused | Write::Contended => return Ok(false),
            Write::Unknown => return Err(forgetful()),
        }
        let until = began + mark.lease() / LEAVING_SHARE;
        if Instant::now() >= until {
            return Err(LockError::new("a lock was marked as given back too slowly to be removed"));
        }
        self.removals.send(claim);
        match self.objects.remove(errand.until(until), name, None).await? {
            Removal::Done => Ok(true),
            state => Err(LockError::new(format!("a lock was not removed: {state:?}"))),
        }
    }
}

/// What a waiter makes of a lock that it saw.
enum Judged {
    Ours(Mark),
    /// For how long, and whose it is where that is one of ours.
    Stands(Duration, Option<Arc<str>>),
    Lapsed(u64),
}

fn held(lapses_in: Option<Duration>, by: Option<Arc<str>>, waker: Waker) -> Acquired {
    Acquired::Held(Held { by, lapses_in, released: Box::pin(waker.woken()), since: None })
}

fn forgetful() -> LockError {
    LockError::new("the store does not know conditions any more, which it did before")
}

impl Lock for ObjectLock {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim))
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.try_renew(claim))
    }

    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.try_release(claim))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.probe.check())
    }
}
