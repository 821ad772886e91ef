//! Which remembered "no"s an operator wants forgotten, who forgets them, who takes note of new ones, and what was
//! asked before.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use dipylon_protocol::query::VersionQuery;

use crate::error::Error;

/// The modules of a [`Purge`].
#[derive(Clone, Debug)]
pub enum Modules {
    /// This path alone.
    Exactly(String),
    /// This path and all that lie below it: one repository may hold many modules.
    Below(String),
    /// Those of which a prefix matches, as in `GOPRIVATE`.
    Matching(Patterns),
}

/// What is to be forgotten.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Of these modules.
    pub modules: Modules,
    /// Only what is about this version, or about the module as a whole.
    pub version: Option<VersionQuery>,
}

impl Purge {
    /// Whether it is about this module as a whole.
    pub fn covers(&self, module: &ModulePath) -> bool {
        let path = module.as_str();
        match &self.modules {
            Modules::Exactly(wanted) => path == wanted,
            Modules::Below(wanted) => path
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Modules::Matching(patterns) => patterns.matches(path),
        }
    }

    /// Whether it is about this version of this module.
    pub fn covers_version(&self, module: &ModulePath, version: &VersionQuery) -> bool {
        self.version.as_ref().is_none_or(|wanted| wanted == version) && self.covers(module)
    }
}

/// The time between two purges of a module. What was asked in one says nothing of the next: what the purge is about
/// may have come into being in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Era(u64);

/// For how many paths it is told apart when they were purged last. Two that share a place begin their eras
/// together, which costs a question more.
const PLACES: usize = 1024;

/// Numbers purges; clones share the numbers. What is asked now is asked in [`Purges::era`] of its module, and may be
/// learnt, and shared with others, for as long as that lasts. A purge of other paths does not end it, but for one by
/// patterns, which is not told apart.
#[derive(Clone, Debug, Default)]
pub struct Purges(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    given: AtomicU64,
    /// The last purge by patterns, which may match anything.
    matching: AtomicU64,
    /// The last of each path alone, and of each with all below it.
    exactly: Box<[AtomicU64]>,
    below: Box<[AtomicU64]>,
}

impl Default for Numbers {
    fn default() -> Self {
        let places = || (0..PLACES).map(|_| AtomicU64::default()).collect();
        let (given, matching) = (AtomicU64::default(), AtomicU64::default());
        Self { given, matching, exactly: places(), below: places() }
    }
}

fn place<'a>(places: &'a [AtomicU64], path: &str) -> &'a AtomicU64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let place = hasher.finish() % places.len() as u64;
    &places[usize::try_from(place).unwrap_or_default()]
}

impl Purges {
    /// The time since the last purge of the module.
    pub fn era(&self, module: &ModulePath) -> Era {
        let Numbers { matching, exactly, below, .. } = &*self.0;
        let path = module.as_str();
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let above = ends.map(|end| place(below, &path[..end]));
        let numbers = above.chain([matching, place(exactly, path)]);
        Era(numbers.map(|number| number.load(Ordering::Acquire)).max().unwrap_or_default())
    }

    /// Whether the module was not purged since.
    pub fn is_still(&self, module: &ModulePath, era: Era) -> bool {
        self.era(module) == era
    }

    /// Learns what was said to a question of that time, by `write`; nothing where the module was purged since. A purge
    /// between the check and the write would pass by what is written behind it: so it is asked again afterwards,
    /// and then what was written is undone by `undo`. What a later question has taught may go with it, which
    /// costs that question again.
    pub fn learn(
        &self,
        module: &ModulePath,
        asked: Era,
        write: impl FnOnce(),
        undo: impl FnOnce(),
    ) {
        if !self.is_still(module, asked) {
            return;
        }
        write();
        if !self.is_still(module, asked) {
            undo();
        }
    }

    /// There is a purge: whatever is asked about its modules from now on is asked anew.
    pub fn begin_era(&self, purge: &Purge) {
        let Numbers { given, matching, exactly, below } = &*self.0;
        let number = given.fetch_add(1, Ordering::AcqRel) + 1;
        let last = match &purge.modules {
            Modules::Exactly(path) => place(exactly, path),
            Modules::Below(path) => place(below, path),
            Modules::Matching(_) => matching,
        };
        last.fetch_max(number, Ordering::AcqRel);
    }
}

