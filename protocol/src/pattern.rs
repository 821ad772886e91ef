//! Glob patterns for module paths: GOPRIVATE and its kin, and Athens's download modes.
//!
//! Source followed: Go's `path.Match` and `module.MatchPrefixPatterns`, to the byte.

mod glob;
#[cfg(test)]
mod tests;

use glob::Glob;

/// A pattern that `path.Match` calls malformed: an open `[` or a final `\`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed pattern: an open [ or a trailing backslash")]
pub struct BadPattern;

/// Whether `name` matches the whole of `pattern` as Go's `path.Match` has it: `*` and `?` never
/// cross a slash, `[a-z]` and `[^a]` are classes, `\` takes the next character literally.
///
/// # Errors
/// [`BadPattern`], whatever the name.
pub fn path_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    Glob::parse(pattern).map(|glob| glob.matches(name))
}

/// Whether a path prefix of `target` matches one of the comma-separated `globs`
/// (`module.MatchPrefixPatterns`): a pattern of N elements is held against the first N elements.
/// Empty and malformed patterns match nothing; a trailing slash of a pattern is ignored.
pub fn match_prefix_patterns(globs: &str, target: &str) -> bool {
    Patterns::parse(globs).matches(target)
}

/// The rule of Athens's download mode file: as [`match_prefix_patterns`], but for one pattern, in
/// which a comma and a trailing slash mean themselves.
pub fn prefix_match(pattern: &str, module: &str) -> bool {
    Prefix::parse(pattern).is_ok_and(|prefix| prefix.matches(module))
}

/// A pattern list, read once and matched often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    prefixes: Vec<Prefix>,
    malformed: Vec<String>,
}

impl Patterns {
    /// Reads a comma-separated list. Malformed patterns match nothing, as in the `go` command, and
    /// are told by [`Patterns::malformed`].
    pub fn parse(csv: &str) -> Self {
        csv.split(',').collect()
    }

    /// Whether a path prefix of `target` matches one of the patterns.
    pub fn matches(&self, target: &str) -> bool {
        self.prefixes.iter().any(|prefix| prefix.matches(target))
    }

    /// Whether there is no pattern that could match.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The patterns that were left out, for a configuration check to complain about.
    pub fn malformed(&self) -> &[String] {
        &self.malformed
    }
}

/// Collects patterns given one by one, each under the rules of [`match_prefix_patterns`].
impl<'a> FromIterator<&'a str> for Patterns {
    fn from_iter<I: IntoIterator<Item = &'a str>>(patterns: I) -> Self {
        let mut list = Self::default();
        for pattern in patterns {
            let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
            match Prefix::parse(pattern) {
                _ if pattern.is_empty() => {}
                Ok(prefix) => list.prefixes.push(prefix),
                Err(BadPattern) => list.malformed.push(pattern.to_owned()),
            }
        }
        list
    }
}

/// A glob for the first so many elements of a path: the rule of [`prefix_match`], read once and matched
/// often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    slashes: usize,
    glob: Glob,
}

impl Prefix {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadPattern`]; such a pattern matches nothing.
    pub fn parse(pattern: &str) -> Result<Self, BadPattern> {
        // A slash counts even in a class or behind a backslash: that is Go's rule.
        let slashes = pattern.bytes().filter(|&byte| byte == b'/').count();
        Glob::parse(pattern).map(|glob| Self { slashes, glob })
    }

    /// Whether the first elements of `target` match.
    pub fn matches(&self, target: &str) -> bool {
        let mut ends = target.match_indices('/').map(|(end, _)| end).skip(self.slashes);
        let head = match ends.next() {
            Some(end) => &target[..end],
            None if target.bytes().filter(|&byte| byte == b'/').count() == self.slashes => target,
            None => return false,
        };
        self.glob.matches(head)
    }
}
