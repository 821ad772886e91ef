//! The versions of a module, and the catalogue of everything.
//!
//! A version is believed when its document has both texts and a zip. One of its own `_id` is ours, and was
//! whole before there was a document. One of Athens's name is looked into, once (see `whose.rs`), because
//! Athens ends a broken upload as if it were whole; that it is the version's is remembered. Zips are asked
//! for in batches, and so are the bytes of small ones that have to be looked into.
//!
//! Documents are taken one at a time, so memory does not grow with the collection; a list holds the
//! versions that it hands out.
//!
//! The catalogue is in the order of `_id`, which is about that of the saves. A token is the `_id` handed
//! out last, in hexadecimal: Athens's.

use std::collections::{BTreeSet, HashMap, HashSet};

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, CatalogPage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use futures::{StreamExt as _, TryStreamExt as _};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use sha2::{Digest as _, Sha256};

use super::super::whole::{Listing, MIN_ZIP_BYTES, PageRoom};
use super::chunks::holdable;
use super::failure::Failure;
use super::layout::{ZipFile, binary, file_name, is_unsettled, key_of, number, one_of};
use super::place::{call, collect};
use super::read::{MAX_REVISIONS, youngest};
use super::whose::{Whose, Zip, whose};
use super::{Engine, KIND};

/// Documents whose zips are asked for at once. A server without an index goes through all zips for each
/// batch, and compares each zip of the batch's range with the batch: with fewer, a list of 100,000 versions
/// is too many walks; with four times as many, comparing costs more than the walks.
const BATCH_DOCUMENTS: usize = 8_000;
/// Names of zips that are asked for at once, for the same reason; comparing them is dearer.
const BATCH_NAMES: usize = 2_000;
/// Zips that one list or page looks into at once.
const MAX_LOOKS: usize = 16;
/// Zips of Athens's that are remembered as their version's, about 60 bytes each.
pub const MAX_REMEMBERED_ZIPS: usize = 131_072;

/// What a zip that was looked into is remembered by: its id, and the version that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ZipOf([u8; 16]);

impl ZipOf {
    fn new(entry: &Entry, file: &ZipFile) -> Self {
        let text = format!("{}@{}\n{}\n{}", entry.module, entry.version, file.id, file.length);
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        Self(std::array::from_fn(|at| hash[at]))
    }
}

/// What a document says of a version.
struct Entry {
    id: Bson,
    module: ModulePath,
    version: Version,
}

impl Entry {
    /// `None` where the document is that of no version.
    fn of(document: &Document) -> Option<Self> {
        let version = Version::parse(document.get_str("version").ok()?).ok()?;
        let module = ModulePath::parse(document.get_str("module").ok()?).ok()?;
        Some(Self { id: document.get("_id")?.clone(), module, version })
    }

    fn zip_name(&self) -> String {
        file_name(self.module.as_str(), self.version.as_str())
    }
}

/// What selects documents with both texts, beside what else is asked of them.
fn with_texts(mut filter: Document) -> Document {
    for text in ["info", "mod"] {
        filter.insert(text, doc! { "$type": "binData", "$ne": binary(b"") });
    }
    filter
}

impl Engine {
    /// The versions of a module in lexical order.
    pub(super) async fn list(&self, module: &ModulePath) -> Result<Vec<Version>, Error> {
        let failed = |failure: Failure| {
            self.place.failed(&format!("list the versions of {module}"), &failure)
        };
        let find = self.place.modules.find(with_texts(doc! { "module": module.as_str() }));
        let find = find.projection(doc! { "module": 1, "version": 1 });
        let mut documents = call(find).await.map_err(failed)?;
        let (mut listing, mut batch) = (Listing::default(), Vec::new());
        loop {
            let has_more = call(documents.advance()).await.map_err(failed)?;
            if has_more {
                let document = documents.deserialize_current();
                batch.push(document.map_err(|error| failed(error.into()))?);
            }
            if !has_more || batch.len() == BATCH_DOCUMENTS {
                for entry in self.believed(&batch).await.map_err(failed)? {
                    listing.push(entry.version, KIND, module)?;
                }
                batch.clear();
            }
            if !has_more {
                return Ok(listing.sorted());
            }
        }
    }

