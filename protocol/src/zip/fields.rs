//! What every record of a zip begins with, and how its fields are read.

use super::error::ZipError;

/// Signature of a local header, which stands before an entry's content.
pub(super) const LOCAL: u32 = 0x0403_4b50;
/// Signature of an entry's record in the central directory.
pub(super) const CENTRAL: u32 = 0x0201_4b50;
/// Signature of the end record.
pub(super) const END: u32 = 0x0605_4b50;
/// Signature of the zip64 end record.
pub(super) const ZIP64_END: u32 = 0x0606_4b50;
/// Signature of the zip64 locator.
pub(super) const ZIP64_LOCATOR: u32 = 0x0706_4b50;
/// Bytes of any signature.
pub(super) const SIGNATURE_BYTES: usize = 4;
/// A record and how many bytes it took, or `None` when it is not whole yet.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, ZipError>;

/// Little-endian fields in order; each is `None` past the end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// The signature at the start of the bytes.
pub(super) fn signature(input: &[u8]) -> Option<u32> {
    Fields(input).u32()
}
