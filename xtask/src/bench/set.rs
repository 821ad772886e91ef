//! Which benches run together, and what they need.

use super::budgets::{BUDGETS, Budget, OF_SERVERS};

/// The packages that have benches, and their folders.
pub(super) const PACKAGES: [(&str, &str); 3] =
    [("dipylon-protocol", "protocol"), ("dipylon-middleware", "middleware"), ("dipylon", ".")];

/// Benches with a command of their own, `cargo xtask NAME`, which also writes what they say.
#[cfg(test)]
pub(super) const OF_THEIR_OWN: &[&str] = &[crate::compare::BENCH, "scaling"];

/// Benches that run together and stand in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// What the program itself costs: quiet minutes of processor time.
    Program,
    /// What waits for other people's servers: long, and mostly theirs.
    Servers,
}

impl Set {
    /// By the names of their targets.
    pub(super) fn benches(self) -> &'static [&'static str] {
        match self {
            Self::Program => &["protocol", "layers", "stacks", "gateway"],
            Self::Servers => &["storage", "locks"],
        }
    }

    /// What they need of the machine, in the words of a suite's `needs`.
    pub(super) fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Program => &["the nginx program"],
            Self::Servers => {
                &["minio", "versitygw", "gcs", "azurite", "mongo", "redis", "etcd", "etcd3"]
            }
        }
    }

    /// What they are held to.
    pub(super) fn budgets(self) -> &'static [Budget] {
        match self {
            Self::Program => BUDGETS,
            Self::Servers => OF_SERVERS,
        }
    }

    /// Everything between these lines of the page is written by the command.
    pub(super) fn marks(self) -> [&'static str; 2] {
        match self {
            Self::Program => {
                ["<!-- bench begins: written by `cargo xtask bench` -->", "<!-- bench ends -->"]
            }
            Self::Servers => [
                "<!-- servers begin: written by `cargo xtask bench --servers` -->",
                "<!-- servers end -->",
            ],
        }
    }
}
