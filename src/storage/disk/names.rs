//! Names of sub-directories in lexical order, a bounded number at a time.

use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::path::Path;

/// Names held of one directory at a time: a directory with more is read again for the next ones, so
/// memory does not grow with the store.
pub(super) const MAX_NAMES_HELD: usize = 4_096;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin<'a> {
    /// At the first name.
    Start,
    /// At this name, should it exist.
    At(&'a str),
    /// Right after this name.
    After(&'a str),
}

impl Begin<'_> {
    fn admits(self, name: &str) -> bool {
        match self {
            Self::Start => true,
            Self::At(first) => name >= first,
            Self::After(last) => name > last,
        }
    }
}

/// The first `names_max` names, in order, of the sub-directories of `directory` that `wanted` lets
/// pass. Symbolic links are no sub-directories, as in Athens. Names that are not UTF-8 cannot be
/// part of a module path. A directory that is gone has none.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn directories(
    directory: &Path,
    from: Begin<'_>,
    names_max: usize,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if super::failure::is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // The largest name is on top, so the heap keeps the smallest ones.
    let mut smallest: BinaryHeap<String> = BinaryHeap::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !from.admits(&name) || !wanted(&name) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => smallest.push(name),
            Ok(_) => continue,
            // It vanished between its name being read and its kind being asked for.
            Err(error) if super::failure::is_absent(&error) => continue,
            Err(error) => return Err(error),
        }
        if smallest.len() > names_max {
            smallest.pop();
        }
    }
    Ok(smallest.into_sorted_vec())
}
