//! A collection with more than 100,000 versions of one module, and as many entries of the catalogue: all of
//! them are handed out, in bounded memory.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};

use crate::bench::{Raw, bench, binary};
use crate::program::program;

const VERSIONS: usize = 100_001;
/// So many of them have zips of Athens's, which are looked into.
const BY_ATHENS: usize = 300;
const PAGE: usize = 10_000;
/// Documents that are written at once.
const BATCH: usize = 2_000;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
const MODULE: &str = "example.com/long";

fn version(number: usize) -> String {
    format!("v1.{number}.0")
}

/// Documents as the gateway has them, each with the record of its zip; a list looks no further there.
async fn lay_out(raw: &Raw) {
    for number in 0..BY_ATHENS {
        let module = FakeModule::new(MODULE, &version(number));
        raw.put(&module).await;
    }
    let numbers: Vec<usize> = (BY_ATHENS..VERSIONS).collect();
    for numbers in numbers.chunks(BATCH) {
        let (mut modules, mut files) = (Vec::<Document>::new(), Vec::<Document>::new());
        for number in numbers {
            let (id, version) = (ObjectId::new(), version(*number));
            modules.push(doc! {
                "_id": id,
                "module": MODULE,
                "version": &version,
                "mod": binary(b"module x\n"),
                "info": binary(format!(r#"{{"Version":"{version}"}}"#).as_bytes()),
            });
            files.push(doc! {
                "_id": id,
                "length": 22_i64,
                "chunkSize": 261_120,
                "uploadDate": DateTime::now(),
                "filename": format!("example.com_long_{version}.zip"),
            });
        }
        for (collection, documents) in [("modules", modules), ("fs.files", files)] {
            raw.database.collection(collection).insert_many(documents).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test --slow"]
async fn slow_100_001_versions_are_listed_and_walked_in_bounded_memory() {
    // Opened once, so that the indexes are there.
    let raw = bench().await.raw;
    let began = Instant::now();
    lay_out(&raw).await;
    println!("laid out in {:?}", began.elapsed());
    let versions = (0..VERSIONS).map(version).collect();
    program(raw.database.name()).lists_and_walks(MODULE, versions, PAGE, LIMIT).await;
}
