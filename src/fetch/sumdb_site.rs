//! Which checksum databases there are, and where.

use dipylon_protocol::sumdb::Database;
use dipylon_protocol::sumdb::note::{PUBLIC_DATABASE_NAME, Verifier};

use super::base_url::{BadBaseUrl, BaseUrl};

/// A checksum database: its name, where it is, and its key where that is known.
#[derive(Clone, Debug)]
pub struct DatabaseSite {
    name: String,
    url: BaseUrl,
    pinned: bool,
    verifier: Option<Verifier>,
}

impl DatabaseSite {
    /// The database that GOSUMDB names. A URL in GOSUMDB is used as it is, past all proxies.
    ///
    /// # Errors
    /// When its URL or name is none.
    pub fn of_database(database: &Database) -> Result<Self, BadBaseUrl> {
        let url = match &database.url {
            Some(url) => BaseUrl::parse(url)?,
            None => BaseUrl::parse(&format!("https://{}", database.name))?,
        };
        let verifier = Some(database.verifier.clone());
        Ok(Self { name: database.name.clone(), url, pinned: database.url.is_some(), verifier })
    }

    /// An entry of the configuration's `SumDBs`: the host is the name, and a path is ignored. The key
    /// is known for the public database alone.
    ///
    /// # Errors
    /// When it is no http(s) URL.
    pub fn of_url(url: &str) -> Result<Self, BadBaseUrl> {
        let url = BaseUrl::parse(url)?.at_root();
        let name = url.host().to_owned();
        let public = (name == PUBLIC_DATABASE_NAME).then(|| Database::parse(PUBLIC_DATABASE_NAME));
        let verifier = public.and_then(Result::ok).map(|database| database.verifier);
        Ok(Self { name, url, pinned: false, verifier })
    }

    /// The name, as it stands in `/sumdb/NAME/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &BaseUrl {
        &self.url
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// The database, where its key is known.
    pub(crate) fn database(&self) -> Option<Database> {
        let verifier = self.verifier.clone()?;
        Some(Database { name: self.name.clone(), url: None, verifier })
    }

    pub(crate) fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_public_database_is_known_and_no_other() {
        let of = |url| DatabaseSite::of_url(url).unwrap();
        let public = of("https://sum.golang.org/ignored");
        assert!(public.verifier().is_some_and(|key| key.name() == PUBLIC_DATABASE_NAME));
        assert_eq!(public.database().unwrap(), Database::parse(PUBLIC_DATABASE_NAME).unwrap());
        assert!(of("https://sum.test").verifier().is_none());
    }
}
