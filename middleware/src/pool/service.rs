use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::route::FileKind;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::error::{Error, ErrorKind};
use crate::request::{StashRequest, Want};
use crate::response::Stashed;
use crate::stack::{Stage, stage};
use crate::telemetry::Phase;

/// Slots for small files for each slot for zips.
pub const SMALL_PER_SLOT: usize = 8;

/// Zips that are received and are being checked or saved, for each slot for zips: they need no fetch any more, so the
/// next may begin; one that finds no such place keeps its slot.
pub const BEHIND_PER_SLOT: usize = 8;

/// Runs `S` in a slot.
#[derive(Clone, Debug)]
pub struct Pool<S> {
    pub(super) inner: S,
    pub(super) zips: Arc<Semaphore>,
    pub(super) small: Arc<Semaphore>,
    pub(super) behind: Arc<Semaphore>,
}

impl<S: Stage<StashRequest, Reply = Stashed>> Pool<S> {
    async fn handle(&self, request: StashRequest) -> Result<Stashed, Error> {
        // A `.mod` never waits for a zip. What goes on behind a small file is bounded by `stash`.
        let is_small = matches!(request.key.want, Want::File(FileKind::Info | FileKind::Mod));
        let slots = Arc::clone(if is_small { &self.small } else { &self.zips });
        let waits = request.context.timings.enter(Phase::Queue);
        let waited = timeout_at(request.context.deadline, slots.acquire_owned()).await;
        drop(waits);
        let Ok(Ok(slot)) = waited else {
            let text = "all GoGetWorkers were busy for the whole StashTimeout; ask again";
            return Err(
                Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_secs(1))
            );
        };
        let stashed = self.inner.run(request).await?;
        let (finished, behind) = (stashed.finished.clone(), Arc::clone(&self.behind));
        tokio::spawn(async move {
            finished.received().await;
            if is_small {
                return drop(slot);
            }
            let place = tokio::select! {
                biased;
                () = finished.wait() => None,
                // Nobody closes them.
                place = behind.acquire_owned() => place.ok(),
            };
            drop(slot);
            finished.wait().await;
            drop(place);
        });
        Ok(stashed)
    }
}

stage!(Pool<S>: StashRequest => Stashed, over StashRequest => Stashed);
