//! Builds zips byte by byte, so that a test can put any lie into any record.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part")]

use std::io::Write as _;

use dipylon_protocol::zip::{ZipCheck, ZipError, ZipSummary};
use dipylon_protocol::{ModulePath, Version};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use sha2::{Digest as _, Sha256};

/// What every name in these zips begins with.
pub const PREFIX: &str = "example.com/m@v1.0.0/";

/// Which descriptor follows the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    None,
    Signed32,
    Bare32,
    Signed64,
    Bare64,
}

pub const DESCRIPTORS: [Descriptor; 4] =
    [Descriptor::Signed32, Descriptor::Bare32, Descriptor::Signed64, Descriptor::Bare64];

/// One entry and what its records say of it.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub deflate: bool,
    pub method: u16,
    pub flags: u16,
    pub descriptor: Descriptor,
    /// CRC, compressed and uncompressed size in the local header instead of the usual ones.
    pub local: Option<[u32; 3]>,
    pub local_extra: Vec<u8>,
    pub central_extra: Vec<u8>,
    pub creator: u16,
    pub external: u32,
    pub in_stream: bool,
    pub in_directory: usize,
    /// Change of the finished directory record: offset in the record and the new byte.
    pub central_edit: Option<(usize, u8)>,
    /// Bytes between the content and the next record.
    pub gap: Vec<u8>,
}

impl Item {
    /// A deflated file with its sizes in the header; `name` is relative to the module.
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: format!("{PREFIX}{name}").into_bytes(),
            content: content.into(),
            deflate: true,
            method: 8,
            flags: 0,
            descriptor: Descriptor::None,
            local: None,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            creator: 20,
            external: 0,
            in_stream: true,
            in_directory: 1,
            central_edit: None,
            gap: Vec::new(),
        }
    }

    pub fn stored(mut self) -> Self {
        (self.deflate, self.method) = (false, 0);
        self
    }

    pub fn streamed(mut self, descriptor: Descriptor) -> Self {
        self.descriptor = descriptor;
        self.flags |= 8;
        self.local = Some([0; 3]);
        self
    }

    /// As made on unix with this mode.
    pub fn mode(mut self, mode: u32) -> Self {
        (self.creator, self.external) = (3 << 8 | 20, mode << 16);
        self
    }

    fn data(&self) -> Vec<u8> {
        if !self.deflate {
            return self.content.clone();
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.content).unwrap();
        encoder.finish().unwrap()
    }

    fn crc(&self) -> u32 {
        let mut crc = Crc::new();
        crc.update(&self.content);
        crc.sum()
    }

    /// The fields that both kinds of header share, from the flags to the lengths.
    fn common(&self, numbers: [u32; 3], extra: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((extra.len() as u16).to_le_bytes());
        out
    }

    pub fn local_bytes(&self) -> Vec<u8> {
        let data = self.data();
        let real = [self.crc(), data.len() as u32, self.content.len() as u32];
        let mut out = b"PK\x03\x04\x14\x00".to_vec();
        out.extend(self.common(self.local.unwrap_or(real), &self.local_extra));
        out.extend(&self.name);
        out.extend(&self.local_extra);
        out.extend(data);
        let signed = matches!(self.descriptor, Descriptor::Signed32 | Descriptor::Signed64);
        if signed {
            out.extend(b"PK\x07\x08");
        }
        match self.descriptor {
            Descriptor::None => {}
            Descriptor::Signed32 | Descriptor::Bare32 => {
                real.iter().for_each(|number| out.extend(number.to_le_bytes()));
            }
            Descriptor::Signed64 | Descriptor::Bare64 => {
                out.extend(real[0].to_le_bytes());
                real[1..].iter().for_each(|&number| out.extend(u64::from(number).to_le_bytes()));
            }
        }
        out.extend(&self.gap);
        out
    }

    fn central_bytes(&self, offset: u32) -> Vec<u8> {
        let real = [self.crc(), self.data().len() as u32, self.content.len() as u32];
        let mut out = b"PK\x01\x02".to_vec();
        out.extend(self.creator.to_le_bytes());
        out.extend([20, 0]);
        out.extend(self.common(real, &self.central_extra));
        out.extend([0; 6]);
        out.extend(self.external.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.central_extra);
        if let Some((at, byte)) = self.central_edit {
            out[at] = byte;
        }
        out
    }
}

