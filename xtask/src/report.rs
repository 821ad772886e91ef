//! Reads what the Rust test runner prints: the closing line of each binary, and the ignored tests.

use crate::step::Tally;

/// A test that a plain run left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// The full name, e.g. `git::tests::the_go_command_clones_it`.
    pub(crate) name: String,
    /// The text of `#[ignore = "…"]`, empty when there is none.
    pub(crate) reason: String,
}

impl Ignored {
    /// The test that runs this one in a process of its own: `run by PARENT`.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.reason.strip_prefix("run by ")
    }

    /// A slow test is one whose own name begins with `slow_`.
    pub(crate) fn is_slow(&self) -> bool {
        self.name.rsplit("::").next().is_some_and(|last| last.starts_with("slow_"))
    }
}

/// The full names of all tests that a run tells of.
pub(crate) fn names(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| line.strip_prefix("test ")?.split(" ... ").next())
}

/// Adds up `test result: …; P passed; F failed; …` over all binaries. Ignored tests are no result.
pub(crate) fn sum(lines: &[String]) -> Tally {
    let mut tally = Tally::default();
    for line in lines {
        let Some(result) = line.trim().strip_prefix("test result: ") else { continue };
        tally.passed += number_before(result, " passed");
        tally.failed += number_before(result, " failed");
    }
    tally
}

/// Every `test NAME ... ignored[, REASON]` line. A doc test is left out: `ignore` on a code block
/// means that it is not meant to run at all.
pub(crate) fn ignored(lines: &[String]) -> Vec<Ignored> {
    let mut found = Vec::new();
    for line in lines {
        let Some((name, state)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        let Some(reason) = state.strip_prefix("ignored") else { continue };
        if name.contains(' ') {
            continue;
        }
        let reason = reason.trim_start_matches(", ").trim().to_owned();
        found.push(Ignored { name: name.to_owned(), reason });
    }
    found
}

fn number_before(text: &str, word: &str) -> usize {
    let Some(end) = text.find(word) else { return 0 };
    let digits = text[..end].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn results_of_several_binaries_are_summed() {
        let printed = lines(
            "     Running unittests src/lib.rs (target/debug/deps/a-1)\n\
             test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             a test printed 99 passed; this is no result\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        );
        assert_eq!(sum(&printed), Tally { passed: 13, failed: 2, ..Tally::default() });
    }

    #[test]
    fn ignored_tests_keep_their_reason() {
        let printed = lines(
            "test a::b::slow_flood ... ignored, needs the go command: run by cargo xtask test\n\
             test plain ... ignored\n\
             test c ... ok\n\
             test src/lib.rs - thing (line 3) ... ignored",
        );
        let found = ignored(&printed);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].reason, "needs the go command: run by cargo xtask test");
        assert!(found[0].is_slow());
        assert_eq!(found[1].reason, "");
        assert!(!found[1].is_slow());
    }

    #[test]
    fn a_name_with_slow_inside_is_not_slow() {
        let test = Ignored { name: "m::a_slow_client_waits".to_owned(), reason: String::new() };
        assert!(!test.is_slow());
    }
}
