//! What a crash leaves of a version, of ours and of Athens's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon::storage::mongo::TORN_AGE;
use dipylon_middleware::ports::{SaveResult, Storage};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::fresh_name;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, doc};

use crate::bench::{Bench, Raw, bench, config, names, old_id};
use crate::failures::server;
use crate::rows::{binary, zip_name};
use crate::wire::Wire;

/// A version that reads as absent and is in no list, until it is saved.
async fn is_mended(bench: &Bench, left: &FakeModule, how: &str) {
    is_listed(bench, left, false, how).await;
    is_absent_and_mended(bench, left, how).await;
}

async fn is_listed(bench: &Bench, left: &FakeModule, want: bool, how: &str) {
    // Twice: what a list has looked into it remembers.
    for _ in 0..2 {
        let is_listed = bench.list(left.path()).await.contains(&left.version().to_owned());
        assert_eq!(is_listed, want, "{how}: list");
        let entry = format!("{}@{}", left.path(), left.version());
        assert_eq!(bench.catalog().await.contains(&entry), want, "{how}: catalogue");
    }
}

async fn is_absent_and_mended(bench: &Bench, left: &FakeModule, how: &str) {
    assert!(bench.is_absent(left).await, "{how}");
    let whole = left.clone().go_mod(&format!("module {} // whole\n", left.path())).filler(300_000);
    assert_eq!(bench.subject.save(&whole).await.unwrap(), SaveResult::Created, "{how}");
    assert!(bench.is_stored(&whole).await, "{how}");
    assert!(bench.raw.zip_for_athens(&whole).await == whole.zip().to_vec(), "{how}: for Athens");
    assert_eq!(bench.list(left.path()).await, [left.version()], "{how}");
    is_listed(bench, left, true, how).await;
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_document_without_its_zip_is_absent_and_mended() {
    let bench = bench().await;
    let left = FakeModule::new("example.com/no-zip", "v1.0.0");
    bench.raw.put_document(old_id(), &left).await;
    assert!(bench.catalog().await.is_empty());
    is_mended(&bench, &left, "no zip").await;
}

/// Athens ends an upload that broke off as if it were whole.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_zip_that_was_cut_is_absent_and_mended() {
    let bench = bench().await;
    for (number, cut) in [1, 21, 22, 1_000, 261_120, 299_999].into_iter().enumerate() {
        let left = FakeModule::new(&format!("example.com/cut{number}"), "v1.0.0").filler(300_000);
        bench.raw.put_document(old_id(), &left).await;
        bench.raw.put_zip(&zip_name(&left), &left.zip()[..cut]).await;
        is_mended(&bench, &left, &format!("cut at {cut}")).await;
        let records = bench.raw.find("fs.files", doc! { "filename": zip_name(&left) }).await;
        // One too short for a zip is not even looked into.
        let want = if cut < 22 { 2 } else { 1 };
        assert_eq!(records.len(), want, "cut at {cut}: what is of no use is removed");
    }
}

/// The youngest revision is broken, and an older one is whole.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn an_older_zip_that_is_whole_is_served() {
    let bench = bench().await;
    let module = FakeModule::new("example.com/revisions", "v1.0.0").filler(300_000);
    bench.raw.put(&module).await;
    let broken = bench.raw.put_zip(&zip_name(&module), &module.zip()[..200_000]).await;
    let later = DateTime::from_millis(DateTime::now().timestamp_millis() + 60_000);
    bench.raw.date(&broken, later).await;
    assert!(bench.is_stored(&module).await);
    let saved = bench.subject.save(&module).await.unwrap();
    assert_eq!(saved, SaveResult::Existed { same: true });
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn documents_and_zips_that_say_something_else_are_absent_and_mended() {
    let bench = bench().await;
    let other = r#"{"Version":"v9.9.9"}"#.as_bytes();
    for (name, fields) in [
        ("info", doc! { "info": binary(b"") }),
        ("other", doc! { "info": binary(other) }),
        ("text", doc! { "info": "{\"Version\":\"v1.0.0\"}" }),
        ("mod", doc! { "mod": binary(b"") }),
    ] {
        let left = FakeModule::new(&format!("example.com/{name}"), "v1.0.0");
        bench.raw.put(&left).await;
        bench.raw.set("modules", doc! { "module": left.path() }, fields).await;
        let older = bench.raw.find("fs.files", doc! { "filename": zip_name(&left) }).await;
        bench.raw.date(older[0].get("_id").unwrap(), DateTime::from_millis(1_000_000)).await;
        // A list does not read an `.info`: one of another version is still believed there.
        is_listed(&bench, &left, name == "other", name).await;
        is_absent_and_mended(&bench, &left, name).await;
    }
}

