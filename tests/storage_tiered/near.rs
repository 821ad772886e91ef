//! What is served near, and what goes far.

use std::sync::Arc;

use dipylon_middleware::blob::BlobSource;
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::SaveResult;
use dipylon_middleware::telemetry::{NearFill, NearRead};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use futures::StreamExt as _;

use crate::bench::{Bench, bytes_of, keys, names, room};

fn module() -> FakeModule {
    FakeModule::new("example.com/near", "v1.0.0").filler(300_000)
}

#[tokio::test]
async fn what_was_read_once_is_served_without_asking_the_far_store() {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    bench.read_all(&module()).await.unwrap();
    bench.filled(3).await;
    let asked = bench.far_reads();
    bench.read_all(&module()).await.unwrap();
    assert_eq!(bench.far_reads(), asked);
    assert_eq!((bench.looks(NearRead::Hit), bench.looks(NearRead::Miss)), (3, 3));
    let metrics = &bench.telemetry.metrics;
    assert_eq!(metrics.tier_files.get(()).get(), 3);
    assert_eq!(metrics.tier_bytes.get(()).get() as u64, bench.bytes_on_disk());
    let found = metrics.tier_found_bytes.get(()).get();
    let want: usize = FileKind::ALL.into_iter().map(|kind| bytes_of(&module(), kind).len()).sum();
    assert_eq!(found, want as u64);
}

#[tokio::test]
async fn what_was_saved_is_near_at_once() {
    let bench = Bench::new().await;
    assert_eq!(bench.save(&module()).await.unwrap(), SaveResult::Created);
    bench.filled(3).await;
    bench.read_all(&module()).await.unwrap();
    assert_eq!(bench.far_reads(), 0);
}

#[tokio::test]
async fn the_far_store_decides_which_save_is_the_first() {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    // Of the same length, with the same `.mod`, and other bytes.
    let saved = bench.save(&module().altered()).await.unwrap();
    assert_eq!(saved, SaveResult::Existed { same: true });
    bench.read_all(&module()).await.unwrap();
    assert_eq!(bench.far_reads(), 3, "nothing of the second save is near");
}

#[tokio::test]
async fn a_part_of_a_zip_leaves_no_copy_and_a_copy_serves_parts() {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    let part = dipylon_testkit::storage_suite::read_range(&blob, 100..200).await.unwrap();
    assert!(part == module().zip().slice(100..200));
    assert!(bench.files().is_empty());
    bench.read(&module(), FileKind::Zip).await.unwrap();
    bench.filled(1).await;
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    assert_eq!(bench.looks(NearRead::Hit), 1);
    let part = dipylon_testkit::storage_suite::read_range(&blob, 100..200).await.unwrap();
    assert!(part == module().zip().slice(100..200));
}

#[tokio::test]
async fn a_stampede_of_readers_fills_once() {
    let bench = Bench::new().await;
    let module = module().filler(8 << 20);
    bench.put_far(&module).await;
    let blob = bench.blob(&module, FileKind::Zip).await.unwrap();
    let BlobSource::Remote(source) = blob.source() else { panic!("{blob:?}") };
    let streams: Vec<_> = (0..32).map(|_| source.open(0..blob.length())).collect();
    let read = streams
        .into_iter()
        .map(|stream| stream.fold(0, async |sum, chunk| sum + chunk.unwrap().len() as u64));
    for length in futures::future::join_all(read).await {
        assert_eq!(length, blob.length());
    }
    bench.filled(1).await;
    assert_eq!((bench.fills(NearFill::Filled), bench.files().len()), (1, 1));
}

#[tokio::test]
async fn copies_survive_a_restart_and_what_was_on_its_way_does_not() {
    let bench = Bench::new().await;
    bench.save(&module()).await.unwrap();
    bench.filled(3).await;
    let half = bench.near.path().join("dipylon-near/filling/fill-abc");
    std::fs::write(&half, "half a zip").unwrap();
    let bench = bench.restarted().await;
    assert!(!half.exists());
    bench.far.goes_down();
    bench.read_all(&module()).await.unwrap();
    assert_eq!(bench.telemetry.metrics.tier_files.get(()).get(), 3);
}

