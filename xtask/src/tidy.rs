//! The tidy check: rules about the text of the repository that neither rustfmt nor clippy knows.
//!
//! It reads every file that git tracks or would track. A line that must break a rule about words
//! says why and carries the mark `tidy: allow`.

use std::fmt;
use std::path::Path;

use crate::layers;
use crate::step::ask;

/// A Rust file longer than this is several files.
const MAX_FILE_LINES: usize = 500;
/// Strings and tables may pass rustfmt's width of 100 columns, but not by much.
const MAX_LINE_COLUMNS: usize = 120;
/// The exception for one line.
const ALLOW: &str = concat!("tidy:", " allow");

/// Words that mark unfinished code. Written in two halves, so that this file keeps its own rule.
const UNFINISHED: &[&str] =
    &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// What a test printed that had no means to run.
const SKIPS_ITSELF: &str = concat!("!(\"SKIP", "PED");

/// Clients of stores: what is made of them is known in `src/storage` alone.
const STORE_CLIENTS: &[&str] = &["object_store::", "mongodb::"];

/// Hosts of package registries: the text says "the public Go module mirror" instead.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("proxy.", "golang.org"),
    concat!("goproxy", ".io"),
    concat!("goproxy", ".cn"),
    concat!("crates", ".io"),
    concat!("registry.", "npmjs.org"),
    concat!("pypi", ".org"),
    concat!("repo1.", "maven.org"),
    concat!("deb.", "debian.org"),
];

/// Beginnings of paths that exist on one person's machine only.
const HOME_PATHS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// One broken rule, at a file and line (0 stands for the whole file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    what: String,
}

impl Problem {
    /// Of a file as a whole.
    pub(crate) fn of_file(path: String, what: String) -> Self {
        Self { path, line: 0, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.what),
            line => write!(out, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks the work tree at `root`.
///
/// # Errors
/// When git cannot list the files: one line.
pub(crate) fn check(root: &Path) -> Result<Vec<Problem>, String> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = ask(root, "git", &list).ok_or("git ls-files failed: is this a git work tree?")?;
    let paths: Vec<&str> = listed.lines().collect();
    let mut problems = Vec::new();
    for path in &paths {
        // A tracked file that is being deleted is no problem; a file that is not text has no lines.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        check_file(path, &text, &mut problems);
    }
    layers::check(root, &paths, &mut problems);
    Ok(problems)
}

fn check_file(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let is_rust = path.ends_with(".rs");
    let lines = text.lines().count();
    if is_rust && lines > MAX_FILE_LINES {
        let what = format!("{lines} lines: split it, {MAX_FILE_LINES} is the most");
        problems.push(Problem::of_file(path.to_owned(), what));
    }
    // The lock file names its registry in every entry; nobody wrote that.
    if path.ends_with("Cargo.lock") {
        return;
    }
    for (index, line) in text.lines().enumerate() {
        let mut add = |what: String| {
            problems.push(Problem { path: path.to_owned(), line: index + 1, what });
        };
        if is_rust {
            check_width(line, &mut add);
        }
        if line.contains(ALLOW) {
            continue;
        }
        if is_rust {
            check_words(path, line, &mut add);
        }
        check_names(line, &mut add);
    }
}

fn check_width(line: &str, add: &mut impl FnMut(String)) {
    let columns = line.chars().count();
    if columns > MAX_LINE_COLUMNS {
        add(format!("{columns} columns: {MAX_LINE_COLUMNS} is the most"));
    }
}

fn check_words(path: &str, line: &str, add: &mut impl FnMut(String)) {
    for word in UNFINISHED {
        if line.contains(word) {
            add(format!("{}…) does not belong in the repository", word));
        }
    }
    if line.contains(SKIPS_ITSELF) && !path.starts_with("xtask/") {
        let what = "a test that skips itself counts as passed: say what it needs in #[ignore]";
        add(what.to_owned());
    }
    if reads_environment(line) && !may_read_environment(path) {
        add("the environment is read in src/config and src/main.rs only".to_owned());
    }
    let knows_stores = !is_production(path) || path.starts_with("src/storage");
    if let Some(client) = STORE_CLIENTS.iter().find(|name| !knows_stores && line.contains(*name)) {
        add(format!("{client} is known to src/storage only: give what is needed a type there"));
    }
}

fn is_production(path: &str) -> bool {
    ["src/", "middleware/src/", "protocol/src/"].iter().any(|dir| path.starts_with(dir))
}

fn reads_environment(line: &str) -> bool {
    const CALLS: &[&str] =
        &[concat!("env::", "var("), concat!("env::", "var_os("), concat!("env::", "vars")];
    CALLS.iter().any(|call| line.contains(call))
}

/// Configuration comes in at one door. Tests and tools may look at the environment they run in.
fn may_read_environment(path: &str) -> bool {
    !is_production(path) || path.starts_with("src/config/") || path == "src/main.rs"
}

fn check_names(line: &str, add: &mut impl FnMut(String)) {
    for host in REGISTRY_HOSTS {
        if line.contains(host) {
            add(format!("names the registry host {host}: say which registry in words"));
        }
    }
    for home in HOME_PATHS {
        if begins_a_path(line, home) {
            add(format!("names a path below {home}, which exists on one machine only"));
        }
    }
}

/// `home` stands in `line` as the beginning of an absolute path, not inside a longer one.
fn begins_a_path(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let inside = |c: char| c.is_alphanumeric() || "/._-}$~".contains(c);
        !before.is_some_and(inside)
    })
}

#[cfg(test)]
#[path = "tidy_tests.rs"]
mod tests;
