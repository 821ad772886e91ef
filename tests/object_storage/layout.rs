//! The layouts are Athens's, in both directions.

use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use futures::StreamExt as _;

use crate::bench::Bench;
use crate::minio;

fn azure() -> FakeModule {
    FakeModule::new("github.com/Azure/sdk", "v68.0.0+incompatible").no_go_mod()
}

fn modules() -> [FakeModule; 3] {
    [
        azure().info_json(
            r#"{"Version":"v68.0.0+incompatible","Time":"2022-10-11T05:41:27Z","Origin":{"VCS":"git"}}"#,
        ),
        FakeModule::new("github.com/Azure/sdk", "v1.0.0").filler(9 << 20),
        FakeModule::new("github.com/Azure/sdk/~sub", "v0.0.0-20240102030405-abcdefabcdef"),
    ]
}

/// What Athens wrote is read, listed and left alone.
async fn what_athens_wrote_is_served(bench: Bench) {
    for module in &modules() {
        bench.lay_out(module, &FileKind::ALL).await;
    }
    for module in &modules() {
        assert!(bench.is_stored(module).await, "{}@{}", module.path(), module.version());
        let saved = bench.subject.save(module).await.unwrap();
        assert_eq!(saved, SaveResult::Existed { same: true });
    }
    assert_eq!(bench.list("github.com/Azure/sdk").await, ["v1.0.0", "v68.0.0+incompatible"]);
    assert_eq!(bench.catalog().await.len(), modules().len());
}

/// A save writes three names with Athens's media types, and leaves nothing else.
async fn a_save_writes_what_athens_writes(bench: Bench) {
    for module in &modules() {
        assert_eq!(bench.subject.save(module).await.unwrap(), SaveResult::Created);
    }
    let mut want = std::collections::BTreeMap::new();
    for module in &modules() {
        for (kind, media_type) in FileKind::ALL.into_iter().zip(bench.types) {
            want.insert(bench.names.of(module, kind), media_type.to_owned());
        }
    }
    assert_eq!(bench.raw.objects().await, want);
    assert_eq!(bench.raw.ours().await, Vec::<String>::new(), "no claim is left");
}

/// Names that are no version's harm nobody.
async fn foreign_objects_are_passed_over(bench: Bench) {
    let module = FakeModule::new("example.com/a", "v1.0.0");
    for key in [
        "README.md",
        "backup/2024/dump.tar",
        "example.com/a/@v/list",
        "example.com/a/@latest",
        "example.com/a/@v/master.info",
        "example.com/a/v1/go.mod",
        "example.com/a/v1.0.0/v2.0.0.info",
        "example.com/a/v1.0.0/notes.txt",
        "parts/example.com/a/v1.2.0/0",
        "no module/v1.0.0/go.mod",
        "no module/v1.0.0/source.zip",
        "no module/v1.0.0/v1.0.0.info",
    ] {
        bench.raw.put(key, "x").await;
    }
    assert_eq!(bench.catalog().await, Vec::<String>::new());
    bench.lay_out(&module, &FileKind::ALL).await;
    assert_eq!(bench.list("example.com/a").await, ["v1.0.0"]);
    assert_eq!(bench.catalog().await, ["example.com/a@v1.0.0"]);
}

on_every_kind!(
    what_athens_wrote_is_served,
    a_save_writes_what_athens_writes,
    foreign_objects_are_passed_over,
);

/// A module may have more versions in modules below it than in itself; and a token is Athens's.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn minio_lists_a_module_above_large_ones_and_goes_on_after_athens_tokens() {
    let bench = minio::bench().await;
    let own =
        [FakeModule::new("example.com/a", "v1.0.0"), FakeModule::new("example.com/a", "v2.0.0")];
    for module in &own {
        bench.lay_out(module, &FileKind::ALL).await;
    }
    let raw = &bench.raw;
    let below = (0..1_200).map(|number| async move {
        raw.put(&format!("example.com/a/sub/v0.0.{number}/go.mod"), "module x\n").await;
    });
    futures::stream::iter(below).buffer_unordered(16).collect::<Vec<()>>().await;
    assert_eq!(bench.list("example.com/a").await, ["v1.0.0", "v2.0.0"]);
    assert_eq!(bench.list("example.com/a/sub").await, Vec::<String>::new());
    let token = "example.com/a/v1.0.0/v1.0.0.info";
    let page = bench.storage().catalog(Some(token), 10).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!((page.entries[0].version.as_str(), page.next), ("v2.0.0", None));
}
