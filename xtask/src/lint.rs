//! `cargo xtask lint`: format, clippy, dependencies, tidy.

use std::path::Path;

use crate::step::{cargo, run as run_command, step};
use crate::{dependencies, limits, tidy};

/// Runs every check, even after one has failed. Answers how many failed.
pub(crate) fn run(root: &Path) -> usize {
    let cargo = cargo();
    let command = |args: &[&str]| run_command(root, &cargo, args).good;
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // What is behind a feature must not be needed without it.
    let bare = ["clippy", "--quiet", "--package", "dipylon", "--lib", "--bins"];
    let bare = [bare.as_slice(), &["--no-default-features", "--", "-D", "warnings"]].concat();
    let checks = [
        step("cargo fmt --check", || command(&["fmt", "--all", "--check"])),
        step("cargo clippy", || command(&clippy)),
        step("cargo clippy --no-default-features", || command(&bare)),
        step("dependencies", || dependencies(root, &cargo)),
        step("tidy", || tidy(root)),
        step("limits", || told(limits::check(root))),
    ];
    let broken = checks.iter().filter(|good| !**good).count();
    println!("lint: {} of {} checks passed", checks.len() - broken, checks.len());
    broken
}

fn dependencies(root: &Path, cargo: &str) -> bool {
    told(dependencies::check(root, cargo))
}

fn tidy(root: &Path) -> bool {
    told(tidy::check(root))
}

/// Prints what is wrong; answers whether nothing is.
fn told<T: std::fmt::Display>(problems: Result<Vec<T>, String>) -> bool {
    match problems {
        Ok(problems) => {
            for problem in &problems {
                println!("{problem}");
            }
            problems.is_empty()
        }
        Err(error) => {
            println!("{error}");
            false
        }
    }
}