    /// A page of at most `limit` entries after `token`; `limit` 0 leaves the size to [`PageRoom`].
    pub(super) async fn catalog(
        &self,
        token: Option<&str>,
        limit: usize,
    ) -> Result<CatalogPage, Error> {
        let mut room = PageRoom::new(limit);
        let mut after = read_token(token)?;
        let mut page = CatalogPage::default();
        let mut batch_documents = 0;
        // One entry more is looked for, so that a last page that is full has no token. Twice as many documents
        // as the time before: a page that lacks one entry does not go one by one through those without a zip.
        loop {
            batch_documents = BATCH_DOCUMENTS.min((room.entries() + 1).max(2 * batch_documents));
            let batch = self.documents_after(after, batch_documents).await;
            let batch = batch.map_err(|failure| self.place.failed("list", &failure))?;
            let believed = self.believed(&batch).await;
            for found in believed.map_err(|failure| self.place.failed("list", &failure))? {
                let (module, version) = (found.module.to_string(), found.version.to_string());
                let entry = CatalogEntry { module, version };
                if !room.takes(&entry) {
                    return Ok(page);
                }
                page.next = found.id.as_object_id().map(|id| id.to_hex());
                page.entries.push(entry);
            }
            match batch.last().and_then(|last| last.get_object_id("_id").ok()) {
                Some(last) if batch.len() == batch_documents => after = last,
                _ => break,
            }
        }
        page.next = None;
        Ok(page)
    }

    /// Comparing with an `ObjectId` leaves out documents whose `_id` is of another type.
    async fn documents_after(
        &self,
        after: ObjectId,
        documents: usize,
    ) -> Result<Vec<Document>, Failure> {
        let find = self.place.modules.find(with_texts(doc! { "_id": { "$gt": after } }));
        let find = find.sort(doc! { "_id": 1 }).projection(doc! { "module": 1, "version": 1 });
        collect(find.limit(i64::try_from(documents).unwrap_or(i64::MAX)), documents).await
    }

    /// Those of a few documents that have a zip, in their order.
    async fn believed(&self, documents: &[Document]) -> Result<Vec<Entry>, Failure> {
        let entries: Vec<Entry> = documents.iter().filter_map(Entry::of).collect();
        let with_own = self.with_own_zip(&entries).await?;
        let has_own = |entry: &Entry| with_own.contains(&key_of(&entry.id));
        let names = entries.iter().filter(|entry| !has_own(entry)).map(Entry::zip_name);
        let named = self.zips_named(names.collect()).await?;
        let unsure = entries.iter().filter(|entry| !has_own(entry));
        let others = &self.look_ahead(unsure, &named).await?;
        let looks = entries.into_iter().map(|entry| {
            let is_own = has_own(&entry);
            let of_name = named.get(&entry.zip_name()).map(Vec::as_slice).unwrap_or_default();
            async move {
                let is_believed = is_own || self.has_one_of(&entry, of_name, others).await?;
                Ok::<_, Failure>(is_believed.then_some(entry))
            }
        });
        let looked: Vec<Option<Entry>> =
            futures::stream::iter(looks).buffered(MAX_LOOKS).try_collect().await?;
        Ok(looked.into_iter().flatten().collect())
    }

    /// Looks into the youngest zips of some versions, as far as they are small, many at a time. What turns out
    /// to be the version's is remembered, what does not is handed back; all else [`Engine::has_one_of`] looks into.
    async fn look_ahead(
        &self,
        entries: impl Iterator<Item = &Entry>,
        named: &HashMap<String, Vec<ZipFile>>,
    ) -> Result<HashSet<ZipOf>, Failure> {
        let youngest = entries.filter_map(|entry| {
            let files = named.get(&entry.zip_name())?;
            let file = files.first()?;
            let is_small = holdable(std::iter::once(file)) == 1;
            (is_small && !self.knows_one_of(entry, files)).then_some((entry, file))
        });
        let youngest: Vec<_> = youngest.collect();
        let mut others = HashSet::new();
        let mut left = youngest.as_slice();
        while !left.is_empty() {
            let (batch, rest) = left.split_at(holdable(left.iter().map(|(_, file)| *file)).max(1));
            left = rest;
            let files: Vec<&ZipFile> = batch.iter().map(|(_, file)| *file).collect();
            let held = self.chunks.hold(&files).await?;
            for (entry, file) in batch {
                let Some(bytes) = held.get(file) else { continue };
                let key = ZipOf::new(entry, file);
                match whose(Zip::Held(bytes), &entry.module, &entry.version).await? {
                    Whose::This => self.zips.insert(key, ()),
                    Whose::Broken | Whose::Another => drop(others.insert(key)),
                }
            }
        }
        Ok(others)
    }

