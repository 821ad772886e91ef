//! A collector that is not there, or does not answer, costs requests nothing and a drain little.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::world::{VERSION, World, file};

const REQUESTS: usize = 300;
/// Far above what the requests take, far below what one export's timeout is.
const RUN_MAX: Duration = Duration::from_secs(8);
/// The flush has five seconds; the rest is the drain, on a busy machine.
const EXIT_MAX: Duration = Duration::from_secs(10);

async fn serves_and_ends(url: &str, protocol: &str) {
    let mut world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", url),
        ("DIPYLON_OTLP_PROTOCOL", protocol),
    ])
    .await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..REQUESTS {
        let answer = world.get(&file(VERSION, "info")).await;
        assert_eq!(answer.status, 200);
        slowest = slowest.max(answer.total);
    }
    let took = began.elapsed();
    assert!(took < RUN_MAX, "{protocol}: {REQUESTS} hits took {took:?}, the slowest {slowest:?}");
    let began = Instant::now();
    world.end().await;
    let exit = began.elapsed();
    assert!(exit < EXIT_MAX, "{protocol}: the end took {exit:?}");
    println!(
        "{protocol} to {url}: {REQUESTS} hits in {took:?}, slowest {slowest:?}, end in {exit:?}"
    );
}

#[tokio::test]
async fn a_collector_that_is_gone_slows_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    for protocol in ["grpc", "http"] {
        serves_and_ends(&url, protocol).await;
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_slows_nothing() {
    // The kernel takes connections; nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    for protocol in ["grpc", "http"] {
        serves_and_ends(&url, protocol).await;
    }
}
