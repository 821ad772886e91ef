//! `cargo xtask lint`: format, clippy, banned dependencies, tidy.

use std::path::Path;

use crate::step::{ask, cargo, run as run_command, step};
use crate::tidy;

/// Packages that must not come back into the tree: one TLS stack (ring), no cmake, no OpenSSL.
const BANNED_PACKAGES: &[&str] = &["aws-lc-rs", "aws-lc-sys", "cmake", "openssl", "openssl-sys"];

/// Runs every check, even after one has failed. Answers how many failed.
pub(crate) fn run(root: &Path) -> usize {
    let cargo = cargo();
    let command = |args: &[&str]| run_command(root, &cargo, args).good;
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let checks = [
        step("cargo fmt --check", || command(&["fmt", "--all", "--check"])),
        step("cargo clippy", || command(&clippy)),
        step("banned dependencies", || bans(root, &cargo)),
        step("tidy", || tidy(root)),
    ];
    let broken = checks.iter().filter(|good| !**good).count();
    println!("lint: {} of {} checks passed", checks.len() - broken, checks.len());
    broken
}

fn bans(root: &Path, cargo: &str) -> bool {
    let args = ["tree", "--workspace", "--edges", "all", "--prefix", "none", "--format", "{p}"];
    let Some(tree) = ask(root, cargo, &args) else {
        println!("cargo tree failed: the dependency tree could not be read");
        return false;
    };
    let found = banned_in(&tree);
    for name in &found {
        println!("{name} is in the tree: see who brings it with `cargo tree --invert {name}`");
    }
    found.is_empty()
}

/// The banned names in the output of `cargo tree --prefix none`, each once.
fn banned_in(tree: &str) -> Vec<&'static str> {
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    BANNED_PACKAGES.iter().copied().filter(|name| has(name)).collect()
}

fn tidy(root: &Path) -> bool {
    match tidy::check(root) {
        Ok(problems) => {
            for problem in &problems {
                println!("{problem}");
            }
            problems.is_empty()
        }
        Err(error) => {
            println!("tidy: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_package_is_found_by_its_whole_name() {
        let tree = "dipylon v0.1.0\nopenssl-probe v0.2.0\ncmake-like v1.0.0\n";
        assert!(banned_in(tree).is_empty());
        assert_eq!(banned_in("a v1\ncmake v0.1.54\n"), ["cmake"]);
    }
}
