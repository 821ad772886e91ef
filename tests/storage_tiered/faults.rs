//! What goes wrong on either side, and what a reader sees of it.

use std::sync::atomic::Ordering;

use dipylon_middleware::blob::BlobSource;
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::telemetry::{NearFill, NearRead};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::read_range;
use futures::StreamExt as _;

use crate::bench::Bench;

fn module() -> FakeModule {
    FakeModule::new("example.com/faulty", "v1.0.0").filler(300_000)
}

async fn with_a_copy() -> Bench {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    bench.read(&module(), FileKind::Zip).await.unwrap();
    bench.filled(1).await;
    bench
}

fn tear(bench: &Bench) {
    let copies = bench.files();
    let [copy] = copies.as_slice() else { panic!("{copies:?}") };
    std::fs::File::options().write(true).open(copy).unwrap().set_len(100_000).unwrap();
}

#[tokio::test]
async fn a_torn_copy_is_asked_for_again() {
    let bench = with_a_copy().await;
    tear(&bench);
    bench.read(&module(), FileKind::Zip).await.unwrap();
    assert_eq!((bench.far_reads(), bench.looks(NearRead::Hit)), (2, 0));
    bench.filled(2).await;
    bench.read(&module(), FileKind::Zip).await.unwrap();
    assert_eq!((bench.far_reads(), bench.looks(NearRead::Hit)), (2, 1));
    assert_eq!(bench.telemetry.metrics.tier_bytes.get(()).get() as u64, bench.bytes_on_disk());
}

/// A reader that has begun gets all bytes, whatever becomes of the copy under it.
#[tokio::test]
async fn a_copy_torn_while_it_is_read_costs_the_reader_nothing() {
    for range in [0..module().zip().len() as u64, 50_000..250_000, 150_000..150_001] {
        let bench = with_a_copy().await;
        let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
        assert_eq!(bench.looks(NearRead::Hit), 1);
        tear(&bench);
        let bytes = read_range(&blob, range.clone()).await.unwrap();
        assert!(
            bytes == module().zip().slice(range.start as usize..range.end as usize),
            "{range:?}"
        );
        assert_eq!((bench.far_reads(), bench.looks(NearRead::Failed)), (2, 1), "{range:?}");
        bench.until("the copy is forgotten", || bench.files().is_empty()).await;
        assert_eq!(bench.telemetry.metrics.tier_bytes.get(()).get(), 0);
        assert_eq!(bench.telemetry.metrics.tier_paused.get(()).get(), 0, "the disk is well");
        bench.read(&module(), FileKind::Zip).await.unwrap();
        bench.filled(2).await;
    }
}

#[tokio::test]
async fn a_copy_that_is_removed_while_it_is_read_is_read_to_its_end() {
    let bench = with_a_copy().await;
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    std::fs::remove_file(&bench.files()[0]).unwrap();
    let bytes = read_range(&blob, 0..blob.length()).await.unwrap();
    assert!(bytes == module().zip());
    assert_eq!((bench.far_reads(), bench.looks(NearRead::Failed)), (1, 0));
}

/// Neither side has the rest: the client sees a short body, and no wrong byte.
#[tokio::test]
async fn a_copy_torn_while_the_far_store_is_down_is_an_error() {
    let bench = with_a_copy().await;
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    tear(&bench);
    bench.far.goes_down();
    let failed = read_range(&blob, 0..blob.length()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StorageUnavailable);
    assert!(failed.message().contains("down on purpose"), "{failed}");
    assert_eq!(bench.telemetry.metrics.tier_far_failing.get(()).get(), 1);
}

#[tokio::test]
async fn a_copy_torn_while_nobody_looked_is_removed_at_the_next_start() {
    let bench = with_a_copy().await;
    tear(&bench);
    let bench = bench.restarted().await;
    assert!(bench.files().is_empty());
    bench.read(&module(), FileKind::Zip).await.unwrap();
}

#[tokio::test]
async fn copies_that_somebody_removed_are_asked_for_again() {
    let bench = with_a_copy().await;
    std::fs::remove_dir_all(bench.near.path().join("dipylon-near")).unwrap();
    for _ in 0..3 {
        bench.read_all(&module()).await.unwrap();
    }
    // There is no directory any more: the disk counts as broken, and the far store serves.
    bench.until("a copy has failed", || bench.fills(NearFill::Failed) > 0).await;
    assert_eq!(bench.telemetry.metrics.tier_paused.get(()).get(), 1);
}

#[tokio::test]
async fn a_reader_that_leaves_leaves_no_copy() {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    let BlobSource::Remote(source) = blob.source() else { panic!("{blob:?}") };
    let mut stream = source.open(0..blob.length());
    stream.next().await.unwrap().unwrap();
    drop(stream);
    bench.until("the copy is given up", || bench.fills(NearFill::Cut) == 1).await;
    assert!(bench.files().is_empty());
    assert_eq!(bench.telemetry.metrics.tier_bytes.get(()).get(), 0);
    bench.read(&module(), FileKind::Zip).await.unwrap();
    bench.filled(1).await;
}

#[tokio::test]
async fn a_far_store_that_breaks_off_leaves_no_copy_and_its_error_reaches_the_reader() {
    let bench = Bench::new().await;
    bench.put_far(&module()).await;
    bench.far.cut_after.store(100_000, Ordering::Relaxed);
    let blob = bench.blob(&module(), FileKind::Zip).await.unwrap();
    read_range(&blob, 0..blob.length()).await.unwrap_err();
    bench.until("the copy is given up", || bench.fills(NearFill::Cut) == 1).await;
    assert!(bench.files().is_empty());
    bench.far.cut_after.store(0, Ordering::Relaxed);
    bench.read(&module(), FileKind::Zip).await.unwrap();
    bench.filled(1).await;
}

#[tokio::test]
async fn names_that_are_not_ours_are_left_alone() {
    let bench = with_a_copy().await;
    let shard = bench.files()[0].parent().unwrap().to_owned();
    let foreign = shard.join("somebody-elses");
    let odd = shard.join(format!("{}-+3", "0".repeat(40)));
    for name in [&foreign, &odd] {
        std::fs::write(name, "abc").unwrap();
    }
    let bench = bench.restarted().await;
    assert!(foreign.exists() && odd.exists());
    assert_eq!(bench.telemetry.metrics.tier_files.get(()).get(), 1);
    let far = bench.far.clone();
    let bench = bench.restarted_over(far, "another").await;
    assert!(foreign.exists() && odd.exists());
    assert_eq!(bench.files().len(), 2, "the copy alone is dropped");
}
