//! The environment as the loader sees it: injected, so that tests are hermetic.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Read access to environment variables.
///
/// [`ProcessEnv`] is the real one; a `BTreeMap<String, String>` is the one for tests.
pub trait Env {
    /// The variable's value, `None` when it is not set. A set but empty variable is `Some("")`.
    fn get(&self, name: &str) -> Option<OsString>;

    /// The names of all variables that are valid UTF-8, in no particular order.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<OsString> {
        BTreeMap::get(self, name).map(OsString::from)
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}
