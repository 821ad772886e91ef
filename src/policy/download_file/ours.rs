//! What Athens does not know: the attributes that are ours, all of them optional.
//!
//! | attribute | says |
//! |---|---|
//! | `upstreams` | who is asked: a GOPROXY list, as one text or as a list of texts |
//! | `list`, `latest` | `"upstream"`, or `"storage"`: then no upstream ever sees the name |
//! | `freshFor` | how long an answer to list or latest counts as fresh |
//! | `negativeTTL` | how long it is remembered that something does not exist |
//! | `rateClass` | whose budget of upstream requests the modules share: one of `classes.rs` |

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::Error;
use dipylon_middleware::ports::ListSource;
use hcl_edit::expr::Expression;
use hcl_edit::structure::Attribute;

use super::Given;
use super::classes::Classes;
use crate::config::go_duration;
use crate::fetch::goproxy_setting::{EntryKind, GoProxyError, GoProxyList, MAX_ENTRIES};
use crate::policy::hcl::{Source, Texts};
use crate::policy::terms::Terms;

/// Their names.
pub(super) const NAMES: [&str; 6] =
    ["upstreams", "list", "latest", "freshFor", "negativeTTL", "rateClass"];

/// Who says which versions a module has, by the words of the file.
const SOURCES: [(&str, ListSource); 2] =
    [("upstream", ListSource::Upstream), ("storage", ListSource::Storage)];

/// What was written of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    upstreams: Option<GoProxyList>,
    list: Option<ListSource>,
    latest: Option<ListSource>,
    fresh_for: Option<Duration>,
    negative_for: Option<Duration>,
    rate_class: Option<Arc<str>>,
}

impl Ours {
    /// Takes an attribute; says whether it is one of ours.
    pub(super) fn take(
        &mut self,
        source: &Source<'_>,
        given: &Given,
        classes: &Classes,
        attribute: &Attribute,
    ) -> Result<bool, Error> {
        match attribute.key.as_str() {
            "upstreams" => self.upstreams = Some(upstreams(source, given, attribute)?),
            "list" => self.list = Some(list_source(source, attribute)?),
            "latest" => self.latest = Some(list_source(source, attribute)?),
            "freshFor" => self.fresh_for = Some(duration(source, attribute)?),
            "negativeTTL" => self.negative_for = Some(duration(source, attribute)?),
            "rateClass" => self.rate_class = Some(classes.named(source, attribute)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// These, and where they say nothing, those.
    pub(super) fn over(&self, below: &Self) -> Self {
        Self {
            upstreams: self.upstreams.clone().or_else(|| below.upstreams.clone()),
            list: self.list.or(below.list),
            latest: self.latest.or(below.latest),
            fresh_for: self.fresh_for.or(below.fresh_for),
            negative_for: self.negative_for.or(below.negative_for),
            rate_class: self.rate_class.clone().or_else(|| below.rate_class.clone()),
        }
    }

    /// The terms with all that was written.
    pub(super) fn apply(self, terms: Terms) -> Terms {
        Terms {
            list: self.list.unwrap_or(terms.list),
            latest: self.latest.unwrap_or(terms.latest),
            fresh_for: self.fresh_for,
            negative_for: self.negative_for,
            rate_class: self.rate_class,
            upstreams: self.upstreams,
            ..terms
        }
    }
}

fn list_source(source: &Source<'_>, attribute: &Attribute) -> Result<ListSource, Error> {
    let text = source.string(attribute)?;
    let known = SOURCES.iter().find(|(word, _)| *word == text);
    known.map(|(_, from)| *from).ok_or_else(|| {
        let name = attribute.key.as_str();
        let reason = format!("{name} cannot be {text:?}: want \"upstream\" or \"storage\"");
        source.at(&attribute.value, reason)
    })
}

fn duration(source: &Source<'_>, attribute: &Attribute) -> Result<Duration, Error> {
    let text = source.string(attribute)?;
    go_duration::parse(&text).ok_or_else(|| {
        let (name, wanted) = (attribute.key.as_str(), go_duration::WANTED);
        source.at(&attribute.value, format!("{name} cannot be {text:?}: {wanted}"))
    })
}

/// A GOPROXY list, written as one, or as a list of which each entry is one upstream.
fn upstreams(
    source: &Source<'_>,
    given: &Given,
    attribute: &Attribute,
) -> Result<GoProxyList, Error> {
    let (text, entries) = match source.texts(attribute)? {
        Texts::One(text) => (text.clone(), vec![(text, &attribute.value)]),
        Texts::List(entries) => {
            for (entry, at) in &entries {
                one_upstream(source, entry, at)?;
            }
            let texts: Vec<&str> = entries.iter().map(|(text, _)| text.as_str()).collect();
            (texts.join(","), entries)
        }
    };
    for (entry, at) in &entries {
        let list = GoProxyList::parse(entry).map_err(|error| source.at(*at, shown(&error)))?;
        let is_here = |kind: &EntryKind| match (kind, &given.own_address) {
            (EntryKind::Proxy(base), Some(own)) => own.is(base),
            _ => false,
        };
        if let Some(here) = list.entries().iter().find(|entry| is_here(&entry.kind)) {
            let reason = format!("upstreams has {here}, which is this gateway itself");
            return Err(source.at(*at, reason));
        }
    }
    let list =
        GoProxyList::parse(&text).map_err(|error| source.at(&attribute.value, shown(&error)))?;
    if list.is_empty() {
        let reason = "upstreams is empty: name one, or write \"off\" where nobody may be asked";
        return Err(source.at(&attribute.value, reason));
    }
    Ok(list)
}

fn one_upstream(source: &Source<'_>, entry: &str, at: &Expression) -> Result<(), Error> {
    if entry.contains([',', '|']) {
        let reason = "an entry of this list is one upstream: write all of them as one text, \
                      \"https://A|https://B,direct\", to say how one follows another";
        return Err(source.at(at, reason));
    }
    if entry.trim().is_empty() {
        let reason =
            "an upstream is empty: want https://HOST[/PATH], http://…, file:///PATH, direct or off";
        return Err(source.at(at, reason));
    }
    Ok(())
}

/// As the list's own error, by the name that the list has here.
fn shown(error: &GoProxyError) -> String {
    match error {
        GoProxyError::BadEntry { entry, reason } => format!(
            "upstreams: {entry:?} is refused: {reason}; accepted are https://HOST[/PATH], http://…, \
             file:///PATH, direct and off"
        ),
        GoProxyError::TooMany => format!("upstreams has more than {MAX_ENTRIES} entries"),
    }
}
