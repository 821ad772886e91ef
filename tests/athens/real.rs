//! A real Athens and dipylon over each other's stores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use serde_json::Value;

use crate::world::{Entry, athens, dipylon, escape, modules, path_of, settings, tree, upstream};

const KINDS: [&str; 3] = ["info", "mod", "zip"];

/// Every file over HTTP, by path. Asking for the files of a version is what fills a store.
async fn files(gateway: &Gateway) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    for module in modules() {
        for kind in KINDS {
            let path = path_of(&module, kind);
            let got = gateway.get(&path).await;
            assert_eq!(
                (got.status.as_u16(), got.truncated),
                (200, false),
                "{path}: {:?}",
                got.body
            );
            files.insert(path, got.body);
        }
    }
    files
}

fn paths() -> BTreeSet<String> {
    modules().iter().map(|module| escape(module.path())).collect()
}

/// The versions in each list.
async fn lists(gateway: &Gateway) -> BTreeMap<String, BTreeSet<String>> {
    let mut lists = BTreeMap::new();
    for module in paths() {
        let got = gateway.get(&format!("/{module}/@v/list")).await;
        assert_eq!(got.status, 200, "{module}: {}", got.text());
        lists.insert(module, got.text().lines().map(str::to_owned).collect());
    }
    lists
}

/// The version and time of each `@latest`.
async fn latest(gateway: &Gateway) -> BTreeMap<String, (String, String)> {
    let mut latest = BTreeMap::new();
    for module in paths() {
        let got = gateway.get(&format!("/{module}/@latest")).await;
        assert_eq!(got.status, 200, "{module}: {}", got.text());
        let info: Value = serde_json::from_slice(&got.body).expect("latest is JSON");
        let field = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
        latest.insert(module, (field("Version"), field("Time")));
    }
    latest
}

fn with(upstream: &Upstream, store: &Path, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut variables = settings(&upstream.url(), store);
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    variables
}

/// The file on disk behind a URL path.
fn stored<'a>(tree: &'a BTreeMap<String, Entry>, module: &FakeModule, kind: &str) -> &'a [u8] {
    let name = match kind {
        "info" => format!("{}.info", module.version()),
        "mod" => "go.mod".to_owned(),
        _ => "source.zip".to_owned(),
    };
    let path = format!("{}/{}/{name}", module.path(), module.version());
    let entry = tree.get(&path).unwrap_or_else(|| panic!("{path} is not in the store"));
    entry.bytes.as_deref().unwrap_or_else(|| panic!("{path} is a folder"))
}

#[tokio::test]
#[ignore = "needs ATHENS_BIN and the go command: run by cargo xtask test where it names an Athens"]
async fn a_store_that_a_real_athens_filled_is_served_byte_for_byte() {
    let upstream = upstream().await;
    let store = tempfile::tempdir().expect("a folder for the store");
    let mut from = athens(&with(&upstream, store.path(), &[])).start().await;
    let (theirs, their_lists, their_latest) =
        (files(&from).await, lists(&from).await, latest(&from).await);
    from.terminate().await;
    upstream.stop();

    let before = tree(store.path());
    let offline = [("ATHENS_NETWORK_MODE", "offline")];
    let mut gateway = dipylon(&with(&upstream, store.path(), &offline)).start().await;
    let ours = files(&gateway).await;
    for (path, bytes) in &theirs {
        assert!(ours[path] == *bytes, "{path} differs from what Athens served");
    }
    for module in modules() {
        for kind in KINDS {
            let path = path_of(&module, kind);
            assert!(ours[&path] == stored(&before, &module, kind), "{path} differs from the disk");
        }
    }
    assert_eq!(latest(&gateway).await, their_latest);
    // Athens merges what it has stored into what upstream lists, without pseudo-versions.
    let mut our_lists = lists(&gateway).await;
    let pseudo = our_lists.get_mut("example.com/pseudo").expect("a module of the store");
    assert_eq!(pseudo.len(), 1);
    pseudo.clear();
    assert_eq!(our_lists, their_lists);
    assert!(gateway.terminate().await.success(), "{}", gateway.stderr());
    assert!(tree(store.path()) == before, "serving Athens's store changed it");
    println!("{} files of {} versions, byte for byte", theirs.len(), modules().len());
}

#[tokio::test]
#[ignore = "needs ATHENS_BIN and the go command: run by cargo xtask test where it names an Athens"]
async fn what_dipylon_writes_lies_exactly_where_athens_puts_it() {
    let upstream = upstream().await;
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().expect("a folder for the store"));
    let mut from = athens(&with(&upstream, one.path(), &[])).start().await;
    files(&from).await;
    from.terminate().await;
    let mut gateway = dipylon(&with(&upstream, two.path(), &[])).start().await;
    files(&gateway).await;
    // A drain waits for saves behind the answers.
    assert!(gateway.terminate().await.success(), "{}", gateway.stderr());

    let (theirs, ours) = (tree(one.path()), tree(two.path()));
    let names = |tree: &BTreeMap<String, Entry>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (path, entry) in &theirs {
        assert_eq!(ours[path].mode, entry.mode, "mode {:o} of {path}", ours[path].mode);
        if path.ends_with(".info") {
            // The go command behind Athens writes the JSON anew; dipylon keeps upstream's bytes.
            let json = |entry: &Entry| -> Value {
                serde_json::from_slice(entry.bytes.as_deref().expect("a file")).expect("JSON")
            };
            assert_eq!(json(&ours[path]), json(entry), "{path}");
        } else {
            assert!(ours[path].bytes == entry.bytes, "{path} differs from Athens's");
        }
    }
}

#[tokio::test]
#[ignore = "needs ATHENS_BIN and the go command: run by cargo xtask test where it names an Athens"]
async fn a_real_athens_serves_what_dipylon_wrote() {
    let upstream = upstream().await;
    let store = tempfile::tempdir().expect("a folder for the store");
    let mut gateway = dipylon(&with(&upstream, store.path(), &[])).start().await;
    let ours = files(&gateway).await;
    assert!(gateway.terminate().await.success(), "{}", gateway.stderr());
    upstream.stop();

    let stored_only = [("ATHENS_DOWNLOAD_MODE", "none"), ("ATHENS_NETWORK_MODE", "offline")];
    let back = athens(&with(&upstream, store.path(), &stored_only)).start().await;
    let theirs = files(&back).await;
    for (path, bytes) in &ours {
        assert!(theirs[path] == *bytes, "{path}: Athens serves other bytes than dipylon did");
    }
    let catalog = back.get("/catalog").await;
    let catalog: Value = serde_json::from_slice(&catalog.body).expect("the catalog is JSON");
    let mut listed: Vec<String> = catalog["modules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| format!("{}@{}", entry["module"], entry["version"]).replace('"', ""))
        .collect();
    listed.sort();
    let mut want: Vec<String> =
        modules().iter().map(|module| format!("{}@{}", module.path(), module.version())).collect();
    want.sort();
    assert_eq!(listed, want, "what lies under .dipylon must be nothing to Athens");
}
