//! `/-/status`: what goes on is on the page while it goes on, and nothing that others have named does anything there.

use bytes::Bytes;
use dipylon_middleware::breaker::state::UPSTREAM_FAILURES_TO_OPEN;
use dipylon_testkit::upstream::{Fault, Gate, When};
use http::Method;

use crate::world::{MODULE, Setup, VERSION, World, file, path_of, sick, stocked, until};

const TOKEN: (&str, &str) = ("x-dipylon-token", "the-operators-word");

async fn page(world: &World) -> String {
    let answer = world.request(Method::GET, "/-/status", &[TOKEN]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().to_owned()
}

/// Waits until the page has all of these.
async fn until_shown(world: &World, words: &[&str]) -> String {
    let what = format!("the page shows {words:?}");
    until(&what, async || {
        let page = page(world).await;
        words.iter().all(|words| page.contains(words))
    })
    .await;
    page(world).await
}

/// The numbers are those of the parts themselves: they are right where nobody counts metrics.
#[tokio::test]
async fn what_goes_on_is_shown_whether_or_not_metrics_are_counted() {
    for exporter in ["prometheus", ""] {
        let world = Setup::disk()
            .env("DIPYLON_ADMIN_TOKEN", TOKEN.1)
            .env("ATHENS_STATS_EXPORTER", exporter)
            .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
            .start()
            .await;
        world.add_module();
        let quiet = page(&world).await;
        for words in ["<h2>Fetched now</h2>\n<p>none</p>", "<h2>Background queue</h2>\n<p>none</p>"]
        {
            assert!(quiet.contains(words), "no {words} in {quiet}");
        }
        assert!(quiet.contains("<td>disk storage</td><td>works</td>"), "{quiet}");
        let url = world.upstream.url();
        let working = format!("<td>{url}</td><td>closed</td><td>closed</td>");
        assert!(quiet.contains(&working), "no {working} in {quiet}");

        // One leads and one follows; a prefetch runs in the background; then upstream fails for all else.
        let gate = Gate::default();
        world.upstream.fault(file("zip").as_str(), Fault::Gate(gate.clone()));
        let ahead = "example.com/ahead";
        let queued = path_of(ahead, VERSION, "zip");
        world.upstream.fault(When::prefix("/example.com/ahead/"), Fault::Gate(gate.clone()));
        world.upstream.fault(When::prefix("/example.com/sick/"), sick());
        let ask = || {
            let client = world.client();
            tokio::spawn(async move { client.get(&file("zip")).await })
        };
        let leads = ask();
        until_shown(&world, &[&format!("<td>{MODULE}@{VERSION}</td><td>zip</td>")]).await;
        let follows = ask();
        let body = Bytes::from(format!("{ahead}@{VERSION}"));
        let client = world.client();
        let answer = client.request(Method::POST, "/-/prefetch", &[TOKEN], body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        world.until("the prefetch asks upstream", || world.asked(&queued) > 0).await;
        for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
            world.get(&path_of("example.com/sick", &format!("v1.0.{patch}"), "info")).await;
        }
        let shown = until_shown(
            &world,
            &[
                "<td>versions or files that are fetched</td><td>2</td>",
                "s</td><td>1</td></tr>",
                &format!("<td>{ahead}@{VERSION}</td><td>running</td>"),
                "<td>background queue</td><td>1</td>",
                &format!("<td>{url}</td><td>open for another"),
            ],
        )
        .await;
        // Who leads, who follows, and who asks for this page.
        assert!(shown.contains("<td>requests in hand</td><td>3</td>"), "{shown}");
        assert!(!shown.contains("<td>connections</td><td>0</td>"), "{shown}");
        gate.open();
        for asked in [leads, follows] {
            assert_eq!(asked.await.unwrap().status, 200);
        }
        until_shown(&world, &["<h2>Fetched now</h2>\n<p>none</p>"]).await;
    }
}

#[tokio::test]
async fn what_upstreams_are_called_and_say_is_text_and_nothing_is_loaded() {
    let world = Setup::disk()
        .env("DIPYLON_ADMIN_TOKEN", TOKEN.1)
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .env("GOPROXY", "{upstream}|{upstream}/it's&that|http://127.0.0.1:1")
        .start()
        .await;
    let hostile = "<script>alert(1)</script><img src=//elsewhere.example>\n".into();
    let says = Fault::Status(500, "text/plain; charset=utf-8", hostile);
    world.upstream.fault(When::prefix("/example.com/"), says);
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        world.get(&path_of(MODULE, &format!("v1.0.{patch}"), "info")).await;
    }
    let page = until_shown(&world, &["open for another"]).await;
    assert!(page.contains("/it&#39;s&amp;that</td>"), "{page}");
    let unreachable = page.lines().find(|line| line.contains("<td>http://127.0.0.1:1</td>"));
    let unreachable = unreachable.expect("the upstream that is not there");
    assert!(unreachable.contains("<td>open for another "), "{unreachable}");
    assert!(unreachable.to_lowercase().contains("refused"), "why it is left alone: {unreachable}");
    for markup in ["<script", "<img", "<link", "href=", "src=\""] {
        assert!(!page.contains(markup), "{markup} in {page}");
    }
    assert!(page.contains("http-equiv=\"refresh\" content=\"5\""), "{page}");
}

#[tokio::test]
async fn the_page_has_the_rules_of_its_neighbours_and_no_cache_keeps_it() {
    let world = Setup::disk().env("DIPYLON_ADMIN_TOKEN", TOKEN.1).start().await;
    world.get_refused("/-/status", 403, &["X-Dipylon-Token"]).await;
    let wrong = world.request(Method::GET, "/-/status", &[(TOKEN.0, "another-word")]).await;
    assert_eq!(wrong.status, 403);
    assert_eq!(world.request(Method::POST, "/-/status", &[TOKEN]).await.status, 405);
    let answer = world.request(Method::GET, "/-/status", &[TOKEN]).await;
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(!answer.text().contains(TOKEN.1), "{}", answer.text());
    let head = world.request(Method::HEAD, "/-/status", &[TOKEN]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let open = Setup::disk().start().await;
    assert_eq!(open.get("/-/status").await.status, 200, "without a token who looks is let in");
}

#[tokio::test]
async fn the_near_tier_is_shown_with_what_it_has() {
    let world = stocked(
        Setup::disk()
            .env("DIPYLON_TIERED_DIRECTORY", "{folder}/near")
            .env("DIPYLON_TIERED_MAX_BYTES", "100000000"),
    )
    .await;
    until_shown(&world, &["<td>near tier</td><td>3 files, ", " of 100000000 bytes</td>"]).await;
}
