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

/// Runs `S` in a slot.
#[derive(Clone, Debug)]
pub struct Pool<S> {
    pub(super) inner: S,
    pub(super) zips: Arc<Semaphore>,
    pub(super) small: Arc<Semaphore>,
}

impl<S: Stage<StashRequest, Reply = Stashed>> Pool<S> {
    async fn handle(&self, request: StashRequest) -> Result<Stashed, Error> {
        let slots = match request.key.want {
            // A `.mod` never waits for a zip.
            Want::File(FileKind::Info | FileKind::Mod) => Arc::clone(&self.small),
            Want::File(FileKind::Zip) | Want::Version => Arc::clone(&self.zips),
        };
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
        let finished = stashed.finished.clone();
        tokio::spawn(async move {
            finished.wait().await;
            drop(slot);
        });
        Ok(stashed)
    }
}

stage!(Pool<S>: StashRequest => Stashed, over StashRequest => Stashed);
