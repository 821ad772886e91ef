//! Zips as no honest tool writes them, byte by byte.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const REGULAR: u32 = 0o100_644;
const SYMLINK: u32 = 0o120_777;

/// One entry, with what its records claim.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    method: u16,
    mode: u32,
    crc: u32,
    data: Vec<u8>,
    /// The claimed size of the content in bytes.
    size: u32,
}

impl Entry {
    /// An honest file, not compressed.
    pub(crate) fn file(name: &str, content: &str) -> Self {
        let data = content.as_bytes().to_vec();
        let size = u32::try_from(data.len()).expect("a small file");
        let name = name.to_owned();
        Self { name, method: STORED, mode: REGULAR, crc: crc(&data), data, size }
    }

    /// A symbolic link.
    pub(crate) fn link(name: &str, target: &str) -> Self {
        Self { mode: SYMLINK, ..Self::file(name, target) }
    }

    /// A compressed file of so many zeros that claims another size.
    pub(crate) fn zeros(name: &str, bytes: usize, claimed: u32) -> Self {
        let content = vec![0; bytes];
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content).expect("compressing to memory");
        let data = encoder.finish().expect("compressing to memory");
        let (crc, name) = (crc(&content), name.to_owned());
        Self { name, method: DEFLATED, mode: REGULAR, crc, data, size: claimed }
    }

    /// The same entry below another version's prefix.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        self.name = self.name.replace(&format!("@{from}/"), &format!("@{to}/"));
        self
    }
}

/// The zip of these entries.
pub(crate) fn zip(entries: &[Entry]) -> Bytes {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = length(&bytes);
        bytes.extend(0x0403_4b50_u32.to_le_bytes());
        bytes.extend(common(entry));
        bytes.extend(0_u16.to_le_bytes());
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&entry.data);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend((3_u16 << 8 | 20).to_le_bytes());
        directory.extend(common(entry));
        // Extra field, comment, disk, internal attributes: none.
        directory.extend([0; 8]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (start, count) = (length(&bytes), u16::try_from(entries.len()).expect("few entries"));
    let size = length(&directory);
    bytes.extend(directory);
    bytes.extend(0x0605_4b50_u32.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend([count, count].map(u16::to_le_bytes).concat());
    bytes.extend([size, start].map(u32::to_le_bytes).concat());
    bytes.extend([0; 2]);
    Bytes::from(bytes)
}

/// What a local header and a directory record have in common: version to name length.
fn common(entry: &Entry) -> Vec<u8> {
    let name = u16::try_from(entry.name.len()).expect("a short name");
    let mut bytes = [20, 0, entry.method, 0, 0x21].map(u16::to_le_bytes).concat();
    let sizes = [entry.crc, length(&entry.data), entry.size];
    bytes.extend(sizes.map(u32::to_le_bytes).concat());
    bytes.extend(name.to_le_bytes());
    bytes
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a small zip")
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(content);
    crc.sum()
}
