use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::nanos::Nanos;
use http::Response;
use tower::Layer as _;
use tower::util::ServiceExt as _;

use super::state::{Client, Counted, Shard};
use super::{AGED_OUT_EVERY, CLIENTS_MAX, RateLimitLayer};
use crate::body::{self, Body};
use crate::budget::Rate;
use crate::error::{Error, ErrorKind};
use crate::render;
use crate::request::EdgeRequest;
use crate::stack::Border;
use crate::telemetry::Telemetry;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, edge, header, leaf, telemetry, text_of};

const LIST: &str = "/a.b/c/@v/list";

fn layer(per_second: u32, burst: u32, telemetry: &Telemetry) -> RateLimitLayer {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    let rate = Rate { per_second: number(per_second), burst: number(burst) };
    RateLimitLayer::new(rate, false, telemetry)
}

fn hello(_: EdgeRequest) -> Result<Response<Body>, Error> {
    Ok(Response::new(body::full("hello")))
}

/// A gateway that says hello.
fn limited(per_second: u32, burst: u32) -> Border<EdgeRequest, Response<Body>> {
    Border::new(layer(per_second, burst, &telemetry()).layer(leaf(hello)))
}

fn from(address: IpAddr, path: &str) -> EdgeRequest {
    let mut request = edge("GET", path);
    request.peer = Some(SocketAddr::new(address, 4711));
    request
}

