//! The check of the layers: whoever has read one folder of `middleware/src` finds the same files,
//! headings, tests and bench in every other. ARCHITECTURE.md has the contract in words.
//!
//! The lists below name every module, so that no folder leaves the check by losing a file.

mod bench;
mod contract;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::contract::{CONTRACT, PAUSED, functions};
use crate::tidy::Problem;

const SOURCES: &str = "middleware/src";
/// Where each layer is measured over a bare leaf.
const BENCHES: &str = "middleware/benches/layers/";
/// What its benches share with others.
const SUPPORT: &str = "middleware/benches/support/";

/// Layers: each wraps a service.
const LAYERS: &[&str] = &[
    "access_log",
    "admission",
    "auth",
    "breaker",
    "catch_panic",
    "compression",
    "deadline",
    "download_mode",
    "filter",
    "force_ssl",
    "hedge",
    "hot_cache",
    "limit",
    "lock",
    "lookup",
    "negative",
    "observe",
    "pace",
    "pool",
    "rate_limit",
    "request_context",
    "retry",
    "single_flight",
    "validate",
    "versions",
];

/// Leaves: each ends a stack, and calls ports or the border of the next.
const LEAVES: &[&str] = &["dispatch", "route", "stash", "storage_io", "upstream"];

/// Parts of the program that are no layer, because what they see is no request; laid out like one.
const PARTS: &[&str] = &["src/http/tls"];

/// The vocabulary, which is neither.
const WORDS: &[&str] = &[
    "allowance",
    "attempt",
    "blob",
    "body",
    "budget",
    "error",
    "events",
    "explain",
    "flight",
    "forward",
    "missing_paths",
    "ports",
    "purge",
    "redact",
    "remember",
    "render",
    "request",
    "response",
    "spool",
    "stack",
    "telemetry",
];

/// The headings of the module documentation, in this order.
const HEADINGS: &[&str] =
    &["# What it does", "# Where it sits", "# Telemetry", "# Failure modes", "# Limits"];

/// What a machine that is tested alone does not need: a clock, I/O, metrics.
const IMPURE: &[&str] =
    &["Instant", "SystemTime", "prometheus", "telemetry", "tokio", ".await", "std::fs"];

/// Checks every layer and leaf; `paths` are the files of the repository.
pub(crate) fn check(root: &Path, paths: &[&str], problems: &mut Vec<Problem>) {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    check_lists(&read(&format!("{SOURCES}/lib.rs")), problems);
    let of_benches = |path: &&&str| [BENCHES, SUPPORT].iter().any(|dir| path.starts_with(dir));
    let benches: String = paths.iter().filter(of_benches).map(|path| read(path)).collect();
    for (inside, kind) in folders() {
        let files: Vec<(&str, String)> = paths
            .iter()
            .filter_map(|path| Some((path.strip_prefix(&inside)?, read(path))))
            // A tracked file that is being deleted is there no more.
            .filter(|(file, _)| root.join(&inside).join(file).is_file())
            .collect();
        let folder = Folder { path: &inside, files, kind };
        let mut add = |file: &str, what: String| {
            problems.push(Problem::of_file(format!("{inside}{file}"), what));
        };
        folder.check_files(&mut add);
        folder.check_headings(&mut add);
        if kind != Kind::Part {
            folder.check_tests(&mut add);
            folder.check_bench(&benches, &mut add);
        }
    }
}

/// Every folder that is checked, with its last slash.
fn folders() -> impl Iterator<Item = (String, Kind)> {
    let inside = |names: &'static [&'static str], kind| {
        names.iter().map(move |name| (format!("{SOURCES}/{name}/"), kind))
    };
    let parts = PARTS.iter().map(|path| (format!("{path}/"), Kind::Part));
    inside(LAYERS, Kind::Layer).chain(inside(LEAVES, Kind::Leaf)).chain(parts)
}

