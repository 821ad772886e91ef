//! The whole program over an object store.

use std::time::Duration;

use dipylon_testkit::storage_program::{self, StoreProgram};

use crate::bench::Bench;
use crate::{azureblob, gcp, minio, s3};

/// Time for one large transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(180);

/// The program over a store that a test sees too.
pub(crate) fn program(bench: &Bench) -> StoreProgram {
    let program = StoreProgram::new(env!("CARGO_BIN_EXE_dipylon"), bench.settings.clone());
    let is_secret =
        |name: &str| name.ends_with("SECRET_ACCESS_KEY") || name.ends_with("ACCOUNT_KEY");
    let secrets = bench.settings.iter().filter(|(name, _)| is_secret(name));
    secrets.fold(program, |program, (_, secret)| program.secret(secret))
}

async fn five_modules_are_served_without_an_upstream(bench: Bench) {
    let gateway = program(&bench).serves_five_modules_without_an_upstream().await;
    storage_program::assert_catalogued(&gateway).await;
}

async fn a_zip_of_400_mb_goes_through_in_bounded_memory(bench: Bench) {
    program(&bench).takes_and_gives_400_mb(TRANSFER_LIMIT).await;
}

on_every_kind!(five_modules_are_served_without_an_upstream);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_400_mb_on_minio() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(minio::bench().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_400_mb_on_s3() {
    let bench = s3::bench("DIPYLON_TEST_MINIO").await;
    a_zip_of_400_mb_goes_through_in_bounded_memory(bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs versitygw: run by cargo xtask test --slow"]
async fn slow_400_mb_on_s3_of_versitygw() {
    let bench = s3::bench("DIPYLON_TEST_VERSITYGW").await;
    a_zip_of_400_mb_goes_through_in_bounded_memory(bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs gcs: run by cargo xtask test --slow"]
async fn slow_400_mb_on_gcp() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(gcp::bench().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test --slow"]
async fn slow_400_mb_on_azureblob() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(azureblob::bench().await).await;
}
