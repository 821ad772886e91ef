//! What the download mode says of a miss.
//!
//! # What it does
//! Turns a `Missed` into a `Planned`. Policy only: `dispatch` does it.
//!
//! # Where it sits
//! Below everything that can answer without asking anybody; above `dispatch`.
//!
//! # Telemetry
//! Only what `observe` adds.
//!
//! # Failure modes
//! None: a policy that cannot be read is refused at start, and later leaves the one in force as it is.
//!
//! # Limits
//! Those of the policy.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::DownloadModeLayer;
pub use service::DownloadMode;
