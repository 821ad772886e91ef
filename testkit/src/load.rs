//! The modules of a load: made up, always the same ones, and too many to be kept.
//!
//! They are `load.test/SCENARIO/mN` with the versions `v1.0.0` to `v1.999999.0`; a list names the first ten.

use crate::module::FakeModule;
use crate::upstream::Generator;

/// What every module's path begins with.
const PREFIX: &str = "load.test/";
/// The most modules of a scenario.
const MODULES_MAX: u32 = 10_000;
/// The most versions of a module.
const VERSIONS_MAX: u32 = 1_000_000;
/// Versions that a list names.
const LISTED_VERSIONS: u32 = 10;
/// Bytes of most zips, and of every tenth module's: about the median and the 90th percentile of what
/// builds download.
const SMALL_BYTES: usize = 18_000;
const LARGE_BYTES: usize = 250_000;

/// The modules of a load.
#[derive(Clone, Copy, Debug)]
pub struct Modules;

impl Generator for Modules {
    fn module(&self, path: &str, version: &str) -> Option<FakeModule> {
        let number = module_number(path)?;
        version_number(version)?;
        let bytes = if number % 10 == 9 { LARGE_BYTES } else { SMALL_BYTES };
        Some(FakeModule::new(path, version).filler(bytes))
    }

    fn versions(&self, path: &str) -> Vec<String> {
        match module_number(path) {
            Some(_) => (0..LISTED_VERSIONS).map(|minor| format!("v1.{minor}.0")).collect(),
            None => Vec::new(),
        }
    }
}

/// `N` of `load.test/SCENARIO/mN`.
fn module_number(path: &str) -> Option<u32> {
    let (_scenario, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
    number(name.strip_prefix('m')?, MODULES_MAX)
}

/// `N` of `v1.N.0`.
fn version_number(version: &str) -> Option<u32> {
    number(version.strip_prefix("v1.")?.strip_suffix(".0")?, VERSIONS_MAX)
}

/// A number below `end`, written without leading zeros.
fn number(text: &str, end: u32) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number < end && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_modules_of_a_load_are_made_up() {
        assert!(Modules.module("load.test/hot/m7", "v1.3.0").is_some());
        for (path, version) in [
            ("load.test/hot/m7", "v2.3.0"),
            ("load.test/hot/m7", "v1.03.0"),
            ("load.test/hot/m10000", "v1.3.0"),
            ("load.test/m7", "v1.3.0"),
            ("example.com/hot/m7", "v1.3.0"),
        ] {
            assert!(Modules.module(path, version).is_none(), "{path}@{version}");
        }
        assert_eq!(Modules.versions("load.test/hot/m7").len(), 10);
        assert!(Modules.versions("load.test/hot/x").is_empty());
    }
}