/// Chunks that are gone are noticed before the first byte is sent.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_zip_with_a_hole_is_absent_and_mended() {
    for by_athens in [false, true] {
        let bench = bench().await;
        let left = FakeModule::new("example.com/hole", "v1.0.0").filler(600_000);
        match by_athens {
            true => bench.raw.put(&left).await,
            false => {
                bench.subject.save(&left).await.unwrap();
                let id = bench.raw.find("fs.files", doc! {}).await[0].get("_id").cloned();
                rename_id(&bench.raw, &left, id.unwrap().as_object_id().unwrap()).await;
            }
        }
        bench.raw.remove("fs.chunks", doc! { "n": 1 }).await;
        // Another process, which remembers nothing. A list does not look into a zip of ours: no crash leaves
        // a hole there.
        let bench = Bench::open(bench.raw).await;
        is_listed(&bench, &left, !by_athens, "a hole").await;
        is_absent_and_mended(&bench, &left, "a hole").await;
    }
}

/// A list has small zips brought many at a time, and judges each for itself.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn small_zips_that_are_brought_together_are_judged_apart() {
    let bench = bench().await;
    let versions = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0", "v1.5.0"];
    let module = |version: &str| FakeModule::new("example.com/small", version);
    let mut ids = Vec::new();
    for version in versions {
        bench.raw.put_document(ObjectId::new(), &module(version)).await;
        let bytes =
            if version == "v1.5.0" { module("v9.9.9").zip() } else { module(version).zip() };
        ids.push(bench.raw.put_zip(&zip_name(&module(version)), &bytes).await);
    }
    let data = module("v1.1.0").zip().slice(1..).to_vec();
    let cut = binary(&data);
    bench.raw.set("fs.chunks", doc! { "files_id": &ids[1] }, doc! { "data": &cut }).await;
    bench.raw.remove("fs.chunks", doc! { "files_id": &ids[2] }).await;
    bench.raw.insert("fs.chunks", doc! { "files_id": &ids[3], "n": 1, "data": cut }).await;
    // Another process, which remembers nothing; the second list is that of one which does.
    let bench = Bench::open(bench.raw).await;
    for _ in 0..2 {
        assert_eq!(bench.list("example.com/small").await, ["v1.0.0", "v1.4.0"]);
    }
}

/// A store behind a wire that counts what it is asked.
async fn watched() -> (Raw, Arc<dyn Storage>, Wire) {
    let (name, wire) = (fresh_name(), Wire::to(&server(), None).await);
    let config = config(&format!("mongodb://{}", wire.address), &name);
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    (Raw::new(&name).await, storage, wire)
}

/// What a list of small zips of Athens's costs is a few questions, not some for each.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn small_zips_are_brought_with_few_questions() {
    const VERSIONS: usize = 200;
    let (raw, storage, wire) = watched().await;
    for number in 0..VERSIONS {
        raw.put(&FakeModule::new("example.com/few", &format!("v1.{number}.0"))).await;
    }
    let before = wire.requests();
    let (path, _) = names(&FakeModule::new("example.com/few", "v1.0.0"));
    assert_eq!(storage.list(&path).await.unwrap().len(), VERSIONS);
    let questions = wire.requests() - before;
    assert!((3..VERSIONS / 4).contains(&questions), "{questions} for {VERSIONS} zips");
}

/// A page that lacks only the look whether there is more does not go one by one through what has no zip.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_catalogue_passes_over_many_torn_versions_with_few_questions() {
    const TORN: usize = 200;
    let (raw, storage, wire) = watched().await;
    let whole = ["v1.0.0", "v1.1.0", "v1.2.0"];
    for version in whole {
        raw.put(&FakeModule::new("example.com/whole", version)).await;
    }
    for number in 0..TORN {
        let torn = FakeModule::new("example.com/torn", &format!("v1.{number}.0"));
        raw.put_document(ObjectId::new(), &torn).await;
    }
    let before = wire.requests();
    let page = storage.catalog(None, whole.len()).await.unwrap();
    let listed: Vec<_> = page.entries.iter().map(|entry| entry.version.as_str()).collect();
    assert_eq!((listed.as_slice(), page.next), (whole.as_slice(), None));
    let questions = wire.requests() - before;
    assert!((3..TORN / 4).contains(&questions), "{questions} for {TORN} torn versions");
}

/// Makes a version of ours one of long ago.
async fn rename_id(raw: &Raw, module: &FakeModule, id: ObjectId) {
    let old = old_id();
    raw.remove("modules", doc! { "_id": id }).await;
    raw.put_document(old, module).await;
    let mut record = raw.find("fs.files", doc! { "_id": id }).await.remove(0);
    record.insert("_id", old);
    raw.remove("fs.files", doc! { "_id": id }).await;
    raw.insert("fs.files", record).await;
    raw.set("fs.chunks", doc! { "files_id": id }, doc! { "files_id": old }).await;
}

