//! Fetches versions before a client asks for them: what an operator or a forge names goes into the background queue.
//!
//! Nothing is fetched here, and nobody waits for a fetch: lists are asked for as clients ask for them, storage is
//! looked at, and the rest stands in the queue like what clients have caused, by the same rules.

mod report;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::Error;
use dipylon_middleware::dispatch::{Ahead, Background};
use dipylon_middleware::request::{Ask, ModuleRequest, RequestContext};
use dipylon_middleware::response::{Answer, ModuleResponse};
use dipylon_middleware::stack::Border;
use dipylon_middleware::storage_io::StorageHandle;
use dipylon_protocol::info::Info;
use dipylon_protocol::list::filter_list;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

pub(super) use self::report::Report;
use self::report::{Fate, Reason};
use super::admin::bad;

/// Versions that one request may bring into the queue.
pub(super) const VERSIONS_MAX: usize = 1_000;
/// Modules of one request whose versions the gateway has to ask for: those named without a version, or with `latest`.
const MODULES_MAX: usize = 100;
/// Lines of one request.
const LINES_MAX: usize = 2_000;
/// Lists asked for at a time.
const LISTS_AT_A_TIME: usize = 8;
/// Versions on their way into the queue at a time: one sync of its directory is for all of them.
const ADMITTED_AT_A_TIME: usize = 64;
/// The longest that one request may take; what is not in the queue by then is left out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why policy has a module, or one version of it, not fetched ahead of clients; nothing where it may be.
pub type Refuses =
    Arc<dyn Fn(&ModulePath, Option<&VersionQuery>) -> Option<&'static str> + Send + Sync>;

/// Brings versions into the background queue.
pub struct Prefetch {
    /// Asked for lists, and for what is the newest.
    modules: Border<ModuleRequest, ModuleResponse>,
    storage: StorageHandle,
    background: Background,
    refuses: Refuses,
}

/// One line of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    number: usize,
    asked: String,
    wanted: Result<Wanted, String>,
}

/// What a line names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    One(ModulePath, VersionQuery),
    /// What the gateway says is the newest, or all that its list names.
    Asked(ModulePath, Ask),
}

/// A version that may go into the queue.
struct Candidate<'a> {
    line: &'a Line,
    module: ModulePath,
    version: VersionQuery,
    /// Whether storage has said that it does not have it.
    is_looked_for: bool,
}

/// The versions of a module that are not stored, and how many are.
struct Missing {
    versions: Vec<Version>,
    stored: usize,
}

impl Line {
    /// `MODULE@VERSION`, `MODULE@latest`, or `MODULE` for all its versions.
    pub(super) fn parse(number: usize, text: &str) -> Self {
        Self { number, asked: text.to_owned(), wanted: wanted(text) }
    }
}

fn wanted(text: &str) -> Result<Wanted, String> {
    let (path, version) = match text.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (text, None),
    };
    let module = ModulePath::parse(path).map_err(|error| format!("module {path:?}: {error}"))?;
    match version {
        None => Ok(Wanted::Asked(module, Ask::List)),
        Some("latest") => Ok(Wanted::Asked(module, Ask::Latest)),
        Some(version) => match VersionQuery::parse(version) {
            Ok(query) => match query.canonical().map(|version| module.accepts(version)) {
                Some(Err(error)) => Err(format!("version {version:?} of {module}: {error}")),
                _ => Ok(Wanted::One(module, query)),
            },
            Err(error) => Err(format!("version {version:?}: {error}")),
        },
    }
}

/// The lines of a body, but for empty ones.
pub(super) fn lines(body: &[u8]) -> Result<Vec<Line>, Error> {
    let numbered = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let lines: Vec<Line> = numbered
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, number)| match std::str::from_utf8(text) {
            Ok(text) => Line::parse(number, text),
            Err(_) => {
                let asked = String::from_utf8_lossy(text).into_owned();
                Line { number, asked, wanted: Err("it is not UTF-8".to_owned()) }
            }
        })
        .collect();
    match lines.len() {
        0 => Err(bad(
            "the body is empty: want lines such as example.com/a@v1.2.3, or example.com/a for all versions",
        )),
        count if count > LINES_MAX => Err(bad(&format!(
            "the body has {count} lines: {LINES_MAX} are the most, send the others by themselves"
        ))),
        _ => Ok(lines),
    }
}

impl Prefetch {
    /// With these.
    pub fn new(
        modules: Border<ModuleRequest, ModuleResponse>,
        storage: StorageHandle,
        background: Background,
        refuses: Refuses,
    ) -> Self {
        Self { modules, storage, background, refuses }
    }

