//! The directory of the near tier: one file for each copy, which has its name only once it is whole.
//!
//! ```text
//! <Directory>/dipylon-near/lock                         held by the one process that uses it
//!                         /copies-<16 hex>/<2 hex>/<40 hex>-<length>
//!                         /filling/…                    copies on their way in
//! ```
//!
//! The copies' folder is named for the store that they are of, so one store's copies are never taken for
//! another's, whatever a crash leaves.
//!
//! A copy is synced before it gets its name, so a crash loses copies and tears none; the name itself is
//! not synced. A file whose length is not the one in its name is not served, and removed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::route::FileKind;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::shelf::{Copied, Key, Shelf};

const OURS: &str = "dipylon-near";
const COPIES: &str = "copies";
/// Bytes of a hash that tell stores apart.
const STORE_BYTES: usize = 8;
const FILLING: &str = "filling";
const LOCK: &str = "lock";
/// How names of copies on their way in begin.
const FILLING_PREFIX: &str = "fill-";
/// Permissions of others that make the directory useless: what lies in it is served.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The near tier's files. All of it blocks.
#[derive(Debug)]
pub(super) struct Directory {
    copies: PathBuf,
    filling: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes what is missing, takes the lock, and removes what was on its way in and copies of other stores
    /// than the one that `whose` names.
    ///
    /// # Errors
    /// `Storage` when the directory cannot be used, others may write to it, or another process uses it.
    pub(super) fn open(directory: &Path, whose: &str) -> Result<Self, Error> {
        let ours = directory.join(OURS);
        let failed = |error: io::Error| refused(directory, &error.to_string());
        fs::create_dir_all(directory).map_err(failed)?;
        make_private(&ours).map_err(failed)?;
        let metadata = fs::metadata(&ours).map_err(failed)?;
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            let what =
                format!("{OURS} in it must belong to this user and be writable by nobody else");
            return Err(refused(directory, &what));
        }
        let lock = File::create(ours.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = "another process uses it; give each gateway a directory of its own";
                return Err(refused(directory, what));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (copies, filling) = (ours.join(folder_of(whose)), ours.join(FILLING));
        make_private(&copies).map_err(failed)?;
        make_private(&filling).map_err(failed)?;
        for shard in 0..=u8::MAX {
            make_private(&copies.join(format!("{shard:02x}"))).map_err(failed)?;
        }
        for left in fs::read_dir(&filling).map_err(failed)? {
            fs::remove_file(left.map_err(failed)?.path()).map_err(failed)?;
        }
        drop_others(&ours, &copies).map_err(failed)?;
        Ok(Self { copies, filling, _lock: lock })
    }

    /// Takes up what an earlier process left, the oldest first, and removes what does not keep the limits.
    /// Of files beyond `files_max` some are removed at once, so that memory has a limit too.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn adopt(&self, shelf: &mut Shelf, files_max: usize) -> io::Result<()> {
        let mut found: Vec<(SystemTime, Copied)> = Vec::new();
        for shard in 0..=u8::MAX {
            for entry in fs::read_dir(self.copies.join(format!("{shard:02x}")))? {
                let entry = entry?;
                // What is no name of ours is left alone.
                let Some(copy) = parse(&entry.file_name()) else { continue };
                let metadata = entry.metadata()?;
                let is_whole = metadata.is_file() && metadata.len() == copy.length;
                if !is_whole || found.len() >= files_max {
                    self.remove(&copy)?;
                    continue;
                }
                found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), copy));
            }
        }
        found.sort_unstable_by_key(|(modified, copy)| (*modified, copy.key));
        for (_, copy) in found {
            shelf.adopt(copy.key, copy.length);
        }
        for victim in shelf.trim() {
            self.remove(&victim)?;
        }
        Ok(())
    }

    /// Opens a copy; `None` where it is gone, or is not what its name says.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn read(&self, copy: &Copied, kind: FileKind) -> io::Result<Option<Blob>> {
        let file = match File::open(self.path(copy)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() != copy.length {
            return Ok(None);
        }
        if kind == FileKind::Zip {
            return Ok(Some(Blob::from_file(file, copy.length)));
        }
        let mut bytes = Vec::new();
        file.take(copy.length).read_to_end(&mut bytes)?;
        let is_whole = bytes.len() as u64 == copy.length;
        Ok(is_whole.then(|| Blob::from_bytes(Bytes::from(bytes))))
    }

    /// A file for a copy on its way in; it goes when it is dropped.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn begin(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(FILLING_PREFIX).tempfile_in(&self.filling)
    }

    /// Gives a whole copy its name.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn publish(&self, file: NamedTempFile, copy: &Copied) -> io::Result<()> {
        file.as_file().sync_data()?;
        file.persist(self.path(copy)).map(drop).map_err(|error| error.error)
    }

    /// Removes a copy; one that is gone is removed already.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remove(&self, copy: &Copied) -> io::Result<()> {
        match fs::remove_file(self.path(copy)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Bytes that may still be written to the file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let room = rustix::fs::statvfs(&self.copies)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn path(&self, copy: &Copied) -> PathBuf {
        let mut name = String::with_capacity(64);
        for byte in copy.key {
            // Writing to a text does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        let shard = self.copies.join(&name[..2]);
        let _ = write!(name, "-{}", copy.length);
        shard.join(name)
    }
}

fn folder_of(whose: &str) -> String {
    let mut name = format!("{COPIES}-");
    for byte in Sha256::digest(whose.as_bytes()).iter().take(STORE_BYTES) {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Removes the copies of other stores. Files with other names than ours stay, and folders with such files.
fn drop_others(ours: &Path, copies: &Path) -> io::Result<()> {
    let mut dropped = 0_u64;
    for folder in fs::read_dir(ours)? {
        let folder = folder?;
        let is_copies = folder.file_name().to_str().is_some_and(|name| name.starts_with(COPIES));
        if !is_copies || folder.path() == copies || !folder.file_type()?.is_dir() {
            continue;
        }
        for shard in fs::read_dir(folder.path())? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(shard.path())? {
                let entry = entry?;
                if parse(&entry.file_name()).is_some() {
                    fs::remove_file(entry.path())?;
                    dropped += 1;
                }
            }
            remove_if_empty(&shard.path())?;
        }
        remove_if_empty(&folder.path())?;
    }
    if dropped > 0 {
        tracing::info!(dropped, "the near copies of another store are removed");
    }
    Ok(())
}

fn remove_if_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

pub(super) fn refused(directory: &Path, why: &str) -> Error {
    let shown = directory.display();
    let text = format!("the near tier's directory {shown} (Dipylon.Tiered.Directory): {why}");
    Error::new(ErrorKind::Storage, text)
}

/// The copy that a name speaks of.
fn parse(name: &OsStr) -> Option<Copied> {
    let (hex, length) = name.to_str()?.split_once('-')?;
    let mut key = Key::default();
    let is_hex = hex.len() == key.len() * 2
        && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || length.starts_with('+') {
        return None;
    }
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    let copy = Copied { key, length: length.parse().ok()? };
    Some(copy)
}
