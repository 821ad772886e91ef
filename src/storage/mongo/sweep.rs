//! Sweeping up after a crash: zips that were on their way and belong to no version.
//!
//! Each was noted before its first byte was sent. A note that is older than any save can take is looked
//! at: where its document is there the save had succeeded, and its zip gets its date; else what there is
//! of the zip is removed. Ages are the server's.

use std::time::Duration;

use dipylon_middleware::error::Error;
use mongodb::bson::{DateTime, doc};
use tokio::time::Instant;

use super::Engine;
use super::failure::Failure;
use super::place::{call, collect};

/// Age of a note from which on its save has ended, however it ended: six times the longest save.
pub const SWEEP_AGE: Duration = Duration::from_secs(3_600);
/// Notes looked at in one sweep.
const MAX_SWEPT: usize = 1_000;

impl Engine {
    /// Sweeps unless that was done within the last hour by this process.
    pub(super) async fn sweep_now_and_then(&self) {
        {
            let mut last = self.swept.lock();
            if last.is_some_and(|last: Instant| last.elapsed() < SWEEP_AGE) {
                return;
            }
            *last = Some(Instant::now());
        }
        match self.sweep().await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "zips of broken saves were swept up"),
            Err(error) => tracing::warn!(%error, "zips of broken saves are swept up later"),
        }
    }

    async fn sweep(&self) -> Result<usize, Error> {
        let swept = self.try_sweep().await;
        swept.map_err(|failure| self.place.failed("sweep up after broken saves", &failure))
    }

    async fn try_sweep(&self) -> Result<usize, Failure> {
        let age = i64::try_from(SWEEP_AGE.as_millis()).unwrap_or(i64::MAX);
        let before = self.place.now().await?.timestamp_millis().saturating_sub(age);
        let old = doc! { "at": { "$lt": DateTime::from_millis(before) } };
        let find = self.place.saving.find(old).limit(i64::try_from(MAX_SWEPT).unwrap_or(i64::MAX));
        let notes = collect(find, MAX_SWEPT).await?;
        for note in &notes {
            // What has another key is none of ours.
            let Ok(id) = note.get_object_id("_id") else { continue };
            let find = self.place.modules.find_one(doc! { "_id": id });
            match call(find.projection(doc! { "_id": 1 })).await? {
                Some(_) => self.try_settle(id).await?,
                None => self.try_discard(id).await?,
            }
        }
        Ok(notes.len())
    }
}
