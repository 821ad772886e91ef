//! What every backend means by a whole version, and how much of them it holds and hands out.
//!
//! Whole means: the `.info` names the version, the `.mod` has text, and there is a zip. What a zip must show
//! beyond its length is the backend's affair: a disk and a foreign server look for its end, MongoDB for its
//! chunks, and an object store commits an object whole or not at all.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, NewVersion};
use dipylon_protocol::info::Info;
use dipylon_protocol::list::{MAX_LIST_BYTES, MAX_LIST_VERSIONS};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use super::zip_end::END_BYTES;

/// The shortest zip: the end record of one without entries.
pub const MIN_ZIP_BYTES: u64 = END_BYTES as u64;
/// Versions that a backend remembers as whole, 200 to 300 bytes each. One that is forgotten is looked at
/// again at its next read.
pub const MAX_REMEMBERED_VERSIONS: usize = 32_768;
/// Versions that one list may have, as many as one of an upstream. The largest modules known have some
/// thousands.
pub const MAX_LISTED_VERSIONS: usize = MAX_LIST_VERSIONS;
/// Bytes of the versions in one list, each with the end of its line.
pub const MAX_LISTED_BYTES: usize = MAX_LIST_BYTES;
/// Entries of one catalogue page, whatever its limit says; a longer one goes on by its token.
pub const MAX_CATALOG_ENTRIES: usize = 100_000;
/// Bytes of module paths and versions in one catalogue page; a longer one goes on by its token.
pub const MAX_CATALOG_BYTES: usize = 32 << 20;

/// Versions on their way into a list, within the limits of one.
#[derive(Debug, Default)]
pub struct Listing {
    versions: Vec<Version>,
    bytes: usize,
}

impl Listing {
    /// Takes one more.
    ///
    /// # Errors
    /// `Storage` where there is no room for it.
    pub fn push(&mut self, version: Version, kind: &str, module: &ModulePath) -> Result<(), Error> {
        self.bytes += version.as_str().len() + 1;
        if self.versions.len() == MAX_LISTED_VERSIONS || self.bytes > MAX_LISTED_BYTES {
            let text = format!(
                "{kind} storage: module {module} has more than {MAX_LISTED_VERSIONS} stored versions, \
                 or {MAX_LISTED_BYTES} bytes of them"
            );
            return Err(Error::new(ErrorKind::Storage, text));
        }
        self.versions.push(version);
        Ok(())
    }

    /// The versions in lexical order, each once.
    pub fn sorted(mut self) -> Vec<Version> {
        self.versions.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        self.versions.dedup_by(|one, other| one.as_str() == other.as_str());
        self.versions
    }
}

/// A catalogue page on its way.
#[derive(Debug)]
pub struct PageRoom {
    entries: usize,
    bytes: usize,
}

impl PageRoom {
    /// For a page of at most `limit` entries; 0 leaves the size to the backend.
    pub fn new(limit: usize) -> Self {
        let entries = if limit == 0 { MAX_CATALOG_ENTRIES } else { limit.min(MAX_CATALOG_ENTRIES) };
        Self { entries, bytes: MAX_CATALOG_BYTES }
    }

    /// Entries that it may still take.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether it takes one more. The first is always taken, so that every page goes on.
    pub fn takes(&mut self, entry: &CatalogEntry) -> bool {
        let bytes = entry.module.len() + entry.version.len();
        if self.entries == 0 || (bytes > self.bytes && self.bytes < MAX_CATALOG_BYTES) {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Whether an `.info` is that of the version.
pub fn info_is_whole(info: &[u8], version: &Version) -> bool {
    Info::parse(info).is_ok_and(|info| info.version.as_str() == version.as_str())
}

/// Whether a `.mod` has text. Old versions have `.mod` files of every kind, so their grammar is not asked
/// for; a crash leaves an empty file, or zeros where the text should be.
pub fn go_mod_is_whole(go_mod: &[u8]) -> bool {
    !go_mod.is_empty() && !go_mod.contains(&0)
}

/// Whether both texts are those of a whole version.
pub fn texts_are_whole(info: &[u8], go_mod: &[u8], version: &Version) -> bool {
    info_is_whole(info, version) && go_mod_is_whole(go_mod)
}

/// What is saved must read back: a version that reads as absent would be fetched for ever.
///
/// # Errors
/// `BadContent` for a version that would.
pub fn refuse_torn(new: &NewVersion) -> Result<(), Error> {
    if texts_are_whole(&new.info, &new.go_mod, &new.version) && new.zip.written() >= MIN_ZIP_BYTES {
        return Ok(());
    }
    Err(torn(new))
}

/// The refusal of what is no whole version.
pub fn torn(new: &NewVersion) -> Error {
    let text = format!(
        "refusing to store {}@{}: its files are not a whole version (.info must name the version, .mod must \
         have text, the zip must have its end)",
        new.module, new.version
    );
    Error::new(ErrorKind::BadContent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version::parse("v1.0.0").unwrap()
    }

    const INFO: &[u8] = br#"{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}"#;

    #[test]
    fn texts_cut_anywhere_or_of_zeros_are_not_whole() {
        assert!(texts_are_whole(INFO, b"module x\n", &version()));
        for length in 0..INFO.len() {
            assert!(!info_is_whole(&INFO[..length], &version()), "cut at {length}");
        }
        for (info, go_mod) in [(INFO, &b""[..]), (INFO, b"\0\0\0"), (b"\0\0", b"module x\n")] {
            assert!(!texts_are_whole(info, go_mod, &version()));
        }
    }

    #[test]
    fn an_info_of_another_version_is_not_whole() {
        assert!(!info_is_whole(INFO, &Version::parse("v1.0.1").unwrap()));
    }

    #[test]
    fn a_list_has_each_version_once_and_in_lexical_order() {
        let mut listing = Listing::default();
        let module = ModulePath::parse("example.com/a").unwrap();
        for version in ["v1.9.0", "v1.10.0", "v1.9.0", "v1.0.0-a"] {
            listing.push(Version::parse(version).unwrap(), "test", &module).unwrap();
        }
        let sorted: Vec<String> = listing.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["v1.0.0-a", "v1.10.0", "v1.9.0"]);
    }

    #[test]
    fn a_list_ends_with_an_error_where_its_bytes_do() {
        let module = ModulePath::parse("example.com/a").unwrap();
        let long = Version::parse(&format!("v1.0.0-{}", "x".repeat(200))).unwrap();
        let mut listing = Listing::default();
        let most = MAX_LISTED_BYTES / (long.as_str().len() + 1);
        for _ in 0..most {
            listing.push(long.clone(), "test", &module).unwrap();
        }
        let error = listing.push(long, "test", &module).unwrap_err();
        assert!(error.message().contains("67108864 bytes"), "{error}");
    }

    #[test]
    fn a_page_ends_with_its_entries_or_its_bytes_and_takes_the_first_always() {
        let entry = |bytes| CatalogEntry { module: "m".repeat(bytes), version: String::new() };
        let mut room = PageRoom::new(2);
        assert!(room.takes(&entry(1)) && room.takes(&entry(1)) && !room.takes(&entry(1)));
        assert_eq!(PageRoom::new(0).entries(), MAX_CATALOG_ENTRIES);
        assert_eq!(PageRoom::new(usize::MAX).entries(), MAX_CATALOG_ENTRIES);
        let mut room = PageRoom::new(0);
        assert!(room.takes(&entry(MAX_CATALOG_BYTES)) && !room.takes(&entry(1)));
        assert!(PageRoom::new(0).takes(&entry(MAX_CATALOG_BYTES + 1)));
    }
}
