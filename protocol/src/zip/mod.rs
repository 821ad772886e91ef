//! Checks a module zip while it streams past, without ever holding it.
//!
//! [`ZipCheck`] takes the bytes as they come from the upstream, in pieces of any size. It walks the
//! entries by their local headers, inflates each one, applies the rules that the go command has for
//! the zips it *consumes* (golang/mod `zip.Unzip`), and hashes the content for the checksum
//! database. When the central directory arrives it compares every record with what was seen.
//! Nothing that passes can mean other files to another reader of zips.
//!
//! It is stricter than golang/mod in these points, none of which a zip made by the go command
//! touches: nothing may stand before, between or after the records; every entry must be in the
//! directory and the other way round; what a local header declares must be true; symbolic links and
//! other irregular files are refused, as are encrypted entries; counts and name lengths are
//! bounded.
//!
//! One point looks odd and is on purpose: a directory's own entry (`name/`) is a line in the `h1:`
//! hash, because the go command hashes every entry of the zip's directory (`dirhash.HashZip`).
//!
//! Memory: the inflater's window, one 64 KiB buffer, a `go.mod` of at most 16 MiB and about 200
//! bytes for each entry. The cost of a bomb is bounded by the limits on content, not by what it
//! would inflate to.

mod body;
mod descriptor;
mod directory;
mod end;
mod error;
mod fields;
mod fold;
mod names;
mod record;

pub use error::ZipError;
pub use fold::fold;

use body::{Body, Entry, Inflater};
use directory::Directory;
use error::quoted;
use names::{Name, Names};
use record::Method;

use crate::dirhash::{Hash1, Hash1Builder};
use crate::path::ModulePath;
use crate::version::Version;

/// Largest zip in bytes (golang/mod `zip.MaxZipFile`).
pub const MAX_ZIP_BYTES: u64 = 500 << 20;
/// Largest total content in bytes (golang/mod `zip.MaxZipFile` too).
pub const MAX_CONTENT_BYTES: u64 = 500 << 20;
/// Largest `go.mod` in bytes (golang/mod `zip.MaxGoMod`).
pub const MAX_GO_MOD_BYTES: u64 = 16 << 20;
/// Largest `LICENSE` in the root in bytes (golang/mod `zip.MaxLICENSE`).
pub const MAX_LICENSE_BYTES: u64 = 16 << 20;
/// Most entries; the largest modules in public have some tens of thousands.
pub const MAX_ENTRIES: usize = 250_000;
/// Most files and directories, those that only stand in the path of a file counted too.
pub const MAX_TREE_NAMES: usize = 2 * MAX_ENTRIES;
/// Longest name of an entry without the module's prefix in bytes: what a file system can take as a
/// path.
pub const MAX_NAME_BYTES: usize = 4096;
/// All names together in bytes.
pub const MAX_ALL_NAMES_BYTES: usize = 64 << 20;

/// Bytes taken from a pushed chunk at a time; with the longest record it bounds what is held back.
const PIECE_BYTES: usize = 64 << 10;

/// What a zip turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipSummary {
    /// The hash that `go.sum` and the checksum database have for the module.
    pub h1: Hash1,
    /// Number of files, without directories.
    pub files: usize,
    /// Length of the zip in bytes.
    pub compressed_bytes: u64,
    /// Length of all content in bytes.
    pub uncompressed_bytes: u64,
    /// Content of `go.mod` in the root, if there is one.
    pub go_mod: Option<Vec<u8>>,
}

/// A module zip being checked. Push all its bytes, then finish.
pub struct ZipCheck {
    names: Names,
    state: State,
    /// Bytes of a record that is not whole yet.
    held: Vec<u8>,
    /// Offset in the zip of the first byte that was not yet used.
    at: u64,
    pushed: u64,
    uncompressed: u64,
    all_names: usize,
    entries: Vec<Entry>,
    go_mod: Option<Vec<u8>>,
    inflater: Inflater,
    failed: Option<ZipError>,
}

/// What is expected next.
enum State {
    /// The header of an entry, or the first record of the directory.
    Record,
    /// Content of an entry.
    Content(Box<Body>),
    /// The data descriptor after an entry's content.
    Descriptor(Box<Body>),
    /// A record of the directory or an end record.
    Directory(Directory),
    /// Nothing: the zip is whole.
    End,
}

/// A step used so many bytes, or `None`: it needs more than there are.
type Step = Result<Option<usize>, ZipError>;

impl ZipCheck {
    /// Begins to check the zip of `module` at `version`.
    pub fn new(module: &ModulePath, version: &Version) -> Self {
        Self {
            names: Names::new(format!("{}@{}/", module.as_str(), version.as_str())),
            state: State::Record,
            held: Vec::new(),
            at: 0,
            pushed: 0,
            uncompressed: 0,
            all_names: 0,
            entries: Vec::new(),
            go_mod: None,
            inflater: Inflater::new(),
            failed: None,
        }
    }

