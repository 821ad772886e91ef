//! `file:///` entries: the download tree of a module cache.

use std::path::Path;

use dipylon::fetch::file_tree::FileTree;
use dipylon_middleware::ErrorKind;
use dipylon_middleware::ports::Fetcher as _;
use dipylon_middleware::request::FetchAsk;
use dipylon_testkit::module::FakeModule;

use crate::support::{MODULE, VERSION, fetch, go_mod, info, refused, zip};

fn lay_out(root: &Path, module: &FakeModule) {
    let directory = root.join("example.com/a/!b/@v");
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.join(name), bytes).unwrap();
    write("list", format!("{VERSION}\n").as_bytes());
    write("v1.2.3.info", module.info().as_bytes());
    write("v1.2.3.mod", &module.go_mod_bytes());
    write("v1.2.3.zip", &module.zip());
    write("v1.2.3.ziphash", module.h1().as_bytes());
}

#[tokio::test]
async fn a_module_cache_is_an_upstream() {
    let root = tempfile::tempdir().unwrap();
    let module = FakeModule::new(MODULE, VERSION).filler(300_000);
    lay_out(root.path(), &module);
    let tree = FileTree::new(root.path());
    assert_eq!(fetch(&tree, FetchAsk::List).await.unwrap(), "v1.2.3\n");
    assert_eq!(fetch(&tree, info(VERSION)).await.unwrap(), module.info());
    assert_eq!(fetch(&tree, go_mod()).await.unwrap(), module.go_mod_bytes());
    assert_eq!(fetch(&tree, zip()).await.unwrap(), module.zip());
    assert_eq!(*tree.name(), *format!("file://{}", root.path().display()));
}

#[tokio::test]
async fn what_is_not_there_does_not_exist() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), &FakeModule::new(MODULE, VERSION));
    let tree = FileTree::new(root.path());
    for ask in [FetchAsk::Latest, info("v1.2.4"), info("master")] {
        let error = refused(&tree, ask.clone()).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{ask:?}: {error}");
    }
    let nowhere = FileTree::new(&root.path().join("missing"));
    assert_eq!(refused(&nowhere, zip()).await.kind(), ErrorKind::NotFound);
    // A file where a directory should be, and a directory where a file should be.
    std::fs::remove_dir_all(root.path().join("example.com/a")).unwrap();
    std::fs::write(root.path().join("example.com/a"), "x").unwrap();
    assert_eq!(refused(&tree, zip()).await.kind(), ErrorKind::NotFound);
    std::fs::remove_file(root.path().join("example.com/a")).unwrap();
    std::fs::create_dir_all(root.path().join("example.com/a/!b/@v/v1.2.3.zip")).unwrap();
    assert_eq!(refused(&tree, zip()).await.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn files_are_checked_like_answers() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), &FakeModule::new(MODULE, VERSION));
    let directory = root.path().join("example.com/a/!b/@v");
    let tree = FileTree::new(root.path());
    std::fs::write(directory.join("v1.2.3.info"), "{\"Version\":\"v1.0.0\"}").unwrap();
    std::fs::write(directory.join("v1.2.3.mod"), "<html>").unwrap();
    std::fs::write(directory.join("v1.2.3.zip"), "<html>").unwrap();
    for ask in [info(VERSION), go_mod(), zip()] {
        let error = refused(&tree, ask.clone()).await;
        assert_eq!(error.kind(), ErrorKind::BadContent, "{ask:?}: {error}");
    }
    std::fs::write(directory.join("v1.2.3.info"), vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(refused(&tree, info(VERSION)).await.kind(), ErrorKind::BadContent);
}
