//! Every kind of store: save, `.info`, zip, and the list of a module with many versions.

mod fill;
mod places;
#[path = "../../tests/object_storage/raw.rs"]
#[expect(dead_code, reason = "the tests look at what is in a bucket, too")]
mod raw;
#[path = "../../tests/storage_mongo/rows.rs"]
mod rows;

use std::sync::atomic::{AtomicU32, Ordering};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{new_version, read_range, spools_in};
use tokio::runtime::Runtime;

use places::{KINDS, Place};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ZIP_BYTES: usize = 1 << 20;
const LISTED_VERSIONS: u32 = 10_000;
/// The emulator looks at all the objects it has, several times, for each that is written: how long it is filled
/// grows with the square of the versions.
const LISTED_VERSIONS_OF_GCP: u32 = 1_000;
/// Times that the long list is asked for: over a network each takes a second or more.
const LISTED_TIMES: usize = 10;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

struct World<'a> {
    runtime: &'a Runtime,
    place: Place,
}

fn save(group: &mut Group<'_>, world: &World<'_>) {
    let spools = tempfile::tempdir().expect("a folder");
    let spools = spools_in(spools.path());
    let number = AtomicU32::new(0);
    let module = FakeModule::new("example.com/saved", "v1.0.0").filler(ZIP_BYTES);
    group.bench_function("save of 1 MiB", |bench| {
        bench.iter_batched(
            || {
                let version = format!("v1.0.{}", number.fetch_add(1, Ordering::Relaxed));
                // The zip is the same for all of them: the store looks at its end alone.
                let zip = module.zip();
                let module = module.clone().with_version(&version).raw_zip(zip);
                new_version(&spools, &module)
            },
            |new| world.runtime.block_on(world.place.storage.save(new)).expect("a save"),
            criterion::BatchSize::PerIteration,
        );
    });
}

fn read(group: &mut Group<'_>, world: &World<'_>) {
    let module = FakeModule::new("example.com/read", "v1.0.0").filler(ZIP_BYTES);
    let spools = tempfile::tempdir().expect("a folder");
    let new = new_version(&spools_in(spools.path()), &module);
    world.runtime.block_on(world.place.storage.save(new)).expect("a save");
    let path = ModulePath::parse(module.path()).expect("a path");
    let version = Version::parse(module.version()).expect("a version");
    for (name, kind) in [("info", FileKind::Info), ("zip of 1 MiB", FileKind::Zip)] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                world.runtime.block_on(async {
                    let read = world.place.storage.read(&path, &version, kind).await;
                    let blob = read.expect("a read").expect("it is there");
                    read_range(&blob, 0..blob.length()).await.expect("its bytes")
                })
            });
        });
    }
}

fn list(group: &mut Group<'_>, world: &World<'_>) {
    let path = ModulePath::parse("example.com/listed").expect("a path");
    let mut is_filled = false;
    group.sample_size(LISTED_TIMES);
    let (name, count) = match world.place.kind {
        "gcp" => ("list of 1,000 versions", LISTED_VERSIONS_OF_GCP),
        _ => ("list of 10,000 versions", LISTED_VERSIONS),
    };
    group.bench_function(name, |bench| {
        if !std::mem::replace(&mut is_filled, true) {
            let version = |patch| FakeModule::new(path.as_str(), &format!("v1.0.{patch}"));
            let versions = (0..count).map(version);
            world.runtime.block_on(fill::fill(&world.place.inside, versions));
        }
        bench.iter(|| {
            let listed = world.runtime.block_on(world.place.storage.list(&path)).expect("a list");
            assert_eq!(listed.len(), count as usize);
            listed
        });
    });
}

fn storage(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (kind, variable) in KINDS {
        let server = variable.map(|name| std::env::var(name).map_err(|_| name)).transpose();
        let server = match server {
            Ok(server) => server.unwrap_or_default(),
            Err(name) => {
                println!("LEFT OUT: storage {kind}: {name} does not say where its server is");
                continue;
            }
        };
        let world =
            World { place: runtime.block_on(places::open(kind, &server)), runtime: &runtime };
        let mut group = bench.benchmark_group(format!("storage {}", world.place.kind));
        read(&mut group, &world);
        save(&mut group, &world);
        list(&mut group, &world);
        group.finish();
    }
}

criterion::criterion_group!(benches, storage);
criterion::criterion_main!(benches);