    /// Takes the next bytes of the zip, as many as there are.
    ///
    /// # Errors
    /// [`ZipError`] as soon as the zip cannot be accepted any more; it comes again from every later
    /// call.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), ZipError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = chunk.chunks(PIECE_BYTES).try_for_each(|piece| self.push_piece(piece));
        self.failed = result.as_ref().err().cloned();
        result
    }

    /// Ends the check; all bytes have been pushed.
    ///
    /// # Errors
    /// The error of an earlier push, or [`ZipError::Truncated`] when the zip is not whole.
    pub fn finish(self) -> Result<ZipSummary, ZipError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !matches!(self.state, State::End) {
            return Err(ZipError::Truncated { at: self.pushed });
        }
        let files = self.entries.iter().filter(|entry| !entry.is_dir).count();
        let mut h1 = Hash1Builder::default();
        for entry in self.entries {
            h1.add(format!("{}{}", self.names.prefix(), entry.rest), entry.sha256);
        }
        Ok(ZipSummary {
            h1: h1.finish(),
            files,
            compressed_bytes: self.pushed,
            uncompressed_bytes: self.uncompressed,
            go_mod: self.go_mod,
        })
    }

    /// Uses a piece together with what was held back before it, and holds back what is left.
    fn push_piece(&mut self, piece: &[u8]) -> Result<(), ZipError> {
        self.pushed += piece.len() as u64;
        if self.pushed > MAX_ZIP_BYTES {
            return Err(ZipError::TooLarge { what: "the zip", limit: MAX_ZIP_BYTES });
        }
        if self.held.is_empty() {
            let used = self.run(piece)?;
            self.held.extend_from_slice(piece.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece);
        let used = self.run(&held)?;
        held.drain(..used);
        self.held = held;
        Ok(())
    }

    /// Steps until the bytes at hand are not enough; returns how many were used.
    fn run(&mut self, input: &[u8]) -> Result<usize, ZipError> {
        let mut used = 0;
        while let Some(count) = self.step(input.get(used..).unwrap_or_default())? {
            used += count;
            self.at += count as u64;
        }
        Ok(used)
    }

    fn step(&mut self, input: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::End) {
            State::Record => self.record(input),
            State::Content(body) => self.content(body, input),
            State::Descriptor(body) => self.descriptor(body, input),
            State::Directory(directory) => self.directory(directory, input),
            State::End if input.is_empty() => Ok(None),
            State::End => Err(ZipError::TrailingBytes { at: self.at }),
        }
    }

    /// The header of an entry, or the turn to the directory.
    fn record(&mut self, input: &[u8]) -> Step {
        match fields::signature(input) {
            Some(fields::LOCAL) => self.local(input),
            Some(fields::CENTRAL | fields::ZIP64_END | fields::END) => {
                self.state = State::Directory(Directory::new(self.at));
                Ok(Some(0))
            }
            Some(_) if self.at == 0 => Err(ZipError::NotAZip),
            Some(_) => Err(ZipError::UnknownRecord { at: self.at }),
            None => {
                self.state = State::Record;
                Ok(None)
            }
        }
    }

    fn local(&mut self, input: &[u8]) -> Step {
        let Some((local, used)) = record::local(input, self.at)? else {
            self.state = State::Record;
            return Ok(None);
        };
        let name = self.admit(&local.name)?;
        if local.method == Method::Deflate {
            self.inflater.restart();
        }
        self.state = State::Content(Box::new(Body::new(self.at, name, local, self.uncompressed)?));
        Ok(Some(used))
    }

    /// Checks a name against the rules, the names before it and the bounds of this check.
    fn admit(&mut self, raw: &[u8]) -> Result<Name, ZipError> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(ZipError::TooManyEntries { what: "entries", limit: MAX_ENTRIES });
        }
        let name = self.names.admit(raw)?;
        self.all_names += name.rest.len();
        if self.all_names > MAX_ALL_NAMES_BYTES {
            return Err(ZipError::TooManyEntries {
                what: "bytes of names",
                limit: MAX_ALL_NAMES_BYTES,
            });
        }
        Ok(name)
    }

    fn content(&mut self, mut body: Box<Body>, input: &[u8]) -> Step {
        let progress = body.read(input, &mut self.inflater)?;
        if !progress.ended {
            self.state = State::Content(body);
            return Ok((progress.used > 0).then_some(progress.used));
        }
        if body.local.has_descriptor {
            self.state = State::Descriptor(body);
        } else {
            self.close(*body)?;
        }
        Ok(Some(progress.used))
    }

    fn descriptor(&mut self, body: Box<Body>, input: &[u8]) -> Step {
        // No valid zip ends so soon after a descriptor that the window could not be filled.
        let Some(window) = input.get(..descriptor::DESCRIPTOR_WINDOW_BYTES) else {
            self.state = State::Descriptor(body);
            return Ok(None);
        };
        let Some(used) = body.descriptor(window) else {
            let name = quoted(body.name.rest.as_bytes());
            return Err(ZipError::EntryMismatch { name, what: "the data descriptor" });
        };
        self.close(*body)?;
        Ok(Some(used))
    }

    fn close(&mut self, body: Body) -> Result<(), ZipError> {
        let (entry, go_mod) = body.finish()?;
        self.uncompressed += entry.uncompressed;
        self.go_mod = go_mod.or(self.go_mod.take());
        self.entries.push(entry);
        self.state = State::Record;
        Ok(())
    }

    fn directory(&mut self, mut directory: Directory, input: &[u8]) -> Step {
        let read = directory.read(input, self.at, &mut self.entries, self.names.prefix())?;
        match read {
            Some(read) if read.is_last => Ok(Some(read.used)),
            read => {
                self.state = State::Directory(directory);
                Ok(read.map(|read| read.used))
            }
        }
    }
}

impl std::fmt::Debug for ZipCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ZipCheck");
        shown.field("prefix", &self.names.prefix()).field("pushed", &self.pushed);
        shown
            .field("entries", &self.entries.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
