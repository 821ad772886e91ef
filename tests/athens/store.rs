//! A store written by hand in Athens's way, down to names and modes, and served without any upstream.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use serde_json::Value;

use crate::world::{dipylon, escape, modules, path_of, settings, tree};

/// What Athens's `os.MkdirAll(…, 0777)` and `OpenFile(…, 0666)` leave under the usual umask.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Writes one version as Athens's disk storage does: the decoded path, then the version, then
/// `go.mod`, `source.zip` and `VERSION.info`, in this order.
fn write(root: &Path, module: &FakeModule) {
    let folder = root.join(module.path()).join(module.version());
    fs::create_dir_all(&folder).expect("the version's folder");
    let info = format!("{}.info", module.version());
    let files = [
        ("go.mod", module.go_mod_bytes().to_vec()),
        ("source.zip", module.zip().to_vec()),
        (info.as_str(), module.info().into_bytes()),
    ];
    for (name, bytes) in files {
        let mut file = File::create(folder.join(name)).expect("a file of the version");
        file.write_all(&bytes).expect("its content");
        file.set_permissions(Permissions::from_mode(FILE_MODE)).expect("its mode");
    }
    let mut above = folder.as_path();
    while above != root {
        fs::set_permissions(above, Permissions::from_mode(FOLDER_MODE)).expect("a folder's mode");
        above = above.parent().expect("it is below the root");
    }
}

async fn offline(store: &Path) -> Gateway {
    // An upstream that nobody listens for: any call to it would fail the request.
    let mut variables = settings("http://127.0.0.1:9", store);
    variables.push(("ATHENS_NETWORK_MODE".to_owned(), "offline".to_owned()));
    dipylon(&variables).start().await
}

async fn lines(gateway: &Gateway, path: &str) -> BTreeSet<String> {
    let list = gateway.get(path).await;
    assert_eq!(list.status, 200, "{path}: {}", list.text());
    list.text().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_athens_wrote_is_served_byte_for_byte() {
    let store = tempfile::tempdir().expect("a folder for the store");
    for module in modules() {
        write(store.path(), &module);
    }
    let before = tree(store.path());
    let mut gateway = offline(store.path()).await;
    for module in modules() {
        let files =
            [("info", module.info().into()), ("mod", module.go_mod_bytes()), ("zip", module.zip())];
        for (kind, want) in files {
            let path = path_of(&module, kind);
            let got = gateway.get(&path).await;
            assert_eq!((got.status.as_u16(), got.truncated), (200, false), "{path}");
            assert!(got.body == want, "{path}: {} bytes, not {}", got.body.len(), want.len());
        }
    }
    assert!(gateway.terminate().await.success(), "{}", gateway.stderr());
    assert!(tree(store.path()) == before, "serving a store changed it");
}

#[tokio::test]
async fn lists_and_latest_come_from_the_store() {
    let store = tempfile::tempdir().expect("a folder for the store");
    for module in modules() {
        write(store.path(), &module);
    }
    // What Athens does not count as a version: a folder that names none.
    fs::create_dir_all(store.path().join("example.com/lib/notes")).expect("a stray folder");
    let gateway = offline(store.path()).await;
    let paths: BTreeSet<String> = modules().iter().map(|module| module.path().to_owned()).collect();
    for path in &paths {
        let versions: BTreeSet<String> = modules()
            .iter()
            .filter(|module| module.path() == path)
            .map(|module| module.version().to_owned())
            .collect();
        assert_eq!(
            lines(&gateway, &format!("/{}/@v/list", escape(path))).await,
            versions,
            "{path}"
        );
    }
    let latest = gateway.get("/example.com/lib/@latest").await;
    let latest: Value = serde_json::from_slice(&latest.body).expect("latest is JSON");
    assert_eq!(latest["Version"], "v1.1.0");
    let catalog = gateway.get("/catalog").await;
    let catalog: Value = serde_json::from_slice(&catalog.body).expect("the catalog is JSON");
    assert_eq!(catalog["modules"].as_array().map(Vec::len), Some(modules().len()), "{catalog}");
}

#[tokio::test]
async fn a_version_that_athens_left_half_written_is_no_version() {
    let store = tempfile::tempdir().expect("a folder for the store");
    let module = FakeModule::new("example.com/lib", "v1.0.0");
    for missing in ["go.mod", "source.zip", "v1.0.0.info"] {
        write(store.path(), &module);
        let folder = store.path().join("example.com/lib/v1.0.0");
        fs::remove_file(folder.join(missing)).expect("a file of the version");
        let gateway = offline(store.path()).await;
        for kind in ["info", "mod", "zip"] {
            let got = gateway.get(&path_of(&module, kind)).await;
            assert_eq!(got.status, 404, "{kind} without {missing}: {}", got.text());
        }
    }
}
