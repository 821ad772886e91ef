//! The tests of the contract: each is there, always runs, and asserts something.

/// With these words begin the names of the tests that every layer has, and every leaf but for the second.
pub(super) const CONTRACT: [&str; 3] =
    ["an_error_from_below_", "services_of_one_layer_", "a_caller_that_goes_away_"];

/// How a test runs that awaits anything.
pub(super) const PAUSED: &str = "#[tokio::test(start_paused = true)]";

/// A function of a file, as rustfmt writes it.
pub(super) struct Function<'a> {
    file: &'a str,
    name: &'a str,
    attributes: Vec<&'a str>,
    body: Vec<&'a str>,
}

/// The functions of a file, but for those inside something.
pub(super) fn functions<'a>(file: &'a str, text: &'a str) -> Vec<Function<'a>> {
    let lines: Vec<&str> = text.lines().collect();
    let function = |(at, line): (usize, &&'a str)| {
        let signature = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        let name = &signature[..signature.find(['(', '<'])?];
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        let attributes = above.copied().filter(|line| line.starts_with('#')).collect();
        let rest = if line.ends_with('}') { &[] } else { &lines[at + 1..] };
        let body = rest.iter().copied().take_while(|line| *line != "}").collect();
        Some(Function { file, name, attributes, body })
    };
    lines.iter().enumerate().filter_map(function).collect()
}

/// Of the tests with these beginnings there is at least one each, and all of them hold something.
pub(super) fn check<'a>(
    functions: &[Function<'_>],
    begins: impl Iterator<Item = &'a str>,
    add: &mut impl FnMut(&str, String),
) {
    for begin in begins {
        let mut tests = functions.iter().filter(|one| one.name.starts_with(begin)).peekable();
        if tests.peek().is_none() {
            add("tests.rs", format!("no test `{begin}…` (see ARCHITECTURE.md)"));
        }
        for Function { file, name, attributes, body } in tests {
            if attributes[..] != [PAUSED] {
                add(file, format!("`{name}` has to have {PAUSED} and no other attribute"));
            }
            if !body.iter().any(|line| asserts(line)) {
                add(file, format!("`{name}` asserts nothing itself (`assert…`, `expect_err`)"));
            }
        }
    }
}

/// Whether a line calls a macro or function that is named for what it asserts.
fn asserts(line: &str) -> bool {
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let code = line.split("// ").next().unwrap_or_default();
    let called = code.match_indices("assert").any(|(at, word)| {
        let rest = code[at + word.len()..].trim_start_matches(is_of_name);
        !code[..at].ends_with(is_of_name) && (rest.starts_with('(') || rest.starts_with("!("))
    });
    called || code.contains(".expect_err(")
}
