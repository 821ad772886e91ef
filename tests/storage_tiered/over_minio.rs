//! Over MinIO: the compliance suite, and what a hit costs near and far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon::config::{MinioStorage, Secret, UrlText};
use dipylon_middleware::ports::Storage;
use dipylon_middleware::telemetry::NearFill;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use dipylon_testkit::storage_suite::{Subject, new_version, spools_in};

use crate::bench::{opened, room};

/// More versions than one page of 1,000 names has.
const MANY_VERSIONS: usize = 340;

mod suite {
    dipylon_testkit::storage_suite!(super::fresh, "needs minio: run by cargo xtask test");
}

fn config() -> MinioStorage {
    let server = KeyedServer::of("DIPYLON_TEST_MINIO");
    MinioStorage {
        endpoint: UrlText::new(server.endpoint),
        key: Secret::new(server.key),
        secret: Secret::new(server.secret),
        enable_ssl: true,
        bucket: fresh_name(),
        region: String::new(),
    }
}

async fn fresh() -> Subject {
    let far = dipylon::storage::minio::open(&config(), &|_| None).await.unwrap();
    let near = tempfile::tempdir().unwrap();
    let (tiered, _) = opened(far, near.path(), room()).await;
    Subject::new(tiered).refusing_token("no name").many_versions(MANY_VERSIONS).keep(near)
}

/// Reads of one file in a row.
const ROUNDS: usize = 60;

/// What a hit costs near and far: opening and reading a whole file, without the rest of the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_a_near_hit_is_faster_than_a_far_one() {
    let config = config();
    let far = dipylon::storage::minio::open(&config, &|_| None).await.unwrap();
    let near = tempfile::tempdir().unwrap();
    let (tiered, telemetry) = opened(far.clone(), near.path(), room()).await;
    let spools = tempfile::tempdir().unwrap();
    for bytes in [20_000, 1 << 20, 36 << 20] {
        let module = FakeModule::new(&format!("example.com/size{bytes}"), "v1.0.0").filler(bytes);
        tiered.save(new_version(&spools_in(spools.path()), &module)).await.unwrap();
    }
    let filled = telemetry.metrics.tier_fills.get((NearFill::Filled,)).clone();
    while filled.get() < 9 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (bytes, kind) in [
        (20_000, FileKind::Mod),
        (20_000, FileKind::Zip),
        (1 << 20, FileKind::Zip),
        (36 << 20, FileKind::Zip),
    ] {
        let module = format!("example.com/size{bytes}");
        let far = median(&far, &module, kind).await;
        let near = median(&tiered, &module, kind).await;
        println!("{kind:?} of {bytes} bytes: near {near:?}, far {far:?}");
        assert!(near < far, "{kind:?} of {bytes} bytes: near {near:?}, far {far:?}");
    }
}

async fn median(storage: &Arc<dyn Storage>, module: &str, kind: FileKind) -> Duration {
    let (module, version) = (ModulePath::parse(module).unwrap(), Version::parse("v1.0.0").unwrap());
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let blob = storage.read(&module, &version, kind).await.unwrap().expect("it is stored");
        let whole = dipylon_middleware::body::blob(&blob, 0..blob.length());
        let read = http_body_util::BodyExt::collect(whole).await.unwrap().to_bytes();
        assert_eq!(read.len() as u64, blob.length());
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[ROUNDS / 2]
}
