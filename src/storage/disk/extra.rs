//! Files of ours under `<root>/.dipylon/`, which Athens never looks at.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};

use super::Store;
use super::failure::{failed, is_absent, wrong};
use super::layout::{MEND_LOCK, STAGING, ours, staging};
use super::whole::read_small;

/// Largest extra in bytes: a `.mod` of the largest size, and room.
pub const MAX_EXTRA_BYTES: usize = 32 << 20;
/// Longest key in bytes.
pub const MAX_EXTRA_KEY_BYTES: usize = 2_048;
/// Longest element of a key in bytes: what common file systems take. A longer one is not shortened:
/// it reads as absent, and a write is refused.
const MAX_ELEMENT_BYTES: usize = 255;

/// How often a write makes its directory anew.
const WRITE_ATTEMPTS: u32 = 5;

/// How names of staged extras begin.
pub(super) const EXTRA_PREFIX: &str = "extra-";

impl Store {
    /// The bytes of an extra. A key that is too long to be written is absent.
    pub(super) fn read_extra(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if key.len() > MAX_EXTRA_KEY_BYTES {
            return Ok(None);
        }
        let path = self.extra_path(key)?;
        let bytes = read_small(&path, MAX_EXTRA_BYTES)?;
        if bytes.is_none() {
            self.root_is_there()?;
        }
        Ok(bytes.map(Bytes::from))
    }

    /// Writes an extra by a rename, so that a reader sees the old bytes or the new ones.
    pub(super) fn write_extra(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.extra_path(key)?;
        if bytes.len() > MAX_EXTRA_BYTES {
            return Err(wrong(&path, &format!("would be larger than {MAX_EXTRA_BYTES} bytes")));
        }
        if key.split('/').any(|element| element.len() > MAX_ELEMENT_BYTES) {
            let what = format!("has an element longer than {MAX_ELEMENT_BYTES} bytes");
            return Err(wrong(&path, &what));
        }
        self.may_write()?;
        // A directory of its own, because a plain file of the temporary kind has a private mode.
        let parent = staging(&self.root);
        let stage = tempfile::Builder::new()
            .prefix(EXTRA_PREFIX)
            .tempdir_in(&parent)
            .map_err(|error| failed("stage an extra in", &parent, &error))?;
        let staged = stage.path().join("extra");
        self.write(&staged, bytes)?;
        let directory = path.parent().unwrap_or(&self.root);
        for attempt in 1.. {
            self.make_directories(directory)?;
            match fs::rename(&staged, &path) {
                Ok(()) => break,
                // Somebody who removed the last extra beside this one took the directory along.
                Err(error) if is_absent(&error) && attempt < WRITE_ATTEMPTS => {}
                Err(error) => return Err(failed("write", &path, &error)),
            }
        }
        self.sync_directory(directory)
    }

    /// Removes an extra, and the directories above it that it leaves empty.
    pub(super) fn remove_extra(&self, key: &str) -> Result<(), Error> {
        let path = self.extra_path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return self.root_is_there(),
            Err(error) => return Err(failed("remove", &path, &error)),
        }
        let top = ours(&self.root);
        let above = path.ancestors().skip(1).take_while(|directory| *directory != top);
        for directory in above {
            // Not empty, or taken away by another process: either way nothing is left to do here.
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn extra_path(&self, key: &str) -> Result<PathBuf, Error> {
        match check_key(key) {
            Ok(()) => Ok(ours(&self.root).join(Path::new(key))),
            Err(reason) => {
                let text = format!("storage key {key:?} is refused: {reason}");
                Err(Error::new(ErrorKind::Internal, text))
            }
        }
    }
}

/// Keys are made by the gateway, so a bad one is a defect; but it never becomes a path.
fn check_key(key: &str) -> Result<(), &'static str> {
    if key.len() > MAX_EXTRA_KEY_BYTES {
        return Err("it is too long");
    }
    if key.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
        return Err("it has a control character or a backslash");
    }
    if key.split('/').any(|element| matches!(element, "" | "." | "..")) {
        return Err("an element is empty, `.` or `..`");
    }
    let first = key.split('/').next();
    if first == Some(STAGING) || first == Some(MEND_LOCK) {
        return Err("its first element is in use by the store itself");
    }
    Ok(())
}
