//! Names that client and server share: Athens's paths and parts, and our extension.
//!
//! The extension lies below `/.dipylon/`, which is no module path, and at `/catalog`.

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// In every answer of a server that has the extension; its value is the extension's version.
pub(crate) const EXTENSION_HEADER: &str = "dipylon-external-storage";
/// The version that this build speaks.
pub(crate) const EXTENSION_VERSION: &str = "1";
/// In the answer to a save: what became of it, one of the four below.
pub(crate) const SAVED_HEADER: &str = "dipylon-saved";
/// The version was new.
pub(crate) const SAVED_CREATED: &str = "created";
/// It was there, and looks the same.
pub(crate) const SAVED_SAME: &str = "same";
/// It was there with another `.mod`, or a zip of another length.
pub(crate) const SAVED_DIFFERENT: &str = "different";
/// The server's own store took it, and cannot tell whether it was the first.
pub(crate) const SAVED_TAKEN: &str = "taken";

/// Answers 200 where the store can be used.
pub(crate) const CHECK_PATH: &str = "/.dipylon/check";
/// The extras: GET, PUT, DELETE.
pub(crate) const EXTRAS_PATH: &str = "/.dipylon/extras/";
/// The catalogue, as the gateway serves it.
pub(crate) const CATALOG_PATH: &str = "/catalog";

/// The parts of a save, in Athens's order: form name and file name alike.
pub(crate) const INFO_PART: &str = "mod.info";
/// The second part.
pub(crate) const MOD_PART: &str = "mod.mod";
/// The third part.
pub(crate) const ZIP_PART: &str = "mod.zip";

/// The path of a module's list.
pub(crate) fn list_path(module: &ModulePath) -> String {
    format!("/{}/@v/list", module.escaped())
}

/// The path of a file, or of a verb, of a version; `suffix` is `info`, `mod`, `zip` or `save`. What a
/// version may have needs no encoding in a URL.
pub(crate) fn version_path(module: &ModulePath, version: &Version, suffix: &str) -> String {
    format!("/{}/@v/{version}.{suffix}", module.escaped())
}

/// The path of an extra.
pub(crate) fn extra_path(key: &str) -> String {
    format!("{EXTRAS_PATH}{}", encoded(key))
}

/// Percent-encodes all but letters, digits, slashes and the unreserved punctuation (RFC 3986 §2.3).
pub(crate) fn encoded(text: &str) -> String {
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    utf8_percent_encode(text, ENCODED).to_string()
}
