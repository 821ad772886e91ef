//! What goes wrong between the gateway and its store: the whole program, real servers, and toxiproxy
//! between them. Each row of the table below is a fault and each column a backend; where a cell says "-"
//! the fault cannot be. What holds in every other cell: never a wrong byte, never a 404 for what is stored;
//! an answer of the upstream's or a 5xx that names backend, operation and cause; and all is well again
//! without a restart.
//!
//! | fault | minio | s3 | s3 (versitygw) | gcp | azureblob | mongo | external | disk | memory |
//! |---|---|---|---|---|---|---|---|---|---|
//! | down in mid-flight | here | here | here | here | here | here | here | here | here |
//! | down at start | here | here | here | here | here | here | here | refused | refused |
//! | offline and down | here | here | here | here | here | here | here | here | - (6) |
//! | latency, cut | here | here | here | here | here | here | here | - (7) | - (7) |
//! | black hole (`slow_` but on minio, disk) | here | here | here | here | here | here | here | here | (8) |
//! | 1 kB/s (`slow_` but on minio) | here | here | here | here | here | here | here | - (7) | - (7) |
//! | down, with a near tier | here | (5) | (5) | (5) | (5) | (5) | here | (5) | (5) |
//! | a page of a list breaks off | here | here | here | here | here | (10) | here | - (7) | - (7) |
//! | busy, asked again | (9) | (9) | (9) | (9) | (9) | (9) | here | - (7) | - (7) |
//! | reads that lag behind writes | here | here | here | (1) | here | (2) | here | - (7) | - (7) |
//! | wrong credentials, no permission | O | O | O | O | O | here, M | here | S | (8) |
//! | read-only | - | - | - | - | - | - | - | S | (8) |
//! | full | (3) | (3) | (3) | (3) | (3) | (3) | (3) | here | (8) |
//! | missing bucket, or root | made | O | O | O | O | made | - | here | here |
//! | wrong region | (4) | (4) | here | - | - | - | - | - | - |
//! | foreign objects, half-written versions | O | O | O | O | O | M | E | S | (8) |
//!
//! O: `tests/object_storage`, M: `tests/storage_mongo`, E: `tests/storage_external`, S: `tests/storage`.
//! (1) The emulator is asked by another protocol; the store itself promises to read what was written.
//! (2) Reads go to the primary. (3) Is a refusal like any other: what the server answers, the log has.
//! (4) MinIO takes any region. (5) The tier knows no kinds: it is over the same stack. (6) It is empty at
//! the start, and nothing can be brought in offline. (7) There is no line: a file is there or not, and a
//! disk that is slow is waited for. (8) It is the disk's own code over a directory of one process, so the
//! disk's tests hold. (9) Their clients repeat by themselves. (10) Its list
//! is one cursor, which breaks with its connection: an error like those of "latency, cut".

/// One test of a fault over each of these backends; of those that are `slow` in a run that is.
macro_rules! over {
    (@run minio, $fault:path) => {
        over! { @cell "needs toxiproxy, minio: run by cargo xtask test", on_minio, minio, $fault }
    };
    (@run s3, $fault:path) => {
        over! { @cell "needs toxiproxy, minio: run by cargo xtask test", on_s3, s3, $fault }
    };
    (@run s3_of_versitygw, $fault:path) => {
        over! { @cell "needs toxiproxy, versitygw: run by cargo xtask test",
            on_s3_of_versitygw, s3_of_versitygw, $fault }
    };
    (@run gcp, $fault:path) => {
        over! { @cell "needs toxiproxy, gcs: run by cargo xtask test", on_gcp, gcp, $fault }
    };
    (@run azureblob, $fault:path) => {
        over! { @cell "needs toxiproxy, azurite: run by cargo xtask test", on_azureblob, azureblob, $fault }
    };
    (@run mongo, $fault:path) => {
        over! { @cell "needs toxiproxy, mongo: run by cargo xtask test", on_mongo, mongo, $fault }
    };
    (@run external, $fault:path) => {
        over! { @cell "needs toxiproxy: run by cargo xtask test", on_external, external, $fault }
    };
    (@slow s3, $fault:path) => {
        over! { @cell "needs toxiproxy, minio: run by cargo xtask test --slow", slow_on_s3, s3, $fault }
    };
    (@slow s3_of_versitygw, $fault:path) => {
        over! { @cell "needs toxiproxy, versitygw: run by cargo xtask test --slow",
            slow_on_s3_of_versitygw, s3_of_versitygw, $fault }
    };
    (@slow gcp, $fault:path) => {
        over! { @cell "needs toxiproxy, gcs: run by cargo xtask test --slow", slow_on_gcp, gcp, $fault }
    };
    (@slow azureblob, $fault:path) => {
        over! { @cell "needs toxiproxy, azurite: run by cargo xtask test --slow", slow_on_azureblob, azureblob, $fault }
    };
    (@slow mongo, $fault:path) => {
        over! { @cell "needs toxiproxy, mongo: run by cargo xtask test --slow", slow_on_mongo, mongo, $fault }
    };
    (@slow external, $fault:path) => {
        over! { @cell "needs toxiproxy: run by cargo xtask test --slow", slow_on_external, external, $fault }
    };
    (@cell $needs:literal, $test:ident, $backend:ident, $fault:path) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = $needs]
        async fn $test() {
            $fault(crate::backend::$backend().await).await;
        }
    };
    ($fault:path: $($backend:ident),* $(; slow: $($slow:ident),*)?) => {
        $( over! { @run $backend, $fault } )*
        $( $( over! { @slow $slow, $fault } )* )?
    };
}

/// Makes one test of each fault for each backend. Of `slow` faults one backend is tried in every run.
macro_rules! faults {
    ($($module:ident :: $fault:ident),* $(,)? ; slow: $($slow_module:ident :: $slow:ident),* $(,)?) => {
        $(
            mod $fault {
                over! { crate::$module::$fault:
                    minio, s3, s3_of_versitygw, gcp, azureblob, mongo, external }
            }
        )*
        $(
            mod $slow {
                over! { crate::$slow_module::$slow:
                    minio; slow: s3, s3_of_versitygw, gcp, azureblob, mongo, external }
            }
        )*
    };
}

mod backend;
mod broken_pages;
mod credentials;
mod disk;
mod lag;
mod outage;
mod region;
mod relay;
mod retried;
mod tier;
mod trouble;
mod world;

faults! {
    outage::server_down_in_mid_flight,
    outage::server_down_at_start,
    outage::offline_with_the_server_down,
    trouble::latency,
    trouble::cut_in_the_middle,
    ;
    slow: outage::black_hole, trouble::one_kilobyte_a_second
}
