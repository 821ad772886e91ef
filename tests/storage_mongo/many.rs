//! More documents than one batch of a list has; a hundred thousand are in `long.rs`.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::many::{self, MODULE};
use mongodb::bson::oid::ObjectId;

use crate::bench::bench;
use crate::rows;

const VERSIONS: u32 = 8_500;
/// Entries of a catalogue page.
const PAGE: usize = 2_900;

/// An id that was made long ago; those of larger numbers come later.
fn id(number: u32) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&0x6000_0000_u32.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_lists_and_catalogues_more_than_a_thousand_versions() {
    let bench = bench().await;
    let module = |number| FakeModule::new(MODULE, &many::version(number));
    let versions: Vec<_> = (0..VERSIONS).map(|number| (id(number), module(number))).collect();
    rows::lay_out(&bench.raw.database, &versions).await;
    many::list_and_catalogue_are_whole(bench.storage(), VERSIONS, PAGE).await;
}
