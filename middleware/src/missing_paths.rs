//! Module paths that do not exist at all, as far as upstream says.
//!
//! The `go` command asks for every prefix of an import path, and again in the next build. What list and
//! latest learn of a path, `versions` writes down here; `negative` goes by it. Only an explicit "does not
//! exist" counts, never a failure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;

use crate::error::Error;
use crate::purge::{Forgets, Purge, Purges};
use crate::remember::{Remember, Weigh};

/// What the paths may take together, in bytes.
pub const MISSING_PATHS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What upstream is asked about a path: it has one answer for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Its versions.
    List,
    /// Its newest version.
    Latest,
}

impl Weigh for Question {
    fn bytes(&self) -> u64 {
        0
    }
}

/// The paths; clones share them.
#[derive(Clone)]
pub struct MissingPaths {
    said: Remember<(ModulePath, Question), Error>,
    time_to_live: Duration,
    purges: Purges,
}

impl MissingPaths {
    /// Each "no" counts for so long (`NegativePathTTL`).
    pub fn new(time_to_live: Duration) -> Self {
        let (said, purges) = (Remember::new(MISSING_PATHS_BYTES_MAX), Purges::default());
        Self { said, time_to_live, purges }
    }

    /// How long a "no" counts, unless a policy says otherwise for the module.
    pub fn time_to_live(&self) -> Duration {
        self.time_to_live
    }

    /// The purges that it is told of, before anybody else forgets anything.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Upstream has said that it does not exist.
    pub fn missing(&self, module: &ModulePath, asked: Question, error: &Error) {
        self.said.put((module.clone(), asked), error.clone());
    }

    /// There is something at this path.
    pub fn exists(&self, module: &ModulePath) {
        for asked in [Question::List, Question::Latest] {
            self.said.remove(&(module.clone(), asked));
        }
    }

    fn said(&self, module: &ModulePath, asked: Question, within: Duration) -> Option<Error> {
        let (error, _) = self.said_since(module, asked, within)?;
        Some(error)
    }

    fn said_since(
        &self,
        module: &ModulePath,
        asked: Question,
        within: Duration,
    ) -> Option<(Error, Duration)> {
        self.said.get(&(module.clone(), asked), within)
    }

    /// Whether upstream said this within this time, and nothing has been found at the path since.
    pub fn is_missing(&self, module: &ModulePath, asked: Question, within: Duration) -> bool {
        self.said(module, asked, within).is_some()
    }

    /// Whether upstream said within this time that its list does not exist: a version that does not exist
    /// either is missing with its path.
    pub fn is_unlisted(&self, module: &ModulePath, within: Duration) -> bool {
        self.said(module, Question::List, within).is_some()
    }

    /// Neither list nor latest exist, said upstream within this time: nothing needs to be asked about any
    /// version. What it said of the list.
    pub fn nothing_at(&self, module: &ModulePath, within: Duration) -> Option<Error> {
        let (error, _) = self.nothing_at_since(module, within)?;
        Some(error)
    }

    /// The same, and how old the older of the two answers is.
    pub fn nothing_at_since(
        &self,
        module: &ModulePath,
        within: Duration,
    ) -> Option<(Error, Duration)> {
        let (_, latest) = self.said_since(module, Question::Latest, within)?;
        let (error, list) = self.said_since(module, Question::List, within)?;
        Some((error, latest.max(list)))
    }

    /// Who forgets them.
    pub fn forgets(&self) -> Arc<dyn Forgets> {
        Arc::new(self.clone())
    }
}

impl Forgets for MissingPaths {
    fn forget(&self, purge: &Purge) -> usize {
        self.purges.begin_era(purge);
        self.said.forget(|(module, _), _| purge.covers(module))
    }
}

impl fmt::Debug for MissingPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MissingPaths(for {:?})", self.time_to_live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::testing::{SECOND, error, module};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn nothing_is_at_a_path_once_list_and_latest_both_say_so_and_until_one_is_too_old() {
        let (paths, path) = (MissingPaths::new(MINUTE), module("example.com/none"));
        paths.missing(&path, Question::List, &error(ErrorKind::NotFound));
        assert!(paths.is_unlisted(&path, MINUTE) && paths.nothing_at(&path, MINUTE).is_none());
        tokio::time::advance(40 * SECOND).await;
        paths.missing(&path, Question::Latest, &error(ErrorKind::NotFound));
        assert_eq!(paths.nothing_at(&path, MINUTE).expect("both").kind(), ErrorKind::NotFound);
        assert!(
            paths.nothing_at(&module("example.com/none/sub"), MINUTE).is_none(),
            "another path"
        );
        tokio::time::advance(21 * SECOND).await;
        assert!(!paths.is_unlisted(&path, MINUTE) && paths.nothing_at(&path, MINUTE).is_none());
    }

    #[test]
    fn a_path_that_exists_after_all_is_not_missing() {
        let (paths, path) = (MissingPaths::new(MINUTE), module("example.com/none"));
        paths.missing(&path, Question::List, &error(ErrorKind::NotFound));
        paths.missing(&path, Question::Latest, &error(ErrorKind::NotFound));
        paths.exists(&path);
        assert!(!paths.is_unlisted(&path, MINUTE) && paths.nothing_at(&path, MINUTE).is_none());
    }
}
