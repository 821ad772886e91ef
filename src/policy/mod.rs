//! What may be served, and how a miss is handled, as the operator's files and hooks say.
//!
//! * `download_file.rs` the download mode with patterns (`DownloadMode = "file:…"`), over `hcl.rs` and `quotes.rs`
//! * `terms.rs` what a block says · `live.rs` the policy in force · `reload.rs` follows the file
//! * `own_address.rs` where the gateway listens
//! * `filter_file.rs` the filter file (`FilterFile`)
//! * `validator_hook.rs` the validator (`ValidatorHook`)
//!
//! What is wrong with a file at the start is fatal and names the file and the place. The download-mode file is
//! read again when it changes: then what is wrong with it leaves the older one in force.

pub mod download_file;
pub mod filter_file;
mod hcl;
pub mod live;
pub mod own_address;
mod quotes;
pub mod reload;
pub mod terms;
pub mod validator_hook;

use std::fs::File;
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

/// Says in the log what of a download-mode file can never apply.
pub fn warn_of(file: &download_file::DownloadFile) {
    for warning in file.warnings() {
        tracing::warn!(key = "DownloadMode", "{warning}");
    }
}

/// Reads a small file whole.
///
/// # Errors
/// One line with the path and the reason.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    read_opened(path, &open(path)?)
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> String {
    format!("{}: cannot be read: {reason}", path.display())
}

fn read_opened(path: &Path, file: &File) -> Result<Vec<u8>, String> {
    let why = |reason: &dyn std::fmt::Display| unreadable(path, reason);
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(why(&format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// As [`read_small`], for text; a byte order mark at its beginning is dropped.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    text_of(path, read_small(path)?)
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, String> {
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{}: is not UTF-8 text", path.display()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
