//! Which checksum database to ask: the value of GOSUMDB.

use super::error::SumError;
use super::note::{PUBLIC_DATABASE, PUBLIC_DATABASE_NAME, Verifier};

/// A checksum database: its name, its key, and where it is if that is not its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Name of the database, a host with or without a path.
    pub name: String,
    /// URL of the database when GOSUMDB gives one.
    pub url: Option<String>,
    /// The key that signs its tree heads.
    pub verifier: Verifier,
}

impl Database {
    /// Reads the value of GOSUMDB: `sum.golang.org` or `<name>+<hash>+<key>`, then optionally a
    /// space and a URL. The caller deals with `off`.
    ///
    /// # Errors
    /// [`SumError::BadDatabase`].
    pub fn parse(gosumdb: &str) -> Result<Self, SumError> {
        let bad = |why: String| SumError::BadDatabase { why };
        let mut fields = gosumdb.split_whitespace();
        let key = fields.next().ok_or_else(|| bad("no value".to_owned()))?;
        let url = fields.next().map(str::to_owned);
        if fields.next().is_some() {
            return Err(bad("more than a key and a URL".to_owned()));
        }
        let key = if key == PUBLIC_DATABASE_NAME { PUBLIC_DATABASE } else { key };
        let verifier = Verifier::parse(key).map_err(|error| bad(error.to_string()))?;
        let name = verifier.name().to_owned();
        if !is_database_name(&name) {
            return Err(bad(
                "the name in its key must be a host, with or without a path".to_owned()
            ));
        }
        Ok(Self { name, url, verifier })
    }
}

/// Whether a name can stand after `https://` and in a path: a host and plain elements.
fn is_database_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/".contains(c);
    let is_element = |element: &str| !element.is_empty() && element != "." && element != "..";
    name.chars().all(is_plain) && name.split('/').all(is_element) && !name.starts_with(':')
}
