//! The modules that a fake upstream has, and its right answer to each path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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

/// Makes up what was never added: the modules of a load, which are too many to be kept.
pub trait Generator: Send + Sync {
    /// One version, each time the same; `None` where there is none.
    fn module(&self, path: &str, version: &str) -> Option<FakeModule>;
    /// The versions that a list names, in order of age; none where there is no such module.
    fn versions(&self, path: &str) -> Vec<String>;
    /// How late the answer to a path is, beside what all answers are.
    fn late(&self, _path: &str) -> Duration {
        Duration::ZERO
    }
    /// The bytes of a file that lies somewhere as it is: real modules. They come before what
    /// [`Generator::module`] makes up.
    fn file(&self, _path: &str, _version: &str, _kind: &str) -> Option<Bytes> {
        None
    }
}

#[derive(Default)]
pub(crate) struct Catalogue {
    modules: BTreeMap<String, BTreeMap<String, FakeModule>>,
    generator: Option<Box<dyn Generator>>,
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

    pub(crate) fn generate(&mut self, generator: Box<dyn Generator>) {
        self.generator = Some(generator);
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

    fn known(&self, path: &str, version: &str) -> Option<FakeModule> {
        let added = self.get(path, version).cloned();
        added.or_else(|| self.generator.as_ref()?.module(path, version))
    }

    /// How late the generator wants the answer to a path.
    pub(crate) fn late(&self, path: &str) -> Duration {
        self.generator.as_ref().map(|generator| generator.late(path)).unwrap_or_default()
    }

    /// The answer to a path whose percent-encoding is undone.
    pub(crate) fn page(&self, path: &str, variant: Variant) -> Page {
        self.find(path, variant).unwrap_or_else(|| {
            Page::text(
                404,
                format!("not found: {}: unknown to this upstream\n", path.trim_matches('/')),
            )
        })
    }

    fn find(&self, path: &str, variant: Variant) -> Option<Page> {
        let path = path.strip_prefix('/')?;
        if let Some(module) = path.strip_suffix("/@latest") {
            let module = unescape(module).ok()?;
            if let Some(page) = self.lying_latest(&module) {
                return Some(page);
            }
            return Some(file(&variant.of(self.latest(&module)?), "info"));
        }
        let (module, file_name) = path.split_once("/@v/")?;
        let module = unescape(module).ok()?;
        if file_name == "list" {
            return self.list(&module);
        }
        let (version, kind) = file_name.rsplit_once('.')?;
        let version = unescape(version).ok()?;
        if let Some(page) = self.lying(&module, &version, kind) {
            return Some(page);
        }
        let found = self.known(&module, &version).or_else(|| {
            // Only `.info` resolves a query; the files of a branch are asked by its version.
            let resolved = self.queries.get(&(module.clone(), version))?;
            if kind == "info" { self.known(&module, resolved) } else { None }
        })?;
        matches!(kind, "info" | "mod" | "zip").then(|| file(&variant.of(found), kind))
    }

    /// A file of the generator's that lies somewhere.
    fn lying(&self, module: &str, version: &str, kind: &str) -> Option<Page> {
        let bytes = self.generator.as_ref()?.file(module, version, kind)?;
        Some(Page::ok(content_type(&format!(".{kind}")), bytes))
    }

    fn lying_latest(&self, module: &str) -> Option<Page> {
        let versions = self.generator.as_ref()?.versions(module);
        let tagged = versions.iter().rev().find(|version| !pseudo::is_pseudo(version));
        self.lying(module, tagged.or(versions.last())?, "info")
    }

    /// The tagged versions, in no order of merit: pseudo-versions are never listed.
    fn list(&self, module: &str) -> Option<Page> {
        let added = self.modules.get(module).into_iter().flat_map(BTreeMap::keys).cloned();
        let versions: Vec<String> = added.chain(self.generated(module)).collect();
        if versions.is_empty() && !self.bare.contains(module) {
            return None;
        }
        let mut text = String::new();
        for version in &versions {
            if !pseudo::is_pseudo(version) {
                text.push_str(version);
                text.push('\n');
            }
        }
        Some(Page::ok(TEXT, text))
    }

    fn generated(&self, module: &str) -> Vec<String> {
        self.generator.as_ref().map(|generator| generator.versions(module)).unwrap_or_default()
    }

    /// The highest release, else the highest prerelease, else the highest pseudo-version.
    fn latest(&self, module: &str) -> Option<FakeModule> {
        let rank = |version: &str| match (pseudo::is_pseudo(version), semver::prerelease(version)) {
            (true, _) => 0,
            (false, "") => 2,
            (false, _) => 1,
        };
        let order = |a: &&FakeModule, b: &&FakeModule| {
            let (a, b) = (a.version(), b.version());
            rank(a).cmp(&rank(b)).then_with(|| semver::compare(a, b))
        };
        let Some(added) = self.modules.get(module) else {
            return self.known(module, self.generated(module).last()?);
        };
        added.values().max_by(order).cloned()
    }
}

/// Which files are answered: the right ones, or wrong ones that look well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Variant {
    Right,
    /// Those of this version.
    Version(&'static str),
    /// Those with other content.
    Altered,
}

impl Variant {
    fn of(self, module: FakeModule) -> FakeModule {
        match self {
            Self::Right => module,
            Self::Version(version) => module.with_version(version),
            Self::Altered => module.altered(),
        }
    }
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
        String::from_utf8(catalogue.page(path, Variant::Right).body.to_vec()).unwrap()
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
            let page = catalogue.page(path, Variant::Right);
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
        assert_eq!(catalogue.page("/example.com/!a/@v/master.zip", Variant::Right).status, 404);
    }

    #[test]
    fn a_bare_path_lists_nothing_and_has_no_latest() {
        let mut catalogue = Catalogue::default();
        catalogue.add_path("example.com/empty");
        let list = catalogue.page("/example.com/empty/@v/list", Variant::Right);
        assert_eq!((list.status, list.body.len()), (200, 0));
        assert_eq!(catalogue.page("/example.com/empty/@latest", Variant::Right).status, 404);
    }
}
