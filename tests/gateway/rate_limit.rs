//! How many requests a client may send, and who is a client: behind proxies that are trusted, behind
//! those that are not, and by a unix socket.

use dipylon_testkit::client::Response;
use dipylon_testkit::go::Go;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use futures::future::join_all;
use http::Method;

use crate::world::{MODULE, Setup, VERSION, World, assert_refusal, file, outcome, stocked, until};

/// Requests at once; the rate is one a second, so few more pass while a test lasts.
const BURST: usize = 4;
/// Requests of which some must be refused, however slow the machine is.
const MANY: usize = 60;

fn limited() -> Setup {
    Setup::disk()
        .env("DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND", "1")
        .env("DIPYLON_RATE_LIMIT_BURST", &BURST.to_string())
}

/// [`MANY`] requests at once, the n-th with this `X-Forwarded-For`; divided into served and refused.
async fn ask_many(
    world: &World,
    forwarded: impl Fn(usize) -> Option<String>,
) -> (Vec<Response>, Vec<Response>) {
    let path = file("info");
    let ask = async |number: usize| {
        let hop = forwarded(number);
        let headers: Vec<_> = hop.iter().map(|hop| ("x-forwarded-for", hop.as_str())).collect();
        world.request(Method::GET, &path, &headers).await
    };
    let answers = join_all((0..MANY).map(ask)).await;
    let (refused, served): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 429);
    assert!(served.iter().all(|answer| answer.status == 200));
    (served, refused)
}

#[tokio::test]
async fn whom_a_trusted_proxy_names_has_a_bucket_of_its_own() {
    let world = stocked(limited().env("DIPYLON_TRUSTED_PROXIES", "127.0.0.0/8")).await;
    for client in ["198.51.100.1", "198.51.100.2", "2001:db8:0:1::1"] {
        let hops = |number| Some(format!("10.9.8.{number}, {client}"));
        let (served, refused) = ask_many(&world, hops).await;
        assert!((BURST..MANY / 2).contains(&served.len()), "{client}: {} served", served.len());
        let named = if client.contains(':') { "2001:db8:0:1::/64" } else { client };
        assert_refusal(&refused[0], 429, &["too many requests from ", named, "takes 1 a second"]);
    }
    let neighbour = [("x-forwarded-for", "2001:db8:0:1:ffff::9")];
    let refused = world.request(Method::GET, &file("info"), &neighbour).await;
    assert_refusal(&refused, 429, &["2001:db8:0:1::/64"]);
    let stranger = [("x-forwarded-for", "2001:db8:0:2::1")];
    assert_eq!(world.request(Method::GET, &file("info"), &stranger).await.status, 200);
}

#[tokio::test]
async fn a_forged_forwarding_header_changes_nothing() {
    for trusted in ["", "10.0.0.0/8"] {
        let world = stocked(limited().env("DIPYLON_TRUSTED_PROXIES", trusted)).await;
        let forged = |number| Some(format!("198.51.100.{number}"));
        let (served, refused) = ask_many(&world, forged).await;
        // One bucket for all of them, from which filling the store has drawn already.
        assert!(served.len() < MANY / 2, "{} served", served.len());
        assert!(refused.iter().all(|answer| answer.text().contains("from 127.0.0.1: ")));
    }
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back_and_says_the_same_everywhere() {
    let world = stocked(limited()).await;
    let (_, refused) = ask_many(&world, |_| None).await;
    let count = refused.len();
    for answer in &refused {
        assert_refusal(answer, 429, &["takes 1 a second", "and 4 at once"]);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(outcome(answer), "limited");
    }
    let events = || {
        let events = world.events();
        events.iter().filter(|event| event["outcome"] == "limited").cloned().collect::<Vec<_>>()
    };
    world.until("each is logged", || events().len() == count).await;
    for event in events() {
        assert_eq!((&event["http-status"], &event["client"]), (&429.into(), &"127.0.0.1".into()));
        assert!(event["error"].as_str().is_some_and(|text| text.contains("too many requests")));
    }
    until("each is counted", async || {
        let metrics = world.metrics().await;
        let by = |name, label, value| {
            metrics.metric(name).label("outcome", "limited").label(label, value).sum()
        };
        let counts = [
            by("dipylon_http_server_requests_total", "route", "unknown"),
            by("dipylon_layer_calls_total", "layer", "rate_limit"),
        ];
        counts.iter().all(|counted| *counted == count as f64)
    })
    .await;
    assert_eq!(world.metrics().await.metric("dipylon_rate_limit_clients").value(), Some(1.0));
}

#[tokio::test]
async fn who_watches_the_gateway_is_never_refused() {
    let world = stocked(limited()).await;
    ask_many(&world, |_| None).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..2 * BURST {
            world.get_ok(path).await;
        }
    }
    let (_, refused) = ask_many(&world, |_| None).await;
    assert!(!refused.is_empty(), "and everything else is");
}

#[tokio::test]
async fn who_is_not_limited_by_the_configuration_is_not_limited_at_all() {
    let world = stocked(Setup::disk()).await;
    let (served, _) = ask_many(&world, |_| None).await;
    assert_eq!(served.len(), MANY);
    let metrics = world.metrics().await;
    assert_eq!(metrics.metric("dipylon_layer_calls_total").label("layer", "rate_limit").sum(), 0.0);
}

#[tokio::test]
#[ignore = "needs the go command: it shows why it is refused"]
async fn the_go_command_shows_the_text_and_goes_nowhere_else() {
    let world = stocked(
        Setup::disk()
            .env("DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND", "1")
            .env("DIPYLON_RATE_LIMIT_BURST", "2"),
    )
    .await;
    let second = Upstream::start().await;
    second.add(FakeModule::new(MODULE, VERSION));
    ask_many(&world, |_| None).await;
    let go = Go::new().goproxy(&format!("{},{}", world.gateway.url(), second.url()));
    let refused = &go.mod_download_json(&[&format!("{MODULE}@{VERSION}")])[0];
    let error = refused["Error"].as_str().unwrap_or_default();
    assert!(error.contains("429 Too Many Requests"), "{error}");
    assert!(error.contains("too many requests from 127.0.0.1: "), "the text is shown: {error}");
    assert_eq!(second.total(), 0, "a client that is too fast is not sent elsewhere");
}
