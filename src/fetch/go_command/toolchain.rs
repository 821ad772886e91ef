//! Newer Go toolchains, for modules that ask for one.
//!
//! Every fetch runs with `GOTOOLCHAIN=local`. When `go` answers that a module needs a newer Go and the
//! setting allows it, the toolchain is downloaded once, into a module cache that all fetches share, by
//! a run of its own: with the configured GOPROXY and checksum database, because `go` never takes an
//! unverified toolchain. The fetch is then repeated with that toolchain's own `go`. A list never needs
//! a newer Go.

use std::cmp::Ordering;
use std::path::PathBuf;

/// Toolchains kept; before one more is downloaded, all are removed.
pub(super) const MAX_TOOLCHAINS: usize = 4;

/// What the setting `GOTOOLCHAIN` means for fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// The toolchain every fetch starts with, where it is not the installed one: `go1.26.0`.
    pub(super) first: Option<GoVersion>,
    /// Whether a newer one may be downloaded.
    pub(super) upgrades: bool,
    /// `GOTOOLCHAIN` of the child: `local`, or a setting that never downloads, left to `go` itself.
    pub(super) child: String,
}

impl Policy {
    /// Reads the setting; the unset one means `auto`, as in `go` itself.
    pub(super) fn parse(setting: &str) -> Self {
        let local = |first, upgrades| Self { first, upgrades, child: "local".to_owned() };
        match setting {
            "" | "auto" | "local+auto" => local(None, true),
            "local" => local(None, false),
            _ => {
                let (name, upgrades) = match setting.strip_suffix("+auto") {
                    Some(name) => (name, true),
                    None => (setting, false),
                };
                match name.strip_prefix("go").and_then(GoVersion::parse) {
                    Some(version) => local(Some(version), upgrades),
                    // `path`, `NAME+path`: `go` looks along PATH and downloads nothing.
                    None => Self { first: None, upgrades: false, child: setting.to_owned() },
                }
            }
        }
    }
}

/// A version of Go itself: `1.26.1`, `1.27rc1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GoVersion {
    text: String,
    // Major, minor, stage (0 beta, 1 rc, 2 release), patch or number of the stage.
    order: [u32; 4],
}

impl GoVersion {
    /// Reads a version; a language version such as `1.27` becomes its first release, `1.27.0`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (minor, rest) = rest.split_at(digits);
        let (stage, last, complete) = match rest {
            "" => (2, "0", format!("{text}.0")),
            _ => {
                let stages = [("beta", 0), ("rc", 1), (".", 2)];
                let found = stages
                    .iter()
                    .find_map(|(mark, stage)| rest.strip_prefix(mark).map(|last| (*stage, last)));
                let (stage, last) = found?;
                (stage, last, text.to_owned())
            }
        };
        let order = [number(major)?, number(minor)?, stage, number(last)?];
        Some(Self { text: complete, order })
    }

    /// What GOTOOLCHAIN calls it: `go1.27.0`.
    pub(super) fn name(&self) -> String {
        format!("go{}", self.text)
    }
}

impl PartialOrd for GoVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for GoVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.cmp(&other.order)
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The version that `go` asks for in `M@V requires go >= 1.27.0 (running go 1.26.8; …)`.
pub(super) fn required_by(text: &str) -> Option<GoVersion> {
    let (_, rest) = text.split_once(" requires go >= ")?;
    let (version, _) = rest.split_once(" (running go ")?;
    GoVersion::parse(version)
}

/// A toolchain that is there.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    /// Its version.
    pub(super) version: GoVersion,
    /// Its GOROOT; `bin/go` lies in it.
    pub(super) root: PathBuf,
}

/// The oldest of `known` that is new enough.
pub(super) fn fitting(known: &[Toolchain], needed: &GoVersion) -> Option<Toolchain> {
    let enough = known.iter().filter(|toolchain| toolchain.version >= *needed);
    enough.min_by(|a, b| a.version.cmp(&b.version)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_ordered_as_go_orders_them() {
        let texts =
            ["1.21rc2", "1.21.0", "1.21.13", "1.26.8", "1.27beta1", "1.27rc1", "1.27", "1.27.4"];
        let versions: Vec<_> = texts.iter().map(|text| GoVersion::parse(text).unwrap()).collect();
        assert!(versions.is_sorted());
        assert_eq!(GoVersion::parse("1.27").unwrap().name(), "go1.27.0");
        for text in ["", "1", "1.x", "1.27.x", "1.27-foo", "1.+7", "v1.2.3", "1.27.0 "] {
            assert_eq!(GoVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_needed_version_is_read_from_what_go_says() {
        let text =
            "example.com/m@v1.0.0 requires go >= 1.99.0 (running go 1.26.8; GOTOOLCHAIN=local)";
        assert_eq!(required_by(text).unwrap().name(), "go1.99.0");
        assert_eq!(required_by("unknown revision v1.0.0"), None);
    }

    #[test]
    fn the_setting_decides_what_may_be_downloaded() {
        let policy = Policy::parse;
        assert!(policy("").upgrades && policy("auto").upgrades && !policy("local").upgrades);
        assert_eq!(policy("go1.27.1").first, GoVersion::parse("1.27.1"));
        assert!(!policy("go1.27.1").upgrades && policy("go1.27.1+auto").upgrades);
        for setting in ["path", "go1.27.1+path", "local+path"] {
            assert_eq!(policy(setting).child, setting);
            assert!(!policy(setting).upgrades);
        }
    }

    #[test]
    fn the_oldest_toolchain_that_is_new_enough_is_taken() {
        let known = ["1.29.0", "1.27.4"]
            .map(|text| Toolchain { version: GoVersion::parse(text).unwrap(), root: text.into() });
        let needed =
            |text| fitting(&known, &GoVersion::parse(text).unwrap()).map(|found| found.root);
        assert_eq!(needed("1.27.0"), Some("1.27.4".into()));
        assert_eq!(needed("1.28"), Some("1.29.0".into()));
        assert_eq!(needed("1.30"), None);
    }
}
