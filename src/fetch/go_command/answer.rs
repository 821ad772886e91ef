//! What `go` prints as JSON, and what is made of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One object of `go mod download -json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Download {
    /// Canonical version, where there is one.
    #[serde(default)]
    pub(super) version: String,
    /// Why there is no zip.
    #[serde(default)]
    pub(super) error: String,
    /// File of the info.
    pub(super) info: Option<PathBuf>,
    /// File of the mod.
    pub(super) go_mod: Option<PathBuf>,
    /// File of the zip.
    pub(super) zip: Option<PathBuf>,
    /// Where it came from.
    pub(super) origin: Option<Origin>,
}

/// The object of `go list -m -versions -json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    /// The newest version.
    pub(super) version: String,
    /// Its time, RFC 3339.
    pub(super) time: Option<String>,
    /// All tagged versions, in go's order.
    #[serde(default)]
    pub(super) versions: Vec<String>,
    /// Where it came from.
    pub(super) origin: Option<Origin>,
}

/// Where a version came from, in the order in which `go` writes it (`modfetch/codehost.Origin`),
/// without the fields that only help go's own reuse of an earlier answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Origin {
    /// `git`, `hg` …
    #[serde(rename = "VCS", default, skip_serializing_if = "String::is_empty")]
    pub(super) vcs: String,
    /// Address of the repository.
    #[serde(rename = "URL", default, skip_serializing_if = "String::is_empty")]
    pub(super) url: String,
    /// Directory of the module in the repository.
    #[serde(rename = "Subdir", default, skip_serializing_if = "String::is_empty")]
    subdir: String,
    /// Commit.
    #[serde(rename = "Hash", default, skip_serializing_if = "String::is_empty")]
    hash: String,
    /// Tag or branch.
    #[serde(rename = "Ref", default, skip_serializing_if = "String::is_empty")]
    reference: String,
}

/// An info with an origin.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a Origin>,
}

impl Listing {
    /// The body of a list: one version a line.
    pub(super) fn list(&self) -> String {
        self.versions.iter().flat_map(|version| [version.as_str(), "\n"]).collect()
    }

    /// The body of a latest.
    ///
    /// # Errors
    /// None in practice: the fields are plain text.
    pub(super) fn latest(&self) -> Result<Vec<u8>, serde_json::Error> {
        let origin = self.origin.as_ref();
        serde_json::to_vec(&Info { version: &self.version, time: self.time.as_deref(), origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"{"Path":"example.com/m","Version":"v1.1.0","Query":"latest",
        "Versions":["v1.0.0","v1.1.0"],"Time":"2024-03-01T12:00:00Z","GoVersion":"1.20",
        "Origin":{"VCS":"git","URL":"https://example.com/m","Hash":"5f17","TagSum":"t1:x","Ref":"refs/tags/v1.1.0"}}"#;

    #[test]
    fn a_listing_is_a_list_and_a_latest() {
        let listing: Listing = serde_json::from_str(LISTING).unwrap();
        assert_eq!(listing.list(), "v1.0.0\nv1.1.0\n");
        let latest = String::from_utf8(listing.latest().unwrap()).unwrap();
        assert_eq!(
            latest,
            concat!(
                r#"{"Version":"v1.1.0","Time":"2024-03-01T12:00:00Z","Origin":{"VCS":"git","#,
                r#""URL":"https://example.com/m","Hash":"5f17","Ref":"refs/tags/v1.1.0"}}"#
            )
        );
    }

    #[test]
    fn a_repository_without_tags_lists_nothing() {
        let listing: Listing = serde_json::from_str(r#"{"Version":"v0.0.0-1-2"}"#).unwrap();
        assert_eq!(listing.list(), "");
        assert_eq!(listing.latest().unwrap(), br#"{"Version":"v0.0.0-1-2"}"#);
    }
}
