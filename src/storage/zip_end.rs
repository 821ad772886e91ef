//! Whether a zip file has its end: the cheap sign that it was written to its last byte.
//!
//! A zip ends with a record that says where its directory begins and how long it is, so a file that
//! was cut anywhere does not fit its own end (PKWARE APPNOTE 4.3.14 to 4.3.16).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The end record without its comment.
pub(super) const END_BYTES: usize = 22;
/// The longest comment that a 16 bit length can say.
const MAX_COMMENT_BYTES: usize = 0xffff;
/// The locator of a zip64 end record; it stands right before the end record.
const LOCATOR_BYTES: usize = 20;
/// The zip64 end record as it is written without extensions.
const END64_BYTES: usize = 56;
/// As much of the tail as can matter.
pub(super) const MAX_TAIL_BYTES: usize =
    END_BYTES + MAX_COMMENT_BYTES + LOCATOR_BYTES + END64_BYTES;

const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const LOCATOR_SIGNATURE: &[u8] = b"PK\x06\x07";
const END64_SIGNATURE: &[u8] = b"PK\x06\x06";
/// How each entry of a directory begins.
pub(super) const DIRECTORY_SIGNATURE: &[u8] = b"PK\x01\x02";

/// Whether the file of `length` bytes ends as a zip does.
///
/// # Errors
/// Those of reading.
pub(crate) fn ends_as_a_zip(file: &File, length: u64) -> io::Result<bool> {
    let tail_bytes = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_TAIL_BYTES);
    let mut tail = vec![0; tail_bytes];
    let tail_start = length - tail_bytes as u64;
    match file.read_exact_at(&mut tail, tail_start) {
        Ok(()) => {}
        // Somebody cut the file since its length was asked for.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    match directory_start(&tail, tail_start) {
        Some(directory) if directory.bytes == 0 => Ok(true),
        Some(directory) => begins_with_an_entry(file, directory.start),
        None => Ok(false),
    }
}

fn begins_with_an_entry(file: &File, start: u64) -> io::Result<bool> {
    let mut signature = [0; 4];
    file.read_exact_at(&mut signature, start)?;
    Ok(signature == DIRECTORY_SIGNATURE)
}

/// A directory that ends exactly where its end record begins.
pub(super) struct Directory {
    /// Where it begins in the file.
    pub(super) start: u64,
    /// Its length; 0 in a zip without entries.
    pub(super) bytes: u64,
}

/// Finds the end record that reaches exactly to the end of the file, in its last bytes, which begin at
/// `tail_start`. A comment may contain the signature, so the search goes on where a candidate does not
/// fit.
pub(super) fn directory_start(tail: &[u8], tail_start: u64) -> Option<Directory> {
    let last = tail.len().checked_sub(END_BYTES)?;
    (0..=last).rev().find_map(|at| {
        let end = tail[at..].strip_prefix(END_SIGNATURE)?;
        let comment_bytes = usize::from(u16::from_le_bytes([*end.get(16)?, *end.get(17)?]));
        if at + END_BYTES + comment_bytes != tail.len() {
            return None;
        }
        directory64(&tail[..at], tail_start).or_else(|| {
            let bytes = u64::from(u32_at(end, 8)?);
            fit(u64::from(u32_at(end, 12)?), bytes, tail_start + at as u64)
        })
    })
}

/// The directory that a zip64 end record tells of, where there is one before the end record.
fn directory64(before: &[u8], tail_start: u64) -> Option<Directory> {
    let at = before.len().checked_sub(LOCATOR_BYTES)?;
    let locator = before[at..].strip_prefix(LOCATOR_SIGNATURE)?;
    let end64_start = u64_at(locator, 4)?;
    let end64_at = usize::try_from(end64_start.checked_sub(tail_start)?).ok()?;
    let end64 = before.get(end64_at..at)?.strip_prefix(END64_SIGNATURE)?;
    // The record says its own length, less the twelve bytes up to and with that length.
    if u64_at(end64, 0)?.checked_add(12)? != (at - end64_at) as u64 {
        return None;
    }
    fit(u64_at(end64, 44)?, u64_at(end64, 36)?, end64_start)
}

fn fit(start: u64, bytes: u64, end: u64) -> Option<Directory> {
    (start.checked_add(bytes)? == end).then_some(Directory { start, bytes })
}

fn u32_at(record: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(record: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn ends(bytes: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        ends_as_a_zip(&file, bytes.len() as u64).unwrap()
    }

    fn small_zip() -> Vec<u8> {
        dipylon_testkit::module::FakeModule::new("example.com/a", "v1.0.0").zip().to_vec()
    }

    /// The same zip with its end in zip64 form, as Go's writer does from 65,535 entries.
    fn as_zip64(zip: &[u8]) -> Vec<u8> {
        let (body, end) = zip.split_at(zip.len() - END_BYTES);
        let (count, bytes) = (u16::from_le_bytes([end[10], end[11]]), u32_at(end, 12).unwrap());
        let start = u32_at(end, 16).unwrap();
        let mut large = body.to_vec();
        large.extend_from_slice(END64_SIGNATURE);
        large.extend_from_slice(&44_u64.to_le_bytes());
        large.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [u64::from(count), u64::from(count), u64::from(bytes), u64::from(start)] {
            large.extend_from_slice(&number.to_le_bytes());
        }
        large.extend_from_slice(LOCATOR_SIGNATURE);
        large.extend_from_slice(&[0; 4]);
        large.extend_from_slice(&(body.len() as u64).to_le_bytes());
        large.extend_from_slice(&[1, 0, 0, 0]);
        large.extend_from_slice(END_SIGNATURE);
        large.extend_from_slice(&[0, 0, 0, 0]);
        large.extend_from_slice(&[0xff; 12]);
        large.extend_from_slice(&[0, 0]);
        large
    }

    #[test]
    fn a_zip_cut_anywhere_has_no_end() {
        let zip = small_zip();
        assert!(ends(&zip));
        for length in 0..zip.len() {
            assert!(!ends(&zip[..length]), "cut at {length} of {}", zip.len());
        }
    }

    #[test]
    fn a_zip64_cut_anywhere_has_no_end() {
        let zip = as_zip64(&small_zip());
        assert!(ends(&zip));
        for length in 0..zip.len() {
            assert!(!ends(&zip[..length]), "cut at {length} of {}", zip.len());
        }
    }

    #[test]
    fn a_tail_of_zeros_is_no_end() {
        let mut zip = small_zip();
        let length = zip.len();
        zip[length - 30..].fill(0);
        assert!(!ends(&zip));
        zip.resize(length + 4096, 0);
        assert!(!ends(&zip));
    }

    #[test]
    fn a_comment_of_any_length_is_part_of_the_end() {
        for comment in [&b"PK\x05\x06 is the signature"[..], &[b'x'; MAX_COMMENT_BYTES]] {
            let mut zip = small_zip();
            let at = zip.len() - 2;
            let bytes = u16::try_from(comment.len()).unwrap();
            zip[at..].copy_from_slice(&bytes.to_le_bytes());
            assert!(!ends(&zip), "the comment is missing");
            zip.extend_from_slice(comment);
            assert!(ends(&zip));
        }
    }

    #[test]
    fn an_empty_zip_is_whole_and_an_empty_file_is_not() {
        let mut empty = END_SIGNATURE.to_vec();
        empty.extend_from_slice(&[0; 18]);
        assert!(ends(&empty));
        assert!(!ends(b""));
    }
}
