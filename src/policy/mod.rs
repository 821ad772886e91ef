//! What may be served, and how a miss is handled, as the operator's files and hooks say.
//!
//! * `download_file.rs` the download mode with patterns (`DownloadMode = "file:…"`), over `hcl.rs`
//! * `filter_file.rs` the filter file (`FilterFile`)
//! * `validator_hook.rs` the validator (`ValidatorHook`)
//!
//! Files are read once, at start; what is wrong with one is fatal and names the file and the place.

pub mod download_file;
pub mod filter_file;
mod hcl;
pub mod validator_hook;

use std::io::Read as _;
use std::path::Path;

use dipylon_middleware::ports;

use crate::config;

/// The largest policy or credential file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The layers' word for a configured mode.
pub fn mode(mode: config::Mode) -> ports::Mode {
    match mode {
        config::Mode::Sync => ports::Mode::Sync,
        config::Mode::Async => ports::Mode::Async,
        config::Mode::None => ports::Mode::None,
        config::Mode::Redirect => ports::Mode::Redirect,
        config::Mode::AsyncRedirect => ports::Mode::AsyncRedirect,
    }
}

/// Reads a small file whole.
///
/// # Errors
/// One line with the path and the reason.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let why =
        |reason: &dyn std::fmt::Display| format!("{}: cannot be read: {reason}", path.display());
    let file = std::fs::File::open(path).map_err(|error| why(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(why(&format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// As [`read_small`], for text; a byte order mark at its beginning is dropped.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read_small(path)?)
        .map_err(|_| format!("{}: is not UTF-8 text", path.display()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
