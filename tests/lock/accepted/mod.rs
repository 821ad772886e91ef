//! What is accepted of each kind, measured: three whole gateways before one real service.
//!
//! `DIPYLON_BLESS=1 cargo test --test lock -- --ignored accepted` writes what it saw into the table of
//! `docs/single-flight.md`. Without it the limits are asserted and the page stays as it is.

mod measures;
mod table;

/// The measures of a service, one test each.
macro_rules! accepted {
    ($module:ident, $kind:literal, $start:ident, $reason:literal) => {
        mod $module {
            accepted! { @each $kind, $start, $reason;
                slow_a_thousand_clients_or_200_versions_cost_one_fetch_each_and_leave_nothing,
                slow_another_serves_within_a_lease_and_two_seconds_of_twenty_kills,
                slow_every_request_succeeds_while_the_service_is_dead,
                slow_waiters_see_a_commit_soon,
            }
        }
    };
    (@each $kind:literal, $start:ident, $reason:literal; $($measure:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = $reason]
            async fn $measure() {
                let _alone = super::measures::ALONE.lock().await;
                let service = crate::service::Service::$start().await;
                super::measures::$measure($kind, service).await;
            }
        )*
    };
}

accepted!(on_redis, "redis", redis, "needs the redis program: run by cargo xtask test --slow");
accepted!(
    on_sentinel,
    "redis-sentinel",
    sentinel,
    "needs the redis program: run by cargo xtask test --slow"
);
accepted!(
    on_three_etcd,
    "etcd, three members",
    three_etcd,
    "needs the etcd program: run by cargo xtask test --slow"
);
accepted!(on_s3, "s3: MinIO", minio, "needs minio: run by cargo xtask test --slow");
accepted!(
    on_s3_of_versitygw,
    "s3: versitygw",
    versitygw,
    "needs versitygw: run by cargo xtask test --slow"
);
accepted!(on_gcp, "gcp: fake-gcs-server", gcp, "needs gcs: run by cargo xtask test --slow");
accepted!(
    on_azureblob,
    "azureblob: Azurite",
    azurite,
    "needs azurite: run by cargo xtask test --slow"
);
