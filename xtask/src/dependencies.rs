//! What we depend on: nothing banned, only licences that `deny.toml` allows, no second version of a package
//! that nobody has looked at, and nothing that no file uses.
//!
//! `cargo deny check` reads the same `deny.toml` and asks the advisory database as well; this needs nothing
//! but cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::step::ask;

/// Packages that come in several versions through dependencies of ours, which we cannot unite.
const KNOWN_DUPLICATES: &[&str] = &[
    "base64",
    "bitflags",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "itertools",
    "linux-raw-sys",
    "prost",
    "prost-derive",
    "quick-xml",
    "rand",
    "rand_core",
    "rustix",
    "sha1",
    "syn",
];

/// What is wrong, one line for each; empty where all is well.
///
/// # Errors
/// One line, when cargo or a file cannot be read.
pub(crate) fn check(root: &Path, cargo: &str) -> Result<Vec<String>, String> {
    let tree = |args: &[&str]| {
        let mut all = vec!["tree", "--workspace", "--prefix", "none"];
        all.extend(args);
        ask(root, cargo, &all).ok_or_else(|| format!("cargo {} failed", all.join(" ")))
    };
    let deny = read(&root.join("deny.toml"))?;
    let edges = "normal,build,dev";
    let everything = tree(&["--all-features", "--edges", edges, "--format", "{p}|{l}"])?;
    let shipped = tree(&["--edges", "normal", "--duplicates", "--depth", "0", "--format", "{p}"])?;
    let mut problems = banned(&everything, &bans(&deny));
    problems.extend(licences(&everything, &allowed_licences(&deny), &exceptions(&deny)));
    problems.extend(duplicates(&shipped));
    problems.extend(unused(root)?);
    Ok(problems)
}

/// The name that a line of `cargo tree` begins with.
fn name_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

/// The packages of `deny = [ … ]` below `[bans]`, one to a line.
fn bans(deny: &str) -> BTreeSet<String> {
    let section = deny.split("[bans]").nth(1).unwrap_or_default();
    let list = section.split("deny = [").nth(1).and_then(|rest| rest.split("\n]").next());
    let quoted = list.unwrap_or_default().split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

fn banned(tree: &str, bans: &BTreeSet<String>) -> Vec<String> {
    let has = |name: &str| tree.lines().any(|line| name_of(line) == name);
    let found = bans.iter().filter(|name| has(name));
    found
        .map(|name| {
            format!("{name} is in the tree: see who brings it with `cargo tree --invert {name}`")
        })
        .collect()
}

// === Licences ===

/// The words of `allow = [ … ]` below `[licenses]`.
fn allowed_licences(deny: &str) -> BTreeSet<String> {
    let section = deny.split("[licenses]").nth(1).unwrap_or_default();
    let list = section.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    let quoted = list.unwrap_or_default().split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The packages of `exceptions = [ … ]`, one to a line, and the licence that each may have.
fn exceptions(deny: &str) -> BTreeMap<String, String> {
    let section = deny.split("exceptions = [").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with(']'));
    let pairs = lines.filter_map(|line| {
        let mut quoted = line.split('"').skip(1).step_by(2);
        Some((quoted.next()?.to_owned(), quoted.next()?.to_owned()))
    });
    pairs.collect()
}

fn licences(
    tree: &str,
    allowed: &BTreeSet<String>,
    exceptions: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut refused = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let Some((package, licence)) = line.split_once('|') else { continue };
        let licence = licence.trim_end_matches(" (*)");
        let mut allowed = allowed.clone();
        allowed.extend(exceptions.get(name_of(package)).cloned());
        if !is_allowed(licence, &allowed) {
            refused.insert(format!(
                "{}: the licence {licence:?} is not among those that deny.toml allows",
                package.trim_end_matches(" (*)")
            ));
        }
    }
    refused.into_iter().collect()
}

