//! The download mode with patterns: Athens's HCL file, or the same text in `custom:`.
//!
//! ```hcl
//! downloadURL = "https://proxy.example"
//! mode = "async_redirect"
//! download "github.com/our-org/*" {
//!   mode = "sync"
//!   upstreams = ["https://goproxy.our.example", "direct"]
//! }
//! ```
//!
//! The first block in file order whose pattern matches decides, else the top level. A pattern of N
//! elements is held against the first N elements of the module path (`pattern::prefix_match`). What a block
//! does not say, the top level says, the mode aside; where Athens had no URL in a block, it went on to the
//! next block that matches and has one. All but `mode` and `downloadURL` is ours (`ours.rs`, `classes.rs`).
//!
//! Failure: whatever is wrong is refused as `FILE:LINE:COLUMN: reason`. A pattern that can never match is
//! only warned about, and so is a pattern written twice, of which the first counts.
//! Limits: a file of `MAX_FILE_BYTES`.

use std::path::Path;

use dipylon_middleware::ports::Mode;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::pattern;
use hcl_edit::structure::{Attribute, Block, Body, Structure};

use super::hcl::Source;
use super::own_address::OwnAddress;
use super::terms::Terms;
use crate::config::{self, Config, NetworkMode};
use crate::fetch::base_url::BaseUrl;

mod classes;
mod ours;

use classes::Classes;
use ours::Ours;

/// What the configuration says beside the file.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// No upstream may be asked: every mode is `none`.
    pub offline: bool,
    /// Where mode `none` holds, list and latest are those of storage.
    pub lists_follow_mode: bool,
    /// What Athens does not know is refused.
    pub strict: bool,
    /// Where nobody is to be sent.
    pub own_address: Option<OwnAddress>,
}

impl Given {
    /// By this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            offline: config.network_mode == NetworkMode::Offline,
            lists_follow_mode: config.dipylon.list_follows_mode,
            strict: config.dipylon.strict_download_file,
            own_address: OwnAddress::of(config),
        }
    }

    /// Whether a URL leads back here.
    pub fn is_here(&self, url: &str) -> bool {
        let base = BaseUrl::read(url).ok();
        let own = self.own_address.as_ref().zip(base);
        own.is_some_and(|(own, (base, _))| own.is(&base))
    }
}

/// What the file says.
#[derive(Clone, Debug)]
pub struct DownloadFile {
    blocks: Vec<(String, Terms)>,
    otherwise: Terms,
    classes: Classes,
    warnings: Vec<String>,
}

impl DownloadFile {
    /// The text of a file.
    ///
    /// # Errors
    /// A file that cannot be read, or is too large, or is no text.
    pub fn read(path: &Path) -> Result<String, Error> {
        super::read_text(path).map_err(|reason| {
            Error::new(ErrorKind::Unsupported, format!("DownloadMode file:{reason}"))
        })
    }

    /// The same for all modules.
    pub fn without_blocks(otherwise: Terms) -> Self {
        let (classes, warnings) = (Classes::default(), Vec::new());
        Self { blocks: Vec::new(), otherwise, classes, warnings }
    }

    /// Reads an HCL text; `place` is its name in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, as `PLACE:LINE:COLUMN: reason`.
    pub fn parse(place: &str, text: &str, given: &Given) -> Result<Self, Error> {
        let source = Source::new(place, text);
        let body = source.parse()?;
        let classes = Classes::read(&source, given, &body)?;
        let reader = Reader { source: &source, given, classes: &classes };
        let top = reader.fields(&body, Level::Top)?;
        let Some(mode) = &top.mode else {
            let modes = modes();
            return Err(
                source.missing(format!("mode is missing at the top level: want one of {modes}"))
            );
        };
        if top.url.is_none() {
            let reason =
                "downloadURL is missing at the top level: add one, downloadURL = \"\" for none";
            return Err(source.missing(reason));
        }
        let mut file = Self::without_blocks(reader.terms(mode, &top, &top)?);
        for block in body.blocks().filter(|block| !block.has_ident(classes::BLOCK)) {
            file.add(&reader, block, &top)?;
        }
        file.classes = classes;
        file.warn_of_idle_classes();
        Ok(file)
    }

