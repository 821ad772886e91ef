//! Reading a file of a version, and whether the version is whole.
//!
//! Whole means: the `.info` names the version, the `.mod` has text, and the zip has all its chunks. A zip
//! of ours has the `_id` of the document; one of Athens's is looked for by its name, the youngest first,
//! and must be the version's and have its end.
//!
//! A version that was found whole is remembered by the ids of its document and its zip: the next reads
//! ask for these. One that is gone since is looked at again.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use mongodb::bson::{Bson, Document, doc};

use super::super::whole::texts_are_whole;
use super::Engine;
use super::chunks::StoredZip;
use super::failure::Failure;
use super::layout::{ZipFile, file_name, is_unsettled, of_version, take_bytes};
use super::place::{call, collect};
use super::whose::{Whose, Zip, is_complete, whose};

/// Zips of one name that are looked at, the youngest first. Athens leaves one for each upload.
pub(super) const MAX_REVISIONS: usize = 16;

/// What there is of a version.
pub(super) enum Look {
    /// No document.
    Absent,
    /// A document that proves nothing.
    Torn(Torn),
    /// All of it.
    Whole(Whole),
}

/// What is left of a version.
pub(super) struct Torn {
    /// The document.
    pub(super) id: Bson,
    /// Zips that are of no use to any version.
    pub(super) broken_zips: Vec<Bson>,
}

/// What was seen of a whole version.
pub(super) struct Whole {
    pub(super) known: Known,
    pub(super) info: Bytes,
    pub(super) go_mod: Bytes,
}

/// What is remembered of a whole version.
#[derive(Clone)]
pub(super) struct Known {
    /// The document.
    pub(super) id: Bson,
    pub(super) zip: ZipFile,
}

impl Engine {
    /// One file of a whole version.
    pub(super) async fn read(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let key = (module.clone(), version.clone());
        let result = async {
            if let Some(known) = self.remembered.get(&key) {
                if let Some(blob) = self.open(&known, kind, module, version).await? {
                    return Ok(Some(blob));
                }
                self.remembered.remove(&key);
            }
            let Look::Whole(whole) = self.look(module, version).await? else { return Ok(None) };
            self.remembered.insert(key, whole.known.clone());
            Ok(Some(match kind {
                FileKind::Info => Blob::from_bytes(whole.info),
                FileKind::Mod => Blob::from_bytes(whole.go_mod),
                FileKind::Zip => self.stored_zip(whole.known.zip, module, version),
            }))
        };
        result.await.map_err(|failure: Failure| {
            let what = format!("read the .{} of {module}@{version}", kind.as_str());
            self.place.failed(&what, &failure)
        })
    }

    /// A file of a version that is remembered; `None` where it is no more as it was.
    async fn open(
        &self,
        known: &Known,
        kind: FileKind,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Option<Blob>, Failure> {
        let field = match kind {
            FileKind::Info => "info",
            FileKind::Mod => "mod",
            FileKind::Zip => "_id",
        };
        let find = self.place.modules.find_one(doc! { "_id": &known.id });
        let document = call(find.projection(doc! { field: 1 }));
        if kind != FileKind::Zip {
            let bytes = document.await?.and_then(|mut document| take_bytes(&mut document, field));
            return Ok(bytes.map(Blob::from_bytes));
        }
        let (document, file) = tokio::join!(document, self.file(&known.zip.id));
        let is_there = document?.is_some() && file?.as_ref() == Some(&known.zip);
        Ok(is_there.then(|| self.stored_zip(known.zip.clone(), module, version)))
    }

    fn stored_zip(&self, file: ZipFile, module: &ModulePath, version: &Version) -> Blob {
        let length = file.length;
        let name = format!("{module}@{version}");
        Blob::remote(Arc::new(StoredZip { chunks: self.chunks.clone(), file, name }), length)
    }

    async fn file(&self, id: &Bson) -> Result<Option<ZipFile>, Failure> {
        let record = call(self.place.files.find_one(doc! { "_id": id })).await?;
        Ok(record.as_ref().and_then(ZipFile::of))
    }

    /// Looks at a version. A miss, which is what most looks find, costs one request.
    pub(super) async fn look(
        &self,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Look, Failure> {
        // Where somebody dropped the unique index there may be two; the oldest is the first save.
        let find = self.place.modules.find_one(of_version(module, version)).sort(doc! { "_id": 1 });
        let Some(mut document) = call(find).await? else { return Ok(Look::Absent) };
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let texts = take_texts(&mut document, version);
        let (zip, mut broken_zips) = self.find_zip(&id, module, version).await?;
        Ok(match (texts, zip) {
            (Some((info, go_mod)), Some(zip)) => {
                Look::Whole(Whole { known: Known { id, zip }, info, go_mod })
            }
            // What is saved next comes with its own zip; one of ours is of no use without its document.
            (_, zip) => {
                broken_zips.extend(zip.map(|zip| zip.id).filter(|zip| *zip == id));
                Look::Torn(Torn { id, broken_zips })
            }
        })
    }

    /// The zip of a version, or what there is in its place.
    async fn find_zip(
        &self,
        id: &Bson,
        module: &ModulePath,
        version: &Version,
    ) -> Result<(Option<ZipFile>, Vec<Bson>), Failure> {
        if let Some(ours) = self.file(id).await? {
            return match is_complete(&self.chunks, &ours).await? {
                true => Ok((Some(ours), Vec::new())),
                false => Ok((None, vec![ours.id])),
            };
        }
        let name = file_name(module.as_str(), version.as_str());
        let find = self.place.files.find(doc! { "filename": name }).sort(doc! { "uploadDate": -1 });
        let limit = i64::try_from(MAX_REVISIONS).unwrap_or(i64::MAX);
        let records = collect(find.limit(limit), MAX_REVISIONS).await?;
        let mut broken = Vec::new();
        for file in records.iter().filter(|record| !is_unsettled(record)).filter_map(ZipFile::of) {
            match whose(Zip::Stored(&self.chunks, &file), module, version).await? {
                Whose::This => return Ok((Some(file), broken)),
                Whose::Broken => broken.push(file.id),
                Whose::Another => {}
            }
        }
        Ok((None, broken))
    }
}

/// Leaves the youngest records of a name, in the order in which they are looked at.
pub(super) fn youngest(records: &mut Vec<Document>) {
    let date = |record: &Document| record.get_datetime("uploadDate").ok().copied();
    records.sort_by_key(|record| std::cmp::Reverse(date(record)));
    records.truncate(MAX_REVISIONS);
}

/// `.info` and `.mod`, where they are what they should be.
fn take_texts(document: &mut Document, version: &Version) -> Option<(Bytes, Bytes)> {
    let info = take_bytes(document, "info")?;
    let go_mod = take_bytes(document, "mod")?;
    texts_are_whole(&info, &go_mod, version).then_some((info, go_mod))
}
