//! More documents than one batch of a cursor has; a hundred thousand are in `long.rs`.

use dipylon_testkit::storage_suite::many::{self, MODULE};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};

use crate::bench::{Bench, bench, binary};

const VERSIONS: u32 = 2_500;
/// Documents sent at once.
const BATCH: u32 = 1_000;
/// Entries of a catalogue page.
const PAGE: usize = 700;

/// An id that was made long ago; those of larger numbers come later.
fn id(number: u32) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&0x6000_0000_u32.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// Versions as Athens lays them out; their zips are records alone, which a list does not look into.
async fn fill(bench: &Bench, versions: u32) {
    let collection = |name: &str| bench.raw.database.collection::<Document>(name);
    for first in (0..versions).step_by(BATCH as usize) {
        let numbers = || first..versions.min(first + BATCH);
        let documents = numbers().map(|number| {
            let version = many::version(number);
            let info = format!("{{\"Version\":\"{version}\",\"Time\":\"2024-01-02T03:04:05Z\"}}");
            doc! {
                "_id": id(number), "module": MODULE, "version": version,
                "mod": binary(b"module example.com/many\n"), "info": binary(info.as_bytes()),
            }
        });
        collection("modules").insert_many(documents.collect::<Vec<_>>()).await.unwrap();
        let records = numbers().map(|number| {
            doc! {
                "_id": id(number), "length": 1_000_i64, "chunkSize": 261_120,
                "uploadDate": DateTime::now(),
                "filename": format!("example.com_many_v1.0.{number}.zip"),
            }
        });
        collection("fs.files").insert_many(records.collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_lists_and_catalogues_more_than_a_thousand_versions() {
    let bench = bench().await;
    fill(&bench, VERSIONS).await;
    many::list_and_catalogue_are_whole(bench.storage(), VERSIONS, PAGE).await;
}
