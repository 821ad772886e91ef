//! The end of a process: what is under way is finished, within its time.

use std::time::{Duration, Instant};

use dipylon_testkit::upstream::{Fault, When};
use http::Method;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{MODULE, Setup, VERSION, World, file, until};

#[tokio::test]
async fn a_miss_under_way_at_sigterm_is_finished_and_stored_before_the_end() {
    let mut world = Setup::disk().env("ATHENS_SHUTDOWN_TIMEOUT", "20").start().await;
    let module = world.add_module();
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(700)));
    let (client, path) = (world.client(), file("zip"));
    let asking = tokio::spawn(async move { client.get(&path).await });
    world.until("upstream is asked", || world.asked(&file("zip")) == 1).await;
    world.gateway.signal(Signal::TERM);
    let refused =
        async || world.client().try_request(Method::GET, "/healthz", &[], "").await.is_err();
    until("new connections are refused", refused).await;
    let answer = asking.await.expect("the request ends");
    assert_eq!((answer.status.as_u16(), answer.truncated), (200, false));
    assert_eq!(answer.body, module.zip());
    let status = world.gateway.wait(Duration::from_secs(20)).await.expect("it ends in time");
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
    assert!(world.is_stored(MODULE, VERSION));
    assert!(world.logged("Shutting down server"));
}

#[tokio::test]
async fn what_is_still_running_after_the_shutdown_timeout_makes_the_exit_code_1() {
    let mut world = Setup::disk().env("ATHENS_SHUTDOWN_TIMEOUT", "1").start().await;
    world.may_end_badly();
    world.upstream.fault(When::any(), Fault::HangBeforeHeaders);
    let (client, path) = (world.client(), file("info"));
    let asking = tokio::spawn(async move { client.try_request(Method::GET, &path, &[], "").await });
    world.until("upstream is asked", || world.asked(&file("info")) == 1).await;
    let began = Instant::now();
    let status = world.gateway.terminate().await;
    assert_eq!(status.code(), Some(1));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let said = world.gateway.stderr();
    assert!(
        said.contains("Could not shut down server") && said.contains("ShutdownTimeout"),
        "{said}"
    );
    // Of what is cut off, one part may live a moment longer than the other, and say so.
    if let Ok(answer) = asking.await.expect("the request ends") {
        assert!(answer.status.is_server_error() && answer.text().contains("crashed"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_background_fetch_under_way_at_sigterm_is_finished() {
    let mut world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "async")
        .env("ATHENS_SHUTDOWN_TIMEOUT", "20")
        .start()
        .await;
    world.add_module();
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(700)));
    world.get_refused(&file("info"), 404, &[VERSION]).await;
    world.until("upstream is asked", || world.asked(&file("zip")) == 1).await;
    let status = world.gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
    assert!(world.is_stored(MODULE, VERSION));
}

#[tokio::test]
async fn connections_that_wait_for_nothing_do_not_hold_up_the_end() {
    let mut world = Setup::disk().env("ATHENS_SHUTDOWN_TIMEOUT", "20").start().await;
    let mut used = TcpStream::connect(world.gateway.address()).await.unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut begun = [0; 12];
    used.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let silent = TcpStream::connect(world.gateway.address()).await.unwrap();
    until_connected(&world, 3.0).await;
    let began = Instant::now();
    let status = world.gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop((used, silent));
}

#[tokio::test]
async fn a_first_head_that_never_ends_does_not_hold_up_the_end() {
    let mut world = Setup::disk().env("ATHENS_SHUTDOWN_TIMEOUT", "20").start().await;
    let mut slow = TcpStream::connect(world.gateway.address()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    until_connected(&world, 2.0).await;
    let began = Instant::now();
    let status = world.gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(slow);
}

#[tokio::test]
async fn a_first_head_that_ends_in_time_is_answered_during_the_drain() {
    let mut world = Setup::disk().env("ATHENS_SHUTDOWN_TIMEOUT", "20").start().await;
    world.add_module();
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(2500)));
    let (client, path) = (world.client(), file("zip"));
    // It keeps the drain going while the other's head is still on its way.
    let miss = tokio::spawn(async move { client.get(&path).await });
    world.until("upstream is asked", || world.asked(&file("zip")) == 1).await;
    let mut slow = TcpStream::connect(world.gateway.address()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    until_connected(&world, 3.0).await;
    world.gateway.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(200)).await;
    slow.write_all(b"st: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(miss.await.unwrap().status, 200);
    let status = world.gateway.wait(Duration::from_secs(20)).await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
}

/// Waits until so many connections are accepted, that of the scrape which counts them among them.
async fn until_connected(world: &World, connections: f64) {
    until("the connections are accepted", async || {
        let metrics = world.metrics().await;
        metrics.metric("dipylon_http_server_connections").sum() >= connections
    })
    .await;
}
