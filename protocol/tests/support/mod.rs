//! Golden files in the txtar format: input and what is wanted of it, in one file.
//!
//! A file is a comment and then sections, each a line `-- name --` and its text. With
//! `UPDATE_GOLDEN=1` in the environment the section `want` is written anew, for a person to review.

use std::fs;
use std::path::{Path, PathBuf};

/// One golden file.
pub(crate) struct Golden {
    path: PathBuf,
    comment: String,
    sections: Vec<(String, String)>,
}

impl Golden {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a golden file is readable");
        let mut golden = Self { path, comment: String::new(), sections: Vec::new() };
        for line in text.split_inclusive('\n') {
            let name =
                line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
            match (name, golden.sections.last_mut()) {
                (Some(name), _) => golden.sections.push((name.to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(line),
                (None, None) => golden.comment.push_str(line),
            }
        }
        golden
    }

    /// The text of a section; a missing one fails the test.
    pub(crate) fn section(&self, name: &str) -> &str {
        let found = self.sections.iter().find(|(section, _)| section == name);
        let Some((_, text)) = found else {
            panic!("{}: no section {name}", self.path.display());
        };
        text
    }

    fn write_want(&self, got: &str) {
        let mut text = self.comment.clone();
        let inputs = self.sections.iter().filter(|(name, _)| name != "want");
        for (name, section) in inputs.map(|(name, text)| (name.as_str(), text.as_str())) {
            text.push_str(&format!("-- {name} --\n{section}"));
        }
        text.push_str(&format!("-- want --\n{got}"));
        fs::write(&self.path, text).expect("a golden file is writable");
    }
}

/// Runs `describe` over every file of `testdata/<folder>` and compares with its section `want`.
pub(crate) fn check_golden(folder: &str, describe: impl Fn(&Golden) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of golden files is readable");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no golden files in {}", folder.display());
    let mut failures = Vec::new();
    for path in paths {
        let golden = Golden::read(path);
        let got = describe(&golden);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            golden.write_want(&got);
        } else if got != golden.section("want") {
            failures.push(format!("{}\n{}", golden.path.display(), difference(&golden, &got)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn difference(golden: &Golden, got: &str) -> String {
    let want: Vec<&str> = golden.section("want").lines().collect();
    let got: Vec<&str> = got.lines().collect();
    (0..want.len().max(got.len()))
        .map(|line| (want.get(line), got.get(line)))
        .filter(|(want, got)| want != got)
        .map(|(want, got)| format!("  want {want:?}\n  got  {got:?}\n"))
        .collect()
}

/// `describe` for golden files with one case a line: each input line, ` => `, its answer.
pub(crate) fn line_by_line(golden: &Golden, answer: impl Fn(&str) -> String) -> String {
    golden.section("input").lines().map(|line| format!("{line} => {}\n", answer(line))).collect()
}
