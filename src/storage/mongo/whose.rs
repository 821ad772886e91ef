//! Whether a zip that Athens wrote is that of a version, and whole.
//!
//! Athens finds a zip by a name that two modules may share, and ends the upload of one that broke off as
//! if it were whole. So the zip itself is asked: it has its end, and its entries begin with the module
//! and version. That costs two or three small reads, once for each version and process.

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use super::super::zip_end::{DIRECTORY_SIGNATURE, MAX_TAIL_BYTES, directory_start};
use super::chunks::{Chunks, Trouble};
use super::failure::Failure;
use super::layout::ZipFile;

/// How each file in a zip begins, in front of its bytes.
const FILE_SIGNATURE: &[u8] = b"PK\x03\x04";
/// Where a file's name begins, and where its length stands, in front of its bytes.
const FILE_NAME: Field = Field { length_at: 26, begins_at: 30 };
/// The same in the directory.
const DIRECTORY_NAME: Field = Field { length_at: 28, begins_at: 46 };
/// As much of an entry as can matter: a module path and version have far fewer bytes.
const ENTRY_BYTES: u64 = 4_096;

struct Field {
    length_at: usize,
    begins_at: usize,
}

/// What a zip turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of the version, whole.
    This,
    /// What is left of one that could be the version's: nobody else's, in any case.
    Broken,
    /// Another's.
    Another,
}

/// Looks into a zip.
pub(super) async fn whose(
    chunks: &Chunks,
    file: &ZipFile,
    module: &ModulePath,
    version: &Version,
) -> Result<Whose, Failure> {
    let begins = format!("{module}@{version}/");
    let name = match is_complete(chunks, file).await? {
        true => name_in_directory(chunks, file).await?,
        false => Name::Unknown,
    };
    match name {
        Name::None => Ok(Whose::This),
        Name::Known(name) if name.starts_with(begins.as_bytes()) => Ok(Whose::This),
        Name::Known(_) => Ok(Whose::Another),
        Name::Unknown => {
            let start = part(chunks, file, 0..ENTRY_BYTES.min(file.length)).await?;
            let name = start.and_then(|start| name_of(&start, FILE_SIGNATURE, &FILE_NAME));
            let is_anothers = name.is_some_and(|name| !name.starts_with(begins.as_bytes()));
            Ok(if is_anothers { Whose::Another } else { Whose::Broken })
        }
    }
}

/// Whether a file has all its chunks.
pub(super) async fn is_complete(chunks: &Chunks, file: &ZipFile) -> Result<bool, Failure> {
    Ok(chunks.count(&file.id).await? == file.chunks())
}

/// The name of a zip's first entry.
enum Name {
    Known(Bytes),
    /// A whole zip without entries.
    None,
    /// No whole zip.
    Unknown,
}

async fn name_in_directory(chunks: &Chunks, file: &ZipFile) -> Result<Name, Failure> {
    let tail_start = file.length.saturating_sub(MAX_TAIL_BYTES as u64);
    let Some(tail) = part(chunks, file, tail_start..file.length).await? else {
        return Ok(Name::Unknown);
    };
    let Some(directory) = directory_start(&tail, tail_start) else { return Ok(Name::Unknown) };
    if directory.bytes == 0 {
        return Ok(Name::None);
    }
    let end = file.length.min(directory.start.saturating_add(ENTRY_BYTES));
    let entry = part(chunks, file, directory.start..end).await?;
    let name = entry.and_then(|entry| name_of(&entry, DIRECTORY_SIGNATURE, &DIRECTORY_NAME));
    Ok(name.map_or(Name::Unknown, Name::Known))
}

/// A part of a zip, or `None` where it is damaged there.
async fn part(
    chunks: &Chunks,
    file: &ZipFile,
    range: std::ops::Range<u64>,
) -> Result<Option<Bytes>, Failure> {
    match chunks.read(file, range).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Trouble::Damaged(_)) => Ok(None),
        Err(Trouble::Failed(failure)) => Err(failure),
    }
}

/// The name in an entry, as much of it as was read.
fn name_of(entry: &Bytes, signature: &[u8], field: &Field) -> Option<Bytes> {
    if !entry.starts_with(signature) {
        return None;
    }
    let length = entry.get(field.length_at..field.length_at + 2)?;
    let length = usize::from(u16::from_le_bytes(length.try_into().ok()?));
    let end = entry.len().min(field.begins_at + length);
    (field.begins_at < end).then(|| entry.slice(field.begins_at..end))
}
