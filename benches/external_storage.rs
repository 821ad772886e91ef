//! A store behind the external storage protocol: client, server and disk in one process, over loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput};
use dipylon::config::{ExternalStorage, UrlText};
use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{new_version, read_range, spools_in};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GROUP: &str = "external storage";
const ZIP_BYTES: usize = 1 << 20;
const LISTED_VERSIONS: u32 = 10_000;

struct World {
    runtime: Runtime,
    root: TempDir,
    storage: Arc<dyn Storage>,
}

impl World {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().to_owned();
        let storage = runtime.block_on(async {
            let disk = dipylon::storage::disk(path).await.expect("a store");
            let listener = Listener::tcp("127.0.0.1:0").await.expect("a free port");
            let url = UrlText::new(format!("http://{}", listener.address()));
            let options = Options { log_access: false, ..Options::default() };
            tokio::spawn(serve(disk, listener, options, std::future::pending()));
            dipylon::storage::external::open(&ExternalStorage { url }, &|_| None)
                .await
                .expect("a client")
        });
        Self { runtime, root, storage }
    }
}

fn save(bench: &mut Criterion, world: &World) {
    let spools = tempfile::tempdir().expect("a folder");
    let spools = spools_in(spools.path());
    let number = AtomicU32::new(0);
    let module = FakeModule::new("example.com/saved", "v1.0.0").filler(ZIP_BYTES);
    let mut group = bench.benchmark_group(GROUP);
    group.throughput(Throughput::Bytes(ZIP_BYTES as u64));
    group.bench_function(BenchmarkId::from_parameter("save of 1 MiB"), |bench| {
        bench.iter_batched(
            || {
                let version = format!("v1.0.{}", number.fetch_add(1, Ordering::Relaxed));
                // The zip is the same for all of them: the store looks at its end alone.
                let zip = module.zip();
                let module = module.clone().with_version(&version).raw_zip(zip);
                new_version(&spools, &module)
            },
            |new| world.runtime.block_on(world.storage.save(new)).expect("a save"),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read(bench: &mut Criterion, world: &World) {
    let module = FakeModule::new("example.com/read", "v1.0.0").filler(ZIP_BYTES);
    lay_out(world.root.path(), &module);
    let path = ModulePath::parse(module.path()).expect("a path");
    let version = Version::parse(module.version()).expect("a version");
    let mut group = bench.benchmark_group(GROUP);
    for (name, kind) in [("info", FileKind::Info), ("zip of 1 MiB", FileKind::Zip)] {
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| {
                world.runtime.block_on(async {
                    let blob = world.storage.read(&path, &version, kind).await.expect("a read");
                    let blob = blob.expect("it is there");
                    read_range(&blob, 0..blob.length()).await.expect("its bytes")
                })
            });
        });
    }
    group.finish();
}

fn list(bench: &mut Criterion, world: &World) {
    for patch in 0..LISTED_VERSIONS {
        let module = FakeModule::new("example.com/listed", &format!("v1.0.{patch}"));
        lay_out(world.root.path(), &module);
    }
    let path = ModulePath::parse("example.com/listed").expect("a path");
    let mut group = bench.benchmark_group(GROUP);
    group.bench_function(BenchmarkId::from_parameter("list of 10,000 versions"), |bench| {
        bench.iter(|| {
            let listed = world.runtime.block_on(world.storage.list(&path)).expect("a list");
            assert_eq!(listed.len(), LISTED_VERSIONS as usize);
            listed
        });
    });
    group.finish();
}

/// Writes a version where the disk store looks for it.
fn lay_out(root: &Path, module: &FakeModule) {
    let folder = root.join(module.path()).join(module.version());
    std::fs::create_dir_all(&folder).expect("a folder");
    let info = format!("{}.info", module.version());
    std::fs::write(folder.join("go.mod"), module.go_mod_bytes()).expect("a file");
    std::fs::write(folder.join("source.zip"), module.zip()).expect("a file");
    std::fs::write(folder.join(info), module.info()).expect("a file");
}

fn external_storage(bench: &mut Criterion) {
    let world = World::start();
    save(bench, &world);
    read(bench, &world);
    list(bench, &world);
}

criterion::criterion_group!(benches, external_storage);
criterion::criterion_main!(benches);
