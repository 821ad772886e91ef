//! Module versions made up in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use dipylon_protocol::dirhash::{Hash1Builder, hash_go_mod};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The time of a version that was given none and is no pseudo-version.
const DEFAULT_TIME: &str = "2024-03-01T12:00:00Z";

/// One version of a module: what an upstream would serve for it.
///
/// ```
/// use dipylon_testkit::module::FakeModule;
/// let module = FakeModule::new("example.com/a/B", "v1.2.3").file("b.go", "package b\n");
/// assert!(module.h1().starts_with("h1:"));
/// ```
#[derive(Clone, Debug)]
pub struct FakeModule {
    path: String,
    version: String,
    time: String,
    files: BTreeMap<String, Bytes>,
    go_mod: Option<String>,
    raw_zip: Option<Bytes>,
    info_json: Option<String>,
    /// Made once: a test may serve a large zip a thousand times.
    zip: OnceLock<Bytes>,
}

impl FakeModule {
    /// A version with a go.mod and one Go file. `path` and `version` are decoded (`example.com/a/B`)
    /// and taken as they are, valid or not.
    pub fn new(path: &str, version: &str) -> Self {
        let package = "package fake\n\n// Version says which one this is.\nconst Version = ";
        let source = format!("{package}\"{version}\"\n");
        Self {
            path: path.to_owned(),
            version: version.to_owned(),
            time: pseudo_time(version).unwrap_or_else(|| DEFAULT_TIME.to_owned()),
            files: BTreeMap::from([("fake.go".to_owned(), Bytes::from(source))]),
            go_mod: Some(format!("module {path}\n\ngo 1.21\n")),
            raw_zip: None,
            info_json: None,
            zip: OnceLock::new(),
        }
    }

    /// Adds or replaces a file; `name` is relative to the module's root.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Bytes>) -> Self {
        self.files.insert(name.to_owned(), content.into());
        self.changed()
    }

    /// The text of go.mod, in the zip and as `.mod`.
    #[must_use]
    pub fn go_mod(mut self, text: &str) -> Self {
        self.go_mod = Some(text.to_owned());
        self.changed()
    }

    /// No go.mod in the zip; the `.mod` is the synthesised `module PATH` line.
    #[must_use]
    pub fn no_go_mod(mut self) -> Self {
        self.go_mod = None;
        self.changed()
    }

    /// The commit time, RFC 3339.
    #[must_use]
    pub fn time(mut self, time: &str) -> Self {
        self.time = time.to_owned();
        self
    }

    /// Adds `filler.bin` of so many bytes that no compression makes smaller. The same path, version
    /// and size always give the same bytes.
    #[must_use]
    pub fn filler(self, bytes: usize) -> Self {
        let seed = format!("{}@{}", self.path, self.version);
        let content = incompressible(&seed, bytes);
        self.file("filler.bin", content)
    }

    /// Serves these bytes as the zip, whatever they are.
    #[must_use]
    pub fn raw_zip(mut self, bytes: impl Into<Bytes>) -> Self {
        self.raw_zip = Some(bytes.into());
        self.changed()
    }

    /// Serves this text as `.info`, whatever it is.
    #[must_use]
    pub fn info_json(mut self, text: &str) -> Self {
        self.info_json = Some(text.to_owned());
        self
    }

    /// The same content under another version: what a moved tag or a confused upstream serves.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self.info_json = None;
        self.changed()
    }

    /// The same module as somebody else would have it: sound in itself, with a zip of the same length,
    /// but the last byte of its last file is another one.
    #[must_use]
    pub fn altered(mut self) -> Self {
        if let Some(content) = self.files.values_mut().next_back() {
            let mut bytes = content.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            *content = Bytes::from(bytes);
        }
        self.changed()
    }

    fn changed(mut self) -> Self {
        self.zip = OnceLock::new();
        self
    }

    /// The decoded module path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The decoded version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The body of `.info`.
    pub fn info(&self) -> String {
        self.info_json.clone().unwrap_or_else(|| {
            serde_json::json!({ "Version": self.version, "Time": self.time }).to_string()
        })
    }

    /// The body of `.mod`.
    pub fn go_mod_bytes(&self) -> Bytes {
        match &self.go_mod {
            Some(text) => Bytes::from(text.clone()),
            None => Bytes::from(format!("module {}\n", self.path)),
        }
    }

    /// The body of `.zip`, as golang/mod writes it: deflate, sizes in data descriptors, no times.
    pub fn zip(&self) -> Bytes {
        let make = || self.raw_zip.clone().unwrap_or_else(|| self.write_zip());
        self.zip.get_or_init(make).clone()
    }

    /// The `h1:` hash of the zip.
    ///
    /// # Panics
    /// When [`FakeModule::raw_zip`] gave bytes that are no zip: such a thing has no hash.
    pub fn h1(&self) -> String {
        let mut archive = ZipArchive::new(Cursor::new(self.zip())).unwrap_or_else(|error| {
            panic!("{}@{} has no h1: its zip is none: {error}", self.path, self.version)
        });
        let mut builder = Hash1Builder::default();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).expect("an entry that the zip lists");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("an entry of a good zip can be read");
            let name = entry.name().expect("an entry's name is text").into_owned();
            builder.add(name, Sha256::digest(&content).into());
        }
        builder.finish().to_string()
    }

    /// The `h1:` hash of the `.mod`.
    pub fn go_mod_h1(&self) -> String {
        hash_go_mod(&self.go_mod_bytes()).to_string()
    }

    fn write_zip(&self) -> Bytes {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default());
        // A stream writer leaves the sizes to data descriptors, as Go's writer does.
        let mut writer = ZipWriter::new_stream(Vec::new());
        let go_mod = self.go_mod.as_ref().map(|text| ("go.mod", text.as_bytes()));
        let files = self.files.iter().map(|(name, content)| (name.as_str(), content.as_ref()));
        for (name, content) in go_mod.into_iter().chain(files) {
            let name = format!("{}@{}/{name}", self.path, self.version);
            writer.start_file(name, options).expect("an entry can be begun in memory");
            writer.write_all(content).expect("an entry can be written to memory");
        }
        let sink = writer.finish().expect("a zip can be finished in memory");
        Bytes::from(sink.into_inner())
    }
}