#[tokio::test]
async fn with_the_far_store_down_what_is_near_is_served() {
    let bench = Bench::new().await;
    let far_only = FakeModule::new("example.com/far", "v1.0.0");
    bench.put_far(&far_only).await;
    bench.save(&module()).await.unwrap();
    bench.filled(3).await;
    bench.far.goes_down();
    bench.read_all(&module()).await.unwrap();
    let failed = bench.read(&far_only, FileKind::Mod).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StorageUnavailable, "an error and no miss");
    assert_eq!(bench.telemetry.metrics.tier_far_failing.get(()).get(), 1);
    let not_ready = bench.tiered.check().await.unwrap_err();
    assert!(not_ready.message().contains("down on purpose; what the near tier has"), "{not_ready}");
    assert!(bench.tiered.list(&names(&module()).0).await.is_err(), "a list is the far store's");
    assert!(bench.save(&FakeModule::new("example.com/new", "v1.0.0")).await.is_err());
    bench.far.comes_back();
    bench.read(&far_only, FileKind::Mod).await.unwrap();
    assert_eq!(bench.telemetry.metrics.tier_far_failing.get(()).get(), 0);
}

/// The stores have the same version, with other bytes of the same length.
#[tokio::test]
async fn copies_of_another_store_are_dropped_and_never_served() {
    let bench = Bench::new().await;
    bench.save(&module()).await.unwrap();
    bench.filled(3).await;
    let (first, other) = (Arc::clone(&bench.far), Bench::new().await);
    other.put_far(&module().altered()).await;
    let mut bench = bench;
    for (far, whose, stored) in
        [(other.far, "another", module().altered()), (first, "far", module())]
    {
        bench = bench.restarted_over(far, whose).await;
        assert_eq!(bench.files(), Vec::<std::path::PathBuf>::new(), "{whose}: none of the other's");
        bench.read_all(&stored).await.unwrap();
        assert_eq!(bench.looks(NearRead::Hit), 0, "{whose}");
        bench.filled(3).await;
        bench.read_all(&stored).await.unwrap();
        assert_eq!(bench.looks(NearRead::Hit), 3, "{whose}");
    }
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let bench = Bench::new().await;
    let keys = keys(bench.near.path(), room());
    let again = dipylon::storage::tiered::over(bench.far.clone(), "far", &keys, &bench.telemetry);
    let refused = again.await.err().expect("it is in use").to_string();
    assert!(refused.contains("another process uses it"), "{refused}");
    assert!(refused.contains("Dipylon.Tiered.Directory"), "{refused}");
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new().await;
    let near = tempfile::tempdir().unwrap();
    let ours = near.path().join("dipylon-near");
    std::fs::create_dir(&ours).unwrap();
    std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o777)).unwrap();
    let keys = keys(near.path(), room());
    let opened = dipylon::storage::tiered::over(bench.far.clone(), "far", &keys, &bench.telemetry);
    let refused = opened.await.err().expect("anybody could put a zip there").to_string();
    assert!(refused.contains("writable by nobody else"), "{refused}");
}

#[tokio::test]
async fn without_a_directory_there_is_no_tier() {
    let bench = Bench::new().await;
    let off = dipylon::config::TieredKeys { directory: None, max_bytes: room() };
    let far = bench.far.clone();
    let plain = dipylon::storage::tiered::over(far, "far", &off, &bench.telemetry).await.unwrap();
    bench.put_far(&module()).await;
    let (path, version) = names(&module());
    for _ in 0..2 {
        plain.read(&path, &version, FileKind::Mod).await.unwrap().unwrap();
    }
    assert_eq!(bench.far_reads(), 2);
}
