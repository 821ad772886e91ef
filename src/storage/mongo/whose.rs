//! Whether a zip that Athens wrote is that of a version, and whole.
//!
//! Athens finds a zip by a name that two modules may share, and ends the upload of one that broke off as
//! if it were whole. So the zip itself is asked: it has its end, and its entries begin with the module
//! and version. That costs two or three small reads, once for each version and process; a list has the
//! small ones brought many at a time instead.

use std::ops::Range;

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

/// Where the bytes of a zip are.
#[derive(Clone, Copy)]
pub(super) enum Zip<'a> {
    /// At the server.
    Stored(&'a Chunks, &'a ZipFile),
    /// Here, all of them.
    Held(&'a Bytes),
}

impl Zip<'_> {
    fn length(self) -> u64 {
        match self {
            Self::Stored(_, file) => file.length,
            Self::Held(bytes) => bytes.len() as u64,
        }
    }

    async fn is_complete(self) -> Result<bool, Failure> {
        match self {
            Self::Stored(chunks, file) => is_complete(chunks, file).await,
            Self::Held(_) => Ok(true),
        }
    }

    /// A part of it within its length, or `None` where it is damaged there.
    async fn part(self, range: Range<u64>) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Stored(chunks, file) => match chunks.read(file, range).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(Trouble::Damaged(_)) => Ok(None),
                Err(Trouble::Failed(failure)) => Err(failure),
            },
            Self::Held(bytes) => {
                let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Some(bytes.slice(at(range.start)..at(range.end))))
            }
        }
    }
}

/// Looks into a zip.
pub(super) async fn whose(
    zip: Zip<'_>,
    module: &ModulePath,
    version: &Version,
) -> Result<Whose, Failure> {
    let begins = format!("{module}@{version}/");
    let name = match zip.is_complete().await? {
        true => name_in_directory(zip).await?,
        false => Name::Unknown,
    };
    match name {
        Name::None => Ok(Whose::This),
        Name::Known(name) if name.starts_with(begins.as_bytes()) => Ok(Whose::This),
        Name::Known(_) => Ok(Whose::Another),
        Name::Unknown => {
            let start = zip.part(0..ENTRY_BYTES.min(zip.length())).await?;
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

async fn name_in_directory(zip: Zip<'_>) -> Result<Name, Failure> {
    let tail_start = zip.length().saturating_sub(MAX_TAIL_BYTES as u64);
    let Some(tail) = zip.part(tail_start..zip.length()).await? else {
        return Ok(Name::Unknown);
    };
    let Some(directory) = directory_start(&tail, tail_start) else { return Ok(Name::Unknown) };
    if directory.bytes == 0 {
        return Ok(Name::None);
    }
    let end = zip.length().min(directory.start.saturating_add(ENTRY_BYTES));
    let entry = zip.part(directory.start..end).await?;
    let name = entry.and_then(|entry| name_of(&entry, DIRECTORY_SIGNATURE, &DIRECTORY_NAME));
    Ok(name.map_or(Name::Unknown, Name::Known))
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