/// The time inside a pseudo-version, as RFC 3339.
fn pseudo_time(version: &str) -> Option<String> {
    let (rest, revision) = version.split('+').next()?.rsplit_once('-')?;
    let stamp = rest.rsplit(['-', '.']).next()?;
    let is_pseudo = revision.len() == 12 && stamp.len() == 14 && stamp.is_ascii();
    if !is_pseudo || !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| &stamp[from..to];
    let date = format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8));
    Some(format!("{date}T{}:{}:{}Z", part(8, 10), part(10, 12), part(12, 14)))
}

/// Pseudo-random bytes from `seed` (splitmix64 over a SHA-256 of the seed).
fn incompressible(seed: &str, bytes: usize) -> Bytes {
    let digest: [u8; 32] = Sha256::digest(seed).into();
    let mut state = u64::from_le_bytes(std::array::from_fn(|index| digest[index]));
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        content.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    content.truncate(bytes);
    Bytes::from(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zip_holds_the_files_under_the_prefix() {
        let module = FakeModule::new("example.com/a/B", "v1.2.3").file("x/y.go", "package x\n");
        let mut archive = ZipArchive::new(Cursor::new(module.zip())).unwrap();
        let name = |i| archive.by_index(i).unwrap().name().unwrap().into_owned();
        let names: Vec<String> = (0..3).map(name).collect();
        let want = ["go.mod", "fake.go", "x/y.go"].map(|n| format!("example.com/a/B@v1.2.3/{n}"));
        assert_eq!(names, want);
    }

    #[test]
    fn the_same_module_is_the_same_bytes() {
        let make = || FakeModule::new("example.com/a", "v1.0.0").filler(10_000);
        assert_eq!(make().zip(), make().zip());
        assert_eq!(make().h1(), make().h1());
    }

    #[test]
    fn filler_does_not_compress() {
        let module = FakeModule::new("example.com/a", "v1.0.0").filler(1_000_000);
        assert!(module.zip().len() > 1_000_000);
    }

    #[test]
    fn an_altered_module_differs_in_nothing_but_its_content() {
        let module =
            FakeModule::new("example.com/a", "v1.0.0").file("z.bin", incompressible("z", 9_000));
        let other = module.clone().altered();
        assert_eq!(module.zip().len(), other.zip().len());
        assert_eq!(module.info(), other.info());
        assert_ne!(module.h1(), other.h1());
    }

    #[test]
    fn a_module_without_go_mod_has_a_synthesised_one() {
        let module = FakeModule::new("example.com/a", "v1.0.0").no_go_mod();
        assert_eq!(module.go_mod_bytes(), "module example.com/a\n");
        let mut archive = ZipArchive::new(Cursor::new(module.zip())).unwrap();
        assert!(archive.by_name("example.com/a@v1.0.0/go.mod").is_err());
    }

    #[test]
    fn a_pseudo_version_carries_its_time() {
        let module = FakeModule::new("example.com/a", "v1.2.4-0.20240102030405-abcdefabcdef");
        assert!(module.info().contains("2024-01-02T03:04:05Z"));
        let release = FakeModule::new("example.com/a", "v1.0.0-rc1");
        assert!(release.info().contains(DEFAULT_TIME));
    }

    #[test]
    fn other_content_has_another_hash() {
        let one = FakeModule::new("example.com/a", "v1.0.0");
        let two = one.clone().file("a.txt", "x");
        assert_ne!(one.h1(), two.h1());
        assert_eq!(one.go_mod_h1(), two.go_mod_h1());
    }
}
