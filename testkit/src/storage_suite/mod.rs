//! What every storage backend must do, as small named cases that run against the real backend.
//!
//! A backend's test file says how an empty store is made, and gets one test per case:
//!
//! ```ignore
//! async fn make() -> Subject {
//!     let root = tempfile::tempdir().unwrap();
//!     Subject::new(dipylon::storage::disk(root.path().into()).await.unwrap()).keep(root)
//! }
//! dipylon_testkit::storage_suite!(make);
//! ```
//!
//! The cases speak of what the port promises and of nothing else, so a backend that passes them can
//! stand for any other.

use std::any::Any;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, BlobSource};
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{CatalogEntry, NewVersion, SaveResult, Storage};
use dipylon_middleware::spool::{Spool, Spools};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use crate::module::FakeModule;

pub mod catalog;
pub mod extras;
pub mod many;
pub mod names;
pub mod races;
pub mod versions;

/// Bytes that the spools of one case may take together.
const MAX_SPOOL_BYTES: u64 = 1 << 30;
/// Pages that one catalogue of a case may have, so that a token that leads nowhere ends the test.
const MAX_PAGES: usize = 10_000;
/// Versions of the long list where the backend names no page size.
const MANY_VERSIONS: usize = 64;

/// A fresh and empty store, and what the cases may expect of it beyond the port.
pub struct Subject {
    storage: Arc<dyn Storage>,
    spools: Spools,
    is_lexical: bool,
    bad_token: Option<&'static str>,
    has_catalog: bool,
    proves_first: bool,
    many_versions: usize,
    /// Dropped after the store: the directories or servers that it needs.
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// A store that is empty and that nobody else uses.
    ///
    /// # Panics
    /// When no spool directory can be made.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let mut keep: Vec<Box<dyn Any + Send + Sync>> = Vec::new();
        let directory = storage.staging_directory().unwrap_or_else(|| {
            let spools = TempDir::with_prefix("dipylon-spools-").expect("a directory for spools");
            let path = spools.path().to_owned();
            keep.push(Box::new(spools));
            path
        });
        Self {
            spools: spools_in(&directory),
            storage,
            is_lexical: true,
            bad_token: None,
            has_catalog: true,
            proves_first: true,
            many_versions: MANY_VERSIONS,
            keep,
        }
    }

    /// Keeps `guard` as long as the store.
    #[must_use]
    pub fn keep(mut self, guard: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(guard));
        self
    }

    /// The backend's lists have no order.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.is_lexical = false;
        self
    }

    /// The backend refuses this catalogue token.
    #[must_use]
    pub fn refusing_token(mut self, token: &'static str) -> Self {
        self.bad_token = Some(token);
        self
    }

    /// The backend has no catalogue: asking for it is `Unsupported`.
    #[must_use]
    pub fn without_catalog(mut self) -> Self {
        self.has_catalog = false;
        self
    }

    /// The backend cannot tell whether a save was the first.
    #[must_use]
    pub fn taking_saves(mut self) -> Self {
        self.proves_first = false;
        self
    }

    /// The backend reads its own lists in pages: use more versions than one page has.
    #[must_use]
    pub fn many_versions(mut self, versions: usize) -> Self {
        self.many_versions = versions;
        self
    }

    /// The store.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Where spools for this store are made.
    pub fn spools(&self) -> &Spools {
        &self.spools
    }

    /// Saves a made-up version.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn save(&self, module: &FakeModule) -> Result<SaveResult, Error> {
        self.storage.save(new_version(&self.spools, module)).await
    }

    /// What the first save of a version comes to.
    fn first(&self) -> SaveResult {
        if self.proves_first { SaveResult::Created } else { SaveResult::Taken }
    }

    async fn create(&self, module: &FakeModule) {
        let saved = self.save(module).await;
        let name = format!("{}@{}", module.path(), module.version());
        assert_eq!(saved.expect(&name), self.first(), "{name}");
    }

    /// Since when the store says that it has the zip.
    async fn since_when(&self, module: &FakeModule) -> Option<SystemTime> {
        let (path, version) = (module_path(module.path()), version(module.version()));
        let blob =
            self.storage.read(&path, &version, FileKind::Zip).await.expect("a read that works");
        blob.expect("a stored zip").stored_at()
    }

    /// The store says since when it has a zip: since its save.
    pub async fn assert_says_since_when(&self) {
        let module = FakeModule::new("example.com/since", "v1.0.0");
        self.create(&module).await;
        let stored_at = self.since_when(&module).await;
        assert!(stored_at.is_some_and(versions::is_now), "{stored_at:?}");
    }

    async fn read(&self, module: &FakeModule, kind: FileKind) -> Option<Bytes> {
        let (path, version) = (module_path(module.path()), version(module.version()));
        let blob = self.storage.read(&path, &version, kind).await.expect("a read that works")?;
        let bytes = read_range(&blob, 0..blob.length()).await.expect("a blob that can be read");
        assert_eq!(bytes.len() as u64, blob.length(), "{path}@{version} {kind:?}");
        Some(bytes)
    }

    async fn assert_stored(&self, module: &FakeModule) {
        let name = format!("{}@{}", module.path(), module.version());
        let info = self.read(module, FileKind::Info).await;
        assert_eq!(info.as_deref(), Some(module.info().as_bytes()), "{name}.info");
        assert_eq!(self.read(module, FileKind::Mod).await, Some(module.go_mod_bytes()), "{name}");
        let zip = self.read(module, FileKind::Zip).await;
        assert!(zip == Some(module.zip()), "{name}.zip: {:?} bytes", zip.map(|zip| zip.len()));
    }

    async fn assert_absent(&self, module: &FakeModule) {
        for kind in FileKind::ALL {
            assert_eq!(self.read(module, kind).await, None, "{} {kind:?}", module.path());
        }
    }

    async fn list(&self, module: &str) -> Vec<String> {
        let listed = self.storage.list(&module_path(module)).await.expect("a list that works");
        let mut names: Vec<String> = listed.iter().map(ToString::to_string).collect();
        if !self.is_lexical {
            names.sort();
        }
        names
    }

    /// Every entry, page by page.
    async fn catalog(&self, limit: usize) -> Vec<CatalogEntry> {
        let mut entries = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.storage.catalog(token.as_deref(), limit).await.expect("a page");
            assert!(limit == 0 || page.entries.len() <= limit, "more than {limit} entries");
            entries.extend(page.entries);
            match page.next {
                Some(next) => token = Some(next),
                None => return entries,
            }
        }
        panic!("the catalogue has no end after {MAX_PAGES} pages of {limit}");
    }
}

