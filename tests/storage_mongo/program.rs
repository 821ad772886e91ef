//! The whole program over a database.

use std::time::Duration;

use dipylon_testkit::services::given::fresh_name;
use dipylon_testkit::storage_program::{self, StoreProgram};

use crate::bench::url;

/// Time for one large transfer; the server that stands for MongoDB here is no fast one.
const TRANSFER_LIMIT: Duration = Duration::from_secs(400);

/// The program over a database.
pub(crate) fn program(database: &str) -> StoreProgram {
    let settings = vec![
        ("ATHENS_STORAGE_TYPE", "mongo".to_owned()),
        ("ATHENS_MONGO_STORAGE_URL", url()),
        ("ATHENS_MONGO_DEFAULT_DATABASE", database.to_owned()),
    ];
    StoreProgram::new(env!("CARGO_BIN_EXE_dipylon"), settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_serves_five_modules_without_an_upstream() {
    let gateway = program(&fresh_name()).serves_five_modules_without_an_upstream().await;
    storage_program::assert_catalogued(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test --slow"]
async fn slow_400_mb_on_mongo() {
    program(&fresh_name()).takes_and_gives_400_mb(TRANSFER_LIMIT).await;
}
