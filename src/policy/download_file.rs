//! The download mode with patterns: Athens's HCL file, or the same text in `custom:`.
//!
//! ```hcl
//! downloadURL = "https://proxy.example"
//! mode = "async_redirect"
//! download "github.com/our-org/*" {
//!   mode = "sync"
//! }
//! ```
//!
//! The first block in file order whose pattern matches decides, else the top level. A pattern of N
//! elements is held against the first N elements of the module path (`pattern::prefix_match`). A block
//! without a URL has that of the top level; Athens went on to the next block that matches and has one.
//!
//! Failure: whatever is wrong is refused at start as `FILE:LINE:COLUMN: reason`. A pattern that can
//! never match is only warned about, and so is a pattern written twice, of which the first counts.
//! Limits: a file of `MAX_FILE_BYTES`.

use std::path::Path;

use dipylon_middleware::ports::{Decision, Mode, Policy};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern;
use hcl_edit::structure::{Attribute, Block, Body, Structure};

use super::hcl::Source;
use crate::config;

/// What the file says.
#[derive(Clone, Debug)]
pub struct DownloadFile {
    blocks: Vec<(String, Decision)>,
    otherwise: Decision,
    warnings: Vec<String>,
}

impl DownloadFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or those of [`DownloadFile::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = super::read_text(path).map_err(|reason| {
            Error::new(ErrorKind::Unsupported, format!("DownloadMode file:{reason}"))
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads an HCL text; `place` is its name in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, as `PLACE:LINE:COLUMN: reason`.
    pub fn parse(place: &str, text: &str) -> Result<Self, Error> {
        let source = Source::new(place, text);
        let body = source.parse()?;
        let top = Fields::of(&source, &body, Level::Top)?;
        let Some(mode) = &top.mode else {
            let modes = modes();
            return Err(
                source.missing(format!("mode is missing at the top level: want one of {modes}"))
            );
        };
        let Some(url) = &top.url else {
            let reason =
                "downloadURL is missing at the top level: add one, downloadURL = \"\" for none";
            return Err(source.missing(reason));
        };
        let otherwise = decision(&source, mode, url)?;
        let mut file = Self { blocks: Vec::new(), otherwise, warnings: Vec::new() };
        for block in body.blocks() {
            file.add(&source, block, url)?;
        }
        Ok(file)
    }

    fn add(&mut self, source: &Source<'_>, block: &Block, top_url: &str) -> Result<(), Error> {
        if !block.has_ident("download") {
            let reason = format!(
                "there is no block {:?}: want download \"PATTERN\" {{ … }}",
                block.ident.as_str()
            );
            return Err(source.at(&block.ident, reason));
        }
        let label = match block.labels.as_slice() {
            [label] => label,
            [] => {
                let reason = "a download block needs its pattern: download \"PATTERN\" { … }";
                return Err(source.at(&block.ident, reason));
            }
            [_, extra, ..] => {
                let reason = "a download block has one pattern: write a block for each";
                return Err(source.at(extra, reason));
            }
        };
        let pattern = label.as_str().to_owned();
        let fields = Fields::of(source, &block.body, Level::Block)?;
        let Some(mode) = &fields.mode else {
            let reason = format!("mode is missing in this block: want one of {}", modes());
            return Err(source.at(&block.ident, reason));
        };
        let own = fields.url.as_deref().filter(|url| !url.is_empty());
        let decision = decision(source, mode, own.unwrap_or(top_url))?;
        if let Some(why) = idle(&pattern) {
            self.warnings.push(format!("the pattern {pattern:?} never matches: {why}"));
        }
        if self.blocks.iter().any(|(earlier, _)| *earlier == pattern) {
            let text =
                format!("the pattern {pattern:?} stands there twice: only the first block counts");
            self.warnings.push(text);
        }
        self.blocks.push((pattern, decision));
        Ok(())
    }

    /// What to look at, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Policy for DownloadFile {
    fn decide(&self, module: &ModulePath) -> Decision {
        let matching =
            self.blocks.iter().find(|(pattern, _)| pattern::prefix_match(pattern, module.as_str()));
        matching.map_or(&self.otherwise, |(_, decision)| decision).clone()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Block,
}

/// The attributes of the top level, or of a block.
#[derive(Default)]
struct Fields<'b> {
    mode: Option<(Mode, &'b Attribute)>,
    /// Without a final slash; empty for none.
    url: Option<String>,
}

impl<'b> Fields<'b> {
    fn of(source: &Source<'_>, body: &'b Body, level: Level) -> Result<Self, Error> {
        let mut fields = Self::default();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => fields.take(source, attribute)?,
                Structure::Block(_) if level == Level::Top => {}
                Structure::Block(block) => {
                    let reason = "a download block holds no blocks: want mode and downloadURL";
                    return Err(source.at(&block.ident, reason));
                }
            }
        }
        Ok(fields)
    }

    /// The parser has refused an attribute that stands there twice.
    fn take(&mut self, source: &Source<'_>, attribute: &'b Attribute) -> Result<(), Error> {
        match attribute.key.as_str() {
            "mode" => self.mode = Some((mode(source, attribute)?, attribute)),
            "downloadURL" => self.url = Some(url(source, attribute)?),
            other => {
                let reason = format!("there is no attribute {other:?}: want mode or downloadURL");
                return Err(source.at(&attribute.key, reason));
            }
        }
        Ok(())
    }
}

fn mode(source: &Source<'_>, attribute: &Attribute) -> Result<Mode, Error> {
    let text = source.string(attribute)?;
    let known = config::Mode::ALL.iter().find(|mode| mode.as_str() == text);
    known.map(|mode| super::mode(*mode)).ok_or_else(|| {
        let reason = format!("{text:?} is no mode: want one of {}", modes());
        source.at(&attribute.value, reason)
    })
}

/// A redirect's path is appended to it, so it has no query. It may hold credentials, so it is not
/// repeated.
fn url(source: &Source<'_>, attribute: &Attribute) -> Result<String, Error> {
    let text = source.string(attribute)?;
    let web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let host =
        text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let plain = web && host && !text.contains(['?', '#']);
    if text.is_empty() || plain {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let reason = "downloadURL is no base URL: want https://HOST[:PORT][/PATH], without ? and #";
    Err(source.at(&attribute.value, reason))
}

fn decision(
    source: &Source<'_>,
    (mode, attribute): &(Mode, &Attribute),
    url: &str,
) -> Result<Decision, Error> {
    if matches!(mode, Mode::Redirect | Mode::AsyncRedirect) && url.is_empty() {
        let reason =
            "this mode redirects, but there is no downloadURL, neither here nor at the top level";
        return Err(source.at(&attribute.value, reason));
    }
    Ok(Decision { mode: *mode, download_url: url.to_owned() })
}

fn modes() -> String {
    config::Mode::ALL.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", ")
}

/// Why a pattern can match no module path.
fn idle(pattern: &str) -> Option<&'static str> {
    if pattern::path_match(pattern, "").is_err() {
        Some("it is malformed, an open [ or a trailing backslash")
    } else if pattern.is_empty() {
        Some("it is empty; what no block matches has the top level's mode")
    } else if pattern.starts_with('/') || pattern.ends_with('/') || pattern.contains("//") {
        Some("it has a slash too many")
    } else if pattern.contains([',', '{', '}']) {
        Some("one pattern stands in a block, without commas and braces")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
