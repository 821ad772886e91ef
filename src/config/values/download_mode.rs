//! `DownloadMode` as it is written; the patterns within a file are the download-mode layer's.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::problem::quote;
use super::super::suggest::nearest;
use super::closed::{closed_set, exact};
use super::{Setting, Wrong};

/// As forgiving as Go's decoder about the last bits, and about missing padding as well.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

closed_set! {
    /// What happens when a version is not in storage.
    pub enum Mode: exact {
        /// Fetch, save and serve now.
        Sync = "sync",
        /// Not found now; fetch and save in the background.
        Async = "async",
        /// Not found.
        None = "none",
        /// Send the client to the download URL.
        Redirect = "redirect",
        /// Send the client there, and fetch and save in the background.
        AsyncRedirect = "async_redirect",
    }
}

/// The download mode: one for all modules, or an HCL text with patterns.
#[derive(Clone, PartialEq, Eq)]
pub enum DownloadMode {
    /// One mode for all modules; the download URL is `DownloadURL`.
    Mode(Mode),
    /// The HCL text is in this file.
    File(PathBuf),
    /// The HCL text itself, decoded.
    Custom(String),
}

/// The text may hold a download URL with credentials, so only its size is shown.
impl fmt::Debug for DownloadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => f.debug_tuple("Mode").field(mode).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Custom(text) => write!(f, "Custom({} bytes)", text.len()),
        }
    }
}

impl Setting for DownloadMode {
    fn accepted() -> String {
        "are sync, async, none, redirect, async_redirect, file:PATH, custom:BASE64".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Ok(mode) = Mode::from_text(text) {
            return Ok(Self::Mode(mode));
        }
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() {
                return Err(Wrong::form().because("no path stands behind file:"));
            }
            return PathBuf::from_text(path).map(Self::File);
        }
        if let Some(encoded) = text.strip_prefix("custom") {
            // The documentation writes custom$BASE64, which reads as no separator at all or as a
            // dollar sign; the program wants a colon. None of the three is a base64 character.
            return decode(encoded.strip_prefix([':', '$']).unwrap_or(encoded)).map(Self::Custom);
        }
        let words = Mode::ALL.iter().map(|mode| mode.as_str());
        Err(match nearest(text, words) {
            Some(near) => Wrong::form().hint(format!("did you mean {}?", quote(near))),
            None => Wrong::form(),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Mode(mode) => mode.show(),
            Self::File(path) => quote(&format!("file:{}", path.display())),
            Self::Custom(text) => quote(&format!("custom:… ({} bytes)", text.len())),
        }
    }

    fn show_text(text: &str) -> String {
        if text.starts_with("custom") { "\"custom…\"".to_owned() } else { quote(text) }
    }
}

fn decode(encoded: &str) -> Result<String, Wrong> {
    // Go's decoder skips line ends, which `base64` writes every 76 characters.
    let encoded: String = encoded.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    if encoded.is_empty() {
        return Err(Wrong::form().because("no base64 stands behind custom:"));
    }
    let bytes = FORGIVING
        .decode(encoded)
        .map_err(|why| Wrong::form().because(format!("the base64 is wrong: {why}")))?;
    String::from_utf8(bytes)
        .map_err(|_| Wrong::form().because("the base64 does not hold UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_accepted() {
        let hcl = "mode = \"sync\"\ndownloadURL = \"\"\n";
        let encoded = base64::engine::general_purpose::STANDARD.encode(hcl);
        let custom = Ok(DownloadMode::Custom(hcl.to_owned()));
        for form in ["custom:", "custom$", "custom"] {
            assert_eq!(DownloadMode::from_text(&format!("{form}{encoded}")), custom, "{form}");
        }
        let wrapped = format!("custom:{}\n{}\n", &encoded[..8], &encoded[8..]);
        assert_eq!(DownloadMode::from_text(&wrapped), custom);
        let unpadded = format!("custom:{}", encoded.trim_end_matches('='));
        assert_eq!(DownloadMode::from_text(&unpadded), custom);
        for mode in Mode::ALL {
            assert_eq!(DownloadMode::from_text(mode.as_str()), Ok(DownloadMode::Mode(*mode)));
        }
        let file = DownloadMode::from_text("file:/etc/mode.hcl");
        assert_eq!(file, Ok(DownloadMode::File("/etc/mode.hcl".into())));
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "Sync", "file:", "custom", "custom:", "custom:***", "custom:/w==", "foo"] {
            assert!(DownloadMode::from_text(text).is_err(), "{text:?}");
        }
        assert!(DownloadMode::from_text("snyc").is_err_and(|w| w.hint.is_some()));
    }

    #[test]
    fn a_custom_text_is_not_printed() {
        let custom = DownloadMode::Custom("downloadURL = \"https://u:hunter2@h\"".to_owned());
        assert!(!format!("{custom:?}{}", custom.show()).contains("hunter2"));
        assert_eq!(DownloadMode::show_text("custom:aHVudGVyMg"), "\"custom…\"");
    }
}
