//! The download mode as the configuration has it.

use std::path::PathBuf;
use std::sync::Arc;

use dipylon_middleware::ports::Mode;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_middleware::{Error, ErrorKind};

use crate::config::{Config, DownloadMode};
use crate::policy::download_file::{DownloadFile, Given};
use crate::policy::live::{LivePolicy, OpenUpstreams};
use crate::policy::reload::{Reload, Stamp};
use crate::policy::terms::Terms;
use crate::policy::{self, warn_of};

/// What was read, and the file that it comes from, if it is one.
pub(super) struct Read {
    said: DownloadFile,
    file: Option<(PathBuf, (Stamp, String))>,
}

/// Reads the download mode. A file is read offline too, so that what is wrong with it is known.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(config: &Config) -> Result<Read, Error> {
    let given = Given::of(config);
    let read = match &config.download_mode {
        DownloadMode::Mode(mode) => {
            let said = DownloadFile::without_blocks(one_mode(config, policy::mode(*mode), &given)?);
            Read { said, file: None }
        }
        DownloadMode::File(path) => {
            // Before it is read: what changes meanwhile looks other at the next look.
            let stamp = Stamp::of(path);
            let text = DownloadFile::read(path)?;
            let said = DownloadFile::parse(&path.display().to_string(), &text, &given)?;
            Read { said, file: Some((path.clone(), (stamp, text))) }
        }
        DownloadMode::Custom(text) => {
            Read { said: DownloadFile::parse("DownloadMode", text, &given)?, file: None }
        }
    };
    warn_of(&read.said);
    Ok(read)
}

/// Puts in force what was read; where it is a file, also what follows its changes.
pub(super) fn open(
    read: Read,
    config: &Config,
    upstreams: Arc<dyn OpenUpstreams>,
    telemetry: &Telemetry,
) -> (Arc<LivePolicy>, Option<Arc<Reload>>) {
    // Told from the start, and without a file too: an alert needs a series that is 0 while all is well.
    telemetry.metrics.policy_file_refused.get(()).set(0);
    let live = Arc::new(LivePolicy::new(&read.said, &*upstreams));
    let reload = read.file.map(|(path, seen)| {
        let (given, live) = (Given::of(config), Arc::clone(&live));
        Arc::new(Reload::new(path, seen, given, live, upstreams, telemetry))
    });
    (live, reload)
}

fn one_mode(config: &Config, mode: Mode, given: &Given) -> Result<Terms, Error> {
    let download_url = config.download_url.as_str().trim_end_matches('/');
    let refuse = |text: &str| Err(Error::new(ErrorKind::Unsupported, text));
    if matches!(mode, Mode::Redirect | Mode::AsyncRedirect) {
        if download_url.is_empty() {
            return refuse("DownloadMode redirects, but DownloadURL is empty: set it");
        }
        if given.is_here(download_url) {
            return refuse(
                "DownloadMode redirects, but DownloadURL is this gateway itself, so clients would be \
                 sent around in a circle: set it to another server",
            );
        }
    }
    Ok(Terms::new(mode, download_url, given))
}
