//! What this program is: configuration, HTTP server, adapters and wiring.
//!
//! Read [`app`] first: it is the composition root.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod explain;
#[cfg(feature = "external")]
pub mod external_storage;
pub mod fetch;
pub mod http;
pub mod index;
pub mod lock;
pub mod policy;
mod process_dir;
pub mod queue;
pub mod serve;
pub mod storage;
pub mod telemetry;

/// What `-version` prints, in Athens's form.
pub fn build_details() -> String {
    let date = option_env!("DIPYLON_BUILD_DATE").unwrap_or("unspecified");
    format!("Build Details:\n\tVersion:\tv{}\n\tDate:\t\t{date}\n", env!("CARGO_PKG_VERSION"))
}
