//! The headers of an entry, before its content and in the central directory, judged on their own.
//!
//! Every function takes the bytes at hand and the offset they begin at. `None` says that the record
//! is not yet whole: ask again with more. All are bounded by their 16-bit length fields, about 200
//! KiB for the longest.

use super::error::{ZipError, quoted};
use super::fields::{Fields, Parsed};

/// General purpose flag: the entry is encrypted (weakly, strongly, or its header is masked).
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// General purpose flag: the content is a patch against another file.
const FLAG_PATCH: u16 = 1 << 5;
/// General purpose flag: a data descriptor follows the content.
const FLAG_DESCRIPTOR: u16 = 1 << 3;

/// A 32-bit value that says: the real one is in the zip64 extra field.
const IN_ZIP64_32: u32 = 0xffff_ffff;
/// Tag of the extra field with 64-bit sizes.
const EXTRA_ZIP64: u16 = 1;

/// How content is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
}

/// The local header of an entry. With a descriptor to come, sizes and CRC may be 0 for "not yet
/// known".
#[derive(Debug)]
pub(super) struct Local {
    pub(super) name: Vec<u8>,
    pub(super) method: Method,
    pub(super) has_descriptor: bool,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) uncompressed: u64,
}

/// What the central directory says of an entry.
#[derive(Debug)]
pub(super) struct Central {
    pub(super) local: Local,
    /// Unix file type bits of the mode, 0 when the zip's creator gave none.
    pub(super) unix_type: u32,
    /// The DOS attribute "directory".
    pub(super) dos_directory: bool,
    /// Offset of the local header.
    pub(super) offset: u64,
}

/// Fields that a local header and a directory record share, as they stand.
struct Common {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u32,
    uncompressed: u32,
    name_len: usize,
    extra_len: usize,
}

impl Common {
    /// Reads from the flags to the length of the extra field.
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _dos_time = fields.u32()?;
        Some(Self {
            flags,
            method,
            crc: fields.u32()?,
            compressed: fields.u32()?,
            uncompressed: fields.u32()?,
            name_len: usize::from(fields.u16()?),
            extra_len: usize::from(fields.u16()?),
        })
    }

    /// Judges flags and method and takes sizes from the zip64 extra field where the header points
    /// there.
    fn into_local(self, name: &[u8], zip64: &mut Fields<'_>, at: u64) -> Result<Local, ZipError> {
        let shown = || quoted(name);
        if self.flags & FLAGS_ENCRYPTED != 0 {
            return Err(ZipError::Encrypted { name: shown() });
        }
        if self.flags & FLAG_PATCH != 0 {
            return Err(ZipError::BadRecord { at, what: "entry is a patch" });
        }
        let method = match self.method {
            0 => Method::Stored,
            8 => Method::Deflate,
            method => return Err(ZipError::UnsupportedMethod { name: shown(), method }),
        };
        let uncompressed = widen(self.uncompressed, zip64, at)?;
        let compressed = widen(self.compressed, zip64, at)?;
        let has_descriptor = self.flags & FLAG_DESCRIPTOR != 0;
        Ok(Local {
            name: name.to_vec(),
            method,
            has_descriptor,
            crc: self.crc,
            compressed,
            uncompressed,
        })
    }
}

/// A 32-bit value, or the next 64-bit one of the zip64 extra field when it says so.
fn widen(value: u32, zip64: &mut Fields<'_>, at: u64) -> Result<u64, ZipError> {
    if value != IN_ZIP64_32 {
        return Ok(u64::from(value));
    }
    zip64.u64().ok_or(ZipError::BadRecord { at, what: "zip64 value is missing" })
}

/// The content of the zip64 extra field, empty when there is none.
fn zip64_extra(extra: &[u8], at: u64) -> Result<Fields<'_>, ZipError> {
    let mut fields = Fields(extra);
    let mut found = None;
    // Less than a tag and a length is padding, which tools that align entries leave.
    while let (Some(tag), Some(len)) = (fields.u16(), fields.u16()) {
        let content = fields.bytes(usize::from(len));
        let content = content.ok_or(ZipError::BadRecord { at, what: "extra field is cut" })?;
        if tag == EXTRA_ZIP64 && found.replace(content).is_some() {
            return Err(ZipError::BadRecord { at, what: "two zip64 extra fields" });
        }
    }
    Ok(Fields(found.unwrap_or_default()))
}

/// Reads a local header.
pub(super) fn local(input: &[u8], at: u64) -> Parsed<Local> {
    let mut fields = Fields(input);
    let Some((common, name, extra)) = local_parts(&mut fields) else { return Ok(None) };
    let used = input.len() - fields.0.len();
    let local = common.into_local(name, &mut zip64_extra(extra, at)?, at)?;
    Ok(Some((local, used)))
}

fn local_parts<'a>(fields: &mut Fields<'a>) -> Option<(Common, &'a [u8], &'a [u8])> {
    let (_signature, _needed) = (fields.u32()?, fields.u16()?);
    let common = Common::read(fields)?;
    let name = fields.bytes(common.name_len)?;
    let extra = fields.bytes(common.extra_len)?;
    Some((common, name, extra))
}

/// The parts of a directory record as they stand.
struct CentralParts<'a> {
    common: Common,
    creator: u16,
    disk: u16,
    external: u32,
    offset: u32,
    name: &'a [u8],
    extra: &'a [u8],
}

/// Reads an entry's record in the central directory.
pub(super) fn central(input: &[u8], at: u64) -> Parsed<Central> {
    let mut fields = Fields(input);
    let Some(parts) = central_parts(&mut fields) else { return Ok(None) };
    let used = input.len() - fields.0.len();
    if parts.disk != 0 {
        return Err(ZipError::BadRecord { at, what: "entry lies on another disk" });
    }
    let mut zip64 = zip64_extra(parts.extra, at)?;
    let local = parts.common.into_local(parts.name, &mut zip64, at)?;
    let offset = widen(parts.offset, &mut zip64, at)?;
    // Unix and macOS put the mode into the upper half of the external attributes.
    let has_mode = matches!(parts.creator >> 8, 3 | 19);
    let unix_type = if has_mode { (parts.external >> 16) & 0o170_000 } else { 0 };
    let dos_directory = parts.external & 0x10 != 0;
    Ok(Some((Central { local, unix_type, dos_directory, offset }, used)))
}

fn central_parts<'a>(fields: &mut Fields<'a>) -> Option<CentralParts<'a>> {
    let (_signature, creator, _needed) = (fields.u32()?, fields.u16()?, fields.u16()?);
    let common = Common::read(fields)?;
    let comment_len = usize::from(fields.u16()?);
    let (disk, _internal) = (fields.u16()?, fields.u16()?);
    let (external, offset) = (fields.u32()?, fields.u32()?);
    let name = fields.bytes(common.name_len)?;
    let extra = fields.bytes(common.extra_len)?;
    let _comment = fields.bytes(comment_len)?;
    Some(CentralParts { common, creator, disk, external, offset, name, extra })
}
