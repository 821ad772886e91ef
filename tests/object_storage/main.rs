//! Object stores, each against its real server: the compliance suite, Athens's layout in both directions,
//! what a crash leaves, what goes wrong, and the whole program.
//!
//! `cargo xtask test` starts the servers and says in `DIPYLON_TEST_…` where they are.

/// Makes one test of each check for each kind of store; a check takes a bench of it. `versitygw` is a
/// second server that speaks S3.
macro_rules! on_every_kind {
    ($($check:ident),* $(,)?) => { $(
        mod $check {
            use super::super::{azureblob, gcp, minio, s3};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs minio: run by cargo xtask test"]
            async fn on_minio() {
                super::$check(minio::bench().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs minio: run by cargo xtask test"]
            async fn on_s3() {
                super::$check(s3::bench("DIPYLON_TEST_MINIO").await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs versitygw: run by cargo xtask test"]
            async fn on_s3_of_versitygw() {
                super::$check(s3::bench("DIPYLON_TEST_VERSITYGW").await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs gcs: run by cargo xtask test"]
            async fn on_gcp() {
                super::$check(gcp::bench().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs azurite: run by cargo xtask test"]
            async fn on_azureblob() {
                super::$check(azureblob::bench().await).await;
            }
        }
    )* };
}

/// As [`on_every_kind`], of the stores that check the signature of a URL.
macro_rules! on_every_signing_kind {
    ($($check:ident),* $(,)?) => { $(
        mod $check {
            use super::super::{azureblob, minio, s3};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs minio: run by cargo xtask test"]
            async fn on_minio() {
                super::$check(minio::bench().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs minio: run by cargo xtask test"]
            async fn on_s3() {
                super::$check(s3::bench("DIPYLON_TEST_MINIO").await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs versitygw: run by cargo xtask test"]
            async fn on_s3_of_versitygw() {
                super::$check(s3::bench("DIPYLON_TEST_VERSITYGW").await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs azurite: run by cargo xtask test"]
            async fn on_azureblob() {
                super::$check(azureblob::bench().await).await;
            }
        }
    )* };
}

mod azureblob;
mod bench;
mod credentials;
mod failures;
mod front;
mod gcp;
mod layout;
mod long;
mod managed_identity;
mod many;
mod minio;
mod presigned;
mod program;
mod raw;
mod s3;
mod torn;
mod traced;
mod virtual_hosts;
