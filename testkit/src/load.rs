//! The modules of a load: made up, always the same ones, and too many to be kept; and beside them real ones.
//!
//! Those that are made up are `load.test/SCENARIO/mN` with the versions `v1.0.0` to `v1.999999.0`; a list names the
//! first ten. Zips of `load.test/lateN/…` are N milliseconds late.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::{escape, unescape};
use dipylon_protocol::semver;

use crate::module::FakeModule;
use crate::upstream::Generator;

/// What every module's path begins with.
const PREFIX: &str = "load.test/";
/// The most modules of a scenario.
const MODULES_MAX: u32 = 10_000;
/// The most versions of a module.
const VERSIONS_MAX: u32 = 1_000_000;
/// Milliseconds that a zip can be told to be late.
const LATE_MAX: u32 = 3_600_000;
/// Versions that a list names.
const LISTED_VERSIONS: u32 = 10;
/// Bytes of most zips, and of every tenth module's: about the median and the 90th percentile of what
/// builds download.
const SMALL_BYTES: usize = 18_000;
const LARGE_BYTES: usize = 250_000;

/// The modules of the load: those that are made up, and those that lie in a folder.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// A folder of real modules, which is laid out as a module cache's `cache/download` is.
    pub tree: Option<PathBuf>,
}

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
            None => self.folder(path).map(|folder| lying_versions(&folder)).unwrap_or_default(),
        }
    }

    fn late(&self, path: &str) -> Duration {
        let late = path.strip_prefix('/').and_then(|path| path.strip_prefix(PREFIX));
        let late = late.filter(|path| path.ends_with(".zip")).and_then(|path| path.split_once('/'));
        let millis =
            late.and_then(|(scenario, _)| number(scenario.strip_prefix("late")?, LATE_MAX));
        Duration::from_millis(millis.map_or(0, u64::from))
    }

    fn file(&self, path: &str, version: &str, kind: &str) -> Option<Bytes> {
        let name = format!("{}.{kind}", escape(version));
        if name.contains('/') {
            return None;
        }
        // A file that is not there is a version that is not there.
        std::fs::read(self.folder(path)?.join(name)).ok().map(Bytes::from)
    }
}

impl Modules {
    /// Where the files of a real module lie. An escaped path never leaves the tree.
    fn folder(&self, path: &str) -> Option<PathBuf> {
        let escaped = escape(path);
        if escaped.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return None;
        }
        Some(self.tree.as_ref()?.join(escaped).join("@v"))
    }
}

/// The versions that have an `.info`, in their order.
fn lying_versions(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| unescape(name.strip_suffix(".info")?).ok());
    let mut versions: Vec<String> = versions.collect();
    versions.sort_by(|a, b| semver::compare(a, b));
    versions
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
        let modules = Modules { tree: None };
        assert!(modules.module("load.test/hot/m7", "v1.3.0").is_some());
        for (path, version) in [
            ("load.test/hot/m7", "v2.3.0"),
            ("load.test/hot/m7", "v1.03.0"),
            ("load.test/hot/m10000", "v1.3.0"),
            ("load.test/m7", "v1.3.0"),
            ("example.com/hot/m7", "v1.3.0"),
        ] {
            let modules = Modules { tree: None };
            assert!(modules.module(path, version).is_none(), "{path}@{version}");
        }
        assert_eq!(modules.versions("load.test/hot/m7").len(), 10);
        assert!(modules.versions("load.test/hot/x").is_empty());
    }

    #[test]
    fn a_scenario_says_how_late_its_zips_are() {
        let late = |path: &str| Modules { tree: None }.late(path).as_millis();
        assert_eq!(late("/load.test/late1500/m7/@v/v1.0.0.zip"), 1500);
        assert_eq!(late("/load.test/late1500/m7/@v/v1.0.0.mod"), 0);
        assert_eq!(late("/load.test/hot/m7/@v/v1.0.0.zip"), 0);
    }

    #[test]
    fn what_lies_in_the_tree_is_served_as_it_is() {
        let tree = tempfile::TempDir::new().unwrap();
        let folder = tree.path().join("example.com/!a/@v");
        std::fs::create_dir_all(&folder).unwrap();
        for version in ["v1.10.0", "v1.9.0"] {
            std::fs::write(folder.join(format!("{version}.info")), "{}").unwrap();
        }
        std::fs::write(tree.path().join("secret.mod"), "no").unwrap();
        let modules = Modules { tree: Some(tree.path().to_owned()) };
        assert_eq!(modules.versions("example.com/A"), ["v1.9.0", "v1.10.0"]);
        let file = |path: &str, version: &str, kind: &str| modules.file(path, version, kind);
        assert_eq!(file("example.com/A", "v1.9.0", "info").as_deref(), Some(&b"{}"[..]));
        assert_eq!(file("example.com/A", "v1.9.0", "zip"), None);
        assert_eq!(file("example.com/../..", "secret", "mod"), None);
    }
}
