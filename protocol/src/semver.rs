//! Go's dialect of semantic versions: a leading `v`, and `v1` and `v1.2` as short forms.
//!
//! Source followed: `golang.org/x/mod/semver`. The functions take any text; text that is not a
//! version gives `false`, `None`, or sorts below every version.

use std::cmp::Ordering;

/// The parts of a version, each as it is written.
struct Parts<'a> {
    major: &'a str,
    minor: &'a str,
    patch: &'a str,
    /// What a short form lacks: `.0.0`, `.0` or nothing.
    missing: &'static str,
    /// With its leading `-`, or empty.
    prerelease: &'a str,
    /// With its leading `+`, or empty.
    build: &'a str,
}

/// Whether `version` is a semantic version, short forms included.
pub fn is_valid(version: &str) -> bool {
    parts(version).is_some()
}

/// `version` with the missing `.0`s added and the build metadata cut off; `None` when invalid.
pub fn canonical(version: &str) -> Option<String> {
    let parts = parts(version)?;
    let kept = version.len() - parts.build.len();
    Some(format!("{}{}", &version[..kept], parts.missing))
}

/// [`canonical`], but `+incompatible` is kept (`module.CanonicalVersion`).
pub fn canonical_version(version: &str) -> Option<String> {
    let mut text = canonical(version)?;
    if build(version) == "+incompatible" {
        text.push_str("+incompatible");
    }
    Some(text)
}

/// Whether `version` is its own [`canonical_version`].
pub fn is_canonical(version: &str) -> bool {
    parts(version).is_some_and(|parts| {
        parts.missing.is_empty() && matches!(parts.build, "" | "+incompatible")
    })
}

/// The major part with its `v`: `v2` for `v2.1.0`. Empty when invalid.
pub fn major(version: &str) -> &str {
    parts(version).map_or("", |parts| &version[..1 + parts.major.len()])
}

/// `v2.1` for `v2.1.0-pre`, and `v2.0` for `v2`. Empty when invalid.
pub fn major_minor(version: &str) -> String {
    parts(version).map_or_else(String::new, |parts| format!("v{}.{}", parts.major, parts.minor))
}

/// The pre-release with its `-`: `-rc.1` for `v1.0.0-rc.1`. Empty when there is none or invalid.
pub fn prerelease(version: &str) -> &str {
    parts(version).map_or("", |parts| parts.prerelease)
}

/// The build metadata with its `+`. Empty when there is none or invalid.
pub fn build(version: &str) -> &str {
    parts(version).map_or("", |parts| parts.build)
}

/// Precedence as Go has it: build metadata is ignored, and invalid text is equal to other invalid
/// text and less than every version.
pub fn compare(left: &str, right: &str) -> Ordering {
    match (parts(left), parts(right)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(left), Some(right)) => compare_numbers(left.major, right.major)
            .then_with(|| compare_numbers(left.minor, right.minor))
            .then_with(|| compare_numbers(left.patch, right.patch))
            .then_with(|| compare_prereleases(left.prerelease, right.prerelease)),
    }
}

/// Decimal text without leading zeros, of any length: a longer number is a greater one.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// A release is above its pre-releases; identifiers are compared one by one, numbers below words.
fn compare_prereleases(left: &str, right: &str) -> Ordering {
    match (left.is_empty(), right.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut left = left[1..].split('.');
    let mut right = right[1..].split('.');
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => compare_identifiers(left, right),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_identifiers(left: &str, right: &str) -> Ordering {
    match (is_number(left), is_number(right)) {
        (true, true) => compare_numbers(left, right),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parts(version: &str) -> Option<Parts<'_>> {
    let mut parts =
        Parts { major: "0", minor: "0", patch: "0", missing: "", prerelease: "", build: "" };
    let (major, rest) = number(version.strip_prefix('v')?)?;
    parts.major = major;
    if rest.is_empty() {
        parts.missing = ".0.0";
        return Some(parts);
    }
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    parts.minor = minor;
    if rest.is_empty() {
        parts.missing = ".0";
        return Some(parts);
    }
    let (patch, rest) = number(rest.strip_prefix('.')?)?;
    parts.patch = patch;
    let (prerelease, build) = rest.split_at(rest.find('+').unwrap_or(rest.len()));
    if !prerelease.is_empty() {
        let body = prerelease.strip_prefix('-')?;
        if !body.split('.').all(|word| is_identifier(word) && !has_leading_zero(word)) {
            return None;
        }
        parts.prerelease = prerelease;
    }
    if !build.is_empty() {
        if !build[1..].split('.').all(is_identifier) {
            return None;
        }
        parts.build = build;
    }
    Some(parts)
}

/// Splits a decimal number without leading zeros off the front of `text`.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (!digits.is_empty() && !has_leading_zero(digits)).then_some((digits, rest))
}

fn has_leading_zero(word: &str) -> bool {
    word.len() > 1 && word.starts_with('0') && is_number(word)
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_valid_and_are_filled_up() {
        assert_eq!(canonical("v1").as_deref(), Some("v1.0.0"));
        assert_eq!(canonical("v1.2").as_deref(), Some("v1.2.0"));
        assert_eq!(canonical("v1-pre"), None);
        assert_eq!(canonical("1.2.3"), None);
    }

    #[test]
    fn build_metadata_is_cut_except_incompatible() {
        assert_eq!(canonical("v1.2.3+meta").as_deref(), Some("v1.2.3"));
        assert_eq!(canonical_version("v1.2.3+meta").as_deref(), Some("v1.2.3"));
        assert_eq!(
            canonical_version("v2.0.0+incompatible").as_deref(),
            Some("v2.0.0+incompatible")
        );
    }

    #[test]
    fn leading_zeros_are_refused_in_numbers_only() {
        assert!(!is_valid("v01.2.3"));
        assert!(!is_valid("v1.2.3-01"));
        assert!(is_valid("v1.2.3-01a"));
        assert!(is_valid("v1.2.3+01"));
    }

    #[test]
    fn precedence_is_that_of_the_specification() {
        let rising = [
            "bad",
            "v1.0.0-alpha",
            "v1.0.0-alpha.1",
            "v1.0.0-alpha.beta",
            "v1.0.0-beta",
            "v1.0.0-beta.2",
            "v1.0.0-beta.11",
            "v1.0.0-rc.1",
            "v1",
            "v1.2",
            "v1.10.0",
            "v10.0.0",
        ];
        for (index, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(compare(left, right), index.cmp(&other), "{left} against {right}");
            }
        }
        assert_eq!(compare("v1.0.0+a", "v1.0.0+b"), Ordering::Equal);
    }

    #[test]
    fn numbers_longer_than_a_machine_word_are_compared() {
        let small = format!("v{}.0.0", "9".repeat(40));
        let large = format!("v1{}.0.0", "0".repeat(40));
        assert_eq!(compare(&small, &large), Ordering::Less);
    }
}
