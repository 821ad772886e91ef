//! What every backend means by a whole version, and how much of them it holds and hands out.
//!
//! Whole means: the `.info` names the version, the `.mod` has text, and there is a zip. What a zip must show
//! beyond its length is the backend's affair: a disk and a foreign server look for its end, MongoDB for its
//! chunks, and an object store commits an object whole or not at all.

use std::future::Future;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::NewVersion;
use dipylon_protocol::info::Info;
use dipylon_protocol::version::Version;

/// The shortest zip: the end record of one without entries.
pub const MIN_ZIP_BYTES: u64 = 22;
/// Versions that a backend remembers as whole, 200 to 300 bytes each. One that is forgotten is looked at
/// again at its next read.
pub const MAX_REMEMBERED_VERSIONS: usize = 32_768;
/// Versions that one list may have. The largest modules known have some thousands.
pub const MAX_LISTED_VERSIONS: usize = 100_000;
/// Entries of one catalogue page, whatever its limit says; a longer one goes on by its token.
pub const MAX_CATALOG_ENTRIES: usize = 100_000;

/// Whether an `.info` is that of the version.
pub fn info_is_whole(info: &[u8], version: &Version) -> bool {
    Info::parse(info).is_ok_and(|info| info.version.as_str() == version.as_str())
}

/// Whether a `.mod` has text. Old versions have `.mod` files of every kind, so their grammar is not asked
/// for; a crash leaves an empty file, or zeros where the text should be.
pub fn go_mod_is_whole(go_mod: &[u8]) -> bool {
    !go_mod.is_empty() && !go_mod.contains(&0)
}

/// Whether both texts are those of a whole version.
pub fn texts_are_whole(info: &[u8], go_mod: &[u8], version: &Version) -> bool {
    info_is_whole(info, version) && go_mod_is_whole(go_mod)
}

/// What is saved must read back: a version that reads as absent would be fetched for ever.
///
/// # Errors
/// `BadContent` for a version that would.
pub fn refuse_torn(new: &NewVersion) -> Result<(), Error> {
    if texts_are_whole(&new.info, &new.go_mod, &new.version) && new.zip.written() >= MIN_ZIP_BYTES {
        return Ok(());
    }
    Err(torn(new))
}

/// The refusal of what is no whole version.
pub fn torn(new: &NewVersion) -> Error {
    let text = format!(
        "refusing to store {}@{}: its files are not a whole version (.info must name the version, .mod must \
         have text, the zip must have its end)",
        new.module, new.version
    );
    Error::new(ErrorKind::BadContent, text)
}

/// Runs a storage call to its end, whatever becomes of whoever waits for it.
///
/// # Errors
/// Those of the call; `Internal` where it was cut off.
pub async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => {
            let text = format!("a storage call was cut off: {error}");
            Err(Error::new(ErrorKind::Internal, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version::parse("v1.0.0").unwrap()
    }

    const INFO: &[u8] = br#"{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}"#;

    #[test]
    fn texts_cut_anywhere_or_of_zeros_are_not_whole() {
        assert!(texts_are_whole(INFO, b"module x\n", &version()));
        for length in 0..INFO.len() {
            assert!(!info_is_whole(&INFO[..length], &version()), "cut at {length}");
        }
        for (info, go_mod) in [(INFO, &b""[..]), (INFO, b"\0\0\0"), (b"\0\0", b"module x\n")] {
            assert!(!texts_are_whole(info, go_mod, &version()));
        }
    }

    #[test]
    fn an_info_of_another_version_is_not_whole() {
        assert!(!info_is_whole(INFO, &Version::parse("v1.0.1").unwrap()));
    }
}
