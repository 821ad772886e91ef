use super::*;

#[test]
fn stars_and_question_marks_stop_at_a_slash() {
    assert_eq!(path_match("a*c", "abbc"), Ok(true));
    assert_eq!(path_match("a*c", "a/c"), Ok(false));
    assert_eq!(path_match("a?c", "a/c"), Ok(false));
    assert_eq!(path_match("*", ""), Ok(true));
}

#[test]
fn classes_take_ranges_negation_and_escapes() {
    assert_eq!(path_match("[a-c]", "b"), Ok(true));
    assert_eq!(path_match("[^a-c]", "b"), Ok(false));
    assert_eq!(path_match("[\\-x]", "-"), Ok(true));
    assert_eq!(path_match("a\\*", "a*"), Ok(true));
}

#[test]
fn a_malformed_pattern_is_an_error_whatever_the_name() {
    for pattern in ["[", "[]a]", "[-]", "[x-]", "[-x]", "a[", "\\", "[a-b-c]", "[^", "[a", "x\\"] {
        for name in ["", "zzz", "a"] {
            assert_eq!(path_match(pattern, name), Err(BadPattern), "{pattern} {name}");
        }
    }
}

#[test]
fn a_list_matches_by_whole_leading_elements() {
    let list = Patterns::parse("*.corp.example,github.com/acme/,,[");
    assert!(list.matches("git.corp.example/x/y"));
    assert!(list.matches("github.com/acme/tool/v2"));
    assert!(!list.matches("github.com/acmefoo"));
    assert!(!list.matches("github.com"));
    assert_eq!(list.malformed(), ["["]);
    assert!(Patterns::parse(" ").matches(" ") && Patterns::parse(",").is_empty());
}

/// The rows that were run against Athens.
fn table() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let lines = include_str!("../../testdata/download_patterns.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (pattern, rest) = line[1..].split_once("\" ").expect("a quoted pattern");
        let (module, want) = rest.split_once(' ').expect("a path and a verdict");
        (pattern, module, want == "true")
    })
}

#[test]
fn the_download_mode_rule_matches_as_athens_does() {
    for (pattern, module, want) in table() {
        assert_eq!(prefix_match(pattern, module), want, "{pattern} against {module}");
    }
}

#[test]
fn a_long_pattern_of_stars_is_matched_in_good_time() {
    let pattern = "*a".repeat(500);
    let name = "a".repeat(499) + &"b".repeat(500);
    assert_eq!(path_match(&pattern, &name), Ok(false));
}
