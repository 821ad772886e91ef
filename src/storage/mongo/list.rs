//! The versions of a module, and the catalogue of everything.
//!
//! A version is believed when its document has a zip: one of its own `_id`, or one of Athens's name.
//! Zips are asked for in batches, and are not looked into.
//!
//! The catalogue is in the order of `_id`, which is about that of the saves. A token is the `_id` handed
//! out last, in hexadecimal: Athens's.

use std::collections::HashSet;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, CatalogPage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};

use super::super::whole::{MAX_CATALOG_ENTRIES, MAX_LISTED_VERSIONS, MIN_ZIP_BYTES};
use super::Engine;
use super::failure::Failure;
use super::layout::{file_name, is_unsettled, number};
use super::place::{call, collect};

/// Documents whose zips are asked for at once.
const BATCH_DOCUMENTS: usize = 500;

/// What a document says of a version.
struct Entry {
    id: Bson,
    module: String,
    version: String,
}

impl Entry {
    /// `None` where the document is that of no version.
    fn of(document: &Document) -> Option<Self> {
        let module = document.get_str("module").ok()?;
        let version = document.get_str("version").ok()?;
        Version::parse(version).ok()?;
        ModulePath::parse(module).ok()?;
        let (module, version) = (module.to_owned(), version.to_owned());
        Some(Self { id: document.get("_id")?.clone(), module, version })
    }
}

impl Engine {
    /// The versions of a module in lexical order.
    pub(super) async fn list(&self, module: &ModulePath) -> Result<Vec<Version>, Error> {
        let failed = |failure: Failure| {
            self.place.failed(&format!("list the versions of {module}"), &failure)
        };
        let find = self.place.modules.find(doc! { "module": module.as_str() });
        let find = find.projection(doc! { "module": 1, "version": 1 });
        let documents = collect(find, MAX_LISTED_VERSIONS + 1).await.map_err(failed)?;
        if documents.len() > MAX_LISTED_VERSIONS {
            let what = format!("module {module} has more than {MAX_LISTED_VERSIONS} versions");
            return Err(self.place.wrong(&what));
        }
        let mut names: Vec<String> = Vec::new();
        for batch in documents.chunks(BATCH_DOCUMENTS) {
            let believed = self.believed(batch).await.map_err(failed)?;
            names.extend(believed.into_iter().map(|entry| entry.version));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names.iter().filter_map(|name| Version::parse(name).ok()).collect())
    }

    /// A page of at most `limit` entries after `token`; `limit` 0 stands for [`MAX_CATALOG_ENTRIES`].
    pub(super) async fn catalog(
        &self,
        token: Option<&str>,
        limit: usize,
    ) -> Result<CatalogPage, Error> {
        let entries_max = if limit == 0 { MAX_CATALOG_ENTRIES } else { limit };
        let entries_max = entries_max.min(MAX_CATALOG_ENTRIES);
        let mut after = read_token(token)?;
        let mut page = CatalogPage::default();
        // One entry more is looked for, so that a last page that is full has no token.
        let batch_documents = BATCH_DOCUMENTS.min(entries_max + 1);
        loop {
            let batch = self.documents_after(after, batch_documents).await;
            let batch = batch.map_err(|failure| self.place.failed("list", &failure))?;
            let believed = self.believed(&batch).await;
            for entry in believed.map_err(|failure| self.place.failed("list", &failure))? {
                if page.entries.len() == entries_max {
                    return Ok(page);
                }
                page.next = entry.id.as_object_id().map(|id| id.to_hex());
                page.entries.push(CatalogEntry { module: entry.module, version: entry.version });
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
        let find = self.place.modules.find(doc! { "_id": { "$gt": after } });
        let find = find.sort(doc! { "_id": 1 }).projection(doc! { "module": 1, "version": 1 });
        collect(find.limit(i64::try_from(documents).unwrap_or(i64::MAX)), documents).await
    }

    /// Those of a few documents that have a zip, in their order.
    async fn believed(&self, documents: &[Document]) -> Result<Vec<Entry>, Failure> {
        let mut entries: Vec<Entry> = documents.iter().filter_map(Entry::of).collect();
        let ids: Vec<Bson> = entries.iter().map(|entry| entry.id.clone()).collect();
        let with_own = self.files_with("_id", ids).await?;
        let has_own = |entry: &Entry| with_own.contains(&key_of(&entry.id));
        let name = |entry: &Entry| file_name(&entry.module, &entry.version);
        let rest = entries.iter().filter(|entry| !has_own(entry));
        let names: Vec<Bson> = rest.map(|entry| Bson::String(name(entry))).collect();
        let with_name = self.files_with("filename", names).await?;
        entries.retain(|entry| {
            has_own(entry) || with_name.contains(&key_of(&Bson::String(name(entry))))
        });
        Ok(entries)
    }

    /// Which of these values of a field the records of zips have. One that belongs to no version yet
    /// counts by its `_id` alone.
    async fn files_with(&self, field: &str, of: Vec<Bson>) -> Result<HashSet<String>, Failure> {
        let mut found = HashSet::new();
        if of.is_empty() {
            return Ok(found);
        }
        let find = self.place.files.find(doc! { field: { "$in": of } });
        let find = find.projection(doc! { "filename": 1, "length": 1, "uploadDate": 1 });
        let mut cursor = call(find).await?;
        while call(cursor.advance()).await? {
            let record: Document = cursor.deserialize_current()?;
            let length = record.get("length").and_then(number).unwrap_or(0);
            let counts = length >= MIN_ZIP_BYTES && (field == "_id" || !is_unsettled(&record));
            found.extend(record.get(field).filter(|_| counts).map(key_of));
        }
        Ok(found)
    }
}

/// A value that can be looked up, with its type.
fn key_of(value: &Bson) -> String {
    match value {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => format!("\"{text}"),
        other => format!("{other:?}"),
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
