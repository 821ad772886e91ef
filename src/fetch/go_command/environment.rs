//! What the child sees: Athens's closed list, the resolved settings, and what must not be changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::workspace::Tree;

/// A whole environment.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// Never the user's own flags: `-mod` keeps a vendor directory out, and a writable module cache can
/// be removed without walking it first.
const GOFLAGS: &str = "-mod=mod -modcacherw";

/// Where the environment of each run comes from.
///
/// Order, the later wins: what was inherited (Athens's closed list), then the settings
/// (`GoBinaryEnvVars` and what was resolved for the child), then what every run needs to be
/// contained: its directories, `GOFLAGS`, `GOPROXY`, `GOSUMDB`, `GOTOOLCHAIN`.
///
/// `GOENV` stays as it is: an administrator's `go env -w GOINSECURE=…` must go on working as it
/// does under Athens. Whatever could lead out of the temporary tree is set here, and the
/// environment wins over that file.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    base: Variables,
    proxy: Option<OsString>,
    checksum_database: Option<OsString>,
}

impl Environment {
    /// From what is inherited and what is set.
    pub(super) fn new(inherited: &[(String, String)], settings: &[(String, String)]) -> Self {
        let mut base = Variables::new();
        for (name, value) in inherited.iter().chain(settings) {
            base.insert(name.into(), value.into());
        }
        let proxy = base.remove(&OsString::from("GOPROXY"));
        let checksum_database = base.remove(&OsString::from("GOSUMDB"));
        Self { base, proxy, checksum_database }
    }

    /// The value of a setting.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.base.get(&OsString::from(name)).and_then(|value| value.to_str())
    }

    /// For a fetch or a list: from the repository itself, unverified, because the gateway verifies.
    pub(super) fn fetch(&self, tree: &Tree, build_cache: &Path, toolchain: &str) -> Variables {
        let mut variables = self.contained(tree, build_cache);
        set(&mut variables, "GOMODCACHE", tree.module_cache());
        set(&mut variables, "GOPROXY", "direct");
        set(&mut variables, "GOSUMDB", "off");
        set(&mut variables, "GOTOOLCHAIN", toolchain);
        variables
    }

    /// For the download of a toolchain into `module_cache`: as configured, verified by `go`.
    pub(super) fn toolchain(
        &self,
        tree: &Tree,
        build_cache: &Path,
        module_cache: &Path,
        toolchain: &str,
    ) -> Variables {
        let mut variables = self.contained(tree, build_cache);
        set(&mut variables, "GOMODCACHE", module_cache);
        set(&mut variables, "GOTOOLCHAIN", toolchain);
        for (name, value) in [("GOPROXY", &self.proxy), ("GOSUMDB", &self.checksum_database)] {
            if let Some(value) = value {
                set(&mut variables, name, value);
            }
        }
        variables
    }

    fn contained(&self, tree: &Tree, build_cache: &Path) -> Variables {
        let mut variables = self.base.clone();
        set(&mut variables, "GOPATH", tree.go_path());
        set(&mut variables, "GOCACHE", build_cache);
        set(&mut variables, "TMPDIR", tree.temporary());
        set(&mut variables, "GOTMPDIR", tree.temporary());
        for (name, value) in [
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "on"),
            ("GOFLAGS", GOFLAGS),
            ("GOWORK", "off"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ] {
            set(&mut variables, name, value);
        }
        variables
    }
}

fn set(variables: &mut Variables, name: &str, value: impl Into<OsString>) {
    variables.insert(name.into(), value.into());
}