    fn add(&mut self, reader: &Reader<'_>, block: &Block, top: &Fields<'_>) -> Result<(), Error> {
        let source = reader.source;
        if !block.has_ident("download") {
            let ours = if reader.given.strict { "" } else { ", or rate \"NAME\" { … }" };
            let reason = format!(
                "there is no block {:?}: want download \"PATTERN\" {{ … }}{ours}",
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
        let fields = reader.fields(&block.body, Level::Block)?;
        let Some(mode) = &fields.mode else {
            let reason = format!("mode is missing in this block: want one of {}", modes());
            return Err(source.at(&block.ident, reason));
        };
        let terms = reader.terms(mode, &fields, top)?;
        if let Some(why) = idle(&pattern) {
            self.warnings.push(format!("the pattern {pattern:?} never matches: {why}"));
        }
        if self.blocks.iter().any(|(earlier, _)| *earlier == pattern) {
            let text =
                format!("the pattern {pattern:?} stands there twice: only the first block counts");
            self.warnings.push(text);
        }
        self.blocks.push((pattern, terms));
        Ok(())
    }

    /// A class that nobody is in does nothing: perhaps a name is missing somewhere.
    fn warn_of_idle_classes(&mut self) {
        let terms = || self.blocks.iter().map(|(_, terms)| terms).chain([&self.otherwise]);
        let is_idle = |name| terms().all(|terms| terms.rate_class.as_ref() != Some(name));
        let idle = self.classes.iter().filter(|(name, _)| is_idle(name));
        let texts = idle.map(|(name, _)| format!("no rateClass names the rate class {name:?}"));
        let texts: Vec<String> = texts.collect();
        self.warnings.extend(texts);
    }

    /// The rate classes.
    pub(super) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Each pattern and what holds for it, in file order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&str, &Terms)> {
        self.blocks.iter().map(|(pattern, terms)| (pattern.as_str(), terms))
    }

    /// What holds where no pattern matches.
    pub(super) fn otherwise(&self) -> &Terms {
        &self.otherwise
    }

    /// What to look at, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
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
    url: Option<(String, &'b Attribute)>,
    ours: Ours,
}

/// Reads attributes, and knows what they are held against.
struct Reader<'a> {
    source: &'a Source<'a>,
    given: &'a Given,
    classes: &'a Classes,
}

impl Reader<'_> {
    fn fields<'b>(&self, body: &'b Body, level: Level) -> Result<Fields<'b>, Error> {
        let mut fields = Fields::default();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => self.take(&mut fields, attribute)?,
                Structure::Block(_) if level == Level::Top => {}
                Structure::Block(block) => {
                    let reason = "a download block holds no blocks: want mode and downloadURL";
                    return Err(self.source.at(&block.ident, reason));
                }
            }
        }
        Ok(fields)
    }

    /// The parser has refused an attribute that stands there twice.
    fn take<'b>(&self, fields: &mut Fields<'b>, attribute: &'b Attribute) -> Result<(), Error> {
        match attribute.key.as_str() {
            "mode" => fields.mode = Some((self.mode(attribute)?, attribute)),
            "downloadURL" => fields.url = Some((self.url(attribute)?, attribute)),
            other if ours::NAMES.contains(&other) && self.given.strict => {
                return Err(self.source.at(&attribute.key, not_of_athens(other)));
            }
            _ if fields.ours.take(self.source, self.given, self.classes, attribute)? => {}
            other => {
                let known = if self.given.strict { String::new() } else { ours::NAMES.join(", ") };
                let known = ["mode, downloadURL", &known].join(", ");
                let known = known.trim_end_matches(", ");
                let reason = format!("there is no attribute {other:?}: want one of {known}");
                return Err(self.source.at(&attribute.key, reason));
            }
        }
        Ok(())
    }

    fn mode(&self, attribute: &Attribute) -> Result<Mode, Error> {
        let text = self.source.string(attribute)?;
        let known = config::Mode::ALL.iter().find(|mode| mode.as_str() == text);
        known.map(|mode| super::mode(*mode)).ok_or_else(|| {
            let reason = format!("{text:?} is no mode: want one of {}", modes());
            self.source.at(&attribute.value, reason)
        })
    }

    /// A redirect's path is appended to it, so it has no query. It may hold credentials, so it is not
    /// repeated.
    fn url(&self, attribute: &Attribute) -> Result<String, Error> {
        let text = self.source.string(attribute)?;
        let web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        let host = text
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        let plain = web && host && !text.contains(['?', '#']);
        if text.is_empty() || plain {
            return Ok(text.trim_end_matches('/').to_owned());
        }
        let reason = "downloadURL is no base URL: want https://HOST[:PORT][/PATH], without ? and #";
        Err(self.source.at(&attribute.value, reason))
    }

    /// What holds by these attributes, and by those of the top level for what they do not say.
    fn terms(
        &self,
        (mode, at): &(Mode, &Attribute),
        fields: &Fields<'_>,
        top: &Fields<'_>,
    ) -> Result<Terms, Error> {
        let own = fields.url.as_ref().filter(|(url, _)| !url.is_empty());
        let url = own.or(top.url.as_ref()).filter(|(url, _)| !url.is_empty());
        if matches!(mode, Mode::Redirect | Mode::AsyncRedirect) {
            let Some((url, place)) = url else {
                let reason = "this mode redirects, but there is no downloadURL, neither here nor at \
                              the top level";
                return Err(self.source.at(&at.value, reason));
            };
            if self.given.is_here(url) {
                let reason = "downloadURL is this gateway itself, so clients would be sent around in \
                              a circle: want another server";
                return Err(self.source.at(&place.value, reason));
            }
        }
        let url = url.map_or("", |(url, _)| url);
        let terms = Terms::new(*mode, url, self.given);
        Ok(fields.ours.over(&top.ours).apply(terms))
    }
}

/// Why the strict switch refuses what is ours.
fn not_of_athens(what: &str) -> String {
    format!(
        "{what} is not Athens's, which refuses a file that has it, and so does StrictDownloadFile: \
         remove it, or set that to false"
    )
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
