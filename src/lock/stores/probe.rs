//! Whether a store honours conditions: a lock in one that does not would be everybody's.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::{BoxFuture, LockError};
use futures::FutureExt as _;
use futures::future::Shared;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::check::Check;
use super::objects::{Objects, Removal, Seen, Tag, Write};
use super::wire::{Errand, Lane};

/// Where objects lie that are written to see what the store makes of them.
const PREFIX: &str = ".dipylon/lock-check/";
/// A store that was found to ignore conditions is looked at again after this time: it may have been mended.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// One that could not be asked is, after this time: sooner than who looks each second whether it works again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a store can do that honours conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Able {
    /// It removes an object on a condition.
    pub(super) to_remove: bool,
}

/// Why a store is not used.
#[derive(Clone, Debug)]
enum Unfit {
    /// It could not be asked.
    Silent(LockError, Instant),
    /// It ignores a condition, or does not know it.
    Careless(LockError, Instant),
}

impl Unfit {
    fn silent(error: LockError) -> Self {
        Self::Silent(error, Instant::now())
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Silent(_, since) => since.elapsed() >= ASK_AGAIN,
            Self::Careless(_, since) => since.elapsed() >= LOOK_AGAIN,
        }
    }

    fn error(&self) -> LockError {
        match self {
            Self::Silent(error, _) | Self::Careless(error, _) => error.clone(),
        }
    }
}

type Found = Result<Able, Unfit>;

/// The object that a store is tried with. Some stores take one write of an object each second, so each trial has
/// one of its own; but the next only when the last is known to be gone, so that of a process one stays at most.
struct Trial {
    /// How the names begin that no other process has.
    stem: String,
    number: u64,
    /// Whether something of this name may lie there.
    is_dirty: bool,
}

impl Trial {
    fn name(&self) -> String {
        format!("{}-{}", self.stem, self.number)
    }

    /// Removes what lies there.
    async fn clean(&mut self, objects: &Objects) -> Result<(), LockError> {
        match objects.remove(upkeep(), &self.name(), None).await? {
            Removal::Done => {
                self.number += 1;
                self.is_dirty = false;
                Ok(())
            }
            state => Err(LockError::new(format!(
                "what the store was tried with was not removed: {state:?}"
            ))),
        }
    }
}

/// Looks once, for all that ask, on a task of its own: who stops waiting does not end it.
pub(super) struct Probe {
    objects: Arc<Objects>,
    trial: Arc<tokio::sync::Mutex<Trial>>,
    found: Mutex<Option<Shared<BoxFuture<'static, Found>>>>,
    check: Check,
}

impl Probe {
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let stem = objects.wire.name(PREFIX, &format!("{random:016x}"));
        let trial = Trial { stem, number: 0, is_dirty: false };
        let (trial, found) = (Arc::new(tokio::sync::Mutex::new(trial)), Mutex::new(None));
        Self { objects, trial, found, check: Check::default() }
    }

    /// What the store can do.
    ///
    /// # Errors
    /// It could not be asked, or does not honour conditions.
    pub(super) async fn able(&self, errand: Errand) -> Result<Able, LockError> {
        if self.objects.wire.access.is_proven {
            return Ok(Able { to_remove: true });
        }
        let late = || "the store is still being tried, and slow".to_owned();
        let found = errand.in_time(self.looking(), late).await?;
        found.map_err(|unfit| unfit.error())
    }

    fn looking(&self) -> Shared<BoxFuture<'static, Found>> {
        let mut found = self.found.lock();
        if let Some(looking) = &*found {
            let is_over = matches!(looking.peek(), Some(Err(unfit)) if unfit.is_over());
            if !is_over {
                return looking.clone();
            }
        }
        let (objects, trial) = (Arc::clone(&self.objects), Arc::clone(&self.trial));
        let task = tokio::spawn(async move { look(&objects, &mut *trial.lock().await).await });
        let cut_off = || Err(Unfit::silent(LockError::new("looking at the store was cut off")));
        let looking = task.map(move |found| found.unwrap_or_else(|_| cut_off())).boxed().shared();
        *found = Some(looking.clone());
        looking
    }

    /// Proves that a lock could be had now: each right that one needs is used.
    pub(super) async fn check(&self) -> Result<(), LockError> {
        let errand = upkeep();
        self.able(errand).await?;
        let (objects, trial) = (Arc::clone(&self.objects), Arc::clone(&self.trial));
        let prove = || async move { prove(&objects, &mut *trial.lock().await).await };
        self.check.outcome(errand, prove).await
    }
}

