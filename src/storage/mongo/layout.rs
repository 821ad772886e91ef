//! Names and documents: Athens's, and what we lay beside them.
//!
//! | collection | document |
//! |---|---|
//! | `<collection>` | `{_id, module, version, mod, info}`: a version |
//! | `fs.files` | `{_id, length, chunkSize, uploadDate, filename}`: a zip, as GridFS has it |
//! | `fs.chunks` | `{_id, files_id, n, data}`: its bytes |
//! | `<collection>.dipylon.saving` | `{_id, module, version, at}`: a zip of ours that is on its way |
//! | `<collection>.dipylon.extras` | `{_id, bytes}`: a file of the gateway's own |
//!
//! Athens joins a version to its zip by the zip's name, in which a slash is an underscore: `a/b_c` and
//! `a_b/c` share one. Ours have the same name, and are joined by `_id`: the document and its zip have the
//! same one. So nothing is written that Athens does not write, and nothing of ours is ever mixed up.

use bytes::Bytes;
use dipylon_middleware::ports::NewVersion;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use super::super::whole::MIN_ZIP_BYTES;

/// GridFS's two collections, in the bucket that Athens uses.
pub(super) const FILES: &str = "fs.files";
pub(super) const CHUNKS: &str = "fs.chunks";
/// What our own collections are called after Athens's.
pub(super) const SAVING: &str = ".dipylon.saving";
pub(super) const EXTRAS: &str = ".dipylon.extras";

/// Bytes of a chunk: GridFS's default, and Athens's.
pub(super) const CHUNK_BYTES: u32 = 261_120;
/// No document is larger, so no chunk is.
const MAX_CHUNK_BYTES: u64 = 16 << 20;
/// Bytes of `.mod`, `.info` and names together: a document of MongoDB has at most 16 MiB.
pub const MAX_DOCUMENT_BYTES: usize = (16 << 20) - 16_384;

/// When a zip was uploaded that belongs to no version yet. Athens takes the youngest zip of a name, so
/// this one never comes before one that counts.
pub(super) const NOT_YET: DateTime = DateTime::from_millis(0);

/// The name of a zip, in Athens's spelling.
pub(super) fn file_name(module: &str, version: &str) -> String {
    format!("{}_{version}.zip", module.replace('/', "_"))
}

/// What selects the documents of a version.
pub(super) fn of_version(module: &ModulePath, version: &Version) -> Document {
    doc! { "module": module.as_str(), "version": version.as_str() }
}

/// The document of a version.
pub(super) fn version_document(id: ObjectId, new: &NewVersion) -> Document {
    doc! {
        "_id": id,
        "module": new.module.as_str(),
        "version": new.version.as_str(),
        "mod": binary(&new.go_mod),
        "info": binary(&new.info),
    }
}

/// The record of a zip that belongs to no version yet.
pub(super) fn file_record(id: ObjectId, new: &NewVersion, length: i64) -> Document {
    doc! {
        "_id": id,
        "length": length,
        "chunkSize": i32::try_from(CHUNK_BYTES).unwrap_or(i32::MAX),
        "uploadDate": NOT_YET,
        "filename": file_name(new.module.as_str(), new.version.as_str()),
    }
}

/// Bytes as Athens stores them.
pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// Takes a field of bytes out of a document.
pub(super) fn take_bytes(document: &mut Document, field: &str) -> Option<Bytes> {
    match document.remove(field)? {
        Bson::Binary(binary) => Some(binary.bytes.into()),
        _ => None,
    }
}

/// A zip in GridFS.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ZipFile {
    pub(super) id: Bson,
    /// In bytes, at least those of an empty zip.
    pub(super) length: u64,
    /// Bytes of each chunk but the last.
    pub(super) chunk_bytes: u64,
}

impl ZipFile {
    /// Reads the record of a file; `None` where it cannot be that of a zip.
    pub(super) fn of(record: &Document) -> Option<Self> {
        let length = number(record.get("length")?)?;
        let chunk_bytes = number(record.get("chunkSize")?)?;
        let fine = length >= MIN_ZIP_BYTES && (1..=MAX_CHUNK_BYTES).contains(&chunk_bytes);
        fine.then_some(Self { id: record.get("_id")?.clone(), length, chunk_bytes })
    }

    /// How many chunks it has.
    pub(super) fn chunks(&self) -> u64 {
        self.length.div_ceil(self.chunk_bytes)
    }

    /// Bytes of one of its chunks.
    pub(super) fn bytes_of(&self, chunk: u64) -> u64 {
        self.chunk_bytes.min(self.length.saturating_sub(chunk * self.chunk_bytes))
    }
}

/// Whether the record is that of a zip which belongs to no version yet.
pub(super) fn is_unsettled(record: &Document) -> bool {
    record.get_datetime("uploadDate").is_ok_and(|date| *date == NOT_YET)
}

/// Athens writes 64 bits, other programs less, and JavaScript fractions.
pub(super) fn number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole")]
        Bson::Double(number) if *number >= 0.0 && *number < 9e15 && number.fract() == 0.0 => {
            Some(*number as u64)
        }
        _ => None,
    }
}

/// What selects some ids. The range says nothing new; but a server without an index for `$in` is done sooner
/// with most of what it looks at.
pub(super) fn one_of(ids: Vec<Bson>) -> Document {
    let own: Vec<ObjectId> = ids.iter().filter_map(Bson::as_object_id).collect();
    match (own.iter().min(), own.iter().max()) {
        (Some(first), Some(last)) if own.len() == ids.len() => {
            doc! { "$gte": first, "$lte": last, "$in": ids }
        }
        _ => doc! { "$in": ids },
    }
}

/// A value that can be looked up, with its type.
pub(super) fn key_of(value: &Bson) -> String {
    match value {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => format!("\"{text}"),
        other => format!("{other:?}"),
    }
}
