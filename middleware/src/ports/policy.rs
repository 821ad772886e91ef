//! What may be done about a module: the port that says so, and what it says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;

use super::Fetcher;
use crate::budget::RateClass;
use crate::request::FetchAsk;

/// What to do about a version that is not in storage (`DownloadMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Fetch now, answer with it.
    Sync,
    /// Answer 404, fetch in the background.
    Async,
    /// Answer 404.
    None,
    /// Send the client to the download URL.
    Redirect,
    /// Send the client to the download URL, fetch in the background.
    AsyncRedirect,
}

/// Who says which versions a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// Upstream and storage, as the network mode has it.
    Upstream,
    /// Storage alone: no upstream ever sees the module's name.
    Storage,
}

/// Says what to do for a module. Asked anew for each request, so a reload needs no restart.
pub trait Policy: Send + Sync + 'static {
    /// What holds for this module.
    fn decide(&self, module: &ModulePath) -> Arc<Decision>;
}

/// What a [`Policy`] decides.
#[derive(Clone)]
pub struct Decision {
    /// What to do about a version that is not in storage.
    pub mode: Mode,
    /// Base URL of redirects, without a trailing slash; empty where there is none.
    pub download_url: String,
    /// Who answers list, and what a query such as `v1` stands for.
    pub list: ListSource,
    /// Who answers latest.
    pub latest: ListSource,
    /// How long an answer to list or latest counts as fresh, where that is not as for all modules.
    pub fresh_for: Option<Duration>,
    /// How long it is remembered that something does not exist, where that is not as for all modules.
    pub negative_for: Option<Duration>,
    /// Whose budget its upstream requests count in, beside that of each upstream's host.
    pub rate_class: Option<Arc<RateClass>>,
    /// Who is asked in place of the gateway's own GOPROXY list, if anybody.
    pub upstreams: Option<Arc<dyn Fetcher>>,
}

impl Decision {
    /// Whether no upstream may ever see the module's name.
    pub fn is_secret(&self) -> bool {
        self.mode == Mode::None
            && self.list == ListSource::Storage
            && self.latest == ListSource::Storage
    }

    /// Whether an upstream may be asked this.
    pub fn lets_ask(&self, ask: &FetchAsk) -> bool {
        match ask {
            FetchAsk::List => self.list == ListSource::Upstream,
            FetchAsk::Latest => self.latest == ListSource::Upstream,
            FetchAsk::Info(version) if version.canonical().is_none() => {
                self.list == ListSource::Upstream
            }
            FetchAsk::Info(_) | FetchAsk::Mod(_) | FetchAsk::Zip(_) => self.mode != Mode::None,
        }
    }

    /// Whether the same upstreams are asked by both.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        match (&self.upstreams, &other.upstreams) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// This mode and URL, and all else as for all modules.
    pub fn new(mode: Mode, download_url: impl Into<String>) -> Self {
        Self {
            mode,
            download_url: download_url.into(),
            list: ListSource::Upstream,
            latest: ListSource::Upstream,
            fresh_for: None,
            negative_for: None,
            rate_class: None,
            upstreams: None,
        }
    }
}

/// The download URL may hold credentials, so it is left out.
impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, list, latest, fresh_for, negative_for, rate_class, upstreams, .. } = self;
        f.debug_struct("Decision")
            .field("mode", mode)
            .field("list", list)
            .field("latest", latest)
            .field("fresh_for", fresh_for)
            .field("negative_for", negative_for)
            .field("rate_class", &rate_class.as_ref().map(|class| &class.name))
            .field("upstreams", &upstreams.as_ref().map(|fetcher| fetcher.name()))
            .finish_non_exhaustive()
    }
}

/// The same for every module.
impl Policy for Decision {
    fn decide(&self, _: &ModulePath) -> Arc<Decision> {
        Arc::new(self.clone())
    }
}