async fn prove(objects: &Objects, trial: &mut Trial) -> Result<(), LockError> {
    let name = trial.name();
    // Where the right to list is missing, what is not there is answered with 403.
    objects.read(upkeep(), &name).await?;
    trial.is_dirty = true;
    match objects.create(upkeep(), &name, Bytes::from_static(b"check")).await? {
        // An earlier check, or a write whose answer was lost and that was sent again, meets itself.
        Write::Done(_) | Write::Refused | Write::Contended => {}
        Write::Unknown => return Err(careless("does not know If-None-Match")),
    }
    if objects.read(upkeep(), &name).await?.is_none() {
        return Err(LockError::new("the store does not show what was written"));
    }
    trial.clean(objects).await
}

fn upkeep() -> Errand {
    Errand::new(Lane::Upkeep)
}

async fn look(objects: &Objects, trial: &mut Trial) -> Found {
    if trial.is_dirty {
        trial.clean(objects).await.map_err(Unfit::silent)?;
    }
    trial.is_dirty = true;
    let tried = try_conditions(objects, &trial.name()).await;
    // Whatever happened, nothing shall be left; what is left is removed before the next trial.
    if let Err(error) = trial.clean(objects).await {
        tracing::debug!(%error, "what a store was tried with could not be removed");
    }
    tried
}

/// Each condition once where it holds, and once where it does not.
async fn try_conditions(objects: &Objects, name: &str) -> Found {
    let first = done(create(objects, name, "1").await?, "write an object where there is none")?;
    refused(&create(objects, name, "2").await?, "If-None-Match")?;
    let second = done(replace(objects, name, "3", &first).await?, "replace an object on If-Match")?;
    refused(&replace(objects, name, "4", &first).await?, "If-Match")?;
    shows(read(objects, name).await?.as_ref(), &second)?;
    let removes_another = match remove(objects, name, &first).await? {
        Removal::Refused => false,
        Removal::Done | Removal::Unknown => true,
        Removal::Contended | Removal::Unsure => return Err(by_chance()),
    };
    if removes_another {
        return Ok(Able { to_remove: false });
    }
    match remove(objects, name, &second).await? {
        Removal::Done => Ok(Able { to_remove: true }),
        Removal::Refused | Removal::Unknown => Ok(Able { to_remove: false }),
        Removal::Contended | Removal::Unsure => Err(by_chance()),
    }
}

async fn read(objects: &Objects, name: &str) -> Result<Option<Seen>, Unfit> {
    objects.read(upkeep(), name).await.map_err(Unfit::silent)
}

/// What was written last is what is read, under the same tag.
fn shows(seen: Option<&Seen>, tag: &Tag) -> Result<(), Unfit> {
    if seen.is_some_and(|seen| seen.tag == *tag && *seen.body == *b"3") {
        return Ok(());
    }
    Err(Unfit::Careless(careless("does not show what was written last"), Instant::now()))
}

async fn create(objects: &Objects, name: &str, body: &'static str) -> Result<Write, Unfit> {
    objects.create(upkeep(), name, Bytes::from_static(body.as_bytes())).await.map_err(Unfit::silent)
}

async fn replace(
    objects: &Objects,
    name: &str,
    body: &'static str,
    tag: &Tag,
) -> Result<Write, Unfit> {
    let body = Bytes::from_static(body.as_bytes());
    objects.replace(upkeep(), name, body, tag).await.map_err(Unfit::silent)
}

async fn remove(objects: &Objects, name: &str, tag: &Tag) -> Result<Removal, Unfit> {
    objects.remove(upkeep(), name, Some(tag)).await.map_err(Unfit::silent)
}

fn done(write: Write, what: &str) -> Result<Tag, Unfit> {
    match write {
        Write::Done(tag) => Ok(tag),
        Write::Unknown => {
            Err(Unfit::Careless(careless("does not know conditions"), Instant::now()))
        }
        // An answer that was lost may have left what this meets; the next look begins anew.
        Write::Refused | Write::Contended => {
            Err(Unfit::silent(LockError::new(format!("the store would not {what}"))))
        }
    }
}

fn refused(write: &Write, condition: &str) -> Result<(), Unfit> {
    let what = match write {
        Write::Refused => return Ok(()),
        // It does not say that the condition was looked at.
        Write::Contended => return Err(by_chance()),
        Write::Done(_) => format!("ignores {condition}"),
        Write::Unknown => format!("does not know {condition}"),
    };
    Err(Unfit::Careless(careless(&what), Instant::now()))
}

/// An answer that says nothing of the condition: the next look begins anew.
fn by_chance() -> Unfit {
    Unfit::silent(LockError::new("the store did not answer a trial clearly"))
}

fn careless(what: &str) -> LockError {
    LockError::new(format!(
        "the store {what}, so that no lock can lie in it: use another SingleFlightType, or a store with \
         conditional writes"
    ))
}