async fn ask(
    service: &Border<EdgeRequest, Response<Body>>,
    address: &str,
) -> Result<Response<Body>, Error> {
    call(service, from(address.parse().expect("an address"), LIST)).await
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_then_as_many_as_the_rate_allows() {
    let service = limited(2, 3);
    for _ in 0..3 {
        ask(&service, "192.0.2.1").await.expect("within the burst");
    }
    let refused = ask(&service, "192.0.2.1").await.expect_err("beyond the burst");
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    assert_eq!(refused.retry_after(), Some(SECOND / 2));
    tokio::time::advance(SECOND / 2).await;
    ask(&service, "192.0.2.1").await.expect("what the refusal promised");
    ask(&service, "192.0.2.1").await.expect_err("one, and no more");
    tokio::time::advance(100 * SECOND).await;
    for _ in 0..3 {
        ask(&service, "192.0.2.1").await.expect("a pause fills the bucket");
    }
    ask(&service, "192.0.2.1").await.expect_err("and not beyond its size");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_429_in_one_line_with_whole_seconds_to_wait_at_least_one() {
    for (per_second, burst) in [(1, 1), (1000, 1), (1, 1000)] {
        let service = limited(per_second, burst);
        for _ in 0..burst {
            ask(&service, "192.0.2.1").await.expect("within the burst");
        }
        tokio::time::advance(Duration::from_micros(1)).await;
        let response = render::error(&ask(&service, "192.0.2.1").await.expect_err("beyond it"));
        assert_eq!(response.status(), 429);
        assert_eq!(header(&response, "retry-after"), Some("1"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        let text = text_of(response).await;
        assert_eq!(text.lines().count(), 1, "{text}");
        let rate = format!("takes {per_second} a second from a client, and {burst} at once");
        assert!(text.contains("from 192.0.2.1: ") && text.contains(&rate), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_costs_nothing_of_what_comes_next() {
    let service = limited(1, 1);
    ask(&service, "192.0.2.1").await.expect("the first");
    for _ in 0..1000 {
        ask(&service, "192.0.2.1").await.expect_err("beyond the rate");
    }
    tokio::time::advance(SECOND).await;
    ask(&service, "192.0.2.1").await.expect("impatience is not punished");
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_count_for_one_another() {
    let service = limited(1, 1);
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
        ask(&service, address).await.expect(address);
        ask(&service, address).await.expect_err(address);
    }
}

#[tokio::test(start_paused = true)]
async fn all_addresses_of_one_client_count_together() {
    for (first, second, named) in [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "from 2001:db8:0:1::/64: "),
        ("192.0.2.1", "::ffff:192.0.2.1", "from 192.0.2.1: "),
    ] {
        let service = limited(1, 1);
        ask(&service, first).await.expect(first);
        let refused = ask(&service, second).await.expect_err(second);
        assert!(refused.message().contains(named), "{refused}");
    }
    let service = limited(1, 1);
    call(&service, edge("GET", LIST)).await.expect("the first by the unix socket");
    let refused = call(&service, edge("GET", LIST)).await.expect_err("the second");
    assert!(refused.message().contains("from the unix socket: "), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn who_watches_the_gateway_is_never_limited_nor_counted() {
    let address = "192.0.2.1".parse().expect("an address");
    let service = limited(1, 1);
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..10 {
            call(&service, from(address, path)).await.expect(path);
        }
    }
    ask(&service, "192.0.2.1").await.expect("the first that counts");
    for path in ["/", "/metrics/", "/healthz/@v/list", "/%68ealthz"] {
        call(&service, from(address, path)).await.expect_err(path);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_with_full_buckets_are_forgotten_and_those_without_are_not() {
    let telemetry = telemetry();
    let known = telemetry.metrics.rate_limit_clients.get(()).clone();
    let service = Border::new(layer(1, 5, &telemetry).layer(leaf(hello)));
    for _ in 0..5 {
        ask(&service, "192.0.2.1").await.expect("within the burst");
    }
    ask(&service, "192.0.2.2").await.expect("within the burst");
    assert_eq!(known.get(), 2);
    tokio::time::advance(2 * AGED_OUT_EVERY).await;
    ask(&service, "192.0.2.3").await.expect("within the burst");
    assert_eq!(known.get(), 2, "the one that asked once is forgotten");
    for _ in 0..2 {
        ask(&service, "192.0.2.1").await.expect("two seconds, two requests");
    }
    ask(&service, "192.0.2.1").await.expect_err("it is not forgotten");
    tokio::time::advance(60 * SECOND).await;
    ask(&service, "192.0.2.9").await.expect("within the burst");
    assert_eq!(known.get(), 1, "all that were idle are forgotten");
}

#[test]
fn beyond_its_room_a_shard_counts_clients_together_and_a_refusal_changes_nothing() {
    let client = |last: u8| Client::new(Some(IpAddr::from([192, 0, 2, last])));
    let mut shard = Shard::new(2);
    // Takes one second of a bucket's time, and refuses one that is three behind.
    let mut take = |last: u8| {
        shard.decide(&client(last), |full_at| {
            let full_at = full_at.map_or(0, Nanos::as_u64);
            if full_at < 3 { Ok(((), Nanos::from(full_at + 1))) } else { Err(()) }
        })
    };
    assert_eq!(take(1), (Ok(()), Counted::New));
    assert_eq!(take(2), (Ok(()), Counted::New));
    for last in [3, 4, 5] {
        assert_eq!(take(last), (Ok(()), Counted::Together));
    }
    assert_eq!(take(6), (Err(()), Counted::Together), "the bucket of all who are too many");
    assert_eq!(take(1), (Ok(()), Counted::Known), "which nobody shares who has one");
    shard.forget_full(Nanos::from(1));
    assert_eq!(shard.clients(), 1, "the second client's bucket is full by then");
    let (kept, counted) = shard.decide(&client(1), Err::<((), _), _>);
    assert_eq!((kept, counted), (Err(Some(Nanos::from(2))), Counted::Known));
}

/// More clients than there is room for, by far.
fn strangers() -> impl Iterator<Item = IpAddr> {
    (0..4 * u32::try_from(CLIENTS_MAX).expect("fits")).map(|n| IpAddr::V4((0x0a00_0000 + n).into()))
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_newcomers_share_buckets_and_the_known_keep_theirs() {
    let telemetry = telemetry();
    let (known, together) =
        (&telemetry.metrics.rate_limit_clients, &telemetry.metrics.rate_limit_together);
    let service = layer(1, 2, &telemetry).layer(leaf(hello));
    let ask = async |address: IpAddr| service.clone().oneshot(from(address, LIST)).await;
    let first: IpAddr = "192.0.2.1".parse().expect("an address");
    ask(first).await.expect("there is room for the first");
    let mut passed = 0;
    for stranger in strangers() {
        passed += usize::from(ask(stranger).await.is_ok());
    }
    let room = usize::try_from(known.get(()).get()).expect("a count");
    assert_eq!(room, CLIENTS_MAX, "never more");
    // Each of the 64 parts has one bucket of two requests beside those of its clients.
    assert_eq!(passed, CLIENTS_MAX - 1 + 64 * 2);
    assert_eq!(together.get(()).get(), 3 * u64::try_from(CLIENTS_MAX).expect("fits") + 1);
    ask(first).await.expect("its own bucket has one more");
    ask(first).await.expect_err("and no more");

    tokio::time::advance(10 * SECOND).await;
    let newcomer = "198.51.100.1".parse().expect("an address");
    ask(newcomer).await.expect("there is room again");
    ask(newcomer).await.expect("with a bucket of its own");
    assert_eq!(known.get(()).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_as_it_is_and_counts_like_any_answer() {
    let service = Border::new(layer(1, 1, &telemetry()).layer(failing(ErrorKind::NotFound)));
    let address = "192.0.2.1".parse().expect("an address");
    assert_passes_unchanged(&service, from(address, LIST), ErrorKind::NotFound).await;
    let refused = ask(&service, "192.0.2.1").await.expect_err("the rate is one a second");
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_buckets() {
    let layer = layer(1, 1, &telemetry());
    let (one, two) = (Border::new(layer.layer(leaf(hello))), Border::new(layer.layer(leaf(hello))));
    ask(&one, "192.0.2.1").await.expect("the first");
    ask(&two, "192.0.2.1").await.expect_err("the limit is one for both");
}

#[tokio::test(start_paused = true)]
async fn credentials_at_a_page_for_watchers_count_as_guesses() {
    let service = limited(1, 3);
    let guess = || {
        let mut request = from("192.0.2.1".parse().expect("an address"), "/metrics");
        request.head.headers.insert("authorization", "Basic Z3Vlc3M=".parse().expect("a value"));
        call(&service, request)
    };
    for _ in 0..3 {
        guess().await.expect("within the burst");
    }
    assert_eq!(guess().await.expect_err("beyond it").kind(), ErrorKind::RateLimited);
    let watches = from("192.0.2.1".parse().expect("an address"), "/metrics");
    call(&service, watches).await.expect("without credentials it passes");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_has_been_counted() {
    let held = Held::default();
    let service = layer(1, 1, &telemetry()).layer(held.service());
    held.assert_ends_with_its_caller(&service, edge("GET", LIST)).await;
    let refused = call(&service, edge("GET", LIST)).await.expect_err("one a second");
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
}
