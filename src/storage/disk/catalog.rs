//! The catalogue of everything stored: a depth-first walk in lexical order that can go on from
//! where a token says.
//!
//! The order is that of paths taken element by element, a directory before what is in it. A token
//! is `module|version`, the last entry handed out; the walk skips straight to it along its elements
//! and reads nothing that comes before. Tokens that Athens handed out mean the same.

use std::path::PathBuf;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, CatalogPage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use super::super::whole::PageRoom;
use super::Store;
use super::failure::failed;
use super::names::{Begin, MAX_NAMES_HELD, directories};
use super::whole::VersionDirectory;

/// Longest token: a module path, a bar and a version.
const MAX_TOKEN_BYTES: usize = 4_096;
/// Deepest directory that is looked into: more elements than the longest module path has.
const MAX_DEPTH: usize = 1_024;

impl Store {
    /// A page of at most `limit` entries after `token`; `limit` 0 leaves the size to [`PageRoom`].
    pub(super) fn catalog(&self, token: Option<&str>, limit: usize) -> Result<CatalogPage, Error> {
        let token = token.filter(|token| !token.is_empty());
        let after = token.map(elements).transpose()?.unwrap_or_default();
        let mut room = PageRoom::new(limit);
        self.root_is_there()?;
        let mut walk = Walk { levels: vec![Level::new(self.root.clone(), String::new(), after)] };
        let mut entries = Vec::new();
        // One entry more is looked for, so that a last page that is full has no token.
        while let Some(entry) = walk.next()? {
            if !room.takes(&entry) {
                let next = entries.last().map(token_of);
                return Ok(CatalogPage { entries, next });
            }
            entries.push(entry);
        }
        Ok(CatalogPage { entries, next: None })
    }
}

fn token_of(entry: &CatalogEntry) -> String {
    format!("{}|{}", entry.module, entry.version)
}

/// The elements of a token. They are compared with names and never opened, so nothing in them can
/// lead out of the root.
fn elements(token: &str) -> Result<Vec<String>, Error> {
    let refuse = |what: &str| {
        let text = format!("catalog token {what}: pass the value of `next` of the page before");
        Err(Error::new(ErrorKind::BadRequest, text))
    };
    if token.len() > MAX_TOKEN_BYTES {
        return refuse("is too long");
    }
    let Some((module, version)) = token.split_once('|') else {
        return refuse("has no `|` between module and version");
    };
    Ok(module.split('/').chain([version]).map(str::to_owned).collect())
}

/// Where the walk is: one level per directory on the way down.
struct Walk {
    levels: Vec<Level>,
}

struct Level {
    directory: PathBuf,
    /// Path of the directory below the root; empty for the root.
    module: String,
    /// What is left of the token on this level and below; empty off the token's path.
    after: Vec<String>,
    /// Names read and not yet visited.
    names: std::vec::IntoIter<String>,
    /// The last name visited: where reading goes on.
    last: Option<String>,
    /// No name is left beyond those in `names`.
    exhausted: bool,
}

impl Level {
    fn new(directory: PathBuf, module: String, after: Vec<String>) -> Self {
        let (names, last, exhausted) = (Vec::new().into_iter(), None, false);
        Self { directory, module, after, names, last, exhausted }
    }

    fn next_name(&mut self) -> Result<Option<String>, Error> {
        if self.names.len() == 0 && !self.exhausted {
            self.read_names()?;
        }
        let name = self.names.next();
        if name.is_some() {
            self.last.clone_from(&name);
        }
        Ok(name)
    }

    fn read_names(&mut self) -> Result<(), Error> {
        let from = match (&self.last, self.after.first()) {
            (Some(last), _) => Begin::After(last),
            (None, Some(first)) => Begin::At(first),
            (None, None) => Begin::Start,
        };
        let is_root = self.module.is_empty();
        let wanted = |name: &str| may_be_an_element(name, is_root);
        let names = directories(&self.directory, from, MAX_NAMES_HELD, wanted)
            .map_err(|error| failed("list", &self.directory, &error))?;
        self.exhausted = names.len() < MAX_NAMES_HELD;
        self.names = names.into_iter();
        Ok(())
    }

    /// What of the token lies below `name`, and whether `name` is on its path: what is there was
    /// handed out with an earlier page.
    fn below(&self, name: &str) -> (Vec<String>, bool) {
        match self.after.split_first() {
            Some((first, rest)) if first == name => (rest.to_vec(), true),
            _ => (Vec::new(), false),
        }
    }

    /// The version in the sub-directory `name`, if it is one.
    fn entry(&self, name: &str) -> Result<Option<CatalogEntry>, Error> {
        let Ok(version) = Version::parse(name) else { return Ok(None) };
        if ModulePath::parse(&self.module).is_err() {
            return Ok(None);
        }
        let directory = VersionDirectory::new(self.directory.join(name), &version);
        let entry = || CatalogEntry { module: self.module.clone(), version: name.to_owned() };
        Ok(directory.may_be_whole()?.then(entry))
    }
}

impl Walk {
    fn next(&mut self) -> Result<Option<CatalogEntry>, Error> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.next_name()? else {
                self.levels.pop();
                continue;
            };
            let (after, handed_out) = level.below(&name);
            let entry = if handed_out { None } else { level.entry(&name)? };
            let directory = level.directory.join(&name);
            let module = match level.module.as_str() {
                "" => name,
                parent => format!("{parent}/{name}"),
            };
            if self.levels.len() < MAX_DEPTH {
                self.levels.push(Level::new(directory, module, after));
            }
            if entry.is_some() {
                return Ok(entry);
            }
        }
        Ok(None)
    }
}

/// Whether a directory's name may be an element of a module path, or a version. This leaves out
/// `.dipylon`, `lost+found` and what volumes and backup tools put beside a store, some of which the
/// gateway may not even read.
fn may_be_an_element(name: &str, is_root: bool) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
    !name.starts_with('.') && name.bytes().all(plain) && (!is_root || name.contains('.'))
}
