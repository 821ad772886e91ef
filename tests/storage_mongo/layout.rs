//! The layout is Athens's, in both directions.

use std::collections::BTreeSet;

use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::ElementType;
use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::bench::{Raw, bench};
use crate::rows::{binary, zip_name};

fn modules() -> [FakeModule; 3] {
    [
        FakeModule::new("github.com/Azure/sdk", "v68.0.0+incompatible").no_go_mod().info_json(
            r#"{"Version":"v68.0.0+incompatible","Time":"2022-10-11T05:41:27Z","Origin":{"VCS":"git"}}"#,
        ),
        FakeModule::new("github.com/Azure/sdk", "v1.0.0").filler(3 << 20),
        FakeModule::new("github.com/Azure/sdk/~sub", "v0.0.0-20240102030405-abcdefabcdef"),
    ]
}

/// What Athens wrote is read, listed and left alone.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_serves_what_athens_wrote() {
    let bench = bench().await;
    for module in &modules() {
        bench.raw.put(module).await;
    }
    for module in &modules() {
        assert!(bench.is_stored(module).await, "{}@{}", module.path(), module.version());
        let saved = bench.subject.save(module).await.unwrap();
        assert_eq!(saved, SaveResult::Existed { same: true });
    }
    assert_eq!(bench.list("github.com/Azure/sdk").await, ["v1.0.0", "v68.0.0+incompatible"]);
    assert_eq!(bench.catalog().await.len(), modules().len());
    assert_eq!(bench.raw.find("fs.files", doc! {}).await.len(), modules().len());
}

fn fields(document: &Document) -> Vec<(&str, ElementType)> {
    document.iter().map(|(name, value)| (name.as_str(), value.element_type())).collect()
}

/// A save writes the documents that Athens writes, with its types, and leaves nothing else.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_writes_what_athens_writes() {
    let bench = bench().await;
    let begin = DateTime::now();
    for module in &modules() {
        assert_eq!(bench.subject.save(module).await.unwrap(), SaveResult::Created);
    }
    for module in &modules() {
        let selected = doc! { "module": module.path(), "version": module.version() };
        let documents = bench.raw.find("modules", selected).await;
        let want = [
            ("_id", ElementType::ObjectId),
            ("module", ElementType::String),
            ("version", ElementType::String),
            ("mod", ElementType::Binary),
            ("info", ElementType::Binary),
        ];
        assert_eq!(documents.len(), 1);
        assert_eq!(fields(&documents[0]), want);
        let records = bench.raw.find("fs.files", doc! { "filename": zip_name(module) }).await;
        let want = [
            ("_id", ElementType::ObjectId),
            ("length", ElementType::Int64),
            ("chunkSize", ElementType::Int32),
            ("uploadDate", ElementType::DateTime),
            ("filename", ElementType::String),
        ];
        assert_eq!(records.len(), 1);
        assert_eq!(fields(&records[0]), want);
        assert_eq!(records[0].get_i32("chunkSize").unwrap(), 261_120);
        let date = *records[0].get_datetime("uploadDate").unwrap();
        let skew = (date.timestamp_millis() - begin.timestamp_millis()).abs();
        assert!(skew < 600_000, "the zip has the date of its save: {date}");
        assert!(bench.raw.zip_for_athens(module).await == module.zip().to_vec());
    }
    let chunks = bench.raw.find("fs.chunks", doc! { "n": { "$gt": 0 } }).await;
    assert_eq!(chunks.len(), 12, "3 MiB and a little are 13 chunks");
    assert!(bench.raw.find("modules.dipylon.saving", doc! {}).await.is_empty());
}

/// The collection and the index are there before anything is stored.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn the_collection_and_its_unique_index_are_made_at_start() {
    let raw = bench().await.raw;
    let names = raw.database.list_collection_names().await.unwrap();
    assert!(names.contains(&"modules".to_owned()), "{names:?}");
    let indexes = raw.database.collection::<Document>("modules").list_index_names().await.unwrap();
    assert!(indexes.contains(&"dipylon_module_version".to_owned()), "{indexes:?}");
    let document = doc! { "module": "example.com/a", "version": "v1.0.0" };
    raw.insert("modules", document.clone()).await;
    let twice = raw.database.collection("modules").insert_one(document).await;
    assert!(twice.unwrap_err().to_string().contains("11000"));
}

/// Two modules with one name for their zips.
fn clashing() -> [FakeModule; 2] {
    [
        FakeModule::new("github.com/a/b_c", "v1.0.0").file("one.go", "package one\n"),
        FakeModule::new("github.com/a_b/c", "v1.0.0").filler(300_000),
    ]
}

