//! From names in order to whole versions: which of a list's names make up a version of three objects.
//!
//! A machine without I/O. It is fed objects in the order of their names' bytes and hands out the versions
//! of which all three came by with as many bytes as they must have, in the order of their `.info` names: the
//! order in which Athens hands them out, and the order that a token can go on from. It holds the few versions
//! that are open at a time, however long the list is.

use std::collections::VecDeque;

use dipylon_protocol::route::FileKind;

use super::super::whole::MIN_ZIP_BYTES;
use super::client::Listed;
use super::layout::{Layout, Named};

/// Versions open at a time. They lie within one another (`v1.0.0-a` around `v1.0.0-a.j`, a version around
/// a module below it), so there are a handful; foreign names could make more, and then the oldest is
/// taken for torn.
pub const MAX_OPEN_VERSIONS: usize = 1_024;

/// A version and what of it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) module: String,
    pub(super) version: String,
    /// The store's token of the page that had the `.info`.
    pub(super) page: Option<String>,
    seen: [bool; 3],
}

impl Found {
    fn is_whole(&self) -> bool {
        self.seen == [true; 3]
    }

    fn is(&self, module: &str, version: &str) -> bool {
        self.module == module && self.version == version
    }
}

/// Finds whole versions among names.
pub(super) struct Assembler {
    layout: Layout,
    /// The list goes on after this `.info` name; what came before is not fed again.
    after: Option<String>,
    /// The store's token of the page that is fed.
    pub(super) page: Option<String>,
    open: VecDeque<Found>,
}

/// What one name led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to hand out.
    Nothing,
    /// These versions are whole.
    Whole(Vec<Found>),
    /// The `.info` came, and what else the version has lies before the place where the list began: the
    /// store has to be asked.
    Ask(Found),
}

impl Assembler {
    /// `after` is the `.info` name that the list goes on after.
    pub(super) fn new(layout: Layout, after: Option<&str>) -> Self {
        Self { layout, after: after.map(str::to_owned), page: None, open: VecDeque::new() }
    }

    /// Takes the next object.
    pub(super) fn feed(&mut self, object: &Listed) -> Step {
        match self.layout {
            Layout::Directory => self.info_last(&object.key, object.size),
            Layout::Blob => self.info_first(&object.key, object.size),
        }
    }

    /// In the directory layout `go.mod` and `source.zip` come before `v….info`.
    fn info_last(&mut self, key: &str, size: u64) -> Step {
        let encloses = |found: &Found| {
            let rest = key.strip_prefix(found.module.as_str()).and_then(|k| k.strip_prefix('/'));
            let rest = rest.and_then(|key| key.strip_prefix(found.version.as_str()));
            rest.is_some_and(|key| key.starts_with('/'))
        };
        self.open.retain(encloses);
        let enough = |named: &Named<'_>| has_enough(named.kind, size);
        let Some(named) = self.layout.parse(key).filter(enough) else { return Step::Nothing };
        let mut found = self.take(named.module, named.version);
        found.seen[place(named.kind)] = true;
        if named.kind != FileKind::Info {
            self.push(found);
            return Step::Nothing;
        }
        found.page.clone_from(&self.page);
        if found.is_whole() {
            return Step::Whole(vec![found]);
        }
        // What is missing may have been named before the list began.
        let first = self.layout.spell(&found.module, &found.version, FileKind::Mod);
        match self.after.as_ref() {
            Some(after) if first <= *after => Step::Ask(found),
            _ => Step::Nothing,
        }
    }

    /// In the blob layout `.info` comes before `.mod` and `.zip`, and other versions may lie between.
    fn info_first(&mut self, key: &str, size: u64) -> Step {
        let named = self.layout.parse(key);
        if let Some(named) = named.filter(|named| has_enough(named.kind, size)) {
            let known = self.open.iter_mut().find(|one| one.is(named.module, named.version));
            match (known, named.kind) {
                (Some(found), kind) => found.seen[place(kind)] = true,
                (None, FileKind::Info) => {
                    let mut found = new(named.module, named.version);
                    found.seen[place(FileKind::Info)] = true;
                    found.page.clone_from(&self.page);
                    self.push(found);
                }
                // Its `.info` is missing, or was handed out with the page before.
                (None, _) => {}
            }
        }
        let mut whole = Vec::new();
        while let Some(first) = self.open.front() {
            let last = self.layout.spell(&first.module, &first.version, FileKind::Zip);
            if !first.is_whole() && key < last.as_str() {
                break;
            }
            whole.extend(self.open.pop_front().filter(Found::is_whole));
        }
        if whole.is_empty() { Step::Nothing } else { Step::Whole(whole) }
    }

    /// What is left when the list ends.
    pub(super) fn end(self) -> Vec<Found> {
        self.open.into_iter().filter(Found::is_whole).collect()
    }

    fn take(&mut self, module: &str, version: &str) -> Found {
        match self.open.iter().position(|found| found.is(module, version)) {
            Some(at) => self.open.remove(at).unwrap_or_else(|| new(module, version)),
            None => new(module, version),
        }
    }

    fn push(&mut self, found: Found) {
        if self.open.len() == MAX_OPEN_VERSIONS {
            self.open.pop_front();
        }
        self.open.push_back(found);
    }
}

fn new(module: &str, version: &str) -> Found {
    Found { module: module.to_owned(), version: version.to_owned(), page: None, seen: [false; 3] }
}

/// Whether an object can be that of a whole version, by its length alone.
pub(super) fn has_enough(kind: FileKind, size: u64) -> bool {
    match kind {
        FileKind::Info | FileKind::Mod => size > 0,
        FileKind::Zip => size >= MIN_ZIP_BYTES,
    }
}

fn place(kind: FileKind) -> usize {
    match kind {
        FileKind::Info => 0,
        FileKind::Mod => 1,
        FileKind::Zip => 2,
    }
}
