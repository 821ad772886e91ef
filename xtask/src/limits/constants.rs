//! The constants of the sources that are bounds.

use std::path::Path;

use crate::step::ask;

/// The sources of what runs.
const SOURCES: [&str; 3] = ["src", "middleware/src", "protocol/src"];

/// Words of a constant's name that say that it is a bound.
const WORDS: [&str; 5] = ["MAX", "TIMEOUT", "PATIENCE", "TIME", "KEPT"];

/// One bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) path: String,
    pub(super) name: String,
    /// The expression.
    pub(super) value: String,
    /// Its comment.
    pub(super) what: String,
}

/// All of them, by file and then as they stand there.
///
/// # Errors
/// A bound without a comment; sources that cannot be listed or read.
pub(super) fn all(root: &Path) -> Result<Vec<Bound>, String> {
    let list = [&["ls-files", "--cached", "--others", "--exclude-standard"][..], &SOURCES].concat();
    let listed = ask(root, "git", &list).ok_or("git ls-files failed: is this a git work tree?")?;
    let mut paths: Vec<&str> = listed.lines().filter(|path| is_source(path)).collect();
    paths.sort_unstable();
    let mut bounds = Vec::new();
    for path in paths {
        // One that is being deleted is listed still.
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        bounds.extend(of_file(path, &text)?);
    }
    Ok(bounds)
}

fn is_source(path: &str) -> bool {
    let is_for_tests = |part: &str| {
        matches!(part, "tests" | "testing" | "tests.rs" | "testing.rs")
            || part.ends_with("_tests.rs")
    };
    path.ends_with(".rs") && !path.split('/').any(is_for_tests)
}

fn of_file(path: &str, text: &str) -> Result<Vec<Bound>, String> {
    let mut bounds = Vec::new();
    let mut comment = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with("mod tests {") {
            break;
        }
        if let Some(words) = line.strip_prefix("///") {
            comment.push(words.trim().to_owned());
            continue;
        }
        // An attribute stands between a comment and what it is of.
        if line.starts_with("#[") {
            continue;
        }
        let what = std::mem::take(&mut comment);
        let Some((name, begun)) = constant(line) else { continue };
        let mut value = begun.to_owned();
        while !value.ends_with(';') {
            let Some(more) = lines.next() else { break };
            value = format!("{value} {}", more.trim());
        }
        if what.is_empty() {
            return Err(format!("{path}: {name} has no comment that says what it bounds"));
        }
        bounds.push(Bound {
            path: path.to_owned(),
            name: name.to_owned(),
            value: value.trim_end_matches(';').trim().to_owned(),
            what: first_paragraph(&what),
        });
    }
    Ok(bounds)
}

/// The name and the value of a constant that is a bound, as far as they stand on this line.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (visibility, declared) = line.split_once("const ")?;
    if !visibility.is_empty() && !visibility.starts_with("pub") {
        return None;
    }
    let (name, rest) = declared.split_once(": ")?;
    let (kind, value) = rest.split_once('=')?;
    // Lists of what is allowed bound nothing that grows.
    (is_bound(name) && !kind.contains(['&', '['])).then(|| (name, value.trim()))
}

fn is_bound(name: &str) -> bool {
    let words = name.split('_');
    let is_constant =
        name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_constant && words.into_iter().any(|word| WORDS.contains(&word))
}

/// Up to the first empty line: what follows gives reasons.
fn first_paragraph(comment: &[String]) -> String {
    let lines: Vec<&str> =
        comment.iter().map(String::as_str).take_while(|l| !l.is_empty()).collect();
    // Links lead to other items; on the page they are names.
    lines.join(" ").replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
/// Most guests.
///
/// There are chairs for no more.
pub(crate) const GUESTS_MAX: usize = 12;
/// How long a guest
/// is waited for.
#[allow(dead_code)]
const TIMEOUT: Duration =
    Duration::from_secs(60);
const NAME: &str = \"a\";
/// Those that are let in.
pub const KINDS_KEPT: &[&str] = &[];
impl A {
    /// Of a table.
    pub const MAX_AT_TABLE: u32 = 4;
    const fn max() -> u32 { 4 }
}
#[cfg(test)]
mod tests {
    const MAX_IN_A_TEST: u32 = 1;
}
";

    #[test]
    fn bounds_are_read_with_their_comments() {
        let bounds = of_file("a.rs", TEXT).unwrap();
        let seen: Vec<_> = bounds
            .iter()
            .map(|bound| (bound.name.as_str(), bound.value.as_str(), bound.what.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("GUESTS_MAX", "12", "Most guests."),
                ("TIMEOUT", "Duration::from_secs(60)", "How long a guest is waited for."),
                ("MAX_AT_TABLE", "4", "Of a table."),
            ]
        );
    }

    #[test]
    fn a_bound_says_of_what() {
        let error = of_file("a.rs", "const MOST: u32 = 1;\nconst GUESTS_MAX: u32 = 1;\n");
        assert_eq!(
            error,
            Err("a.rs: GUESTS_MAX has no comment that says what it bounds".to_owned())
        );
    }

    #[test]
    fn what_tests_are_made_of_is_no_source() {
        for path in ["src/tests/a.rs", "src/a/tests.rs", "middleware/src/testing/a.rs", "src/a.md"]
        {
            assert!(!is_source(path), "{path}");
        }
        assert!(is_source("src/http/server.rs"));
    }
}
