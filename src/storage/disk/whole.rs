//! Whether a version is whole: what separates a version from what a crash left of one.
//!
//! Whole means: the three files exist, the `.info` names the version, the `.mod` has text, and the
//! zip has its end. Other files in the directory do not matter.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dipylon_middleware::error::Error;
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::super::whole::{MAX_REMEMBERED_VERSIONS, MIN_ZIP_BYTES, go_mod_is_whole, info_is_whole};
use super::super::zip_end::ends_as_a_zip;
use super::failure::{failed, found, wrong};
use super::layout::file_name;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    /// When the file was last written.
    pub(super) fn modified(self) -> Option<SystemTime> {
        let (seconds, nanos) =
            (u64::try_from(self.modified_s).ok()?, u64::try_from(self.modified_ns).ok()?);
        let since = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos))?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    /// Of a file with this inode, so many bytes, last written then (seconds, nanoseconds).
    pub(super) fn new(inode: u64, bytes: u64, modified: (i64, u32)) -> Self {
        let (modified_s, modified_ns) = (modified.0, i64::from(modified.1));
        Self { inode, bytes, modified_s, modified_ns }
    }

    fn of(metadata: &Metadata) -> Self {
        let (modified_s, modified_ns) = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.len(), modified_s, modified_ns }
    }
}

/// The state of the three files of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    info: Stamp,
    go_mod: Stamp,
    zip: Stamp,
}

impl Stamps {
    /// That of one of the three.
    pub(super) fn of_file(&self, kind: FileKind) -> Stamp {
        match kind {
            FileKind::Info => self.info,
            FileKind::Mod => self.go_mod,
            FileKind::Zip => self.zip,
        }
    }

    /// Length of the zip in bytes.
    pub(super) fn zip_bytes(&self) -> u64 {
        self.zip.bytes
    }
}

/// The directory of one version.
pub(super) struct VersionDirectory<'a> {
    path: PathBuf,
    version: &'a Version,
}

impl<'a> VersionDirectory<'a> {
    pub(super) fn new(path: PathBuf, version: &'a Version) -> Self {
        Self { path, version }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of the three files.
    pub(super) fn file(&self, kind: FileKind) -> PathBuf {
        self.path.join(file_name(self.version, kind))
    }

    /// Whether all three files are there and none is too short, as far as can be told without reading
    /// them. What is no regular file cannot be read, and is passed over.
    ///
    /// # Errors
    /// `Storage` when one of them cannot be looked at.
    pub(super) fn may_be_whole(&self) -> Result<bool, Error> {
        for (kind, bytes_min) in
            [(FileKind::Info, 1), (FileKind::Zip, MIN_ZIP_BYTES), (FileKind::Mod, 1)]
        {
            let path = self.file(kind);
            let metadata = found(fs::metadata(&path), "look at", &path)?;
            if metadata.is_none_or(|metadata| !metadata.is_file() || metadata.len() < bytes_min) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The state of the three files, or `None` where one is missing.
    ///
    /// # Errors
    /// `Storage` when one of them cannot be looked at, or is no file.
    pub(super) fn stamps(&self) -> Result<Option<Stamps>, Error> {
        let Some(info) = self.stamp(FileKind::Info)? else { return Ok(None) };
        let Some(go_mod) = self.stamp(FileKind::Mod)? else { return Ok(None) };
        let Some(zip) = self.stamp(FileKind::Zip)? else { return Ok(None) };
        Ok(Some(Stamps { info, go_mod, zip }))
    }

    fn stamp(&self, kind: FileKind) -> Result<Option<Stamp>, Error> {
        let path = self.file(kind);
        let Some(metadata) = found(fs::metadata(&path), "look at", &path)? else {
            return Ok(None);
        };
        if !metadata.is_file() {
            return Err(wrong(&path, "is not a regular file; remove it or put the file there"));
        }
        Ok(Some(Stamp::of(&metadata)))
    }

    /// Whether the three files hold a version. `false` also where one goes away meanwhile.
    pub(super) fn is_whole(&self) -> Result<bool, Error> {
        Ok(self.info_is_whole()? && self.go_mod_is_whole()? && self.zip_is_whole()?)
    }

    fn info_is_whole(&self) -> Result<bool, Error> {
        let Some(text) = self.small(FileKind::Info)? else { return Ok(false) };
        Ok(info_is_whole(&text, self.version))
    }

    fn go_mod_is_whole(&self) -> Result<bool, Error> {
        let text = self.small(FileKind::Mod)?;
        Ok(text.is_some_and(|text| go_mod_is_whole(&text)))
    }

    fn zip_is_whole(&self) -> Result<bool, Error> {
        let path = self.file(FileKind::Zip);
        let Some(file) = found(File::open(&path), "open", &path)? else { return Ok(false) };
        let read = file.metadata().and_then(|metadata| ends_as_a_zip(&file, metadata.len()));
        read.map_err(|error| failed("read", &path, &error))
    }

    /// The bytes of `.info` or `.mod`, or `None` where the file is missing.
    ///
    /// # Errors
    /// `Storage` when the file cannot be read or is larger than its kind may be.
    pub(super) fn small(&self, kind: FileKind) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file(kind);
        let bytes_max = if kind == FileKind::Info { MAX_INFO_BYTES } else { MAX_GO_MOD_BYTES };
        read_small(&path, bytes_max)
    }
}

/// Reads a file of at most `bytes_max` bytes, or `None` where it is missing.
///
/// # Errors
/// `Storage` when the file cannot be read or is larger.
pub(super) fn read_small(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = found(File::open(path), "open", path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed("read", path, &error))?;
    if bytes.len() > bytes_max {
        return Err(wrong(path, &format!("is larger than {bytes_max} bytes; remove it")));
    }
    Ok(Some(bytes))
}

/// Which versions were found whole, and in which state: a hit looks at three names and reads no
/// byte twice. A file that changes has another stamp, so it is checked again.
pub(super) struct Remembered {
    versions: quick_cache::sync::Cache<(ModulePath, Version), Stamps>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { versions: quick_cache::sync::Cache::new(MAX_REMEMBERED_VERSIONS) }
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remembered({} versions)", self.versions.len())
    }
}

impl Remembered {
    /// The state in which a version was found whole, if it was.
    #[cfg(target_os = "linux")]
    pub(super) fn known(&self, module: &ModulePath, version: &Version) -> Option<Stamps> {
        self.versions.get(&(module.clone(), version.clone()))
    }

    /// The state of a whole version, or `None` where the version is absent or torn.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read.
    pub(super) fn whole(
        &self,
        module: &ModulePath,
        directory: &VersionDirectory<'_>,
    ) -> Result<Option<Stamps>, Error> {
        let Some(stamps) = directory.stamps()? else { return Ok(None) };
        let key = (module.clone(), directory.version.clone());
        if self.versions.get(&key) == Some(stamps) {
            return Ok(Some(stamps));
        }
        if !directory.is_whole()? {
            return Ok(None);
        }
        self.versions.insert(key, stamps);
        Ok(Some(stamps))
    }
}
