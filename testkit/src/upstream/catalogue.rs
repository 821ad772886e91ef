//! The modules that a fake upstream has, and its right answer to each path.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dipylon_protocol::path::unescape;
use dipylon_protocol::{pseudo, semver};

use crate::module::FakeModule;

const TEXT: &str = "text/plain; charset=UTF-8";

/// A right answer, before any fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Page {
    pub(crate) fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type, body: body.into() }
    }

    pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    modules: BTreeMap<String, BTreeMap<String, FakeModule>>,
    /// Paths that exist without any version.
    bare: BTreeSet<String>,
    /// Module path and query to version.
    queries: BTreeMap<(String, String), String>,
}

impl Catalogue {
    pub(crate) fn add(&mut self, module: FakeModule) {
        let versions = self.modules.entry(module.path().to_owned()).or_default();
        versions.insert(module.version().to_owned(), module);
    }

    pub(crate) fn add_path(&mut self, path: &str) {
        self.bare.insert(path.to_owned());
    }

    pub(crate) fn remove(&mut self, path: &str, version: &str) -> bool {
        self.modules.get_mut(path).is_some_and(|versions| versions.remove(version).is_some())
    }

    pub(crate) fn remove_path(&mut self, path: &str) {
        self.modules.remove(path);
        self.bare.remove(path);
        self.queries.retain(|(module, _), _| module != path);
    }

    pub(crate) fn query(&mut self, path: &str, query: &str, version: &str) {
        self.queries.insert((path.to_owned(), query.to_owned()), version.to_owned());
    }

    pub(crate) fn get(&self, path: &str, version: &str) -> Option<&FakeModule> {
        self.modules.get(path)?.get(version)
    }

    /// The answer to a path whose percent-encoding is undone. With `instead`, the files are those
    /// of that version.
    pub(crate) fn page(&self, path: &str, instead: Option<&str>) -> Page {
        self.find(path, instead).unwrap_or_else(|| {
            Page::text(
                404,
                format!("not found: {}: unknown to this upstream\n", path.trim_matches('/')),
            )
        })
    }

    fn find(&self, path: &str, instead: Option<&str>) -> Option<Page> {
        let path = path.strip_prefix('/')?;
        if let Some(module) = path.strip_suffix("/@latest") {
            let latest = self.latest(&unescape(module).ok()?)?;
            return Some(file(&renamed(latest, instead), "info"));
        }
        let (module, file_name) = path.split_once("/@v/")?;
        let module = unescape(module).ok()?;
        if file_name == "list" {
            return self.list(&module);
        }
        let (version, kind) = file_name.rsplit_once('.')?;
        let version = unescape(version).ok()?;
        let found = self.get(&module, &version).or_else(|| {
            // Only `.info` resolves a query; the files of a branch are asked by its version.
            let resolved = self.queries.get(&(module.clone(), version))?;
            if kind == "info" { self.get(&module, resolved) } else { None }
        })?;
        matches!(kind, "info" | "mod" | "zip").then(|| file(&renamed(found, instead), kind))
    }

    /// The tagged versions, in no order of merit: pseudo-versions are never listed.
    fn list(&self, module: &str) -> Option<Page> {
        let versions = self.modules.get(module);
        if versions.is_none_or(BTreeMap::is_empty) && !self.bare.contains(module) {
            return None;
        }
        let mut text = String::new();
        for version in versions.into_iter().flat_map(BTreeMap::keys) {
            if !pseudo::is_pseudo(version) {
                text.push_str(version);
                text.push('\n');
            }
        }
        Some(Page::ok(TEXT, text))
    }

    /// The highest release, else the highest prerelease, else the highest pseudo-version.
    fn latest(&self, module: &str) -> Option<&FakeModule> {
        let rank = |version: &str| match (pseudo::is_pseudo(version), semver::prerelease(version)) {
            (true, _) => 0,
            (false, "") => 2,
            (false, _) => 1,
        };
        let order = |a: &&FakeModule, b: &&FakeModule| {
            let (a, b) = (a.version(), b.version());
            rank(a).cmp(&rank(b)).then_with(|| semver::compare(a, b))
        };
        self.modules.get(module)?.values().max_by(order)
    }
}

fn renamed(module: &FakeModule, version: Option<&str>) -> FakeModule {
    version.map_or_else(|| module.clone(), |version| module.clone().with_version(version))
}

fn file(module: &FakeModule, kind: &str) -> Page {
    match kind {
        "info" => Page::ok("application/json", module.info()),
        "mod" => Page::ok(TEXT, module.go_mod_bytes()),
        _ => Page::ok("application/zip", module.zip()),
    }
}

/// The content type that belongs to a path.
pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("zip") => "application/zip",
        Some("info") => "application/json",
        _ if path.ends_with("/@latest") => "application/json",
        _ => TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(versions: &[&str]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for version in versions {
            catalogue.add(FakeModule::new("example.com/A", version));
        }
        catalogue
    }

    fn body(catalogue: &Catalogue, path: &str) -> String {
        String::from_utf8(catalogue.page(path, None).body.to_vec()).unwrap()
    }

    const PSEUDO: &str = "v1.10.1-0.20240102030405-abcdefabcdef";

    #[test]
    fn the_list_has_tags_only() {
        let catalogue = catalogue(&["v1.0.0", PSEUDO, "v1.10.0-rc1"]);
        assert_eq!(body(&catalogue, "/example.com/!a/@v/list"), "v1.0.0\nv1.10.0-rc1\n");
    }

    #[test]
    fn latest_prefers_releases_in_semver_order() {
        let info = |versions: &[&str]| body(&catalogue(versions), "/example.com/!a/@latest");
        assert!(info(&["v1.9.0", "v1.10.0", "v2.0.0-rc1", PSEUDO]).contains("\"v1.10.0\""));
        assert!(info(&["v1.0.0-rc1", PSEUDO]).contains("\"v1.0.0-rc1\""));
        assert!(info(&[PSEUDO]).contains(PSEUDO));
    }

    #[test]
    fn what_is_unknown_is_404_as_text() {
        let catalogue = catalogue(&["v1.0.0"]);
        for path in ["/example.com/!a/@v/v1.0.1.info", "/example.com/A/@v/v1.0.0.info", "/", "/x"] {
            let page = catalogue.page(path, None);
            assert_eq!(
                (page.status, page.content_type),
                (404, "text/plain; charset=utf-8"),
                "{path}"
            );
        }
    }

    #[test]
    fn a_query_resolves_for_info_only() {
        let mut catalogue = catalogue(&[PSEUDO]);
        catalogue.query("example.com/A", "master", PSEUDO);
        assert!(body(&catalogue, "/example.com/!a/@v/master.info").contains(PSEUDO));
        assert_eq!(catalogue.page("/example.com/!a/@v/master.zip", None).status, 404);
    }

    #[test]
    fn a_bare_path_lists_nothing_and_has_no_latest() {
        let mut catalogue = Catalogue::default();
        catalogue.add_path("example.com/empty");
        let list = catalogue.page("/example.com/empty/@v/list", None);
        assert_eq!((list.status, list.body.len()), (200, 0));
        assert_eq!(catalogue.page("/example.com/empty/@latest", None).status, 404);
    }
}
