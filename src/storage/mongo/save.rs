//! Saving: the chunks of the zip, its record, and then the document, which publishes the version.
//!
//! | step | what Athens and we see |
//! |---|---|
//! | chunks of the zip | nothing |
//! | record of the zip, dated 1970 | nothing: no document has its `_id`, and any other zip is younger |
//! | document with the same `_id` | the version, whole |
//! | the record gets its date | the same |
//!
//! One insert is the commit, and the unique index lets one saver through, so there is nothing to lock:
//! each saver writes under an `_id` of its own, and who loses removes what it wrote. What is on its way
//! is noted under `….dipylon.saving`, for whoever sweeps up after a crash.
//!
//! A document without its zip is one of Athens's that a crash left, or one that Athens is about to
//! finish: it writes the document first. So a young one is waited for before it is replaced.

use std::time::Duration;

use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{NewVersion, SaveResult};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};

use super::super::whole::refuse_torn;
use super::Engine;
use super::failure::Failure;
use super::layout::{
    CHUNK_BYTES, MAX_DOCUMENT_BYTES, NOT_YET, ZipFile, file_record, version_document,
};
use super::place::call;
use super::read::{Known, Look, Torn, Whole};

/// How old a document without its zip must be before it is replaced: Athens sends the rest of the zip,
/// at most 16 MiB, after the document.
pub const TORN_AGE: Duration = Duration::from_secs(20);
/// Times that a save meets somebody else's document in its place.
const MAX_ROUNDS: usize = 4;

/// How an attempt to publish ended.
enum Published {
    Ours,
    /// Somebody else's version is there, whole.
    Theirs(Box<Whole>),
}

/// Why an attempt to publish failed.
struct Unpublished {
    error: Error,
    /// The document may be there all the same: its zip must stay.
    is_open: bool,
}

impl Engine {
    /// Saves a version whose zip is complete, unless it is there.
    pub(super) async fn save(&self, new: &NewVersion) -> Result<SaveResult, Error> {
        refuse_torn(new)?;
        self.saves.run(self.save_once(new)).await
    }

    async fn save_once(&self, new: &NewVersion) -> Result<SaveResult, Error> {
        self.prepared().await?;
        let bytes = new.info.len() + new.go_mod.len() + new.module.as_str().len();
        if bytes > MAX_DOCUMENT_BYTES {
            let what = format!(
                "there is no room for {}@{}: its .mod and .info have {bytes} bytes together, and a \
                 document of MongoDB holds {MAX_DOCUMENT_BYTES}",
                new.module, new.version
            );
            return Err(self.place.wrong(&what));
        }
        let looked = self.look(&new.module, &new.version).await;
        if let Look::Whole(whole) = looked.map_err(|failure| self.unsaved(new, &failure))? {
            return Ok(self.existed(new, &whole));
        }
        let id = ObjectId::new();
        self.note(id, new).await.map_err(|failure| self.unsaved(new, &failure))?;
        let published = match self.upload(id, new).await {
            Ok(()) => self.publish(id, new).await,
            Err(error) => Err(Unpublished { error, is_open: false }),
        };
        match published {
            Ok(Published::Ours) => {
                self.settle(id).await;
                self.remembered
                    .insert((new.module.clone(), new.version.clone()), known_of_ours(id, new));
                Ok(SaveResult::Created)
            }
            Ok(Published::Theirs(whole)) => {
                self.discard(id).await;
                Ok(self.existed(new, &whole))
            }
            Err(Unpublished { error, is_open }) => {
                if !is_open {
                    self.discard(id).await;
                }
                Err(error)
            }
        }
    }

    fn unsaved(&self, new: &NewVersion, failure: &Failure) -> Error {
        self.place.failed(&format!("save {}@{}", new.module, new.version), failure)
    }

    fn existed(&self, new: &NewVersion, whole: &Whole) -> SaveResult {
        let key = (new.module.clone(), new.version.clone());
        self.remembered.insert(key, whole.known.clone());
        let same = whole.go_mod == new.go_mod && whole.known.zip.length == new.zip.written();
        SaveResult::Existed { same }
    }

    /// Notes that a zip is on its way, with the server's time.
    async fn note(&self, id: ObjectId, new: &NewVersion) -> Result<(), Failure> {
        let what = doc! { "module": new.module.as_str(), "version": new.version.as_str() };
        let note = doc! { "$set": what, "$currentDate": { "at": true } };
        call(self.place.saving.update_one(doc! { "_id": id }, note).upsert(true)).await?;
        Ok(())
    }

