//! A version of a module: its three files.

use std::io::Write as _;

use bytes::Bytes;
use dipylon_protocol::dirhash::{Hash1, hash_go_mod};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::ZipCheck;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::ports::Expected;

/// A whole version.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) module: ModulePath,
    pub(crate) version: Version,
    pub(crate) info: Bytes,
    pub(crate) go_mod: Bytes,
    pub(crate) zip: Bytes,
}

impl Release {
    /// A small version with a go.mod and one file.
    pub(crate) fn new(module: &str, version: &str) -> Self {
        Self::with_filler(module, version, 0)
    }

    /// A version whose zip is at least so many bytes long.
    pub(crate) fn with_filler(module: &str, version: &str, bytes: usize) -> Self {
        let go_mod = format!("module {module}\n\ngo 1.21\n");
        // Stored, not deflated, so that the length is known.
        let filler = "x".repeat(bytes);
        let files = [
            ("go.mod", go_mod.as_str()),
            ("m.go", "package m\n"),
            ("testdata/filler.txt", filler.as_str()),
        ];
        Self {
            module: super::module(module),
            version: super::version(version),
            info: format!("{{\"Version\":\"{version}\",\"Time\":\"2024-03-01T12:00:00Z\"}}").into(),
            zip: zip_of(module, version, &files),
            go_mod: go_mod.into(),
        }
    }

    /// Other files in the zip.
    pub(crate) fn with_files(mut self, files: &[(&str, &str)]) -> Self {
        self.zip = zip_of(self.module.as_str(), self.version.as_str(), files);
        self
    }

    /// The hash of the zip.
    pub(crate) fn h1(&self) -> Hash1 {
        let mut check = ZipCheck::new(&self.module, &self.version);
        check.push(&self.zip).expect("a good zip");
        check.finish().expect("a whole zip").h1
    }

    /// What the checksum database says of it.
    pub(crate) fn expected(&self) -> Expected {
        Expected::Hashes { zip: self.h1(), go_mod: hash_go_mod(&self.go_mod) }
    }
}

/// A module zip of these files.
fn zip_of(module: &str, version: &str, files: &[(&str, &str)]) -> Bytes {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        let name = format!("{module}@{version}/{name}");
        writer.start_file(name, options).expect("an entry can be begun in memory");
        writer.write_all(content.as_bytes()).expect("an entry can be written to memory");
    }
    writer.finish().expect("a zip can be finished in memory").into_inner().into()
}
