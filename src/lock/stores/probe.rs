//! Whether a store honours conditions: a lock in one that does not would be everybody's.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::{BoxFuture, LockError};
use futures::FutureExt as _;
use futures::future::Shared;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::objects::{Objects, Removal, Tag, Write};
use super::wire::Lane;

/// Where objects lie that are written to see what the store makes of them.
const PREFIX: &str = ".dipylon/lock-check/";
/// A store that was found to ignore conditions is looked at again after this time: it may have been mended.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

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
    Silent(LockError),
    /// It ignores a condition, or does not know it.
    Careless(LockError, Instant),
}

impl Unfit {
    fn error(&self) -> LockError {
        match self {
            Self::Silent(error) | Self::Careless(error, _) => error.clone(),
        }
    }
}

type Found = Result<Able, Unfit>;

/// Looks once, for all that ask, on a task of its own: who stops waiting does not end it.
pub(super) struct Probe {
    objects: Arc<Objects>,
    /// How objects begin that no other process writes.
    name: String,
    /// Objects written so far: some stores take one write of an object each second.
    tries: AtomicU64,
    found: Mutex<Option<Shared<BoxFuture<'static, Found>>>>,
}

impl Probe {
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let name = objects.wire.name(PREFIX, &format!("{random:016x}"));
        Self { objects, name, tries: AtomicU64::new(0), found: Mutex::new(None) }
    }

    fn next_name(&self) -> String {
        format!("{}-{}", self.name, self.tries.fetch_add(1, Ordering::Relaxed))
    }

    /// What the store can do.
    ///
    /// # Errors
    /// It could not be asked, or does not honour conditions.
    pub(super) async fn able(&self) -> Result<Able, LockError> {
        if self.objects.wire.access.is_proven {
            return Ok(Able { to_remove: true });
        }
        let looking = self.looking();
        looking.await.map_err(|unfit| unfit.error())
    }

    fn looking(&self) -> Shared<BoxFuture<'static, Found>> {
        let mut found = self.found.lock();
        if let Some(looking) = &*found {
            let is_over = match looking.peek() {
                None | Some(Ok(_)) => false,
                Some(Err(Unfit::Silent(_))) => true,
                Some(Err(Unfit::Careless(_, since))) => since.elapsed() >= LOOK_AGAIN,
            };
            if !is_over {
                return looking.clone();
            }
        }
        let (objects, name) = (Arc::clone(&self.objects), self.next_name());
        let task = tokio::spawn(async move { look(&objects, &name).await });
        let cut_off = || Err(Unfit::Silent(LockError::new("looking at the store was cut off")));
        let looking = task.map(move |found| found.unwrap_or_else(|_| cut_off())).boxed().shared();
        *found = Some(looking.clone());
        looking
    }

    /// Proves that a lock could be had now.
    pub(super) async fn check(&self) -> Result<(), LockError> {
        self.able().await?;
        let (name, body) = (self.next_name(), Bytes::from_static(b"check"));
        match self.objects.create(Lane::Upkeep, &name, body).await? {
            // A write whose answer was lost and that was sent again meets itself.
            Write::Done(_) | Write::Refused | Write::Contended => {}
            Write::Unknown => return Err(careless("does not know If-None-Match")),
        }
        self.objects.remove(Lane::Upkeep, &name, None).await.map(drop)
    }
}

async fn look(objects: &Objects, name: &str) -> Found {
    let tried = try_conditions(objects, name).await;
    if !matches!(tried, Ok(Able { to_remove: true })) {
        // Whatever happened, nothing shall be left.
        if let Err(error) = objects.remove(Lane::Upkeep, name, None).await {
            tracing::debug!(%error, "what a store was tried with could not be removed");
        }
    }
    tried
}

/// Each condition once where it holds, and once where it does not.
async fn try_conditions(objects: &Objects, name: &str) -> Found {
    let first = done(create(objects, name, "1").await?, "write an object where there is none")?;
    refused(&create(objects, name, "2").await?, "If-None-Match")?;
    let second = done(replace(objects, name, "3", &first).await?, "replace an object on If-Match")?;
    refused(&replace(objects, name, "4", &first).await?, "If-Match")?;
    match remove(objects, name, &first).await? {
        Removal::Refused | Removal::Contended => {}
        Removal::Done | Removal::Unknown => return Ok(Able { to_remove: false }),
    }
    match remove(objects, name, &second).await? {
        Removal::Done => Ok(Able { to_remove: true }),
        _ => Ok(Able { to_remove: false }),
    }
}

async fn create(objects: &Objects, name: &str, body: &'static str) -> Result<Write, Unfit> {
    objects
        .create(Lane::Upkeep, name, Bytes::from_static(body.as_bytes()))
        .await
        .map_err(Unfit::Silent)
}

async fn replace(
    objects: &Objects,
    name: &str,
    body: &'static str,
    tag: &Tag,
) -> Result<Write, Unfit> {
    let body = Bytes::from_static(body.as_bytes());
    objects.replace(Lane::Upkeep, name, body, tag).await.map_err(Unfit::Silent)
}

async fn remove(objects: &Objects, name: &str, tag: &Tag) -> Result<Removal, Unfit> {
    objects.remove(Lane::Upkeep, name, Some(tag)).await.map_err(Unfit::Silent)
}

fn done(write: Write, what: &str) -> Result<Tag, Unfit> {
    match write {
        Write::Done(tag) => Ok(tag),
        Write::Unknown => {
            Err(Unfit::Careless(careless("does not know conditions"), Instant::now()))
        }
        // An answer that was lost may have left what this meets; the next look begins anew.
        Write::Refused | Write::Contended => {
            Err(Unfit::Silent(LockError::new(format!("the store would not {what}"))))
        }
    }
}

fn refused(write: &Write, condition: &str) -> Result<(), Unfit> {
    let what = match write {
        Write::Refused | Write::Contended => return Ok(()),
        Write::Done(_) => format!("ignores {condition}"),
        Write::Unknown => format!("does not know {condition}"),
    };
    Err(Unfit::Careless(careless(&what), Instant::now()))
}

fn careless(what: &str) -> LockError {
    LockError::new(format!(
        "the store {what}, so that no lock can lie in it: use another SingleFlightType, or a store with \
         conditional writes"
    ))
}
