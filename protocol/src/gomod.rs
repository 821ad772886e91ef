//! The parts of a go.mod file that a proxy acts on: module path, go version, retractions and
//! deprecation.
//!
//! Source followed: `golang.org/x/mod/modfile`, `ParseLax`, which is how the `go` command reads the
//! go.mod of a dependency. Where that gives a result, this gives the same one. Where it fails, this
//! skips the line and reads on: what the client will say of a faulty file is the client's to say,
//! and the proxy only has to tell a go.mod from something that is none.

use std::sync::Arc;

use crate::semver;
use crate::version::Version;

mod directive;
mod lexer;
#[cfg(test)]
mod tests;

use directive::{Directive, directives};

/// Largest go.mod in bytes: the limit the `go` command has for the one in a zip.
pub const MAX_GO_MOD_BYTES: usize = 16 << 20;

/// Most retractions read of one file.
pub const MAX_RETRACTIONS: usize = 65_536;

/// Longest rationale or deprecation message kept, in bytes; the rest is cut off.
pub const MAX_RATIONALE_BYTES: usize = 4096;

/// What a go.mod file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoMod {
    /// The module path as written, which need not be a valid one.
    pub module: String,
    /// The go version, such as `1.21.0`.
    pub go: Option<String>,
    /// The suggested toolchain, such as `go1.21.3` or `default`.
    pub toolchain: Option<String>,
    /// The retracted ranges in the order of the file.
    pub retractions: Vec<Retraction>,
    /// The message after `Deprecated:` above or beside the module directive.
    pub deprecated: Option<String>,
}

/// Versions from `low` to `high`, both included, that their author has withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retraction {
    /// The lowest version as written; Go compares it even when it is no canonical version.
    pub low: String,
    /// The highest version as written.
    pub high: String,
    /// The comment of the directive, or of its block; empty when there is none.
    pub rationale: Arc<str>,
}

/// Why a body is no go.mod file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GoModError {
    /// More than [`MAX_GO_MOD_BYTES`].
    #[error("go.mod of {0} bytes is over the limit of {MAX_GO_MOD_BYTES}")]
    TooLarge(usize),
    /// A web page, most often a login form or an error page.
    #[error("go.mod is a web page")]
    WebPage,
    /// A NUL byte or text that is not UTF-8.
    #[error("go.mod is not text")]
    NotText,
    /// No `module` directive that names a path.
    #[error("go.mod has no module directive")]
    NoModule,
    /// More than [`MAX_RETRACTIONS`].
    #[error("go.mod has more than {MAX_RETRACTIONS} retractions")]
    TooManyRetractions,
}

impl GoMod {
    /// Reads a go.mod file.
    ///
    /// # Errors
    /// A [`GoModError`] when the body is too large or plainly no go.mod file.
    pub fn parse(body: &[u8]) -> Result<Self, GoModError> {
        if body.len() > MAX_GO_MOD_BYTES {
            return Err(GoModError::TooLarge(body.len()));
        }
        if body.trim_ascii_start().starts_with(b"<") {
            return Err(GoModError::WebPage);
        }
        let text = std::str::from_utf8(body).map_err(|_| GoModError::NotText)?;
        if text.contains('\0') {
            return Err(GoModError::NotText);
        }
        let mut draft = Draft::default();
        for directive in directives(text) {
            draft.add(&directive)?;
        }
        draft.finish()
    }

    /// Whether the file retracts `version`; it may do so for versions other than its own.
    pub fn retracts(&self, version: &Version) -> bool {
        self.retraction_of(version).is_some()
    }

    /// The first retraction that covers `version`.
    pub fn retraction_of(&self, version: &Version) -> Option<&Retraction> {
        self.retractions.iter().find(|range| range.contains(version))
    }
}

impl Retraction {
    fn contains(&self, version: &Version) -> bool {
        semver::compare(&self.low, version.as_str()).is_le()
            && semver::compare(version.as_str(), &self.high).is_le()
    }
}

/// A [`GoMod`] whose module directive may still be to come.
#[derive(Default)]
struct Draft {
    module: Option<String>,
    go: Option<String>,
    toolchain: Option<String>,
    retractions: Vec<Retraction>,
    deprecated: Option<String>,
}

