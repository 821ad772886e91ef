//! The data descriptor: CRC-32 and sizes after the content, where the header did not have them.

use super::fields::{CENTRAL, Fields, LOCAL, SIGNATURE_BYTES, signature};

/// Signature that may stand before a data descriptor.
const DESCRIPTOR: u32 = 0x0807_4b50;

/// Bytes of the longest data descriptor: signature, CRC-32 and two sizes of 64 bits.
pub(super) const MAX_DESCRIPTOR_BYTES: usize = 24;
/// Bytes that may have to be seen to tell where a descriptor ends: the longest one and the next
/// signature.
pub(super) const DESCRIPTOR_WINDOW_BYTES: usize = MAX_DESCRIPTOR_BYTES + SIGNATURE_BYTES;

/// Where the signature of an entry's header or directory record stands in the bytes.
pub(super) fn headers(input: &[u8]) -> impl Iterator<Item = usize> {
    let is_header = |window: &[u8]| matches!(signature(window), Some(LOCAL | CENTRAL));
    let windows = input.windows(SIGNATURE_BYTES).enumerate();
    windows.filter_map(move |(at, window)| (window[0] == b'P' && is_header(window)).then_some(at))
}

/// Length of the data descriptor at the start of `window` if it is one for exactly these values,
/// else `None`.
///
/// It comes with or without a signature, with sizes of 32 or 64 bits, and nothing says which: the
/// right shape is the one whose values are those of the content and that the header of an entry or
/// of the directory follows.
pub(super) fn descriptor(
    window: &[u8],
    crc: impl Fn() -> u32,
    compressed: u64,
    uncompressed: u64,
) -> Option<usize> {
    let shapes = [(true, false), (false, false), (true, true), (false, true)];
    shapes.into_iter().find_map(|(signed, wide)| {
        let mut fields = Fields(window);
        if signed && fields.u32()? != DESCRIPTOR {
            return None;
        }
        let told_crc = fields.u32()?;
        let told = if wide {
            (fields.u64()?, fields.u64()?)
        } else {
            (u64::from(fields.u32()?), u64::from(fields.u32()?))
        };
        let len = window.len() - fields.0.len();
        let fits = told == (compressed, uncompressed) && matches!(fields.u32()?, LOCAL | CENTRAL);
        (fits && told_crc == crc()).then_some(len)
    })
}
