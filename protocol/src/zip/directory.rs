//! The end of a zip: its central directory and end records, compared with the entries that were
//! read.
//!
//! Readers trust the directory, this check trusts the stream; a zip in which the two differ means
//! different files to different readers and is refused whatever it holds.

use super::body::Entry;
use super::end::{self, End};
use super::error::{ZipError, quoted};
use super::fields::{self, signature};
use super::record::{self, Central};

/// Unix file types in a mode.
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// What has been read of the end of a zip.
#[derive(Debug)]
pub(super) struct Directory {
    /// Offset of the first directory record.
    start: u64,
    listed: usize,
    /// Offset just after the last directory record.
    end: u64,
    /// Offset of the zip64 end record, once there was one.
    zip64: Option<u64>,
    /// Whether the zip64 locator was read too.
    located: bool,
}

/// What follows the record that was read.
pub(super) struct Read {
    pub(super) used: usize,
    pub(super) is_last: bool,
}

impl Directory {
    pub(super) fn new(start: u64) -> Self {
        Self { start, listed: 0, end: start, zip64: None, located: false }
    }

    /// Reads the next record, `None` when it is not whole yet. Directory records come first, then
    /// the end records.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        at: u64,
        entries: &mut [Entry],
        prefix: &str,
    ) -> Result<Option<Read>, ZipError> {
        let Some(signature) = signature(input) else { return Ok(None) };
        match (signature, self.zip64) {
            (fields::CENTRAL, None) => self.central(input, at, entries, prefix),
            (fields::ZIP64_END, None) => self.zip64_end(input, at, entries),
            (_, Some(offset)) if !self.located => self.zip64_locator(input, at, offset),
            (fields::END, _) => self.end(input, at, entries),
            _ => Err(ZipError::UnknownRecord { at }),
        }
    }

    fn central(
        &mut self,
        input: &[u8],
        at: u64,
        entries: &mut [Entry],
        prefix: &str,
    ) -> Result<Option<Read>, ZipError> {
        let Some((central, used)) = record::central(input, at)? else { return Ok(None) };
        let differs = |what| ZipError::EntryMismatch { name: quoted(&central.local.name), what };
        let found = entries.binary_search_by_key(&central.offset, |entry| entry.offset);
        let entry =
            found.ok().and_then(|at| entries.get_mut(at)).ok_or_else(|| differs("the offset"))?;
        if let Some(what) = difference(entry, &central, prefix) {
            return Err(differs(what));
        }
        check_type(entry, &central)?;
        entry.listed = true;
        self.listed += 1;
        self.end = at + used as u64;
        Ok(Some(Read { used, is_last: false }))
    }

    fn zip64_end(
        &mut self,
        input: &[u8],
        at: u64,
        entries: &[Entry],
    ) -> Result<Option<Read>, ZipError> {
        let Some((end, used)) = end::zip64_end(input, at)? else { return Ok(None) };
        self.check_end(&end, false, at, entries)?;
        self.zip64 = Some(at);
        Ok(Some(Read { used, is_last: false }))
    }

    fn zip64_locator(
        &mut self,
        input: &[u8],
        at: u64,
        offset: u64,
    ) -> Result<Option<Read>, ZipError> {
        let Some((told, used)) = end::zip64_locator(input, at)? else { return Ok(None) };
        if told != offset {
            return Err(ZipError::BadRecord { at, what: "locator points elsewhere" });
        }
        self.located = true;
        Ok(Some(Read { used, is_last: false }))
    }

    fn end(&mut self, input: &[u8], at: u64, entries: &[Entry]) -> Result<Option<Read>, ZipError> {
        let Some((end, used)) = end::end(input, at)? else { return Ok(None) };
        self.check_end(&end, self.zip64.is_some(), at, entries)?;
        Ok(Some(Read { used, is_last: true }))
    }

    /// An end record must describe the directory that was read, and the directory every entry.
    fn check_end(
        &self,
        told: &End,
        or_in_zip64: bool,
        at: u64,
        entries: &[Entry],
    ) -> Result<(), ZipError> {
        if let Some(hidden) = entries.iter().find(|entry| !entry.listed) {
            let name = quoted(hidden.rest.as_bytes());
            return Err(ZipError::EntryMismatch { name, what: "whether there is such an entry" });
        }
        let real =
            End { entries: self.listed as u64, size: self.end - self.start, offset: self.start };
        if !told.agrees(&real, or_in_zip64) {
            return Err(ZipError::BadRecord { at, what: "it describes another directory" });
        }
        Ok(())
    }
}

/// The first thing that the directory says otherwise than the stream did.
fn difference(entry: &Entry, central: &Central, prefix: &str) -> Option<&'static str> {
    let told = &central.local;
    let checks = [
        (!entry.listed, "how often there is such an entry"),
        (told.name.strip_prefix(prefix.as_bytes()) == Some(entry.rest.as_bytes()), "the name"),
        (told.method == entry.method, "the compression method"),
        (told.has_descriptor == entry.has_descriptor, "whether a data descriptor follows"),
        (told.crc == entry.crc, "the CRC-32"),
        (told.compressed == entry.compressed, "the compressed size"),
        (told.uncompressed == entry.uncompressed, "the size"),
    ];
    checks.into_iter().find_map(|(same, what)| (!same).then_some(what))
}

/// Only regular files and directories may be in a module zip; where the zip has no mode, the name
/// says which.
fn check_type(entry: &Entry, central: &Central) -> Result<(), ZipError> {
    let name = || quoted(&central.local.name);
    match central.unix_type {
        TYPE_SYMLINK => Err(ZipError::Symlink { name: name() }),
        0 | TYPE_REGULAR if entry.is_dir || !central.dos_directory => Ok(()),
        TYPE_DIRECTORY if entry.is_dir => Ok(()),
        _ => Err(ZipError::Irregular { name: name() }),
    }
}
