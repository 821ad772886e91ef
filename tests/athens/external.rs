//! A real Athens that keeps its versions in our external storage server.

use std::collections::BTreeMap;

use bytes::Bytes;
use dipylon_testkit::gateway::Gateway;
use serde_json::Value;

use crate::world::{Entry, athens, dipylon, escape, modules, path_of, settings, tree, upstream};

const KINDS: [&str; 3] = ["info", "mod", "zip"];

async fn files(gateway: &Gateway) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    for module in modules() {
        for kind in KINDS {
            let path = path_of(&module, kind);
            let got = gateway.get(&path).await;
            let seen = (got.status.as_u16(), got.truncated);
            assert_eq!(seen, (200, false), "{path}: {:?}\n{}", got.body, gateway.stdout());
            files.insert(path, got.body);
        }
    }
    files
}

/// Athens's own server for this protocol takes 1 MiB at most, and lists modules with capitals as empty (its
/// defect 21). Ours takes both from Athens's own client, and lays them out as Athens's disk storage does.
#[tokio::test]
#[ignore = "needs ATHENS_BIN and the go command: run by cargo xtask test where it names an Athens"]
async fn a_real_athens_saves_to_and_reads_from_our_external_storage() {
    let upstream = upstream().await;
    let root = tempfile::tempdir().expect("a folder for the store");
    let over_disk = settings(&upstream.url(), root.path());
    let mut store = dipylon(&over_disk).arg("external-storage").start().await;
    let with = |more: &[(&str, &str)]| {
        let mut variables = settings(&upstream.url(), root.path());
        variables.retain(|(name, _)| name != "ATHENS_STORAGE_TYPE");
        variables.push(("ATHENS_STORAGE_TYPE".to_owned(), "external".to_owned()));
        variables.push(("ATHENS_EXTERNAL_STORAGE_URL".to_owned(), store.url()));
        let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        variables.extend(more.iter().map(owned));
        variables
    };
    let mut from = athens(&with(&[])).start().await;
    let fetched = files(&from).await;
    from.terminate().await;
    let stored: BTreeMap<String, Entry> = tree(root.path());
    for module in modules() {
        let zip = format!("{}/{}/source.zip", module.path(), module.version());
        let bytes = stored.get(&zip).and_then(|entry| entry.bytes.clone());
        assert!(bytes.is_some_and(|bytes| module.zip() == bytes), "{zip}");
    }
    assert!(modules().iter().any(|module| module.zip().len() > 1 << 20));
    let capitals = "github.com/BurntSushi/Toml";
    let list = store.get(&format!("/{}/@v/list", escape(capitals))).await;
    assert_eq!(list.text(), "v1.3.2\n");

    upstream.stop();
    let alone = [("ATHENS_DOWNLOAD_MODE", "none"), ("ATHENS_NETWORK_MODE", "offline")];
    let back = athens(&with(&alone)).start().await;
    assert!(files(&back).await == fetched, "Athens serves other bytes from our server");
    let list = back.get(&format!("/{}/@v/list", escape(capitals))).await;
    assert_eq!(list.text().trim(), "v1.3.2");
    assert_eq!(
        back.get("/catalog").await.status,
        501,
        "Athens has no catalogue over this protocol"
    );

    // The gateway reads what Athens saved, and has one.
    let offline = with(&[("ATHENS_NETWORK_MODE", "offline")]);
    let gateway = dipylon(&offline).start().await;
    assert!(files(&gateway).await == fetched, "dipylon serves other bytes than Athens did");
    let catalog: Value =
        serde_json::from_slice(&gateway.get("/catalog").await.body).expect("the catalog is JSON");
    assert_eq!(catalog["modules"].as_array().map(Vec::len), Some(modules().len()), "{catalog}");
    assert!(store.terminate().await.success(), "{}", store.stderr());
}
