//! Patterns of download blocks, drawn by a Go program and answered by Go's own `path.Match`.

mod go_run;

use std::collections::HashSet;
use std::fs;

use dipylon_protocol::pattern::{Prefix, prefix_match};

const DRAWN: &str = include_str!("../testdata/drawn_patterns/drawn.txt");

/// Pattern, module path, whether it matches.
fn drawn() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    DRAWN.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (pattern, rest) = line[1..].split_once("\" ").expect("a quoted pattern");
        let (module, verdict) = rest.split_once(' ').expect("a path and a verdict");
        assert!(["true", "false"].contains(&verdict), "{line}");
        (pattern, module, verdict == "true")
    })
}

#[test]
fn every_pattern_that_was_drawn_matches_as_in_go() {
    let wrong: Vec<String> = drawn()
        .filter(|(pattern, module, want)| {
            let once = Prefix::parse(pattern).is_ok_and(|prefix| prefix.matches(module));
            prefix_match(pattern, module) != *want || once != *want
        })
        .map(|(pattern, module, want)| format!("{pattern:?} on {module}: Go says {want}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn enough_was_drawn_of_either_kind() {
    let patterns: HashSet<&str> = drawn().map(|(pattern, _, _)| pattern).collect();
    assert!(patterns.len() >= 600, "{} patterns", patterns.len());
    let matching = drawn().filter(|(_, _, matches)| *matches).count();
    assert!(matching >= 200 && patterns.len() - matching >= 200, "{matching} match");
    for part in ['*', '?', '[', '^', '\\', '/'] {
        let with = drawn().filter(|(pattern, _, matches)| *matches && pattern.contains(part));
        assert!(with.count() >= 5, "hardly any pattern with {part} matches");
    }
}

#[test]
#[ignore = "needs the go command: run by cargo xtask test"]
fn go_still_draws_and_answers_the_same() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let program = include_str!("../testdata/drawn_patterns/main.go");
    fs::write(scratch.path().join("main.go"), program).expect("main.go is written");
    fs::write(scratch.path().join("go.mod"), "module drawn\n\ngo 1.22\n").expect("go.mod");
    let printed = go_run::go(scratch.path(), &["run", "."], &[]).expect("the program runs");
    assert_eq!(printed, DRAWN);
}
