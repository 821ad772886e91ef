//! Saving: `.mod`, then zip, then `.info`, under a claim.
//!
//! Readers believe a version when its `.info` is there with the other two, so the last write publishes
//! it. Each write is create-if-absent: a saver that lost its claim without knowing meets what the next
//! one wrote, and changes nothing. What a crash, or Athens, left of a version reads as absent; the
//! claim's holder removes it piece by piece, the `.info` first.

use bytes::Bytes;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, NewVersion, SaveResult};
use dipylon_protocol::route::FileKind;

use super::super::whole::refuse_torn;
use super::Engine;
use super::claim::{Claim, Turn};
use super::layout::OURS;
use super::read::{Look, Whole};

impl Engine {
    /// Saves a version whose zip is complete, unless it is there.
    pub(super) async fn save(&self, new: &NewVersion) -> Result<SaveResult, Error> {
        refuse_torn(new)?;
        self.saves.run(self.save_under_claim(new)).await
    }

    async fn save_under_claim(&self, new: &NewVersion) -> Result<SaveResult, Error> {
        let key = format!("{OURS}saving/{}@{}", new.module, new.version);
        let done = || -> BoxFuture<'_, _> { Box::pin(self.existing(new)) };
        let claim = match Claim::take(&self.client, &key, done).await? {
            Turn::Done(existed) => return Ok(existed),
            Turn::Ours(claim) => *claim,
        };
        let saved = claim.during(self.write(new, &claim)).await;
        claim.release().await;
        saved
    }

    /// `Existed` where the version is there and whole.
    async fn existing(&self, new: &NewVersion) -> Result<Option<SaveResult>, Error> {
        match self.look(&new.module, &new.version).await? {
            Look::Whole(whole) => Ok(Some(self.existed(new, &whole))),
            Look::Absent | Look::Torn => Ok(None),
        }
    }

    fn existed(&self, new: &NewVersion, whole: &Whole) -> SaveResult {
        self.remember(&new.module, &new.version);
        let same = whole.go_mod == new.go_mod && whole.zip.size == new.zip.written();
        SaveResult::Existed { same }
    }

    async fn write(&self, new: &NewVersion, claim: &Claim) -> Result<SaveResult, Error> {
        let key = |kind| self.layout.key(&new.module, &new.version, kind);
        let (info, go_mod, zip) = (key(FileKind::Info)?, key(FileKind::Mod)?, key(FileKind::Zip)?);
        match self.look(&new.module, &new.version).await? {
            Look::Whole(whole) => return Ok(self.existed(new, &whole)),
            Look::Torn => self.clear(&info, claim).await?,
            Look::Absent => {}
        }
        if !self.create(&go_mod, &new.go_mod).await? {
            self.clear(&go_mod, claim).await?;
            self.created(self.create(&go_mod, &new.go_mod).await?, &go_mod)?;
        }
        if !self.uploads.send(&zip, claim, &new.zip).await? {
            self.clear(&zip, claim).await?;
            self.created(self.uploads.send(&zip, claim, &new.zip).await?, &zip)?;
        }
        claim.still_held().await?;
        if !self.create(&info, &new.info).await? {
            self.is_ours(&info, &new.info).await?;
        }
        self.remember(&new.module, &new.version);
        Ok(SaveResult::Created)
    }

    async fn create(&self, key: &str, bytes: &Bytes) -> Result<bool, Error> {
        Ok(self.client.create(key, bytes.clone().into()).await?.is_some())
    }

    /// Removes what is left of a torn version.
    async fn clear(&self, key: &str, claim: &Claim) -> Result<(), Error> {
        claim.still_held().await?;
        tracing::info!(storage = self.kind(), key, "a left-over of a torn version is removed");
        self.client.delete(key).await
    }

    fn created(&self, created: bool, key: &str) -> Result<(), Error> {
        match created {
            true => Ok(()),
            false => Err(self.client.wrong(key, "is written by somebody else at the same time")),
        }
    }

    /// An `.info` that appeared meanwhile is our own, sent twice, or somebody else's.
    async fn is_ours(&self, key: &str, info: &Bytes) -> Result<(), Error> {
        let stored = self.client.get(key, info.len()).await?;
        self.created(stored.is_some_and(|(stored, _)| stored == info), key)
    }
}