/// Whether an SPDX expression can be met by allowed licences. `/` is the old way to write `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Expression { words: &words, allowed };
    reader.any() && reader.words.is_empty()
}

/// A licence expression on its way: the words that are left.
struct Expression<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl Expression<'_> {
    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.skip("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.skip("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.skip("(") {
            let met = self.any();
            return self.skip(")") && met;
        }
        let Some((licence, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        if !self.skip("WITH") {
            return self.allowed.contains(*licence);
        }
        let Some((exception, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        self.allowed.contains(&format!("{licence} WITH {exception}"))
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

// === Duplicates ===

fn duplicates(tree: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let version = line.split(' ').nth(1).unwrap_or_default();
        versions.entry(name_of(line)).or_default().insert(version);
    }
    let new = versions.iter().filter(|(_, versions)| versions.len() > 1);
    new.filter(|(name, _)| !KNOWN_DUPLICATES.contains(name))
        .map(|(name, versions)| {
            let versions = versions.iter().copied().collect::<Vec<_>>().join(", ");
            format!("{name} comes in several versions ({versions}): unite them, or add it to KNOWN_DUPLICATES")
        })
        .collect()
}

// === Unused ===

/// Dependencies that a manifest declares and no Rust file of its package names.
fn unused(root: &Path) -> Result<Vec<String>, String> {
    let manifest = read(&root.join("Cargo.toml"))?;
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap_or_default();
    let mut packages: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    let mut problems = Vec::new();
    // The root package does not own what lies in its members.
    let own = ["src", "tests", "benches", "examples"];
    let of_root =
        sources(own.iter().map(|name| root.join(name)).filter(|path| path.is_dir()).collect())?;
    problems.extend(unused_of("Cargo.toml", &manifest, &of_root));
    packages.sort_unstable();
    let mut members = String::from(manifest.split("[package]").nth(1).unwrap_or_default());
    for package in packages {
        let name = format!("{package}/Cargo.toml");
        let text = read(&root.join(&name))?;
        problems.extend(unused_of(&name, &text, &sources(vec![root.join(package)])?));
        members.push_str(&text);
    }
    problems.extend(unshared(&manifest, &members));
    Ok(problems)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The text of every Rust file below these places.
fn sources(mut places: Vec<PathBuf>) -> Result<String, String> {
    let mut text = String::new();
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let entries = std::fs::read_dir(&place);
            let entries = entries.map_err(|error| format!("{}: {error}", place.display()))?;
            let skip = |path: &PathBuf| path.file_name().is_some_and(|name| name == "target");
            places.extend(entries.flatten().map(|entry| entry.path()).filter(|path| !skip(path)));
        } else if place.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&read(&place)?);
        }
    }
    Ok(text)
}

fn unused_of(manifest: &str, text: &str, sources: &str) -> Vec<String> {
    let missing = declared(text).into_iter().filter(|name| !is_named(name, sources));
    missing
        .map(|name| format!("{manifest}: {name} is declared and no file of the package names it"))
        .collect()
}

/// Versions that the workspace declares and no member takes.
fn unshared(manifest: &str, members: &str) -> Vec<String> {
    let takes = |name: &str| {
        let (short, long) = (format!("{name}.workspace"), format!("{name} = {{ workspace"));
        members.lines().any(|line| line.starts_with(&short) || line.starts_with(&long))
    };
    let missing = below(&["[workspace.dependencies]"], manifest);
    let missing = missing.into_iter().filter(|name| !takes(name));
    missing.map(|name| format!("Cargo.toml: {name} is declared and no member takes it")).collect()
}

/// Names of the entries below `[dependencies]`, `[dev-dependencies]` and `[build-dependencies]`.
fn declared(manifest: &str) -> BTreeSet<&str> {
    below(&["[dependencies]", "[dev-dependencies]", "[build-dependencies]"], manifest)
}

/// Names of the entries below these headings.
fn below<'a>(headings: &[&str], manifest: &'a str) -> BTreeSet<&'a str> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = headings.contains(&line);
        } else if inside && !line.starts_with('#') {
            let end = line.find(['.', ' ', '=']).unwrap_or(0);
            names.insert(&line[..end]);
        }
    }
    names.remove("");
    names
}

