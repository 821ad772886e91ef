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
use super::wire::{Lane, Wire};
use crate::storage::object::Access;

/// Where Athens has its locks in S3.
const ATHENS: &str = "lock/";
/// Where ours lie where Athens has none.
const OURS: &str = ".dipylon/lock/";
/// Locks of ours whose tags are remembered. One that is forgotten is read again.
const MAX_KNOWN: usize = 4_096;
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
        Self { kind, prefix, terms, objects, probe, sightings, known, wakers }
    }

    fn name(&self, key: &str) -> String {
        self.objects.wire.name(self.prefix, key)
    }

    fn token(&self, after: u64) -> u64 {
        self.objects.wire.clock.token(after)
    }

    async fn try_acquire(&self, claim: &LockClaim) -> Result<Acquired, LockError> {
        let waker = self.wakers.register(&claim.key);
        self.probe.able().await?;
        let name = self.name(&claim.key);
        // What another had a moment ago is looked at first: a look costs less than a write.
        let mut looks_first = self.sightings.knows(&claim.key);
        for _ in 0..MAX_ROUNDS {
            if !std::mem::replace(&mut looks_first, false) {
                let mark = Mark::new(&claim.owner, self.token(0), self.terms.lease);
                let created = self.objects.create(Lane::Question, &name, mark.bytes()).await?;
                match created {
                    Write::Done(tag) => return Ok(self.granted(claim, tag, mark)),
                    Write::Refused | Write::Contended => {}
                    Write::Unknown => return Err(forgetful()),
                }
            }
            let Some(seen) = self.objects.read(Lane::Question, &name).await? else { continue };
            match self.judge(claim, &seen) {
                Judged::Ours(mark) => return self.again(claim, &name, seen.tag, mark).await,
                Judged::Stands(lapses_in) => return Ok(held(lapses_in, waker)),
                Judged::Lapsed(after) => {
                    let mark = Mark::new(&claim.owner, self.token(after), self.terms.lease);
                    let (lane, body) = (Lane::Question, mark.bytes());
                    match self.objects.replace(lane, &name, body, &seen.tag).await? {
                        Write::Done(tag) => return Ok(self.granted(claim, tag, mark)),
                        // Another was sooner: what it wrote is looked at.
                        Write::Refused | Write::Contended => looks_first = true,
                        Write::Unknown => return Err(forgetful()),
                    }
                }
            }
        }
        // It changes all the time: somebody has it.
        Ok(held(None, waker))
    }

    fn granted(&self, claim: &LockClaim, tag: Tag, mark: Mark) -> Acquired {
        let fencing = mark.fencing;
        self.sightings.forget(&claim.key);
        self.known.insert(claim.clone(), (tag, mark));
        Acquired::Granted { fencing }
    }

    /// An attempt whose answer was lost had succeeded: its lease begins anew.
    async fn again(
        &self,
        claim: &LockClaim,
        name: &str,
        tag: Tag,
        mark: Mark,
    ) -> Result<Acquired, LockError> {
        let mark = Mark { is_leaving: false, ..mark.renewed() };
        match self.objects.replace(Lane::Question, name, mark.bytes(), &tag).await? {
            Write::Done(tag) => Ok(self.granted(claim, tag, mark)),
            _ => Err(LockError::new("a lock of ours changed while it was asked for again")),
        }
    }

    fn judge(&self, claim: &LockClaim, seen: &Seen) -> Judged {
        let mark = Mark::read(&seen.body);
        let (lease, age, fencing) = match mark {
            Some(mark) if *mark.owner == *claim.owner => return Judged::Ours(mark),
            Some(mark) => (mark.lease().min(self.terms.longest), Duration::ZERO, mark.fencing),
            None => (self.terms.foreign, seen.age, 0),
        };
        let since = self.sightings.look(&claim.key, &seen.tag, Instant::now(), age);
        match lease.checked_sub(since).filter(|left| !left.is_zero()) {
            Some(left) => Judged::Stands(Some(left)),
            None => Judged::Lapsed(fencing),
        }
    }

    /// What lies there as ours: as it was written last, or as it is read now.
    async fn own(&self, claim: &LockClaim, name: &str) -> Result<Option<(Tag, Mark)>, LockError> {
        if let Some((_, known)) = self.known.remove(claim) {
            return Ok(Some(known));
        }
        self.read_own(claim, name).await
    }

    async fn read_own(
        &self,
        claim: &LockClaim,
        name: &str,
    ) -> Result<Option<(Tag, Mark)>, LockError> {
        let Some(seen) = self.objects.read(Lane::Upkeep, name).await? else { return Ok(None) };
        let mark = Mark::read(&seen.body).filter(|mark| *mark.owner == *claim.owner);
        Ok(mark.map(|mark| (seen.tag, mark)))
    }

    async fn try_renew(&self, claim: &LockClaim) -> Result<bool, LockError> {
        let name = self.name(&claim.key);
        let mut own = self.own(claim, &name).await?;
        for _ in 0..MAX_ROUNDS {
            let Some((tag, mark)) = own.filter(|(_, mark)| !mark.is_leaving) else {
                return Ok(false);
            };
            let mark = mark.renewed();
            match self.objects.replace(Lane::Upkeep, &name, mark.bytes(), &tag).await? {
                Write::Done(tag) => {
                    self.known.insert(claim.clone(), (tag, mark));
                    return Ok(true);
                }
                // A renewal whose answer was lost may have changed it, and then it is ours still.
                Write::Refused | Write::Contended => own = self.read_own(claim, &name).await?,
                Write::Unknown => return Err(forgetful()),
            }
        }
        Err(LockError::new("a lock of ours changes while it is renewed"))
    }

    async fn try_release(&self, claim: &LockClaim) -> Result<bool, LockError> {
        let able = self.probe.able().await?;
        let name = self.name(&claim.key);
        let mut own = self.own(claim, &name).await?;
        for _ in 0..MAX_ROUNDS {
            let Some((tag, mark)) = own else { return Ok(false) };
            let is_gone = match able.to_remove {
                true => self.remove(&name, &tag).await?,
                false => self.leave(&name, &tag, &mark).await?,
            };
            if is_gone {
                self.wakers.wake(&claim.key);
                return Ok(true);
            }
            own = self.read_own(claim, &name).await?;
        }
        Err(LockError::new("a lock of ours changes while it is given back"))
    }

    async fn remove(&self, name: &str, tag: &str) -> Result<bool, LockError> {
        match self.objects.remove(Lane::Upkeep, name, Some(tag)).await? {
            Removal::Done => Ok(true),
            Removal::Refused | Removal::Contended => Ok(false),
            Removal::Unknown => Err(forgetful()),
        }
    }

    /// Where a removal asks for no condition: the mark that comes before it has one.
    async fn leave(&self, name: &str, tag: &str, mark: &Mark) -> Result<bool, LockError> {
        if !mark.is_leaving {
            let body = mark.leaving().bytes();
            match self.objects.replace(Lane::Upkeep, name, body, tag).await? {
                Write::Done(_) => {}
                Write::Refused | Write::Contended => return Ok(false),
                Write::Unknown => return Err(forgetful()),
            }
        }
        self.objects.remove(Lane::Upkeep, name, None).await?;
        Ok(true)
    }
}

/// What a waiter makes of a lock that it saw.
enum Judged {
    Ours(Mark),
    Stands(Option<Duration>),
    Lapsed(u64),
}

fn held(lapses_in: Option<Duration>, waker: Waker) -> Acquired {
    Acquired::Held(Held { lapses_in, released: Box::pin(waker.woken()) })
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
