//! Which remembered "no"s an operator wants forgotten, who forgets them, who takes note of new ones, and what was
//! asked before.

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

/// The time between two purges. What was asked in one says nothing of the next: what the purge is about may have
/// come into being in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Era(u64);

/// Counts purges; clones share the count. What is asked now is asked in [`Purges::era`], and may be learnt, and
/// shared with others, for as long as that lasts.
#[derive(Clone, Debug, Default)]
pub struct Purges(Arc<AtomicU64>);

impl Purges {
    /// The time since the last purge.
    pub fn era(&self) -> Era {
        Era(self.0.load(Ordering::Acquire))
    }

    /// Whether there was no purge since.
    pub fn is_still(&self, era: Era) -> bool {
        self.era() == era
    }

    /// There is a purge: whatever is asked from now on is asked anew.
    pub fn begin_era(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Remembers "no"s, and forgets them when it is told to.
pub trait Forgets: Send + Sync + 'static {
    /// Forgets what the purge is about; how many there were.
    fn forget(&self, purge: &Purge) -> usize;
}

/// Remembers "no"s that come to light where no request waits for them.
pub trait Learns: Send + Sync + 'static {
    /// When a question is asked that is asked now.
    fn era(&self) -> Era;

    /// This version cannot be had, for good; so it was said to a question of that time.
    fn learn(&self, module: &ModulePath, version: &VersionQuery, error: &Error, asked: Era);

    /// Whether it is remembered that this version cannot be had.
    fn knows(&self, module: &ModulePath, version: &VersionQuery) -> bool;
}

#[cfg(test)]
mod tests {
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
    fn a_version_narrows_a_purge() {
        let modules = Modules::Exactly("example.com/a".to_owned());
        let one = Purge { modules, version: Some(query("v1.0.0")) };
        assert!(one.covers_version(&module("example.com/a"), &query("v1.0.0")));
        assert!(!one.covers_version(&module("example.com/a"), &query("v1.0.1")));
        assert!(!one.covers_version(&module("example.com/b"), &query("v1.0.0")));
        assert!(one.covers(&module("example.com/a")), "and the path itself may exist now");
    }
}
