//! Walks the GOPROXY list for each request, as the `go` command does.
//!
//! Source followed: `modfetch.TryProxies` and `modfetch.lookup`. Each entry is handed in as a whole
//! stack (breaker, retry, deadline), so what arrives here is an entry's last word.

use std::fmt;
use std::sync::Arc;

use dipylon_middleware::explain::Facts;
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher};
use dipylon_middleware::request::FetchRequest;
use dipylon_middleware::stack::Border;
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::pattern::Patterns;
use serde_json::json;

use super::goproxy_setting::Separator;

/// A stack that ends in one upstream.
pub type UpstreamStack = Border<FetchRequest, Fetched>;

/// An entry of the list, ready to be asked.
#[derive(Clone, Debug)]
pub enum ListEntry {
    /// A module proxy or a local tree, and when to go on to the next entry.
    Proxy(UpstreamStack, Separator),
    /// `direct`: the stack given for it is asked, and nothing comes behind it.
    Direct,
    /// `off`: ends the list.
    Off,
}

/// How it stands with an upstream.
pub trait Stands: fmt::Debug + Send + Sync {
    /// For a person; without credentials.
    fn standing(&self) -> Facts;
    /// What a question that came now would fail with before it is asked, if it would.
    fn refusal(&self) -> Option<Error>;
}

/// The whole list as one [`Fetcher`].
#[derive(Clone, Debug)]
pub struct GoProxyListFetcher {
    entries: Vec<ListEntry>,
    /// How it stands with each proxy of the list, in its order.
    standings: Vec<Arc<dyn Stands>>,
    no_proxy: Patterns,
    direct: Option<UpstreamStack>,
}

/// How much an error tells a person: `direct` knows most, "does not exist" least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    NotFound,
    /// It was not asked.
    LeftAlone,
    Proxy,
}

impl GoProxyListFetcher {
    /// `direct` is the stack over the `go` command, or `None` where there is no such command: a
    /// `direct` entry behind others is then passed over. Modules that match `no_proxy` (GONOPROXY)
    /// go to `direct` and nowhere else.
    pub fn new(entries: Vec<ListEntry>, no_proxy: Patterns, direct: Option<UpstreamStack>) -> Self {
        Self { entries, standings: Vec::new(), no_proxy, direct }
    }

    /// With how it stands with each of its proxies, in the list's order.
    #[must_use]
    pub fn telling(self, standings: Vec<Arc<dyn Stands>>) -> Self {
        Self { standings, ..self }
    }

    /// What the walk would end with if each proxy that can be asked had what is asked for.
    fn refused(&self, module: &ModulePath) -> Option<Error> {
        if self.no_proxy.matches(module.as_str()) {
            let why = format!("{module} matches GONOPROXY, which");
            return self.direct.is_none().then(|| no_go_command(&why));
        }
        if let Err(error) = self.check() {
            return Some(error);
        }
        let mut standings = self.standings.iter();
        let mut best: Option<Error> = None;
        for entry in &self.entries {
            match entry {
                ListEntry::Proxy(_, separator) => {
                    best = Some(standings.next()?.refusal()?);
                    if *separator == Separator::NotFound {
                        break;
                    }
                }
                ListEntry::Direct if self.direct.is_some() => return None,
                ListEntry::Direct => break,
                ListEntry::Off => {
                    best = best.or_else(|| Some(switched_off(ErrorKind::NotStored, module)));
                    break;
                }
            }
        }
        Some(best.unwrap_or_else(no_upstream))
    }

    /// Whether there is anything to ask; otherwise every fetch fails with `NoUpstream`.
    ///
    /// # Errors
    /// The reason, for `/readyz` and the start-up log.
    pub fn check(&self) -> Result<(), Error> {
        match self.entries.as_slice() {
            [] => Err(no_upstream()),
            [ListEntry::Direct] if self.direct.is_none() => Err(no_go_command("GOPROXY=direct")),
            _ => Ok(()),
        }
    }

