//! What the background may fetch, and what becomes of it from one process to the next.

use std::sync::Arc;

use dipylon_middleware::dispatch::{Left, MayFetch};
use dipylon_middleware::filter::Sign;
use dipylon_middleware::ports::{ListSource, Mode};
use dipylon_protocol::query::VersionQuery;
use tokio::sync::watch;

use super::App;
use crate::adapters::Adapters;
use crate::http::Refuses;

/// Whether the background may fetch a version, by the policy in force when it asks. What a query stands for
/// is a question of its own, which `list` answers. Offline every mode is `none`.
pub(super) fn may_fetch(adapters: &Adapters) -> MayFetch {
    let (policy, filter) = (Arc::clone(&adapters.policy), adapters.filter.clone());
    Arc::new(move |module, version| {
        let is_excluded = filter.as_ref().is_some_and(|rules| {
            rules.sign(module.as_str(), Some(version.as_str())) != Sign::Include
        });
        let decision = policy.decide(module);
        let is_known = version.canonical().is_some() || decision.list == ListSource::Upstream;
        !is_excluded && is_known && decision.mode != Mode::None
    })
}

/// Why a version is not fetched before a client asks for it: what the background may not fetch, and what clients are
/// sent elsewhere for and never get from here.
pub(super) fn refuses_ahead(adapters: &Adapters) -> Refuses {
    let (policy, filter) = (Arc::clone(&adapters.policy), adapters.filter.clone());
    Arc::new(move |module, version| {
        let text = version.map(VersionQuery::as_str);
        match filter.as_ref().map_or(Sign::Include, |rules| rules.sign(module.as_str(), text)) {
            Sign::Include => {}
            Sign::Exclude => return Some("the filter file excludes it"),
            Sign::Direct => return Some("the filter file sends clients elsewhere for it"),
        }
        let decision = policy.decide(module);
        let is_query = version.is_some_and(|version| version.canonical().is_none());
        match decision.mode {
            Mode::None => {
                Some("download mode none, or network mode offline: nothing of it may be fetched")
            }
            Mode::Redirect => Some(
                "download mode redirect: clients are sent elsewhere, and nothing of it is kept here",
            ),
            Mode::Sync | Mode::Async | Mode::AsyncRedirect
                if is_query && decision.list == ListSource::Storage =>
            {
                Some(
                    "list = \"storage\": no upstream may be asked what a query stands for, name a version",
                )
            }
            Mode::Sync | Mode::Async | Mode::AsyncRedirect => None,
        }
    })
}

impl App {
    /// Goes on with the background fetches that an earlier process had accepted.
    pub fn resume(&mut self) {
        let recovered = self.background.recover(std::mem::take(&mut self.recovered));
        if recovered > 0 {
            tracing::info!(recovered, "goes on with background fetches of before the start");
        }
    }

    /// Takes back, at each of these changes of the policy, the background fetches that it had forbidden.
    pub fn follow(&self, mut changes: watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
        let background = self.background.clone();
        async move {
            while changes.changed().await.is_ok() {
                background.reconsider();
            }
        }
    }

    /// Says what becomes of background fetches that a drain has not ended.
    pub async fn leave(&self) {
        let Left { kept, lost } = self.background.leave().await;
        if kept > 0 {
            tracing::info!(left = kept, "background fetches wait on disk for the next start");
        }
        match (lost, self.background.is_kept()) {
            (0, _) => {}
            (left, true) => {
                tracing::error!(
                    left,
                    "background fetches are lost: Dipylon.QueueDirectory did not take them"
                );
            }
            (left, false) => {
                tracing::warn!(
                    left,
                    "background fetches are lost: Dipylon.QueueDirectory would keep them"
                );
            }
        }
    }
}