/// Athens writes the document before it has ended the upload: it is given the time.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_version_that_athens_is_about_to_finish_is_waited_for() {
    let bench = bench().await;
    let module = FakeModule::new("example.com/finishing", "v1.0.0").filler(300_000);
    bench.raw.put_document(ObjectId::new(), &module).await;
    let ours = module.clone().go_mod("module example.com/finishing // ours\n");
    let finish = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.raw.put_zip(&zip_name(&module), &module.zip()).await;
    };
    let begin = Instant::now();
    let (saved, ()) = tokio::join!(bench.subject.save(&ours), finish);
    assert_eq!(saved.unwrap(), SaveResult::Existed { same: false });
    assert!(begin.elapsed() < TORN_AGE + Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(bench.is_stored(&module).await);
}

/// What a process of ours leaves that is killed at any step of a save is nothing to any reader.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_save_that_was_killed_leaves_nothing_to_be_believed() {
    let bench = bench().await;
    let module = FakeModule::new("example.com/killed", "v1.0.0").filler(300_000);
    let zip = bench.raw.put_zip(&zip_name(&module), &module.zip()).await;
    bench.raw.date(&zip, DateTime::from_millis(0)).await;
    assert!(bench.is_absent(&module).await && bench.catalog().await.is_empty());
    assert_eq!(bench.subject.save(&module).await.unwrap(), SaveResult::Created);
    assert!(bench.is_stored(&module).await);
    assert!(bench.raw.zip_for_athens(&module).await == module.zip().to_vec());

    // A document of Athens's that is torn does not take it for its zip.
    let torn = FakeModule::new("example.com/killed", "v2.0.0").filler(300_000);
    let zip = bench.raw.put_zip(&zip_name(&torn), &torn.zip()).await;
    bench.raw.date(&zip, DateTime::from_millis(0)).await;
    bench.raw.put_document(old_id(), &torn).await;
    assert!(bench.is_absent(&torn).await);
    assert_eq!(bench.list("example.com/killed").await, ["v1.0.0"]);
}

/// What was on its way more than an hour ago is swept up at a start; what is younger is left alone.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn broken_saves_are_swept_up() {
    let raw = Raw::new(&fresh_name()).await;
    let module = FakeModule::new("example.com/swept", "v1.0.0").filler(300_000);
    let ages = [2 * 3_600_000_i64, 60_000];
    let mut zips = Vec::new();
    for age in ages {
        let zip = raw.put_zip(&zip_name(&module), &module.zip()).await;
        raw.date(&zip, DateTime::from_millis(0)).await;
        let at = DateTime::from_millis(DateTime::now().timestamp_millis() - age);
        raw.insert("modules.dipylon.saving", doc! { "_id": &zip, "at": at }).await;
        zips.push(zip);
    }
    // One that had published its version and was killed before its last step.
    let saved = FakeModule::new("example.com/saved", "v1.0.0");
    let zip = raw.put_zip(&zip_name(&saved), &saved.zip()).await;
    raw.date(&zip, DateTime::from_millis(0)).await;
    raw.put_document(zip.as_object_id().unwrap(), &saved).await;
    let at = DateTime::from_millis(DateTime::now().timestamp_millis() - ages[0]);
    raw.insert("modules.dipylon.saving", doc! { "_id": &zip, "at": at }).await;

    let bench = Bench::open(raw).await;
    assert!(bench.is_stored(&saved).await, "it is whole before it is swept");
    for _ in 0..200 {
        if bench.raw.find("modules.dipylon.saving", doc! {}).await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.raw.find("modules.dipylon.saving", doc! {}).await.len(), 1);
    let of = |zip: &Bson| doc! { "files_id": zip };
    assert_eq!(bench.raw.find("fs.chunks", of(&zips[0])).await.len(), 0);
    assert!(bench.raw.find("fs.files", doc! { "_id": &zips[0] }).await.is_empty());
    assert_eq!(bench.raw.find("fs.chunks", of(&zips[1])).await.len(), 2);
    let dated = bench.raw.find("fs.files", doc! { "_id": zip }).await;
    assert!(dated[0].get_datetime("uploadDate").unwrap().timestamp_millis() > 0);
    assert!(bench.is_stored(&saved).await);
}

/// A version that somebody removes is absent from then on, though it was remembered.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_version_that_is_removed_is_absent() {
    let bench = bench().await;
    let module = FakeModule::new("example.com/removed", "v1.0.0");
    for _ in 0..2 {
        assert_eq!(bench.subject.save(&module).await.unwrap(), SaveResult::Created);
        assert!(bench.is_stored(&module).await);
        bench.raw.remove("fs.files", doc! { "filename": zip_name(&module) }).await;
        bench.raw.remove("fs.chunks", doc! {}).await;
        let (path, version) = names(&module);
        let zip = dipylon_protocol::route::FileKind::Zip;
        assert!(bench.storage().read(&path, &version, zip).await.unwrap().is_none());
        bench.raw.remove("modules", doc! { "module": module.path() }).await;
        assert!(bench.is_absent(&module).await);
    }
}