impl Draft {
    fn add(&mut self, directive: &Directive<'_>) -> Result<(), GoModError> {
        match directive.verb {
            "module" if self.module.is_none() => {
                self.module = directive.only_argument().and_then(module_path);
                self.deprecated = deprecation(&directive.comment());
            }
            "go" if self.go.is_none() && !directive.in_block => {
                self.go = directive.only_argument().and_then(go_version);
            }
            "toolchain" if self.toolchain.is_none() && !directive.in_block => {
                self.toolchain = directive
                    .only_argument()
                    .filter(|name| *name == "default" || is_toolchain(name))
                    .map(str::to_owned);
            }
            "retract" => {
                let Some((low, high)) = interval(&directive.arguments) else {
                    return Ok(());
                };
                if self.retractions.len() == MAX_RETRACTIONS {
                    return Err(GoModError::TooManyRetractions);
                }
                self.retractions.push(Retraction { low, high, rationale: directive.comment() });
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<GoMod, GoModError> {
        let module = self.module.filter(|path| !path.is_empty()).ok_or(GoModError::NoModule)?;
        let Self { go, toolchain, retractions, deprecated, .. } = self;
        Ok(GoMod { module, go, toolchain, retractions, deprecated })
    }
}

/// The path a module directive names. Backquotes are taken too: `modfile.ModulePath` reads them.
fn module_path(word: &str) -> Option<String> {
    let raw = word.strip_prefix('`').and_then(|open| open.strip_suffix('`'));
    raw.map(str::to_owned).or_else(|| lexer::unquote(word))
}

/// One version, or `[low, high]`. What follows is ignored, as it is by the `go` command.
fn interval(arguments: &[&str]) -> Option<(String, String)> {
    match arguments {
        ["[", low, ",", high, "]", ..] => Some((lexer::unquote(low)?, lexer::unquote(high)?)),
        ["[" | "(", ..] | [] => None,
        [version, ..] => lexer::unquote(version).map(|version| (version.clone(), version)),
    }
}

/// The paragraph that begins with `Deprecated:`, without that word.
fn deprecation(comment: &str) -> Option<String> {
    const MARK: &str = "Deprecated:";
    let begins = |at: usize| at == 0 || comment[..at].ends_with("\n\n");
    let (at, _) = comment.match_indices(MARK).find(|&(at, _)| begins(at))?;
    let message = comment[at + MARK.len()..].trim_start_matches(' ');
    let message = message.split("\n\n").next().unwrap_or(message);
    (!message.is_empty()).then(|| message.to_owned())
}

/// `1.21`, `1.21.3` or `1.21rc1`; and as old files have it `v1.21` or `1.21.x`, of which major and
/// minor are taken.
fn go_version(text: &str) -> Option<String> {
    if is_strict_go_version(text) {
        return Some(text.to_owned());
    }
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (major, rest) = split_number(bare).filter(|(major, _)| *major != "0")?;
    let (minor, tail) = split_number(rest.strip_prefix('.')?)?;
    // A minor version cut short by a leading zero (`1.01`) has a digit next and is none.
    let cut = tail.chars().next().is_some_and(|next| !next.is_ascii_digit());
    cut.then(|| format!("{major}.{minor}"))
}

fn is_strict_go_version(text: &str) -> bool {
    let strict = || {
        let (_, rest) = split_number(text).filter(|(major, _)| *major != "0")?;
        let (_, rest) = split_number(rest.strip_prefix('.')?)?;
        let rest = match rest.strip_prefix('.') {
            Some(patch) => split_number(patch)?.1,
            None => rest,
        };
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let suffix = digits.len() < rest.len()
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        (rest.is_empty() || suffix).then_some(())
    };
    strict().is_some()
}

/// Splits `0` or a number without leading zeros off the front.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = match text.as_bytes().first()? {
        b'0' => 1,
        b'1'..=b'9' => text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()),
        _ => return None,
    };
    Some(text.split_at(end))
}

fn is_toolchain(name: &str) -> bool {
    name.strip_prefix("go1").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
