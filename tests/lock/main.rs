//! Locks across replicas: the lock suite on every service, and whole gateways that share a store.

mod accepted;
mod asks_again;
mod careless;
mod cases;
mod fleet;
mod for_now;
mod kills;
mod leash;
mod line;
mod on_etcd;
mod on_redis;
mod on_sentinel;
mod on_stores;
#[path = "../object_storage/raw.rs"]
mod raw;
#[path = "../storage_faults/relay.rs"]
#[allow(dead_code, reason = "its faults are another suite's")]
mod relay;
mod service;
mod shown;
mod stores;
mod traced;
mod troubles;
mod unanswered;

/// One test per case of [`cases`], or of [`troubles`], for a service.
macro_rules! fleet_suite {
    ($start:path, $reason:literal) => {
        fleet_suite! { @cases $start, $reason;
            many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
            many_cold_versions_at_once_are_fetched_once_each,
            what_is_not_there_is_asked_for_once_by_three_hundred_clients,
            what_the_checksum_database_refuses_is_fetched_once,
            the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
            when_the_service_is_stopped_every_request_succeeds_and_recovery_is_automatic,
            without_the_service_at_the_start_the_gateways_start_and_serve,
            a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version,
            the_async_modes_store_under_a_lock,
            a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back,
        }
    };
    (@cases $start:path, $reason:literal; $($case:ident),* $(,)?) => {
        fleet_suite! { @of cases, $start, $reason; $($case),* }
    };
    (@troubles $start:path, $reason:literal; $($case:ident),* $(,)?) => {
        fleet_suite! { @of troubles, $start, $reason; $($case),* }
    };
    (@of $cases:ident, $start:path, $reason:literal; $($case:ident),*) => {
        $(
            #[tokio::test]
            #[ignore = $reason]
            async fn $case() {
                crate::$cases::$case($start().await).await;
            }
        )*
    };
}

mod fleet_on_redis {
    fleet_suite!(
        crate::service::Service::redis,
        "needs the redis program: run by cargo xtask test"
    );
}

mod fleet_on_sentinel {
    fleet_suite! { @cases crate::service::Service::sentinel,
        "needs the redis program: run by cargo xtask test";
        what_is_not_there_is_asked_for_once_by_three_hundred_clients,
        what_the_checksum_database_refuses_is_fetched_once,
        a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version,
        the_async_modes_store_under_a_lock,
        a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
    }
}

mod fleet_on_etcd {
    fleet_suite!(crate::service::Service::etcd, "needs the etcd program: run by cargo xtask test");
}

mod fleet_on_three_etcd {
    fleet_suite! { @cases crate::service::Service::three_etcd,
        "needs the etcd program: run by cargo xtask test";
        many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
        many_cold_versions_at_once_are_fetched_once_each,
        what_is_not_there_is_asked_for_once_by_three_hundred_clients,
        what_the_checksum_database_refuses_is_fetched_once,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
        a_leader_that_is_killed_during_a_hold_costs_no_second_fetch,
    }
}

mod fleet_on_s3 {
    fleet_suite! { @cases crate::service::Service::minio, "needs minio: run by cargo xtask test";
        many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
        many_cold_versions_at_once_are_fetched_once_each,
        who_waits_sees_a_commit_within_its_poll,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
        when_the_store_is_cut_off_misses_stream_through_unstored_and_are_flagged,
        a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version,
        the_async_modes_store_under_a_lock,
        a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back,
    }
}

/// One test per moment of [`kills`] for a service.
macro_rules! kills {
    ($module:ident, $start:ident, $reason:literal) => {
        mod $module {
            kills! { @each $start, $reason;
                a_holder_killed_before_the_first_byte_is_replaced_within_a_lease,
                a_holder_killed_at_half_of_the_zip_is_replaced_within_a_lease,
                a_holder_killed_after_the_last_byte_is_replaced_within_a_lease,
                a_holder_killed_after_the_commit_costs_no_second_fetch,
            }
        }
    };
    (@each $start:ident, $reason:literal; $($moment:ident),* $(,)?) => {
        kills! { @named $start, $reason; $($moment => $moment),* }
    };
    (@named $start:ident, $reason:literal; $($name:ident => $moment:ident),* $(,)?) => {
        $(
            #[tokio::test]
            #[ignore = $reason]
            async fn $name() {
                crate::kills::$moment(crate::service::Service::$start().await).await;
            }
        )*
    };
}

