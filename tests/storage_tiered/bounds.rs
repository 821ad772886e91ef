//! The limit of the directory.

use dipylon_middleware::telemetry::NearFill;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;

use crate::bench::Bench;

const LIMIT: u64 = 1 << 20;

fn module(number: usize) -> FakeModule {
    FakeModule::new(&format!("example.com/m{number}"), "v1.0.0").filler(60_000)
}

#[tokio::test]
async fn the_directory_never_holds_more_than_its_limit() {
    let bench = Bench::with_room(LIMIT).await;
    for number in 0..60 {
        bench.put_far(&module(number)).await;
    }
    let watched = async {
        let mut most = 0;
        loop {
            most = most.max(bench.bytes_on_disk());
            assert!(most <= LIMIT, "{most} bytes");
            let metrics = &bench.telemetry.metrics;
            assert!(metrics.tier_bytes.get(()).get() as u64 <= LIMIT);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    let used = async {
        for round in 0..3 {
            for number in (0..60).map(|number| (number * 7 + round) % 60) {
                bench.read_all(&module(number)).await.unwrap();
            }
        }
    };
    tokio::select! {
        () = watched => {}
        () = used => {}
    }
    assert!(bench.telemetry.metrics.tier_evictions.get(()).get() > 100);
    assert!(bench.fills(NearFill::Filled) > 100);
    // What is counted is what is there.
    let settled = || {
        let counted = bench.telemetry.metrics.tier_bytes.get(()).get() as u64;
        counted == bench.bytes_on_disk()
    };
    bench.until("counted and there agree", settled).await;
}

#[tokio::test]
async fn what_is_read_often_outlives_a_crawler() {
    let bench = Bench::with_room(LIMIT).await;
    let popular = module(1_000);
    bench.put_far(&popular).await;
    for _ in 0..2 {
        bench.read(&popular, FileKind::Zip).await.unwrap();
        bench.filled(1).await;
    }
    for number in 0..60 {
        bench.put_far(&module(number)).await;
        bench.read(&module(number), FileKind::Zip).await.unwrap();
        bench.filled(number as u64 + 2).await;
    }
    bench.far.goes_down();
    bench.read(&popular, FileKind::Zip).await.unwrap();
    assert!(bench.read(&module(0), FileKind::Zip).await.is_err(), "the crawler's first is gone");
}

#[tokio::test]
async fn a_file_of_more_than_half_the_limit_is_passed_through() {
    let bench = Bench::with_room(LIMIT).await;
    let large = FakeModule::new("example.com/large", "v1.0.0").filler(600 << 10);
    bench.put_far(&large).await;
    bench.read(&large, FileKind::Zip).await.unwrap();
    bench.read(&large, FileKind::Zip).await.unwrap();
    assert_eq!(bench.fills(NearFill::Large), 2);
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn a_lower_limit_holds_from_the_next_start_on() {
    let bench = Bench::with_room(LIMIT * 8).await;
    for number in 0..40 {
        bench.save(&module(number)).await.unwrap();
        bench.filled((number as u64 + 1) * 3).await;
    }
    assert!(bench.bytes_on_disk() > LIMIT);
    let bench = bench.limited(LIMIT).restarted().await;
    let bytes = bench.bytes_on_disk();
    assert!(bytes <= LIMIT && bytes > LIMIT / 2, "{bytes}");
    bench.far.goes_down();
    bench.read_all(&module(39)).await.expect("the youngest stay");
}