/// Whether code, not a comment, begins a path with the crate or imports it. `std::time` is not `time`.
fn is_named(package: &str, sources: &str) -> bool {
    // The one package here whose library has another name.
    let library = if package == "hcl-rs" { "hcl" } else { package };
    let library = library.replace('-', "_");
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    sources.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|code| {
        code.match_indices(&library).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + library.len()..]);
            let begins = !before.ends_with(is_part) || before.ends_with(" ::");
            let imported = before.ends_with("use ") || before.ends_with("extern crate ");
            begins && (after.starts_with("::") || (imported && !after.starts_with(is_part)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> BTreeSet<String> {
        allowed_licences(
            "[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0\",\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n[bans]\n",
        )
    }

    #[test]
    fn a_banned_package_is_found_by_its_whole_name() {
        let tree = "dipylon v0.1.0|MIT\nopenssl-probe v0.2.0|MIT\ncmake-like v1.0.0|MIT\n";
        let bans = bans(
            "[bans]\nx = []\ndeny = [\n    { crate = \"cmake\" },\n    { crate = \"openssl\" },\n]\n",
        );
        assert_eq!(bans.len(), 2);
        assert!(banned(tree, &bans).is_empty());
        assert_eq!(banned("a v1|MIT\ncmake v0.1.54|MIT\n", &bans).len(), 1);
    }

    #[test]
    fn a_licence_expression_needs_one_way_to_be_met() {
        for (expression, want) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(MIT OR GPL-3.0) AND NCSA", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("MIT WITH LLVM-exception", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed()), want, "{expression}");
        }
    }

    #[test]
    fn a_refused_licence_names_its_package_once() {
        let tree = "a v1.0.0|MIT\nb v2.0.0|GPL-3.0\nb v2.0.0|GPL-3.0 (*)\n";
        let refused = licences(tree, &allowed(), &BTreeMap::new());
        assert_eq!(refused.len(), 1);
        assert!(refused[0].starts_with("b v2.0.0: the licence \"GPL-3.0\""), "{refused:?}");
        let deny = "exceptions = [\n    { crate = \"b\", allow = [\"GPL-3.0\"] },\n]\n";
        assert!(licences(tree, &allowed(), &exceptions(deny)).is_empty());
    }

    #[test]
    fn a_second_version_that_nobody_knows_is_told() {
        let told =
            duplicates("syn v2.0.1\nsyn v3.0.0\ntower v0.4.0\ntower v0.5.0 (*)\ntower v0.5.0\n");
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("tower comes in several versions (v0.4.0, v0.5.0)"),
            "{told:?}"
        );
    }

    #[test]
    fn what_no_file_names_is_unused() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# why\nserde.workspace = true\n\
                        tokio-util = { version = \"1\" }\nhttp = \"1\"\n\n[features]\ndefault = []\n";
        let sources = "use tokio_util::sync; // http::Request\nfn my_serde() {}\nuse std::http::x;";
        let told = unused_of("x/Cargo.toml", manifest, sources);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("http ") && told[1].contains("serde "), "{told:?}");
        for sources in ["use http;", "use http::{self}", "let x: http::Uri", "#[http::main]"] {
            assert!(is_named("http", sources), "{sources}");
        }
    }

    #[test]
    fn what_no_member_takes_is_not_shared() {
        let manifest = "[workspace.dependencies]\na = \"1\"\nb = \"1\"\nc-d = \"1\"\n[package]\n";
        let members =
            "[dependencies]\na.workspace = true\nb = { workspace = true, optional = true }\n";
        assert_eq!(
            unshared(manifest, members),
            ["Cargo.toml: c-d is declared and no member takes it"]
        );
    }
}