async fn each_has_its_own_zip(how: &str, by_athens: [bool; 2]) {
    let bench = bench().await;
    for (module, by_athens) in clashing().iter().zip(by_athens) {
        match by_athens {
            true => bench.raw.put(module).await,
            false => {
                assert_eq!(bench.subject.save(module).await.unwrap(), SaveResult::Created, "{how}");
            }
        }
    }
    for module in &clashing() {
        assert!(bench.is_stored(module).await, "{how}: {}", module.path());
    }
    assert_eq!(bench.catalog().await.len(), 2, "{how}");
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn modules_whose_zips_have_one_name_keep_their_own() {
    assert_eq!(zip_name(&clashing()[0]), zip_name(&clashing()[1]));
    each_has_its_own_zip("both by Athens", [true, true]).await;
    each_has_its_own_zip("both by us", [false, false]).await;
    each_has_its_own_zip("the first by Athens", [true, false]).await;
    each_has_its_own_zip("the second by Athens", [false, true]).await;
}

/// A document whose zip is another module's of the same name has none.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_zip_of_another_module_is_not_taken_for_the_own() {
    let bench = bench().await;
    let [one, other] = clashing();
    bench.raw.put(&other).await;
    bench.raw.put_document(crate::bench::old_id(), &one).await;
    assert!(bench.is_absent(&one).await);
    assert_eq!(bench.subject.save(&one).await.unwrap(), SaveResult::Created);
    assert!(bench.is_stored(&one).await);
    assert!(bench.is_stored(&other).await, "what is the other's stays");
}

/// More than a list asks for at once: their names without a zip of ours are more than 2,000, and the zips of
/// Athens's more than 1,000. More documents than a batch has are in `many.rs`.
const MANY: usize = 3_300;

/// Documents written by hand. Every third has lost its zip, every second
/// of the others is Athens's, and is looked into.
async fn put_many(raw: &Raw, module: &str, versions: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let (mut documents, mut records, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..versions {
        let (id, fake) = (ObjectId::new(), FakeModule::new(module, &format!("v1.0.{number}")));
        documents.push(doc! {
            "_id": id, "module": module, "version": fake.version(),
            "mod": binary(&fake.go_mod_bytes()), "info": binary(fake.info().as_bytes()),
        });
        if number % 3 == 0 {
            continue;
        }
        let (file, bytes) = match number % 2 {
            0 => (id, vec![0; 1_000]),
            _ => (ObjectId::new(), fake.zip().to_vec()),
        };
        records.push(doc! {
            "_id": file, "length": bytes.len() as i64, "chunkSize": 261_120,
            "uploadDate": DateTime::now(), "filename": zip_name(&fake),
        });
        if file != id {
            chunks.push(doc! { "files_id": file, "n": 0, "data": binary(&bytes) });
        }
        names.insert(fake.version().to_owned());
    }
    for (name, written) in [("fs.chunks", chunks), ("fs.files", records), ("modules", documents)] {
        raw.database.collection::<Document>(name).insert_many(written).await.unwrap();
    }
    names
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn lists_and_catalogue_pages_of_many_zips_have_what_has_a_zip() {
    let bench = bench().await;
    let want = put_many(&bench.raw, "example.com/many", MANY).await;
    put_many(&bench.raw, "example.com/many/below", 20).await;
    let listed = bench.list("example.com/many").await;
    assert!(listed.is_sorted());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), want);
    let mut visited = Vec::new();
    let mut token = None;
    loop {
        let page = bench.storage().catalog(token.as_deref(), 900).await.unwrap();
        assert!(page.entries.len() == 900 || page.next.is_none());
        visited.extend(page.entries.into_iter().map(|entry| entry.module + "@" + &entry.version));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let distinct: BTreeSet<_> = visited.iter().cloned().collect();
    assert_eq!(visited.len(), distinct.len(), "nothing comes twice");
    assert_eq!(distinct, bench.catalog().await);
    assert_eq!(distinct.len(), want.len() + 13);
}

/// A token that Athens handed out is the id of a document.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_catalogue_goes_on_after_athens_tokens() {
    let bench = bench().await;
    for module in &modules() {
        bench.subject.save(module).await.unwrap();
    }
    let mut ids: Vec<ObjectId> = Vec::new();
    for document in bench.raw.find("modules", doc! {}).await {
        ids.push(document.get_object_id("_id").unwrap());
    }
    ids.sort();
    let page = bench.storage().catalog(Some(&ids[1].to_hex()), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (1, None));
    let page = bench.storage().catalog(None, 2).await.unwrap();
    assert_eq!(page.next, Some(ids[1].to_hex()));
}

/// Documents of other programs harm nobody.
#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn foreign_documents_are_passed_over() {
    let bench = bench().await;
    for (module, version) in [
        (Bson::from("example.com/a"), Bson::from("master")),
        (Bson::from("example.com/a"), Bson::from("v1")),
        (Bson::from("no module"), Bson::from("v1.0.0")),
        (Bson::from("example.com/a"), Bson::from(5)),
        (Bson::Null, Bson::Null),
    ] {
        bench.raw.insert("modules", doc! { "module": module, "version": version }).await;
    }
    for id in ["text", "another"] {
        bench.raw.insert("modules", doc! { "_id": id, "note": "x" }).await;
    }
    bench.raw.put_zip("README.txt", b"of somebody").await;
    bench.raw.put(&modules()[1]).await;
    assert_eq!(bench.catalog().await.len(), 1);
    assert_eq!(bench.list("example.com/a").await, Vec::<String>::new());
    assert!(bench.read(&modules()[1], FileKind::Zip).await.is_some());
}