    /// Whether one of these zips is remembered as that of the version.
    fn knows_one_of(&self, entry: &Entry, files: &[ZipFile]) -> bool {
        files.iter().any(|file| self.zips.get(&ZipOf::new(entry, file)).is_some())
    }

    /// Whether one of these zips, the youngest first, is that of the version, and whole.
    /// Those in `others` are known not to be.
    async fn has_one_of(
        &self,
        entry: &Entry,
        files: &[ZipFile],
        others: &HashSet<ZipOf>,
    ) -> Result<bool, Failure> {
        if self.knows_one_of(entry, files) {
            return Ok(true);
        }
        for file in files.iter().filter(|file| !others.contains(&ZipOf::new(entry, file))) {
            let zip = Zip::Stored(&self.chunks, file);
            if whose(zip, &entry.module, &entry.version).await? == Whose::This {
                self.zips.insert(ZipOf::new(entry, file), ());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The ids of those that have a zip of ours.
    async fn with_own_zip(&self, entries: &[Entry]) -> Result<HashSet<String>, Failure> {
        let ids: Vec<Bson> = entries.iter().map(|entry| entry.id.clone()).collect();
        let mut found = HashSet::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let find = self.place.files.find(doc! { "_id": one_of(ids) });
        let mut cursor = call(find.projection(doc! { "length": 1 })).await?;
        while call(cursor.advance()).await? {
            let record: Document = cursor.deserialize_current()?;
            let length = record.get("length").and_then(number).unwrap_or(0);
            found.extend(record.get("_id").filter(|_| length >= MIN_ZIP_BYTES).map(key_of));
        }
        Ok(found)
    }

    /// The zips of some names, the youngest first, without those that belong to no version yet.
    async fn zips_named(
        &self,
        names: BTreeSet<String>,
    ) -> Result<HashMap<String, Vec<ZipFile>>, Failure> {
        let mut zips = HashMap::new();
        let names: Vec<String> = names.into_iter().collect();
        for names in names.chunks(BATCH_NAMES) {
            let mut found: HashMap<String, Vec<Document>> = HashMap::new();
            let find = self.place.files.find(doc! { "filename": { "$in": names } });
            let fields = doc! { "filename": 1, "length": 1, "chunkSize": 1, "uploadDate": 1 };
            let mut cursor = call(find.projection(fields)).await?;
            while call(cursor.advance()).await? {
                let record: Document = cursor.deserialize_current()?;
                let Ok(name) = record.get_str("filename").map(str::to_owned) else { continue };
                let of_name = found.entry(name).or_default();
                of_name.push(record);
                if of_name.len() == 2 * MAX_REVISIONS {
                    youngest(of_name);
                }
            }
            zips.extend(found.into_iter().map(|(name, mut of_name)| {
                youngest(&mut of_name);
                of_name.retain(|record| !is_unsettled(record));
                (name, of_name.iter().filter_map(ZipFile::of).collect::<Vec<_>>())
            }));
        }
        Ok(zips)
    }
}

fn read_token(token: Option<&str>) -> Result<ObjectId, Error> {
    match token.filter(|token| !token.is_empty()) {
        None => Ok(ObjectId::from_bytes([0; 12])),
        Some(token) => ObjectId::parse_str(token).map_err(|_| {
            let text = "catalog token is no ObjectId in hexadecimal: pass the value of `next` of the \
                        page before";
            Error::new(ErrorKind::BadRequest, text)
        }),
    }
}