/// Remembers "no"s, and forgets them when it is told to.
pub trait Forgets: Send + Sync + 'static {
    /// Forgets what the purge is about; how many there were.
    fn forget(&self, purge: &Purge) -> usize;
}

/// Remembers "no"s that come to light where no request waits for them.
pub trait Learns: Send + Sync + 'static {
    /// When a question about the module is asked that is asked now.
    fn era(&self, module: &ModulePath) -> Era;

    /// This version cannot be had, for good; so it was said to a question of that time.
    fn learn(&self, module: &ModulePath, version: &VersionQuery, error: &Error, asked: Era);

    /// Whether it is remembered that this version cannot be had.
    fn knows(&self, module: &ModulePath, version: &VersionQuery) -> bool;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::testing::{module, query};

    fn purge(modules: Modules) -> Purge {
        Purge { modules, version: None }
    }

    #[test]
    fn a_purge_covers_what_it_names_and_nothing_else() {
        let rows = [
            (Modules::Exactly("example.com/a".to_owned()), [true, false, false, false]),
            (Modules::Below("example.com/a".to_owned()), [true, true, false, false]),
            (Modules::Matching(Patterns::parse("example.com/a*")), [true, true, true, false]),
            (Modules::Matching(Patterns::parse("*")), [true, true, true, true]),
        ];
        for (modules, wanted) in rows {
            let purge = purge(modules);
            let covered = ["example.com/a", "example.com/a/v2", "example.com/ab", "example.org/a"]
                .map(|path| purge.covers(&module(path)));
            assert_eq!(covered, wanted, "{purge:?}");
        }
    }

    #[test]
    fn a_purge_begins_an_era_of_what_it_covers_and_of_nothing_else() {
        let modules = [
            Modules::Exactly("example.com/a".to_owned()),
            Modules::Below("example.com/a".to_owned()),
            Modules::Below("example.com".to_owned()),
        ];
        for modules in modules {
            let (purges, purge) = (Purges::default(), purge(modules));
            for path in ["example.com/a", "example.com/a/v2", "example.com/ab", "example.org/a"] {
                let module = module(path);
                let before = purges.era(&module);
                purges.begin_era(&purge);
                assert_eq!(purges.is_still(&module, before), !purge.covers(&module), "{path}");
                assert!(purges.is_still(&module, purges.era(&module)));
            }
        }
        let (purges, any) = (Purges::default(), module("example.com/any"));
        let before = purges.era(&any);
        purges.begin_era(&purge(Modules::Matching(Patterns::parse("example.org"))));
        assert!(!purges.is_still(&any, before), "what patterns match is not told apart");
    }

    #[test]
    fn what_a_purge_overtakes_while_it_is_written_down_is_undone() {
        let (purges, path) = (Purges::default(), module("example.com/a"));
        let purge = purge(Modules::Exactly("example.com/a".to_owned()));
        let (written, undone) = (Cell::new(0), Cell::new(0));
        let count = |count: &Cell<u32>| count.set(count.get() + 1);
        let asked = purges.era(&path);
        purges.learn(&path, asked, || count(&written), || count(&undone));
        assert_eq!((written.get(), undone.get()), (1, 0), "there is no purge");
        let write = || {
            purges.begin_era(&purge);
            count(&written);
        };
        purges.learn(&path, asked, write, || count(&undone));
        assert_eq!((written.get(), undone.get()), (2, 1), "it comes in between");
        purges.learn(&path, asked, || count(&written), || count(&undone));
        assert_eq!((written.get(), undone.get()), (2, 1), "it has been");
    }

    #[test]
    fn a_version_narrows_a_purge() {
        let modules = Modules::Exactly("example.com/a".to_owned());
        let one = Purge { modules, version: Some(query("v1.0.0")) };
        assert!(one.covers_version(&module("example.com/a"), &query("v1.0.0")));
        assert!(!one.covers_version(&module("example.com/a"), &query("v1.0.1")));
        assert!(!one.covers_version(&module("example.com/b"), &query("v1.0.0")));
        assert!(one.covers(&module("example.com/a")), "and the path itself may exist now");
    }
}