    async fn upload(&self, id: ObjectId, new: &NewVersion) -> Result<(), Error> {
        self.chunks.write(id, &new.zip).await?;
        let length = i64::try_from(new.zip.written()).unwrap_or(i64::MAX);
        let sent = call(self.place.files.insert_one(file_record(id, new, length))).await;
        sent.map(drop).map_err(|failure| self.unsaved(new, &failure))
    }

    async fn publish(&self, id: ObjectId, new: &NewVersion) -> Result<Published, Unpublished> {
        let sure = |failure| Unpublished { error: self.unsaved(new, &failure), is_open: false };
        for _ in 0..MAX_ROUNDS {
            match call(self.place.modules.insert_one(version_document(id, new))).await {
                Ok(_) => return Ok(Published::Ours),
                Err(failure) if failure.is_duplicate() => {}
                Err(failure) => {
                    let is_open = !failure.is_refusal();
                    return Err(Unpublished { error: self.unsaved(new, &failure), is_open });
                }
            }
            match self.look_again(new).await.map_err(sure)? {
                // Sent twice, for want of an answer.
                Look::Whole(whole) if whole.known.id == Bson::ObjectId(id) => {
                    return Ok(Published::Ours);
                }
                Look::Whole(whole) => return Ok(Published::Theirs(Box::new(whole))),
                Look::Torn(torn) => self.clear(new, &torn).await.map_err(sure)?,
                Look::Absent => {}
            }
        }
        let what = format!("{}@{} is written by others at the same time", new.module, new.version);
        Err(Unpublished { error: self.place.wrong(&what), is_open: false })
    }

    /// Looks at what is in the way. Where that is torn and young, once more when it is old enough.
    async fn look_again(&self, new: &NewVersion) -> Result<Look, Failure> {
        let look = self.look(&new.module, &new.version).await?;
        let Look::Torn(Torn { id, .. }) = &look else { return Ok(look) };
        let age = match id {
            Bson::ObjectId(id) => {
                let since = self.place.now().await?.timestamp_millis();
                let since = since.saturating_sub(id.timestamp().timestamp_millis());
                Duration::from_millis(u64::try_from(since).unwrap_or(0))
            }
            _ => Duration::ZERO,
        };
        let young = TORN_AGE.saturating_sub(age);
        if young.is_zero() {
            return Ok(look);
        }
        tokio::time::sleep(young).await;
        self.look(&new.module, &new.version).await
    }

    /// Removes what is left of a version, the document first.
    async fn clear(&self, new: &NewVersion, torn: &Torn) -> Result<(), Failure> {
        let (module, version) = (new.module.as_str(), new.version.as_str());
        tracing::info!(module, version, "what was left of a torn version is removed");
        call(self.place.modules.delete_one(doc! { "_id": &torn.id })).await?;
        for zip in &torn.broken_zips {
            self.chunks.remove(zip).await?;
        }
        Ok(())
    }

    /// Dates the zip of a published version. Where that fails, whoever sweeps does it.
    async fn settle(&self, id: ObjectId) {
        if let Err(failure) = self.try_settle(id).await {
            let error = self.place.failed("date a zip", &failure);
            tracing::warn!(%error, "a saved zip gets its date later");
        }
    }

    pub(super) async fn try_settle(&self, id: ObjectId) -> Result<(), Failure> {
        let undated = doc! { "_id": id, "uploadDate": NOT_YET };
        let date = doc! { "$currentDate": { "uploadDate": true } };
        call(self.place.files.update_one(undated, date)).await?;
        call(self.place.saving.delete_one(doc! { "_id": id })).await?;
        Ok(())
    }

    /// Removes a zip that no version has. Where that fails, whoever sweeps does it.
    async fn discard(&self, id: ObjectId) {
        if let Err(failure) = self.try_discard(id).await {
            let error = self.place.failed("remove a zip that is not needed", &failure);
            tracing::warn!(%error, "a zip that is not needed is removed later");
        }
    }

    pub(super) async fn try_discard(&self, id: ObjectId) -> Result<(), Failure> {
        self.chunks.remove(&id.into()).await?;
        call(self.place.saving.delete_one(doc! { "_id": id })).await?;
        Ok(())
    }
}

fn known_of_ours(id: ObjectId, new: &NewVersion) -> Known {
    let (length, chunk_bytes) = (new.zip.written(), u64::from(CHUNK_BYTES));
    Known { id: id.into(), zip: ZipFile { id: id.into(), length, chunk_bytes } }
}
