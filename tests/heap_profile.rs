//! What holds the memory, in a build whose allocator can tell: `cargo xtask test --slow` builds it.

use std::io::Read as _;
use std::net::TcpListener;

use dipylon_testkit::client::Client;
use dipylon_testkit::gateway::Gateway;

async fn heap(malloc: &str) -> (Gateway, dipylon_testkit::client::Response) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    drop(listener);
    let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("ATHENS_ENABLE_PPROF", "true")
        .env("ATHENS_PPROF_PORT", &address)
        .env("_RJEM_MALLOC_CONF", malloc)
        .env("GOPROXY", "off")
        .start()
        .await;
    let response = Client::new(&format!("http://{address}")).get("/debug/pprof/heap").await;
    (gateway, response)
}

#[tokio::test]
async fn a_heap_profile_names_our_functions() {
    // A sample in 4 KiB: a gateway that has just started holds little.
    let (_gateway, heap) = heap("prof:true,lg_prof_sample:12").await;
    assert_eq!(heap.status, 200, "{}", heap.text());
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(&heap.body[..]).read_to_end(&mut profile).expect("it is gzip");
    let text = String::from_utf8_lossy(&profile);
    for word in ["inuse", "bytes", "dipylon::"] {
        assert!(text.contains(word), "{word} is not in {} bytes", profile.len());
    }
}

#[tokio::test]
async fn an_allocator_that_was_not_told_to_sample_says_how() {
    let (_gateway, heap) = heap("prof:false").await;
    assert_eq!(heap.status, 500);
    assert!(heap.text().contains("_RJEM_MALLOC_CONF=prof:true"), "{}", heap.text());
}
