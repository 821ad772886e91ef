//! The layout is Athens's, in both directions.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{new_version, spools_in};

use super::{Bench, lay_out};

fn azure() -> FakeModule {
    FakeModule::new("github.com/Azure/sdk", "v68.0.0+incompatible").no_go_mod()
}

#[tokio::test]
async fn a_save_writes_three_names_and_nothing_else() {
    let bench = Bench::new().await;
    bench.subject.save(&azure()).await.unwrap();
    bench.subject.save(&FakeModule::new("example.com/a/v2", "v2.1.0")).await.unwrap();
    let want = [
        "example.com/a/v2/v2.1.0/go.mod",
        "example.com/a/v2/v2.1.0/source.zip",
        "example.com/a/v2/v2.1.0/v2.1.0.info",
        "github.com/Azure/sdk/v68.0.0+incompatible/go.mod",
        "github.com/Azure/sdk/v68.0.0+incompatible/source.zip",
        "github.com/Azure/sdk/v68.0.0+incompatible/v68.0.0+incompatible.info",
    ];
    assert_eq!(bench.files(), want);
    assert_eq!(bench.staged(), Vec::<std::path::PathBuf>::new(), "nothing is left in staging");
}

#[tokio::test]
async fn files_and_directories_have_the_modes_that_the_umask_gives() {
    let bench = Bench::new().await;
    bench.subject.save(&azure()).await.unwrap();
    let plain = bench.root.path().join("plain");
    fs::write(&plain, "").unwrap();
    let plain_directory = bench.root.path().join("plain-directory");
    fs::create_dir(&plain_directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let directory = bench.directory(&azure());
    for name in ["go.mod", "source.zip", "v68.0.0+incompatible.info"] {
        assert_eq!(mode(&directory.join(name)), mode(&plain), "{name}");
    }
    assert_eq!(mode(&directory), mode(&plain_directory));
    assert_eq!(mode(directory.parent().unwrap()), mode(&plain_directory));
}

#[tokio::test]
async fn a_store_that_athens_wrote_is_served_byte_for_byte() {
    let root = tempfile::tempdir().unwrap();
    let modules = [
        azure().info_json(
            r#"{"Version":"v68.0.0+incompatible","Time":"2022-10-11T05:41:27Z","Origin":{"VCS":"git"}}"#,
        ),
        FakeModule::new("github.com/Azure/sdk", "v1.0.0"),
        FakeModule::new("github.com/Azure/sdk/sub", "v0.0.0-20240102030405-abcdefabcdef"),
    ];
    for module in &modules {
        lay_out(root.path(), module);
    }
    let bench = Bench::over(root).await;
    for module in &modules {
        assert!(bench.is_stored(module).await, "{}@{}", module.path(), module.version());
        let saved = bench.subject.save(module).await.unwrap();
        assert_eq!(saved, SaveResult::Existed { same: true });
    }
    assert_eq!(bench.list("github.com/Azure/sdk").await, ["v1.0.0", "v68.0.0+incompatible"]);
}

#[tokio::test]
async fn a_fourth_file_does_not_make_a_version_missing() {
    let root = tempfile::tempdir().unwrap();
    let directory = lay_out(root.path(), &azure());
    fs::write(directory.join(".nfs000000012345"), "left by a network file system").unwrap();
    let bench = Bench::over(root).await;
    assert!(bench.is_stored(&azure()).await);
    assert_eq!(bench.list(azure().path()).await, [azure().version()]);
}

#[tokio::test]
async fn directories_that_are_no_versions_are_not_listed() {
    let bench = Bench::new().await;
    bench.subject.save(&FakeModule::new("example.com/a", "v1.0.0")).await.unwrap();
    for name in ["v1", "v1.2", "master", "v1.3.0"] {
        fs::create_dir_all(bench.root.path().join("example.com/a").join(name)).unwrap();
    }
    fs::write(bench.root.path().join("example.com/a/v1.4.0"), "a file").unwrap();
    assert_eq!(bench.list("example.com/a").await, ["v1.0.0"]);
}

#[tokio::test]
async fn a_token_that_athens_handed_out_goes_on_where_it_stood() {
    let bench = Bench::new().await;
    for (path, version) in [
        ("example.com/a", "v1.9.0"),
        ("example.com/b", "v1.0.0"),
        ("example.com/b", "v2.0.0+incompatible"),
    ] {
        bench.subject.save(&FakeModule::new(path, version)).await.unwrap();
    }
    // Athens drops example.com/b@v1.0.0 here, because v1.0.0 is smaller than v1.9.0.
    let page = bench.storage().catalog(Some("example.com/a|v1.9.0"), 1).await.unwrap();
    assert_eq!((&*page.entries[0].module, &*page.entries[0].version), ("example.com/b", "v1.0.0"));
    assert_eq!(page.next.as_deref(), Some("example.com/b|v1.0.0"));
    let page = bench.storage().catalog(page.next.as_deref(), 1).await.unwrap();
    assert_eq!(&*page.entries[0].version, "v2.0.0+incompatible");
    assert_eq!(page.next, None, "a full last page has no token");
    let gone = [("aa|v1.0.0", 2), ("a|v9.9.9", 2), ("a/../..|v1.0.0", 3), ("b|v3.0.0|x", 0)];
    for (token, left) in gone {
        let token = format!("example.com/{token}");
        let page = bench.storage().catalog(Some(&token), 10).await.unwrap();
        assert_eq!(page.entries.len(), left, "{token}: what is gone still has its place");
    }
}

#[tokio::test]
async fn the_catalogue_leaves_out_what_is_no_module() {
    let bench = Bench::new().await;
    bench.subject.save(&FakeModule::new("example.com/a", "v1.0.0")).await.unwrap();
    let root = bench.root.path();
    fs::create_dir_all(root.join("lost+found/v1.0.0")).unwrap();
    fs::create_dir_all(root.join(".snapshot/example.com/b/v1.0.0")).unwrap();
    std::os::unix::fs::symlink(root, root.join("loop.example.com")).unwrap();
    let torn = lay_out(root, &FakeModule::new("example.com/c", "v1.0.0"));
    fs::remove_file(torn.join("source.zip")).unwrap();
    let page = bench.storage().catalog(None, 0).await.unwrap();
    let modules: Vec<&str> = page.entries.iter().map(|entry| entry.module.as_str()).collect();
    assert_eq!(modules, ["example.com/a"]);
}

#[tokio::test]
async fn the_zip_is_the_spools_own_file_where_it_can_be() {
    let bench = Bench::new().await;
    let new = new_version(bench.subject.spools(), &azure());
    let spool = new.zip.clone();
    let inode = fs::metadata(spool.path()).unwrap().ino();
    bench.storage().save(new).await.unwrap();
    let zip = bench.directory(&azure()).join("source.zip");
    assert_eq!(fs::metadata(&zip).unwrap().ino(), inode, "it is linked, not copied");
    drop(spool);
    assert_eq!(fs::metadata(&zip).unwrap().nlink(), 1);
    assert!(bench.is_stored(&azure()).await);
}

#[tokio::test]
#[ignore = "needs shared memory: run by cargo xtask test"]
async fn a_spool_on_another_file_system_is_copied() {
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a folder in shared memory");
    let bench = Bench::new().await;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(elsewhere.path()), device(bench.root.path()), "another file system");
    let module = azure().filler(3 << 20);
    let new = new_version(&spools_in(elsewhere.path()), &module);
    assert_eq!(bench.storage().save(new).await.unwrap(), SaveResult::Created);
    assert!(bench.is_stored(&module).await);
}

#[tokio::test]
async fn a_spool_whose_name_was_swept_away_is_copied() {
    let bench = Bench::new().await;
    let new: NewVersion = new_version(bench.subject.spools(), &azure());
    fs::remove_file(new.zip.path()).unwrap();
    assert_eq!(bench.storage().save(new).await.unwrap(), SaveResult::Created);
    assert_eq!(bench.read(&azure(), FileKind::Zip).await, Some(azure().zip().to_vec()));
}
