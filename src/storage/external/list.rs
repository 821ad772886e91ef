//! Lists of versions, and the catalogue of a server of ours.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, CatalogPage};
use dipylon_protocol::list::MAX_LIST_BYTES;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use http::StatusCode;
use serde::Deserialize;

use super::super::whole::{MAX_CATALOG_ENTRIES, MAX_LISTED_VERSIONS};
use super::Engine;
use super::wire::{CATALOG_PATH, encoded, list_path};

/// Largest catalogue page in bytes.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// A page as the gateway's own `/catalog` has it.
#[derive(Deserialize)]
struct Page {
    modules: Vec<Entry>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    module: String,
    version: String,
}

impl Engine {
    /// The versions of a module, in the server's order. Lines that are no canonical version of the module
    /// are passed over, as in any store.
    pub(super) async fn list(&self, module: &ModulePath) -> Result<Vec<Version>, Error> {
        let (what, path) = (format!("list the versions of {module}"), list_path(module));
        let asked = self.link.get(&what, &path, None).await;
        let reply = asked.map_err(|failure| self.link.failed(&what, &path, &failure))?;
        match reply.status {
            StatusCode::OK => {}
            // Athens asks for an empty list here; a server that says "unknown" says the same.
            _ if reply.is_absent() => return Ok(Vec::new()),
            _ => return Err(reply.refusal().await),
        }
        let body = reply.bytes(MAX_LIST_BYTES).await?;
        let wrong = |said: &str| Err(self.link.wrong(&what, &path, said));
        let Ok(text) = std::str::from_utf8(&body) else { return wrong("the list is no text") };
        if text.trim_start().starts_with('<') {
            return wrong("it answered with a web page");
        }
        let mut versions = Vec::new();
        for line in text.lines() {
            match Version::parse(line.trim()) {
                Ok(_) if versions.len() == MAX_LISTED_VERSIONS => {
                    return wrong(&format!("there are more than {MAX_LISTED_VERSIONS} versions"));
                }
                Ok(version) => versions.push(version),
                Err(_) => {}
            }
        }
        Ok(versions)
    }

    /// A page of the catalogue; Athens's protocol has none.
    pub(super) async fn catalog(
        &self,
        token: Option<&str>,
        limit: usize,
    ) -> Result<CatalogPage, Error> {
        if !self.is_ours().await? {
            let text = format!(
                "external storage has no catalogue: {} is a server of Athens's protocol alone",
                self.link.base()
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let what = "read the catalogue";
        let mut path = format!("{CATALOG_PATH}?pagesize={limit}");
        if let Some(token) = token {
            path.push_str("&token=");
            path.push_str(&encoded(token));
        }
        let asked = self.link.get(what, &path, None).await;
        let reply = asked.map_err(|failure| self.link.failed(what, CATALOG_PATH, &failure))?;
        let kind = match reply.status {
            StatusCode::OK => None,
            StatusCode::BAD_REQUEST => Some(ErrorKind::BadRequest),
            StatusCode::NOT_IMPLEMENTED => Some(ErrorKind::Unsupported),
            _ => return Err(reply.refusal().await),
        };
        if let Some(kind) = kind {
            return Err(Error::new(kind, reply.refusal().await.message()));
        }
        let body = reply.bytes(MAX_PAGE_BYTES).await?;
        let page: Page = serde_json::from_slice(&body).map_err(|error| {
            self.link.wrong(what, CATALOG_PATH, &format!("the page cannot be read: {error}"))
        })?;
        let most = if limit == 0 { MAX_CATALOG_ENTRIES } else { limit };
        if page.modules.len() > most {
            let said = format!("the page has more than {most} entries");
            return Err(self.link.wrong(what, CATALOG_PATH, &said));
        }
        let entries = page.modules.into_iter();
        let entry = |Entry { module, version }| CatalogEntry { module, version };
        Ok(CatalogPage { entries: entries.map(entry).collect(), next: page.next })
    }
}
