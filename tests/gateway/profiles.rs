//! Profiles, on a port of their own.

use std::time::Duration;

use dipylon_testkit::client::Client;

use crate::started::{Started, free_port};

async fn started(switch: &[(&str, &str)]) -> (Started, Client, Client) {
    let (port, profiles) = (free_port(), free_port());
    let (at, profiles_at) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{profiles}"));
    let mut variables = vec![("ATHENS_PORT", at.as_str()), ("ATHENS_PPROF_PORT", &profiles_at)];
    variables.extend_from_slice(switch);
    let program = Started::with(&variables);
    program.until_serving().await;
    let client = |at: &str| Client::new(&format!("http://{at}"));
    let (client, of_profiles) = (client(&at), client(&profiles_at));
    (program, client, of_profiles)
}

#[tokio::test]
async fn the_processor_s_time_is_drawn_and_told_on_a_port_of_its_own() {
    let (_program, client, profiles) = started(&[("ATHENS_ENABLE_PPROF", "true")]).await;
    assert_eq!(client.get("/debug/pprof/").await.status, 404);
    let index = profiles.get("/debug/pprof/").await;
    assert!(index.text().contains("/debug/pprof/flamegraph"), "{}", index.text());
    // What is not running has no stack: something has to run.
    let busy = tokio::spawn(async move {
        loop {
            client.get("/metrics").await;
        }
    });
    let drawn = profiles.get("/debug/pprof/flamegraph?seconds=2").await;
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    assert_eq!(drawn.header("content-type"), Some("image/svg+xml"));
    assert!(drawn.text().contains("<svg") && drawn.text().contains("tokio"));
    let told = profiles.get("/debug/pprof/profile?seconds=1").await;
    assert_eq!(
        (told.status.as_u16(), told.header("content-type")),
        (200, Some("application/octet-stream"))
    );
    let text = String::from_utf8_lossy(&told.body);
    assert!(text.contains("tokio"), "{} bytes", told.body.len());
    busy.abort();
    assert_eq!(profiles.get("/debug/pprof/cmdline").await.status, 404);
}

/// Nothing asks it for anything, so most seconds have no sample.
#[tokio::test]
async fn an_idle_gateway_is_drawn_too() {
    let (_program, _client, profiles) = started(&[("ATHENS_ENABLE_PPROF", "true")]).await;
    for _ in 0..3 {
        let drawn = profiles.get("/debug/pprof/flamegraph?seconds=1").await;
        assert!(drawn.status == 200 && drawn.text().contains("<svg"), "{:?}", drawn.body);
    }
}

#[tokio::test]
async fn two_profiles_at_once_are_refused_and_a_client_that_leaves_ends_its_own() {
    let (_program, _client, profiles) = started(&[("ATHENS_ENABLE_PPROF", "true")]).await;
    let long = profiles.get("/debug/pprof/profile?seconds=300");
    let (left, refused) = tokio::join!(tokio::time::timeout(Duration::from_secs(2), long), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        profiles.get("/debug/pprof/profile?seconds=1").await
    });
    assert!(left.is_err(), "a profile of 300 s came within two");
    assert_eq!(refused.status, 500);
    assert!(refused.text().starts_with("cannot take a profile: "), "{}", refused.text());
    crate::world::until("the first profile has ended", async || {
        profiles.get("/debug/pprof/profile?seconds=1").await.status == 200
    })
    .await;
}

#[cfg(not(feature = "jemalloc"))]
#[tokio::test]
async fn an_allocator_without_a_profile_says_which_has_one() {
    let (_program, _client, profiles) = started(&[("ATHENS_ENABLE_PPROF", "true")]).await;
    let heap = profiles.get("/debug/pprof/heap").await;
    assert_eq!(heap.status, 500);
    assert!(heap.text().contains("`--features jemalloc`"), "{}", heap.text());
}

#[tokio::test]
async fn without_the_switch_nothing_listens() {
    let (_program, _client, profiles) = started(&[]).await;
    let refused = tokio::net::TcpStream::connect(profiles.address()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
