use std::fmt;
use std::future::ready;
use std::sync::Arc;

use tower::Layer;

use super::service::{DownloadMode, plan};
use crate::explain::{Ending, Foretold, Tells, file_of};
use crate::ports::{BoxFuture, Policy};
use crate::request::{ModuleRequest, Plan};
use crate::telemetry::Outcome;

/// Makes [`DownloadMode`]s.
#[derive(Clone)]
pub struct DownloadModeLayer {
    policy: Arc<dyn Policy>,
}

impl DownloadModeLayer {
    /// Plans by `policy`.
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy }
    }
}

impl fmt::Debug for DownloadModeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownloadModeLayer")
    }
}

impl Tells for DownloadModeLayer {
    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let plan = file_of(request).map(|file| plan(&self.policy.decide(&file.module), &file));
        let ends = |outcome, why| Foretold::Ends(Ending::new(outcome, why));
        Box::pin(ready(match plan {
            None | Some(Plan::Stash) => Foretold::Passes,
            Some(Plan::StashInBackground) => ends(
                Outcome::AsyncAccepted,
                "download mode async: 404, and it is fetched in the background",
            ),
            Some(Plan::Redirect(_)) => ends(
                Outcome::Redirected,
                "download mode redirect: the client is sent to downloadURL",
            ),
            Some(Plan::RedirectAndStash(_)) => ends(
                Outcome::Redirected,
                "download mode async_redirect: the client is sent to downloadURL, and it is fetched in the background",
            ),
            Some(Plan::Refuse) => ends(
                Outcome::NotStored,
                "it is not stored, and download mode none, or network mode offline, forbids to fetch it",
            ),
        }))
    }
}

impl<S> Layer<S> for DownloadModeLayer {
    type Service = DownloadMode<S>;

    fn layer(&self, inner: S) -> DownloadMode<S> {
        DownloadMode { inner, policy: Arc::clone(&self.policy) }
    }
}
