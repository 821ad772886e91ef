//! The check of the layers: whoever has read one folder of `middleware/src` finds the same files,
//! headings, tests and bench in every other. ARCHITECTURE.md has the contract in words.
//!
//! The lists below name every module, so that no folder leaves the check by losing a file.

use std::path::Path;

use crate::tidy::Problem;

#[cfg(test)]
mod tests;

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
    "hot_cache",
    "limit",
    "lock",
    "lookup",
    "negative",
    "observe",
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

/// The vocabulary, which is neither.
const WORDS: &[&str] = &[
    "blob",
    "body",
    "error",
    "flight",
    "ports",
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

/// With these words begin the names of the tests that every layer has, and every leaf but for the second.
const CONTRACT: [&str; 3] =
    ["an_error_from_below_", "services_of_one_layer_", "a_caller_that_goes_away_"];

/// How a test runs that awaits anything.
const PAUSED: &str = "#[tokio::test(start_paused = true)]";

/// What a machine that is tested alone does not need: a clock, I/O, metrics.
const IMPURE: &[&str] =
    &["Instant", "SystemTime", "prometheus", "telemetry", "tokio", ".await", "std::fs"];

/// Checks every layer and leaf; `paths` are the files of the repository.
pub(crate) fn check(root: &Path, paths: &[&str], problems: &mut Vec<Problem>) {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    check_lists(&read(&format!("{SOURCES}/lib.rs")), problems);
    let of_benches = |path: &&&str| [BENCHES, SUPPORT].iter().any(|dir| path.starts_with(dir));
    let benches: String = paths.iter().filter(of_benches).map(|path| read(path)).collect();
    for name in LAYERS.iter().chain(LEAVES) {
        let inside = format!("{SOURCES}/{name}/");
        let files: Vec<(&str, String)> = paths
            .iter()
            .filter_map(|path| Some((path.strip_prefix(&inside)?, read(path))))
            // A tracked file that is being deleted is there no more.
            .filter(|(file, _)| root.join(&inside).join(file).is_file())
            .collect();
        let folder = Folder { name, files, is_leaf: LEAVES.contains(name) };
        let mut add = |file: &str, what: String| {
            problems.push(Problem::of_file(format!("{inside}{file}"), what));
        };
        folder.check_files(&mut add);
        folder.check_headings(&mut add);
        folder.check_tests(&mut add);
        folder.check_bench(&benches, &mut add);
    }
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

/// A folder, and the files in it.
struct Folder<'a> {
    name: &'a str,
    files: Vec<(&'a str, String)>,
    is_leaf: bool,
}

impl Folder<'_> {
    fn text(&self, file: &str) -> Option<&str> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, text)| text.as_str())
    }

    fn check_files(&self, add: &mut impl FnMut(&str, String)) {
        for file in ["mod.rs", "layer.rs", "service.rs", "tests.rs"] {
            let wanted = !(self.is_leaf && file == "layer.rs");
            if wanted && self.text(file).is_none() {
                let what = "every layer has mod.rs, layer.rs, service.rs and tests.rs; a leaf all but layer.rs";
                add(file, what.to_owned());
            }
        }
        if self.is_leaf && self.text("layer.rs").is_some() {
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

    /// The contract's tests are there, and no test waits for a real clock.
    fn check_tests(&self, add: &mut impl FnMut(&str, String)) {
        let tests = || {
            let texts = self.files.iter().filter(|(name, _)| name.starts_with("tests"));
            texts.flat_map(|(name, text)| {
                text.lines().zip(text.lines().skip(1)).map(move |two| (*name, two))
            })
        };
        for begin in CONTRACT {
            let of_layers = begin == CONTRACT[1];
            let wanted = format!("async fn {begin}");
            let found =
                tests().any(|(_, (above, line))| above == PAUSED && line.starts_with(&wanted));
            let owed = !(of_layers && self.is_leaf);
            if owed && !found {
                add("tests.rs", format!("no test `{begin}…` (see ARCHITECTURE.md) with {PAUSED}"));
            }
        }
        for (name, (above, _)) in tests() {
            if above.trim_start().starts_with("#[tokio::test") && above.trim() != PAUSED {
                add(name, format!("a test that awaits runs on a paused clock: {PAUSED}"));
            }
        }
    }

    /// A bench uses it, in a row of its name.
    fn check_bench(&self, benches: &str, add: &mut impl FnMut(&str, String)) {
        let name = self.name;
        let used = benches.contains(&format!("dipylon_middleware::{name}::"));
        let rows = [
            format!("\"{name}\","),
            format!("\"{name}, "),
            format!("\"{name} and "),
            format!("LayerName::{},", camel_case(name)),
        ];
        if !used || !rows.iter().any(|row| benches.contains(row)) {
            add("service.rs", format!("{BENCHES} has no bench with a row of the name {name}"));
        }
    }
}

/// `rate_limit` as `RateLimit`.
fn camel_case(name: &str) -> String {
    name.split('_')
        .filter_map(|word| Some(word.get(..1)?.to_uppercase() + word.get(1..)?))
        .collect()
}

fn missing_heading(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    HEADINGS.iter().copied().find(|heading| !lines.any(|line| line == *heading))
}
