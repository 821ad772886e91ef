//! The end records of a zip: where its central directory is.

use super::error::ZipError;
use super::fields::{END, Fields, Parsed, ZIP64_LOCATOR, signature};

/// A 16-bit or 32-bit value that says: the real one is in the zip64 end record.
const IN_ZIP64_16: u64 = 0xffff;
const IN_ZIP64_32: u64 = 0xffff_ffff;

/// What an end record says of the central directory.
#[derive(Debug)]
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
}

impl End {
    /// Whether this record tells the truth; in the old record a value may say "see zip64" if there
    /// is such a record.
    pub(super) fn agrees(&self, real: &Self, or_in_zip64: bool) -> bool {
        let in_zip64 = |value: u64, marker: u64| or_in_zip64 && value == marker;
        (self.entries == real.entries || in_zip64(self.entries, IN_ZIP64_16))
            && (self.size == real.size || in_zip64(self.size, IN_ZIP64_32))
            && (self.offset == real.offset || in_zip64(self.offset, IN_ZIP64_32))
    }
}

/// Reads the zip64 end record; only its first version, which has no data of its own at the end.
pub(super) fn zip64_end(input: &[u8], at: u64) -> Parsed<End> {
    let mut fields = Fields(input);
    let Some((size_of_rest, disks, entries_here, end)) = zip64_end_parts(&mut fields) else {
        return Ok(None);
    };
    if size_of_rest != 44 {
        return Err(ZipError::BadRecord { at, what: "zip64 end record is not 56 bytes long" });
    }
    single_disk(disks, entries_here, &end, at)?;
    Ok(Some((end, input.len() - fields.0.len())))
}

fn zip64_end_parts(fields: &mut Fields<'_>) -> Option<(u64, u64, u64, End)> {
    let (_signature, size_of_rest) = (fields.u32()?, fields.u64()?);
    let _versions = fields.u32()?;
    let (disks, entries_here) = (fields.u64()?, fields.u64()?);
    let end = End { entries: fields.u64()?, size: fields.u64()?, offset: fields.u64()? };
    Some((size_of_rest, disks, entries_here, end))
}

/// Reads the zip64 locator: the offset of the zip64 end record.
pub(super) fn zip64_locator(input: &[u8], at: u64) -> Parsed<u64> {
    let mut fields = Fields(input);
    let (Some(signature), Some(disk), Some(offset), Some(disks)) =
        (fields.u32(), fields.u32(), fields.u64(), fields.u32())
    else {
        return Ok(None);
    };
    if signature != ZIP64_LOCATOR || disk != 0 || disks != 1 {
        return Err(ZipError::BadRecord { at, what: "no locator after the zip64 end record" });
    }
    Ok(Some((offset, input.len() - fields.0.len())))
}

/// Reads the end record with its comment.
pub(super) fn end(input: &[u8], at: u64) -> Parsed<End> {
    let mut fields = Fields(input);
    let Some((disks, entries_here, end, comment)) = end_parts(&mut fields) else { return Ok(None) };
    single_disk(disks, entries_here, &end, at)?;
    // Readers look for the end record from the back: one inside the comment would be found first.
    if comment.windows(4).any(|window| signature(window) == Some(END)) {
        return Err(ZipError::BadRecord { at, what: "comment holds another end record" });
    }
    Ok(Some((end, input.len() - fields.0.len())))
}

fn end_parts<'a>(fields: &mut Fields<'a>) -> Option<(u64, u64, End, &'a [u8])> {
    let (_signature, disks) = (fields.u32()?, u64::from(fields.u32()?));
    let entries_here = u64::from(fields.u16()?);
    let entries = u64::from(fields.u16()?);
    let (size, offset) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let comment_len = usize::from(fields.u16()?);
    Some((disks, entries_here, End { entries, size, offset }, fields.bytes(comment_len)?))
}

fn single_disk(disks: u64, entries_here: u64, end: &End, at: u64) -> Result<(), ZipError> {
    if disks != 0 || entries_here != end.entries {
        return Err(ZipError::BadRecord { at, what: "zip is spread over several disks" });
    }
    Ok(())
}
