//! What comes of a row of the sweep: foretold by the model, or measured.

/// Of each trial; `None` where it was not tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Fetches of a version beyond the first, on average.
    pub(super) duplicates: Option<f64>,
    /// Of all clients of a release, the share that got no answer of 200.
    pub(super) failed: Option<f64>,
    /// Seconds that clients of a release waited.
    pub(super) wait_p50: Option<f64>,
    pub(super) wait_p99: Option<f64>,
    /// The same with the clients of deaths, whose wait begins with the death.
    pub(super) wait_p99_with_deaths: Option<f64>,
    /// Seconds from the death of a holder until the last of the others' clients was served: each, in order.
    pub(super) recovery: Vec<f64>,
    /// Of the pauses of a holder, the share after which another had fetched too.
    pub(super) takeovers: Option<f64>,
    /// With a silent lock service: seconds until the last client was served, and fetches beyond the first.
    pub(super) silent_wait: Option<f64>,
    pub(super) silent_duplicates: Option<f64>,
    /// Seconds until the last of many versions was served.
    pub(super) burst: Option<f64>,
}

impl Outcome {
    pub(super) fn worst_recovery(&self) -> Option<f64> {
        self.recovery.last().copied()
    }
}

/// The value that this share of the values keeps below; they need no order.
pub(super) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.max(1) - 1).copied()
}