/// What `lib.rs` declares and what the lists name is the same.
fn check_lists(lib: &str, problems: &mut Vec<Problem>) {
    let declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let listed = || LAYERS.iter().chain(LEAVES).chain(WORDS);
    let mut add = |what| problems.push(Problem::of_file(format!("{SOURCES}/lib.rs"), what));
    for name in &declared {
        if !listed().any(|listed| listed == name) {
            add(format!(
                "the module {name} is in no list of xtask/src/layers: layer, leaf or word?"
            ));
        }
    }
    for name in listed().filter(|name| !declared.contains(name)) {
        add(format!("the module {name} of xtask/src/layers is not declared"));
    }
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layer,
    Leaf,
    Part,
}

impl Kind {
    /// Its name, and the files that each of it has.
    fn layout(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Layer => ("layer", &["mod.rs", "layer.rs", "service.rs", "tests.rs"]),
            Self::Leaf => ("leaf", &["mod.rs", "service.rs", "tests.rs"]),
            Self::Part => ("part", &["mod.rs", "tests.rs"]),
        }
    }
}

/// A folder, and the files in it.
struct Folder<'a> {
    path: &'a str,
    files: Vec<(&'a str, String)>,
    kind: Kind,
}

impl Folder<'_> {
    fn text(&self, file: &str) -> Option<&str> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, text)| text.as_str())
    }

    fn check_files(&self, add: &mut impl FnMut(&str, String)) {
        let (kind, wanted) = self.kind.layout();
        for file in wanted.iter().filter(|file| self.text(file).is_none()) {
            add(file, format!("every {kind} has {}", wanted.join(", ")));
        }
        if self.kind == Kind::Leaf && self.text("layer.rs").is_some() {
            add("layer.rs", "a leaf wraps nothing: list it as a layer, or do without".to_owned());
        }
        let state = self.text("state.rs").unwrap_or_default();
        let code = || state.lines().filter(|line| !line.trim_start().starts_with("//"));
        for word in IMPURE {
            if code().any(|line| line.contains(word)) {
                let what =
                    format!("a pure machine has no `{word}`: it is told the time, and tells");
                add("state.rs", what);
            }
        }
    }

    fn check_headings(&self, add: &mut impl FnMut(&str, String)) {
        if let Some(heading) = missing_heading(self.text("mod.rs").unwrap_or_default()) {
            let what =
                format!("its module documentation lacks `{heading}`, or has it out of order");
            add("mod.rs", what);
        }
    }

    /// The contract's tests are there and hold something, and no test waits for a real clock.
    fn check_tests(&self, add: &mut impl FnMut(&str, String)) {
        let tests = || self.files.iter().filter(|(name, _)| name.starts_with("tests"));
        let found: Vec<_> = tests().flat_map(|(name, text)| functions(name, text)).collect();
        let owed = CONTRACT.into_iter();
        // A leaf has no layer whose services could share anything.
        let owed = owed.filter(|begin| self.kind == Kind::Layer || *begin != CONTRACT[1]);
        contract::check(&found, owed, add);
        for (name, line) in tests().flat_map(|(name, text)| text.lines().map(move |l| (name, l))) {
            if line.trim_start().starts_with("#[tokio::test") && line.trim() != PAUSED {
                add(name, format!("a test that awaits runs on a paused clock: {PAUSED}"));
            }
        }
    }

    /// A bench uses it, in a row of its name.
    fn check_bench(&self, benches: &str, add: &mut impl FnMut(&str, String)) {
        let name = self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let used = benches.contains(&format!("dipylon_middleware::{name}::"));
        if !used || !bench::rows(benches).iter().any(|row| bench::is_about(row, name)) {
            add("service.rs", format!("{BENCHES} has no bench with a row of the name {name}"));
        }
    }
}

fn missing_heading(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    HEADINGS.iter().copied().find(|heading| !lines.any(|line| line == *heading))
}
