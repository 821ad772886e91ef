//! What is said of a module, in plain values: a [`Decision`] before its upstreams are opened.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::budget::RateClass;
use dipylon_middleware::ports::{Decision, Fetcher, ListSource, Mode};

use super::download_file::Given;
use crate::fetch::goproxy_setting::{EntryKind, GoProxyList};

/// The fields are those of [`Decision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub(super) mode: Mode,
    pub(super) download_url: String,
    pub(super) list: ListSource,
    pub(super) latest: ListSource,
    pub(super) fresh_for: Option<Duration>,
    pub(super) negative_for: Option<Duration>,
    pub(super) rate_class: Option<Arc<str>>,
    pub(super) upstreams: Option<GoProxyList>,
}

impl Terms {
    /// What a mode alone says. Offline, no upstream is called for any reason, whatever the mode.
    pub fn new(mode: Mode, download_url: &str, given: &Given) -> Self {
        let stored_only = given.lists_follow_mode && mode == Mode::None;
        let source = if stored_only { ListSource::Storage } else { ListSource::Upstream };
        Self {
            mode: if given.offline { Mode::None } else { mode },
            download_url: download_url.to_owned(),
            list: source,
            latest: source,
            fresh_for: None,
            negative_for: None,
            rate_class: None,
            upstreams: None,
        }
    }

    /// Whether `direct` is among its own upstreams.
    pub(super) fn asks_direct(&self) -> bool {
        let entries = self.upstreams.iter().flat_map(|list| list.entries());
        entries.into_iter().any(|entry| entry.kind == EntryKind::Direct)
    }

    /// The decision, with its list of upstreams opened, and its rate class.
    pub(super) fn decision(
        &self,
        upstreams: Option<Arc<dyn Fetcher>>,
        rate_class: Option<Arc<RateClass>>,
    ) -> Decision {
        Decision {
            list: self.list,
            latest: self.latest,
            fresh_for: self.fresh_for,
            negative_for: self.negative_for,
            rate_class,
            upstreams,
            ..Decision::new(self.mode, self.download_url.as_str())
        }
    }
}
