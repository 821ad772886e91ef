//! A version on its way in: a directory in staging with the three files, synced and checked.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dipylon_middleware::error::Error;
use dipylon_middleware::ports::NewVersion;
use dipylon_middleware::spool::Spool;
use dipylon_protocol::route::FileKind;
use tempfile::TempDir;

use super::super::whole::torn;
use super::failure::{failed, wrong};
use super::layout::staging;
use super::whole::VersionDirectory;
use super::{Access, Durability, Store};

/// Bytes copied at a time where the spool cannot be linked.
const COPY_CHUNK_BYTES: usize = 256 * 1024;

/// How names of staged versions begin.
pub(super) const SAVE_PREFIX: &str = "save-";

impl Store {
    /// Stages `new`. The directory goes when the returned value does, unless it was published.
    pub(super) fn stage(&self, new: &NewVersion) -> Result<TempDir, Error> {
        let parent = staging(&self.root);
        let stage = tempfile::Builder::new()
            .prefix(SAVE_PREFIX)
            // Less the umask, as for any directory; the default would shut the group out.
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(&parent)
            .map_err(|error| failed("stage a version in", &parent, &error))?;
        let directory = VersionDirectory::new(stage.path().to_owned(), &new.version);
        let go_mod = self.write(&directory.file(FileKind::Mod), &new.go_mod)?;
        self.write(&directory.file(FileKind::Info), &new.info)?;
        self.place_zip(&new.zip, &directory.file(FileKind::Zip), &go_mod)?;
        self.sync_directory(stage.path())?;
        // What is saved must read back: a version that reads as absent would be fetched for ever.
        if !directory.is_whole()? {
            return Err(torn(new));
        }
        Ok(stage)
    }

    /// Refuses to write where the root could not be written at start.
    pub(super) fn may_write(&self) -> Result<(), Error> {
        match self.access {
            Access::ReadWrite => self.root_is_there(),
            Access::ReadOnly => {
                let what = "was read-only at start: make it writable and start again";
                Err(wrong(&self.root, what))
            }
        }
    }

    /// Writes a new file and returns it; its mode is 0666 less the umask.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<File, Error> {
        let result = File::create_new(path).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        });
        let file = result.map_err(|error| failed("write", path, &error))?;
        self.sync_file(&file, path)?;
        Ok(file)
    }

    /// Takes the spool's file over by a hard link, or copies it where that cannot be: from another
    /// file system, or one without hard links.
    fn place_zip(&self, spool: &Spool, path: &Path, like: &File) -> Result<(), Error> {
        let file = match fs::hard_link(spool.path(), path).and_then(|()| File::open(path)) {
            Ok(file) => file,
            Err(_) => copy(spool, path)?,
        };
        // A spool is private to its owner; a stored file has the mode of any other new file.
        let mode = like.metadata().map(|metadata| metadata.permissions());
        mode.and_then(|mode| file.set_permissions(mode))
            .map_err(|error| failed("set the mode of", path, &error))?;
        self.sync_file(&file, path)?;
        let stored = file.metadata().map_err(|error| failed("look at", path, &error))?.len();
        let spooled = spool.written();
        if stored != spooled {
            let text = format!("the spool has {spooled} bytes but its file has {stored}");
            return Err(failed("store", path, &io::Error::other(text)));
        }
        Ok(())
    }

    fn sync_file(&self, file: &File, path: &Path) -> Result<(), Error> {
        match self.durability {
            Durability::Synced => file.sync_all().map_err(|error| failed("sync", path, &error)),
            Durability::Volatile => Ok(()),
        }
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), Error> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        let directory = File::open(path).map_err(|error| failed("open", path, &error))?;
        self.sync_file(&directory, path)
    }

    /// Makes `directory`, which lies below the root, and what is missing above it; the names of the
    /// new ones are synced.
    pub(super) fn make_directories(&self, directory: &Path) -> Result<(), Error> {
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = directory;
        loop {
            match fs::create_dir(at) {
                Ok(()) => {
                    self.sync_parent(at)?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push(at.to_owned());
                    at = match at.parent() {
                        Some(parent) if parent.starts_with(&self.root) => parent,
                        _ => return Err(failed("make", at, &error)),
                    };
                }
                Err(error) => return Err(failed("make", at, &error)),
            }
        }
        for path in missing.iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => self.sync_parent(path)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("make", path, &error)),
            }
        }
        Ok(())
    }

    fn sync_parent(&self, path: &Path) -> Result<(), Error> {
        path.parent().map_or(Ok(()), |parent| self.sync_directory(parent))
    }
}

/// Copies from the open spool, not from its name: another process may have swept the name away.
fn copy(spool: &Spool, path: &Path) -> Result<File, Error> {
    // A link that was made before its file could be opened is in the way.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("replace", path, &error));
        }
        _ => {}
    }
    let mut file = File::create_new(path).map_err(|error| failed("write", path, &error))?;
    let length = spool.written();
    let mut position = 0;
    while position < length {
        let left = usize::try_from(length - position).unwrap_or(usize::MAX);
        let chunk = spool.read_at(position, left.min(COPY_CHUNK_BYTES))?;
        file.write_all(&chunk).map_err(|error| failed("write", path, &error))?;
        position += chunk.len() as u64;
    }
    Ok(file)
}