    async fn walk(&self, request: FetchRequest) -> Result<Fetched, Error> {
        if self.no_proxy.matches(request.module.as_str()) {
            let why = format!("{} matches GONOPROXY, which", request.module);
            return match &self.direct {
                Some(direct) => direct.send(request).await,
                None => Err(no_go_command(&why)),
            };
        }
        self.check()?;
        let mut best: Option<(Rank, Error)> = None;
        for entry in &self.entries {
            let (error, separator) = match entry {
                ListEntry::Proxy(stack, separator) => match stack.send(request.clone()).await {
                    Ok(fetched) => return Ok(fetched),
                    Err(error) => (error, *separator),
                },
                // Its error says more than any before it, and it is the last entry.
                ListEntry::Direct => match &self.direct {
                    Some(direct) => {
                        let had_trouble = best.is_some_and(|(rank, _)| rank != Rank::NotFound);
                        let answer = direct.send(request).await;
                        // One that was in trouble may have it: asked again, it may say so.
                        return answer.map_err(|no| if had_trouble { no.for_now() } else { no });
                    }
                    None => break,
                },
                ListEntry::Off => {
                    // It says no more than that nobody else is asked: whoever said before that it does not exist is
                    // right as long as the list is what it is.
                    let before = best.as_ref().map(|(_, error)| error.kind());
                    let is_absent = before == Some(ErrorKind::NotFound);
                    let kind = if is_absent { ErrorKind::NotFound } else { ErrorKind::NotStored };
                    (switched_off(kind, &request.module), Separator::NotFound)
                }
            };
            // Whoever decided on this list decides anew: nobody else of it is asked.
            if error.kind() == ErrorKind::PolicyChanged {
                return Err(error);
            }
            let is_not_found = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotStored);
            use ErrorKind::{UpstreamPaced, UpstreamPaused, UpstreamUnavailable};
            let was_left_alone =
                matches!(error.kind(), UpstreamUnavailable | UpstreamPaused | UpstreamPaced);
            let rank = match (is_not_found, was_left_alone) {
                (true, _) => Rank::NotFound,
                (false, true) => Rank::LeftAlone,
                (false, false) => Rank::Proxy,
            };
            if best.as_ref().is_none_or(|(before, _)| *before <= rank) {
                best = Some((rank, error));
            }
            if !is_not_found && separator == Separator::NotFound {
                break;
            }
        }
        Err(best.map_or_else(no_upstream, |(_, error)| error))
    }
}

fn no_upstream() -> Error {
    Error::new(ErrorKind::NoUpstream, "no upstream: set GOPROXY")
}

fn no_go_command(what: &str) -> Error {
    let text = format!("{what} needs the go command: install Go or set GoBinary on the gateway");
    Error::new(ErrorKind::NoUpstream, text)
}

fn switched_off(kind: ErrorKind, module: &ModulePath) -> Error {
    let text = format!("{module}: module lookup disabled by GOPROXY=off on the gateway");
    Error::new(kind, text)
}

impl Fetcher for GoProxyListFetcher {
    fn name(&self) -> Arc<str> {
        "goproxy".into()
    }

    fn fetches_whole_versions(&self, module: &ModulePath) -> bool {
        // Only what `direct` alone answers; behind a proxy in the list the answer is not known yet.
        let only_direct = matches!(self.entries.first(), Some(ListEntry::Direct));
        only_direct || self.no_proxy.matches(module.as_str())
    }

    fn asks(&self, module: &ModulePath) -> Vec<Facts> {
        let direct = || json!({ "name": "direct", "go_command": self.direct.is_some() });
        if self.no_proxy.matches(module.as_str()) {
            return vec![direct()];
        }
        let mut standings = self.standings.iter();
        let entries = self.entries.iter().filter_map(|entry| match entry {
            ListEntry::Proxy(_, separator) => {
                let mut told = standings.next()?.standing();
                told["next_after"] = match separator {
                    Separator::NotFound => "not_found".into(),
                    Separator::AnyFailure => "any_failure".into(),
                };
                Some(told)
            }
            ListEntry::Direct => Some(direct()),
            ListEntry::Off => Some(json!({ "name": "off" })),
        });
        entries.collect()
    }

    fn refusal(&self, module: &ModulePath) -> Option<Error> {
        self.refused(module)
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.walk(request))
    }
}