/// A whole zip.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    pub preamble: Vec<u8>,
    pub items: Vec<Item>,
    pub zip64: bool,
    /// Whether the old end record says "see zip64" in all its values.
    pub saturated: bool,
    pub reversed_directory: bool,
    pub comment: Vec<u8>,
    pub trailing: Vec<u8>,
    /// Added to the number of entries in the end records.
    pub extra_count: u16,
    /// Added to the offset of the directory in the end records.
    pub extra_offset: u32,
}

impl Archive {
    pub fn of(items: Vec<Item>) -> Self {
        Self { items, ..Self::default() }
    }

    pub fn build(&self) -> Vec<u8> {
        let mut out = self.preamble.clone();
        let mut records = Vec::new();
        for item in &self.items {
            let record = item.central_bytes(out.len() as u32);
            records.extend(std::iter::repeat_n(record, item.in_directory));
            if item.in_stream {
                out.extend(item.local_bytes());
            }
        }
        if self.reversed_directory {
            records.reverse();
        }
        let start = out.len();
        out.extend(records.concat());
        let size = (out.len() - start) as u32;
        let (count, offset) =
            (records.len() as u16 + self.extra_count, start as u32 + self.extra_offset);
        if self.zip64 {
            let at = out.len() as u64;
            out.extend(b"PK\x06\x06");
            out.extend(44_u64.to_le_bytes());
            out.extend([45, 0, 45, 0]);
            out.extend([0; 8]);
            [u64::from(count), u64::from(count), u64::from(size), u64::from(offset)]
                .iter()
                .for_each(|number| out.extend(number.to_le_bytes()));
            out.extend(b"PK\x06\x07");
            out.extend([0; 4]);
            out.extend(at.to_le_bytes());
            out.extend([1, 0, 0, 0]);
        }
        let (count, size, offset) =
            if self.saturated { (u16::MAX, u32::MAX, u32::MAX) } else { (count, size, offset) };
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(count.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.trailing);
        out
    }
}

pub fn module() -> ModulePath {
    ModulePath::parse("example.com/m").unwrap()
}

pub fn new_check() -> ZipCheck {
    ZipCheck::new(&module(), &Version::parse("v1.0.0").unwrap())
}

/// Checks a zip pushed at once.
pub fn check(zip: &[u8]) -> Result<ZipSummary, ZipError> {
    check_pieces(std::iter::once(zip))
}

/// Checks a zip pushed in pieces.
pub fn check_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<ZipSummary, ZipError> {
    let mut check = new_check();
    for piece in pieces {
        check.push(piece)?;
    }
    check.finish()
}

/// The `h1:` hash as its definition has it, from names relative to the module.
pub fn plain_h1(files: &[(&str, &[u8])]) -> String {
    let mut lines: Vec<(String, String)> = files
        .iter()
        .map(|(name, content)| {
            let name = format!("{PREFIX}{name}");
            let hex: String =
                Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            (name.clone(), format!("{hex}  {name}\n"))
        })
        .collect();
    lines.sort();
    let summary: String = lines.into_iter().map(|(_, line)| line).collect();
    use base64::Engine as _;
    format!("h1:{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(summary)))
}

pub fn reason(zip: &[u8]) -> &'static str {
    match check(zip) {
        Ok(_) => "accepted",
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(|c: char| c.is_control()) && text.len() < 1000, "{text}");
            error.reason()
        }
    }
}

pub fn reason_of(items: Vec<Item>) -> &'static str {
    reason(&Archive::of(items).build())
}
