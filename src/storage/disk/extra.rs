//! Files of ours under `<root>/.dipylon/`, which Athens never looks at.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dipylon_middleware::error::Error;

use super::super::extra_key::{self, MAX_ELEMENT_BYTES, MAX_EXTRA_BYTES};
use super::Store;
use super::failure::{failed, is_absent, wrong};
use super::layout::{MEND_LOCK, STAGING, ours, staging};
use super::whole::read_small;

/// How often a write makes its directory anew.
const WRITE_ATTEMPTS: u32 = 5;

/// How names of staged extras begin.
pub(super) const EXTRA_PREFIX: &str = "extra-";

impl Store {
    /// The bytes of an extra. A key that is too long to be written is absent.
    pub(super) fn read_extra(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if extra_key::is_unstorable(key) {
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
        if extra_key::is_unstorable(key) {
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
            let made = self.make_directories(directory);
            let placed = made.and_then(|()| {
                fs::rename(&staged, &path).map_err(|error| failed("write", &path, &error))?;
                self.sync_directory(directory)
            });
            match placed {
                Ok(()) => break,
                // Somebody who removed the last extra beside this one may have taken the directory along.
                Err(_) if attempt < WRITE_ATTEMPTS && staged.exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
        extra_key::check(key, &[STAGING, MEND_LOCK])?;
        Ok(ours(&self.root).join(Path::new(key)))
    }
}