kills!(kills_on_redis, redis, "needs the redis program: run by cargo xtask test");
kills!(kills_on_sentinel, sentinel, "needs the redis program: run by cargo xtask test");
kills!(kills_on_three_etcd, three_etcd, "needs the etcd program: run by cargo xtask test");
#[tokio::test]
#[ignore = "needs the etcd program: run by cargo xtask test"]
async fn a_holder_killed_with_the_leader_is_replaced_when_its_lease_began_anew() {
    let service = service::Service::three_etcd().await;
    kills::a_holder_killed_with_the_leader_is_replaced_when_its_lease_began_anew(service).await;
}

kills!(kills_on_s3, minio, "needs minio: run by cargo xtask test");
kills!(kills_on_gcp, gcp, "needs gcs: run by cargo xtask test");
/// Each waits for a lease of 15 s, and all of them together for a store that runs on one core.
mod kills_on_azureblob {
    kills! { @named azurite, "needs azurite: run by cargo xtask test --slow";
        slow_a_holder_killed_before_the_first_byte_is_replaced_within_a_lease =>
            a_holder_killed_before_the_first_byte_is_replaced_within_a_lease,
        slow_a_holder_killed_at_half_of_the_zip_is_replaced_within_a_lease =>
            a_holder_killed_at_half_of_the_zip_is_replaced_within_a_lease,
        slow_a_holder_killed_after_the_last_byte_is_replaced_within_a_lease =>
            a_holder_killed_after_the_last_byte_is_replaced_within_a_lease,
        slow_a_holder_killed_after_the_commit_costs_no_second_fetch =>
            a_holder_killed_after_the_commit_costs_no_second_fetch,
    }
}

mod troubles_of_redis {
    fleet_suite! { @troubles crate::service::Service::redis,
        "needs the redis program, toxiproxy: run by cargo xtask test";
        a_slow_line_that_breaks_and_is_down_for_a_while_costs_a_holder_nothing,
        a_service_that_swallows_everything_delays_the_first_miss_by_its_timeout_at_most,
        a_full_server_costs_no_answer_and_is_used_again,
        a_server_that_takes_our_rights_away_costs_no_answer_and_is_used_again,
    }
}

mod troubles_of_etcd {
    fleet_suite! { @troubles crate::service::Service::etcd,
        "needs the etcd program, toxiproxy: run by cargo xtask test";
        a_slow_line_that_breaks_and_is_down_for_a_while_costs_a_holder_nothing,
        a_service_that_swallows_everything_delays_the_first_miss_by_its_timeout_at_most,
    }
}

mod troubles_of_s3 {
    fleet_suite! { @troubles crate::service::Service::minio,
        "needs minio, toxiproxy: run by cargo xtask test";
        a_service_that_swallows_everything_delays_the_first_miss_by_its_timeout_at_most,
    }
}

mod fleet_on_s3_of_versitygw {
    fleet_suite! { @cases crate::service::Service::versitygw,
        "needs versitygw: run by cargo xtask test";
        many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
        many_cold_versions_at_once_are_fetched_once_each,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
    }
}

mod fleet_on_gcp {
    fleet_suite! { @cases crate::service::Service::gcp, "needs gcs: run by cargo xtask test";
        many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
        many_cold_versions_at_once_are_fetched_once_each,
        who_waits_sees_a_commit_within_its_poll,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
        when_the_store_is_cut_off_misses_stream_through_unstored_and_are_flagged,
        a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version,
        the_async_modes_store_under_a_lock,
        a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back,
    }
}

mod fleet_on_azureblob {
    fleet_suite! { @cases crate::service::Service::azurite, "needs azurite: run by cargo xtask test";
        many_clients_of_three_replicas_cost_one_fetch_and_leave_no_key,
        many_cold_versions_at_once_are_fetched_once_each,
        who_waits_sees_a_commit_within_its_poll,
        the_worst_of_three_killed_holders_is_replaced_within_the_lease_and_two_seconds,
        when_the_store_is_cut_off_misses_stream_through_unstored_and_are_flagged,
        slow_a_holder_that_is_stopped_for_three_leases_comes_back_to_one_stored_version,
        the_async_modes_store_under_a_lock,
        a_holder_that_is_told_to_stop_stores_and_gives_its_lock_back,
    }
}
