//! `/-/explain`: what is known of a module or a version, and what would become of a request for it. The page asks
//! whoever knows something, and knows nothing itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::Error;
use dipylon_middleware::events::{Event, Events};
use dipylon_middleware::explain::{Facts, Subject, Tells, foretell};
use dipylon_middleware::request::{Ask, EdgeRequest, ModuleRequest};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use serde_json::{Map, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::admin::bad;
use super::query;

/// Events that are shown, the newest.
const EVENTS_SHOWN_MAX: usize = 20;

/// The page.
pub struct Explain {
    tellers: Vec<Teller>,
    constants: Map<String, Facts>,
    events: Events,
}

struct Teller {
    /// How the page calls what is told; where nothing is told there is none.
    name: Option<&'static str>,
    tells: Arc<dyn Tells>,
}

impl Explain {
    /// Nobody tells anything yet but how the latest requests ended.
    pub fn new(events: Events) -> Self {
        Self { tellers: Vec::new(), constants: Map::new(), events }
    }

    /// The next whom a request meets; what it tells is shown as `name`.
    #[must_use]
    pub fn then(mut self, name: &'static str, tells: Arc<dyn Tells>) -> Self {
        self.tellers.push(Teller { name: Some(name), tells });
        self
    }

    /// The next whom a request meets, who tells nothing beside what becomes of it.
    #[must_use]
    pub fn passing(mut self, tells: Arc<dyn Tells>) -> Self {
        self.tellers.push(Teller { name: None, tells });
        self
    }

    /// What is so for every module.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Facts>) -> Self {
        self.constants.insert(name.to_owned(), fact.into());
        self
    }

    /// What is known of what a request's query names.
    ///
    /// # Errors
    /// `BadRequest` where it names no module, or what can be none.
    pub(super) async fn page(&self, request: &EdgeRequest) -> Result<Bytes, Error> {
        let about = subject(request)?;
        let mut page = self.constants.clone();
        page.insert("module".to_owned(), about.module.as_str().into());
        page.insert("version".to_owned(), about.version.as_ref().map(VersionQuery::as_str).into());
        for Teller { name, tells } in &self.tellers {
            if let Some(name) = name {
                page.insert((*name).to_owned(), tells.tell(&about).await);
            }
        }
        page.insert("now".to_owned(), self.foretold(&about).await);
        let version = about.version.as_ref().map(VersionQuery::as_str);
        let events = self.events.about(about.module.as_str(), version, EVENTS_SHOWN_MAX);
        page.insert("events".to_owned(), events.iter().map(shown).collect());
        Ok(format!("{}\n", Facts::Object(page)).into())
    }

    /// What would become of each request for it that came now.
    async fn foretold(&self, about: &Subject) -> Facts {
        let asks: Vec<(&str, Ask)> = match &about.version {
            None => vec![("list", Ask::List), ("latest", Ask::Latest)],
            Some(version) => {
                let ask = |kind: FileKind| (kind.as_str(), Ask::File(version.clone(), kind));
                FileKind::ALL.map(ask).into()
            }
        };
        let mut told = Map::new();
        for (name, ask) in asks {
            let (context, module) = (about.context.clone(), about.module.clone());
            let way = self.tellers.iter().map(|teller| &*teller.tells);
            let ending = foretell(way, ModuleRequest { context, module, ask }).await;
            let row = json!({ "outcome": ending.outcome.as_str(), "why": ending.why });
            told.insert(name.to_owned(), row);
        }
        Facts::Object(told)
    }
}

fn subject(request: &EdgeRequest) -> Result<Subject, Error> {
    let parameters = query::parse(request.head.uri.query());
    let named =
        |name: &str| parameters.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let module = named("module").ok_or_else(|| {
        bad("which module? Ask for /-/explain?module=PATH, with &version=VERSION if you like")
    })?;
    let module = ModulePath::parse(module)
        .map_err(|error| bad(&format!("module {module:?} is refused: {error}")))?;
    let version = named("version").map(|text| version_of(&module, text)).transpose()?;
    Ok(Subject { context: request.context.clone(), module, version })
}

/// As in the path of a request: what no such module can have is refused.
fn version_of(module: &ModulePath, text: &str) -> Result<VersionQuery, Error> {
    let refused = |why: &dyn std::fmt::Display| bad(&format!("version {text:?} is refused: {why}"));
    let version = VersionQuery::parse(text).map_err(|error| refused(&error))?;
    match version.canonical().map(|version| module.accepts(version)) {
        Some(Err(error)) => Err(refused(&error)),
        Some(Ok(())) | None => Ok(version),
    }
}

fn shown(event: &Event) -> Facts {
    let at = OffsetDateTime::from(event.at).format(&Rfc3339);
    json!({
        "at": at.unwrap_or_default(),
        "what": event.what,
        "version": event.version.as_deref(),
        "outcome": event.outcome.as_str(),
        "error": event.error,
        "upstream": event.upstream.as_deref(),
        "duration_ms": milliseconds(event.duration),
        "trace_id": event.trace.map(|trace| trace.to_string()),
        "request_id": &*event.request_id,
    })
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