/// Spools in `directory`, with room for any case.
pub fn spools_in(directory: &Path) -> Spools {
    let telemetry = Telemetry::new().expect("a fresh registry");
    Spools::new(directory, MAX_SPOOL_BYTES, &telemetry)
}

/// A made-up version as the stash hands it to a store.
///
/// # Panics
/// When the made-up names are not valid or the spool cannot be written.
pub fn new_version(spools: &Spools, module: &FakeModule) -> NewVersion {
    NewVersion {
        module: module_path(module.path()),
        version: version(module.version()),
        info: Bytes::from(module.info()),
        go_mod: module.go_mod_bytes(),
        zip: Spool::of_bytes(spools, &module.zip()).expect("a spool for the zip"),
    }
}

/// Reads a part of a blob, wherever its bytes are.
///
/// # Errors
/// Those of a remote blob.
///
/// # Panics
/// When `range` is not within the blob, or its file cannot be read.
pub async fn read_range(blob: &Blob, range: Range<u64>) -> Result<Bytes, Error> {
    assert!(range.start <= range.end && range.end <= blob.length(), "{range:?} of {blob:?}");
    let (start, end) = (index(range.start), index(range.end));
    match blob.source() {
        BlobSource::Bytes(bytes) => Ok(bytes.slice(start..end)),
        BlobSource::File(file) => {
            let mut bytes = vec![0; end - start];
            file.read_exact_at(&mut bytes, range.start).expect("an open file of that length");
            Ok(bytes.into())
        }
        BlobSource::Remote(remote) => {
            let chunks: Vec<Bytes> = remote.open(range).try_collect().await?;
            Ok(chunks.concat().into())
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a test file fits into memory")
}

fn module_path(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap_or_else(|error| panic!("a case has a bad path: {error}"))
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap_or_else(|error| panic!("a case has a bad version: {error}"))
}

/// Makes one test per case for the backend that the async function `$make` opens. A `$reason`, such as
/// `"needs minio: run by cargo xtask test"`, is why plain `cargo test` leaves the cases out.
#[macro_export]
macro_rules! storage_suite {
    ($make:path) => {
        $crate::storage_suite! { @all [] $make }
    };
    ($make:path, $reason:literal) => {
        $crate::storage_suite! { @all [#[ignore = $reason]] $make }
    };
    (@all $attributes:tt $make:path) => {
        $crate::storage_suite! { @cases $attributes $make;
            versions: an_unknown_module_lists_nothing,
            versions: an_unknown_version_is_absent,
            versions: a_saved_version_reads_back_byte_for_byte,
            versions: a_saved_version_is_listed,
            versions: the_first_save_of_a_version_stays,
            versions: an_equal_second_save_is_told_from_another,
            versions: an_info_with_other_keys_and_blanks_keeps_its_bytes,
            versions: a_module_without_a_go_mod_keeps_the_made_up_one,
            versions: a_zip_of_20_mib_reads_back,
            versions: a_range_is_read_from_the_middle,
            versions: since_when_a_zip_is_stored_is_told_truly_or_not_at_all,
            versions: a_blob_can_be_read_twice,
            versions: a_stored_zip_outlives_its_spool,
            versions: a_save_waits_for_the_end_of_its_spool,
            versions: a_spool_that_fails_stores_nothing,
            versions: what_would_read_as_torn_is_not_stored,
            versions: a_list_longer_than_a_page_is_whole,
            versions: a_working_store_says_so,
            names: capitals_are_told_from_small_letters,
            names: capitals_in_versions_are_told_from_small_letters,
            names: a_tilde_stays_a_tilde,
            names: incompatible_and_pseudo_versions_are_stored,
            names: nested_modules_are_not_versions_of_their_parent,
            names: a_module_below_a_version_of_another_stays,
            names: a_name_that_begins_like_another_is_not_taken_for_it,
            names: names_that_differ_in_a_slash_stay_apart,
            names: versions_are_listed_in_lexical_order,
            names: a_long_name_is_stored,
            races: of_32_racing_saves_one_creates,
            races: a_reader_never_sees_a_part,
            races: racing_saves_of_one_module_all_arrive,
            races: a_save_that_is_dropped_leaves_nothing_half,
            catalog: an_empty_store_has_an_empty_catalogue,
            catalog: pages_of_any_size_visit_everything_once,
            catalog: no_limit_is_everything,
            catalog: every_version_of_every_module_is_there,
            catalog: a_malformed_token_is_refused,
            catalog: an_entry_saved_between_two_pages_hides_no_other,
            extras: an_extra_that_was_never_written_is_absent,
            extras: an_extra_reads_back,
            extras: the_last_write_of_an_extra_stays,
            extras: an_extra_that_is_removed_is_absent,
            extras: writers_and_removers_of_neighbours_do_not_disturb_each_other,
            extras: an_empty_extra_is_not_an_absent_one,
            extras: extras_are_neither_listed_nor_catalogued,
            extras: racing_writers_of_an_extra_leave_one_of_their_values,
            extras: keys_that_lead_elsewhere_are_refused,
        }
    };
    (@cases $attributes:tt $make:path; $($group:ident : $case:ident),* $(,)?) => {
        $( $crate::storage_suite! { @case $attributes $make, $group, $case } )*
    };
    (@case [$($attribute:tt)*] $make:path, $group:ident, $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            $crate::storage_suite::$group::$case($make().await).await;
        }
    };
}