    /// Brings what the lines name into the queue, and says what came of each.
    pub(super) async fn run(&self, context: &RequestContext, lines: &[Line]) -> Report {
        let mut context = context.clone();
        context.deadline = context.deadline.min(Instant::now() + PATIENCE);
        let mut report = Report::new(VERSIONS_MAX);
        let (mut named, mut to_ask) = (Vec::new(), Vec::new());
        for line in lines {
            match &line.wanted {
                Err(why) => report.refuse(line, Reason::Malformed, why),
                Ok(Wanted::One(module, version)) => {
                    let (module, version) = (module.clone(), version.clone());
                    named.push(Candidate { line, module, version, is_looked_for: false });
                }
                Ok(Wanted::Asked(module, ask)) => to_ask.push((line, module, ask)),
            }
        }
        // What no upstream is asked for comes first: it waits for no list that is late.
        self.admit(&context, named.into_iter(), &mut report).await;
        let beyond = to_ask.split_off(to_ask.len().min(MODULES_MAX));
        let mut rest = to_ask.iter();
        let mut questions = Vec::new();
        for (_, module, ask) in &to_ask {
            questions.push(self.missing(&context, module, ask));
        }
        let mut answers = stream::iter(questions).buffered(LISTS_AT_A_TIME);
        while report.stop(context.deadline).is_none()
            && let Some(answer) = answers.next().await
            && let Some((line, module, _)) = rest.next()
        {
            match answer {
                Err((reason, why)) => report.refuse(line, reason, &why),
                Ok(Missing { versions, stored }) => {
                    report.stored += stored;
                    let candidates = versions.into_iter().map(|version| Candidate {
                        line,
                        module: (*module).clone(),
                        version: version.into(),
                        is_looked_for: true,
                    });
                    self.admit(&context, candidates, &mut report).await;
                }
            }
        }
        if let Some(stop) = report.stop(context.deadline) {
            rest.for_each(|(line, ..)| report.leave_out(line, stop));
        }
        beyond.iter().for_each(|(line, ..)| report.leave_out(line, Reason::Modules));
        report
    }

    /// Offers versions to the queue, as long as there is room and time.
    async fn admit(
        &self,
        context: &RequestContext,
        candidates: impl Iterator<Item = Candidate<'_>> + Send,
        report: &mut Report,
    ) {
        let mut rest = candidates;
        loop {
            if let Some(stop) = report.stop(context.deadline) {
                return rest.for_each(|candidate| report.leave_out(candidate.line, stop));
            }
            // Each of them may take a place of those that this request has left.
            let count = report.room().min(ADMITTED_AT_A_TIME);
            let now: Vec<_> = rest.by_ref().take(count).collect();
            if now.is_empty() {
                return;
            }
            let fates = now.iter().map(|candidate| self.offer(context, candidate));
            for (candidate, fate) in now.iter().zip(join_all(fates).await) {
                report.note(candidate.line, &candidate.version, fate);
            }
        }
    }

    async fn offer(&self, context: &RequestContext, candidate: &Candidate<'_>) -> Fate {
        let Candidate { module, version, is_looked_for, .. } = candidate;
        if let Some(why) = (self.refuses)(module, Some(version)) {
            return Fate::Refused(Reason::Policy, why.to_owned());
        }
        if let Some(version) = version.canonical().filter(|_| !is_looked_for) {
            match self.storage.read(context, module, version, FileKind::Info).await {
                Ok(None) => {}
                Ok(Some(_)) => return Fate::Stored,
                Err(error) => return Fate::Refused(Reason::Storage, error.message().to_owned()),
            }
        }
        match self.background.ahead(context, module, version).await {
            Ahead::Accepted => Fate::Accepted { is_on_disk: self.background.is_kept() },
            Ahead::Unkept => Fate::Accepted { is_on_disk: false },
            Ahead::Queued => Fate::Queued,
            Ahead::Full => Fate::Refused(Reason::QueueFull, Reason::QueueFull.says()),
            Ahead::KnownAbsent => {
                let why =
                    "it is remembered that it cannot be had: purge it (/-/purge), then ask again";
                Fate::Refused(Reason::Remembered, why.to_owned())
            }
            // It has changed since it was asked.
            Ahead::Forbidden => {
                Fate::Refused(Reason::Policy, "policy forbids to fetch it".to_owned())
            }
            Ahead::Unsure => {
                let why = "Dipylon.QueueDirectory did not take it in time: it may be fetched all the same";
                Fate::Refused(Reason::QueueDirectory, why.to_owned())
            }
        }
    }

    /// The versions that the gateway's own answer names and storage does not have, the newest first.
    async fn missing(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        ask: &Ask,
    ) -> Result<Missing, (Reason, String)> {
        if let Some(why) = (self.refuses)(module, None) {
            return Err((Reason::Policy, why.to_owned()));
        }
        let mut versions = self.versions(context, module, ask).await?;
        let stored = self.storage.list(context, module).await;
        let stored = stored.map_err(|error| (Reason::Storage, error.message().to_owned()))?;
        let stored: HashSet<Version> = stored.into_iter().collect();
        let count = versions.len();
        versions.retain(|version| !stored.contains(version));
        versions.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Missing { stored: count - versions.len(), versions })
    }

    /// The versions that the gateway itself tells clients of.
    async fn versions(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        ask: &Ask,
    ) -> Result<Vec<Version>, (Reason, String)> {
        let no = |why: &dyn fmt::Display| (Reason::List, why.to_string());
        let request =
            ModuleRequest { context: context.clone(), module: module.clone(), ask: ask.clone() };
        let response = self.modules.send(request).await.map_err(|error| no(&error.message()))?;
        let versions = match response.answer {
            Answer::List(body) => filter_list(module, &body).map_err(|error| no(&error))?,
            Answer::Latest(body) => {
                let info = Info::parse(&body).map_err(|error| no(&error))?;
                module.accepts(&info.version).map_err(|error| no(&error))?;
                vec![info.version]
            }
            // The filter file has come between the two questions.
            _ => return Err((Reason::Policy, "clients are sent elsewhere for it".to_owned())),
        };
        if versions.is_empty() {
            return Err(no(&"its list names no version: name one, or a branch, behind an @"));
        }
        Ok(versions)
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefetch({:?})", self.background)
    }
}
