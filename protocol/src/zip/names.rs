//! Which names a module zip may hold. Follows golang/mod `zip.checkZip` and its collision checker.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::error::{ZipError, quoted};
use super::fold::fold;
use super::{MAX_NAME_BYTES, MAX_TREE_NAMES};
use crate::path::check_file_path;

/// What a file is to the go command; two have a size limit of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    GoMod,
    License,
    Directory,
    Other,
}

/// A name that the zip may hold: relative to the module's root, with the final `/` of a directory.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) rest: Box<str>,
    pub(super) role: Role,
}

/// The names seen so far, as a tree of elements.
///
/// A tree and not a set of paths: a path of many elements would otherwise be kept once for each of
/// its parents.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    nodes: HashMap<(u32, Box<str>), Node>,
}

/// A file or directory in the tree; its key is its directory's id and its folded name.
#[derive(Debug)]
struct Node {
    id: u32,
    is_dir: bool,
    /// The name as it was written, if folding changed it.
    written: Option<Box<str>>,
}

/// Id of the module's root in the tree.
const ROOT: u32 = 0;

impl Names {
    /// `prefix` is `<module path>@<version>/`.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, nodes: HashMap::new() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Checks a name as it stands in a header and remembers it.
    pub(super) fn admit(&mut self, raw: &[u8]) -> Result<Name, ZipError> {
        let bad = |why: String| ZipError::BadName { name: quoted(raw), why };
        let rest = raw.strip_prefix(self.prefix.as_bytes()).ok_or_else(|| {
            ZipError::ForeignPrefix { name: quoted(raw), prefix: self.prefix.clone() }
        })?;
        if rest.len() > MAX_NAME_BYTES {
            return Err(bad(format!("longer than {MAX_NAME_BYTES} bytes")));
        }
        let rest = str::from_utf8(rest).map_err(|_| bad("not UTF-8".to_owned()))?;
        if rest.is_empty() {
            return Ok(Name { rest: rest.into(), role: Role::Directory });
        }
        let path = rest.strip_suffix('/').unwrap_or(rest);
        let is_dir = path.len() < rest.len();
        check_file_path(path).map_err(|error| bad(error.reason().to_string()))?;
        self.insert(path, is_dir)?;
        let role = if is_dir { Role::Directory } else { role_of_file(path)? };
        Ok(Name { rest: rest.into(), role })
    }

    /// Puts a path and all its parents into the tree.
    fn insert(&mut self, path: &str, is_dir: bool) -> Result<(), ZipError> {
        let mut parent = ROOT;
        let mut begin = 0;
        for element in path.split('/') {
            let end = begin + element.len();
            let is_last = end == path.len();
            parent = self.insert_element(parent, path, begin..end, is_last && !is_dir)?;
            begin = end + 1;
        }
        Ok(())
    }

    /// Puts one element under its directory and returns its id.
    fn insert_element(
        &mut self,
        parent: u32,
        path: &str,
        element: std::ops::Range<usize>,
        is_file: bool,
    ) -> Result<u32, ZipError> {
        let name = || quoted(path.as_bytes());
        let begin = element.start;
        let element = path.get(element).unwrap_or_default();
        let folded = fold(element);
        let written = (*folded != *element).then(|| element.into());
        let count = self.nodes.len();
        match self.nodes.entry((parent, folded.into())) {
            Entry::Vacant(_) if count >= MAX_TREE_NAMES => {
                Err(ZipError::TooManyEntries { what: "names", limit: MAX_TREE_NAMES })
            }
            Entry::Vacant(vacant) => {
                let id = u32::try_from(count + 1).unwrap_or(u32::MAX);
                vacant.insert(Node { id, is_dir: !is_file, written });
                Ok(id)
            }
            Entry::Occupied(there) => {
                let node = there.get();
                if node.written != written {
                    let other = node.written.as_deref().unwrap_or(&there.key().1);
                    let other = format!("{}{other}", path.get(..begin).unwrap_or_default());
                    return Err(ZipError::CaseClash {
                        name: name(),
                        other: quoted(other.as_bytes()),
                    });
                }
                if node.is_dir == is_file {
                    return Err(ZipError::FileAndDirectory { name: name() });
                }
                if is_file {
                    return Err(ZipError::Duplicate { name: name() });
                }
                Ok(node.id)
            }
        }
    }
}

/// Applies the rules for `go.mod`: in the root only, in lower case only.
fn role_of_file(path: &str) -> Result<Role, ZipError> {
    let base = path.rsplit('/').next().unwrap_or(path);
    if base.eq_ignore_ascii_case("go.mod") {
        let name = quoted(path.as_bytes());
        return match path {
            "go.mod" => Ok(Role::GoMod),
            _ if path.len() > base.len() => Err(ZipError::NestedGoMod { name }),
            _ => Err(ZipError::GoModCase { name }),
        };
    }
    Ok(if path == "LICENSE" { Role::License } else { Role::Other })
}
